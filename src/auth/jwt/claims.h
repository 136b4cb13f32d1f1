#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chatcore {
inline namespace v1 {
namespace jwt {

// A member of a JSON object, as far as tokens need to know it.
struct Claim {
  enum class Kind { text, number, texts, other };
  Kind kind = Kind::other;
  std::string text{};                // Kind::text
  double number = 0;                 // Kind::number: exact for any date
  std::vector<std::string> texts{};  // Kind::texts: an array of nothing but texts
};
using Claims = std::map<std::string, Claim, std::less<>>;

inline constexpr std::size_t most_nested = 16;

// The members of the object that `json` (RFC 8259) is. Nothing where it is something else, is not UTF-8, has a member
// twice (RFC 7515, 4), at any depth, or nests deeper than most_nested.
std::optional<Claims> read_claims(std::string_view json);

}  // namespace jwt
}  // namespace v1
}  // namespace chatcore
