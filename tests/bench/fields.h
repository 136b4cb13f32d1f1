#pragma once

#include <cstdint>

#include "failure.h"
#include "loop.h"

// The fields of a Protobuf message, for a reader in a hurry: varints and lengths, all that chatcore's protocol has. The
// client must cost less than the server that it measures.
class Fields {
 public:
  explicit Fields(View message) : at_(message.data()), end_(at_ + message.size()) {}

  std::uint32_t number{};
  std::uint64_t value{};  // of a varint
  View bytes{};           // of anything else

  bool next() {
    if (at_ == end_) return false;
    const std::uint64_t tag = varint();
    number = static_cast<std::uint32_t>(tag >> 3);
    value = varint();
    if ((tag & 7) == 0) return true;
    require((tag & 7) == 2 && value <= static_cast<std::uint64_t>(end_ - at_), "a frame is not Protobuf");
    bytes = View(at_, value);
    at_ += value;
    return true;
  }

 private:
  std::uint64_t varint() {
    std::uint64_t result = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      require(at_ != end_, "a frame is not Protobuf");
      const auto byte = static_cast<std::uint64_t>(*at_++);
      result |= (byte & 0x7f) << shift;
      if (byte < 0x80) return result;
    }
    throw Failure("a frame is not Protobuf");
  }

  const std::byte* at_;
  const std::byte* end_;
};
