#pragma once

#define XXH_INLINE_ALL  // it is on the way of every delivery
#include <xxhash.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "failure.h"

// The text of a message of the benchmark, so that whoever gets it can tell that it is whole, whose it is and when it
// was sent: 16 hexadecimal digits each of the checksum of what follows, the message's number, and its time; then
// filling.
namespace body {

inline constexpr std::size_t least = 48;

inline void put_hex(char* at, std::uint64_t value) {
  for (int i = 15; i >= 0; --i, value >>= 4) at[i] = "0123456789abcdef"[value & 15];
}
inline std::uint64_t hex(std::string_view digits) {
  std::uint64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  return value;
}

// Writes the head; the filling stays as it is.
inline void fill(char* text, std::size_t size, std::uint64_t number, std::int64_t time_ns) {
  put_hex(text + 16, number);
  put_hex(text + 32, static_cast<std::uint64_t>(time_ns));
  put_hex(text, XXH3_64bits(text + 16, size - 16));
}

struct Head {
  std::uint64_t number;
  std::int64_t time_ns;
};
inline Head check(std::string_view text) {
  require(text.size() >= least, "a text came back too short");
  std::array<char, 16> checksum;
  put_hex(checksum.data(), XXH3_64bits(text.data() + 16, text.size() - 16));
  require(std::memcmp(checksum.data(), text.data(), 16) == 0, "the checksum of a text is wrong");
  return {hex(text.substr(16, 16)), static_cast<std::int64_t>(hex(text.substr(32, 16)))};
}

}  // namespace body
