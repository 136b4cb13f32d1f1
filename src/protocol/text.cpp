#include <chatcore/ids.h>

#include <cstring>

namespace chatcore {
inline namespace v1 {
namespace {

// How many bytes the character at the front of `text` has, by the table of RFC 3629, section 4; 0: it is none.
std::size_t character(std::string_view text) noexcept {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xc0) == 0x80; };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return text.size() >= 2 && tail(1) ? 2 : 0;
  if (first < 0xf0) {
    if (text.size() < 3 || !tail(1) || !tail(2)) return 0;
    const bool overlong = first == 0xe0 && at(1) < 0xa0;
    const bool surrogate = first == 0xed && at(1) >= 0xa0;
    return overlong || surrogate ? 0 : 3;
  }
  if (first > 0xf4 || text.size() < 4 || !tail(1) || !tail(2) || !tail(3)) return 0;
  const bool overlong = first == 0xf0 && at(1) < 0x90;
  const bool too_large = first == 0xf4 && at(1) >= 0x90;
  return overlong || too_large ? 0 : 4;
}

bool has_control(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7f) return true;
    if (c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) return true;  // C1
  }
  return false;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    std::uint64_t eight;  // most text is ASCII: eight characters a step
    if (text.size() >= sizeof eight) {
      std::memcpy(&eight, text.data(), sizeof eight);
      if ((eight & 0x8080808080808080) == 0) {
        text.remove_prefix(sizeof eight);
        continue;
      }
    }
    const std::size_t size = character(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

namespace detail {

Status check_id(std::string_view text) {
  constexpr std::size_t most = UserId::max_size;
  if (text.empty()) return {ErrorCode::invalid, "an id must not be empty"};
  if (text.size() > most) {
    return {ErrorCode::invalid,
            "an id has at most " + std::to_string(most) + " bytes, this one has " + std::to_string(text.size())};
  }
  if (!is_utf8(text)) return {ErrorCode::invalid, "an id must be UTF-8"};
  if (has_control(text)) return {ErrorCode::invalid, "an id must not hold a control character"};
  return {};
}

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
