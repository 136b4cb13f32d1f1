#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <chatcore/transport.h>

// How frames lie in a stream: each behind its length, 4 bytes, big-endian.

namespace chatcore {
inline namespace v1 {
namespace tcp {

inline constexpr std::size_t header_bytes = 4;
using Header = std::array<std::byte, header_bytes>;

inline Header header_of(std::size_t frame_bytes) {
  const auto byte = [&](int shift) { return static_cast<std::byte>(frame_bytes >> shift); };
  return {byte(24), byte(16), byte(8), byte(0)};
}

inline std::size_t length_in(std::span<const std::byte> header) {
  std::uint32_t length = 0;
  for (std::size_t i = 0; i < header_bytes; ++i) length = length << 8 | static_cast<std::uint32_t>(header[i]);
  return length;
}

// Cuts a stream into frames. Holds memory only while a frame is incomplete, and never more than twice what has come
// of it: a length that is only announced takes none.
class FrameCutter {
 public:
  explicit FrameCutter(std::size_t most) : most_(most) {}

  // Calls `deliver` with each frame that is whole now, until it returns false: then the rest of `bytes` is dropped.
  // False: a length that cannot be, see bad_length(); the stream is lost then.
  template <class Deliver>
  bool feed(std::span<const std::byte> bytes, Deliver&& deliver) {
    while (!bytes.empty()) {
      if (rest_.empty() && bytes.size() >= header_bytes) {  // most frames come whole, and are not copied
        const std::size_t length = length_in(bytes);
        if (!is_good(length)) return false;
        if (bytes.size() - header_bytes >= length) {
          if (!deliver(bytes.subspan(header_bytes, length))) return true;
          bytes = bytes.subspan(header_bytes + length);
          continue;
        }
      }
      if (rest_.size() < header_bytes) {
        take(bytes, header_bytes);
        if (rest_.size() < header_bytes) return true;
        if (!is_good(length_in(rest_))) return false;
      }
      const std::size_t whole = header_bytes + length_in(rest_);
      take(bytes, whole);
      if (rest_.size() < whole) return true;
      const Bytes frame = std::exchange(rest_, {});
      if (!deliver(std::span(frame).subspan(header_bytes))) return true;
    }
    return true;
  }

  std::size_t bad_length() const noexcept { return bad_length_; }
  std::size_t held() const noexcept { return rest_.capacity(); }

 private:
  bool is_good(std::size_t length) {
    if (length != 0 && length <= most_) return true;
    bad_length_ = length;
    return false;
  }
  void take(std::span<const std::byte>& bytes, std::size_t up_to) {
    const std::size_t count = std::min(bytes.size(), up_to - rest_.size());
    rest_.insert(rest_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    bytes = bytes.subspan(count);
  }

  std::size_t most_;
  std::size_t bad_length_ = 0;
  Bytes rest_{};  // the beginning of a frame, its header included
};

}  // namespace tcp
}  // namespace v1
}  // namespace chatcore
