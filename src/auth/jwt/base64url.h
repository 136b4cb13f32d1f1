#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace chatcore {
inline namespace v1 {
namespace jwt {

// Base64url without padding (RFC 7515, 2). Nothing where it is not the one way to write what it says: a foreign
// character, a padding, a length that no bytes have, or unused bits that are not 0.
std::optional<std::string> from_base64url(std::string_view text);

}  // namespace jwt
}  // namespace v1
}  // namespace chatcore
