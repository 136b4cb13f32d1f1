#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "protocol/codec.h"

// Protobuf's wire, below any message: varints, tags and lengths.

namespace chatcore {
inline namespace v1 {
namespace protocol {

enum class WireType : std::uint32_t { varint = 0, fixed64 = 1, bytes = 2, start_group = 3, end_group = 4, fixed32 = 5 };

// One field as it stands on the wire, whatever it means. Which of the two holds its value depends on the type.
struct WireField {
  std::uint32_t number{};
  WireType type{};
  std::uint64_t value{};
  View bytes{};  // into the bytes read
};

// Cuts a message into its fields.
class Reader {
 public:
  explicit Reader(View bytes) : rest_(bytes) {}
  bool next(WireField& field);                            // false: the end, or malformed
  bool malformed() const noexcept { return malformed_; }  // what was read before stands

 private:
  bool tag(WireField& field);
  bool value(WireField& field, int depth);
  bool varint(std::uint64_t& value);
  bool fixed(std::size_t size, std::uint64_t& value);
  bool bytes(View& bytes);
  bool group(std::uint32_t number, int depth);

  View rest_;
  bool malformed_ = false;
};

// The two ends that Encode writes to: the first adds up, the second fills a buffer of that size.
class Counter {
 public:
  void varint(std::uint64_t value) { total_ += (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7; }
  void raw(View bytes) { total_ += bytes.size(); }
  std::size_t total() const noexcept { return total_; }

 private:
  std::size_t total_ = 0;
};

class Writer {
 public:
  explicit Writer(std::byte* to) : at_(to) {}
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) *at_++ = static_cast<std::byte>(value | 0x80);
    *at_++ = static_cast<std::byte>(value);
  }
  void raw(View bytes) { at_ = std::copy(bytes.begin(), bytes.end(), at_); }
  void fixed32(std::uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) *at_++ = static_cast<std::byte>(value >> shift);
  }

 private:
  std::byte* at_;
};

void put_tag(auto& out, std::uint32_t number, WireType type) {
  out.varint(number << 3 | static_cast<std::uint32_t>(type));
}
void put_varint(auto& out, std::uint32_t number, std::uint64_t value) {
  put_tag(out, number, WireType::varint);
  out.varint(value);
}
void put_bytes(auto& out, std::uint32_t number, View bytes) {
  put_tag(out, number, WireType::bytes);
  out.varint(bytes.size());
  out.raw(bytes);
}

// What `fill` puts out, in a buffer of just that size: it runs twice, to count and to write.
template <class Fill>
Bytes written(const Fill& fill) {
  Counter counter;
  fill(counter);
  Bytes bytes(counter.total());
  Writer writer(bytes.data());
  fill(writer);
  return bytes;
}

}  // namespace protocol
}  // namespace v1
}  // namespace chatcore
