#include "auth/jwt/base64url.h"

#include <cstdint>

namespace chatcore {
inline namespace v1 {
namespace jwt {
namespace {

// 64: not in the alphabet.
constexpr std::uint32_t value_of(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<std::uint32_t>(c - 'A');
  if (c >= 'a' && c <= 'z') return static_cast<std::uint32_t>(c - 'a') + 26;
  if (c >= '0' && c <= '9') return static_cast<std::uint32_t>(c - '0') + 52;
  if (c == '-') return 62;
  if (c == '_') return 63;
  return 64;
}

}  // namespace

std::optional<std::string> from_base64url(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  std::uint32_t held = 0;  // bits that are no whole byte yet
  unsigned bits = 0;
  for (const char c : text) {
    const std::uint32_t value = value_of(c);
    if (value == 64) return {};
    held = held << 6 | value;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<char>(held >> bits));
    held &= (1u << bits) - 1;
  }
  if (bits == 6 || held != 0) return {};
  return bytes;
}

}  // namespace jwt
}  // namespace v1
}  // namespace chatcore
