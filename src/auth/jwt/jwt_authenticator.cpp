#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <variant>

#include <chatcore/auth.h>
#include <chatcore/options.h>

#include "auth/jwt/base64url.h"
#include "auth/jwt/claims.h"
#include "auth/jwt/keys.h"

namespace chatcore {
inline namespace v1 {
namespace jwt {
namespace {

constexpr std::size_t most_token_bytes = 8 << 10;
constexpr double last_date = 253'402'300'799;  // the end of the year 9999

// Why a token is refused. The host hears the words; the client hears only whether another token would help.
struct Refusal {
  const char* why;
  bool has_expired = false;
};
template <class T>
using Checked = std::variant<T, Refusal>;

struct Parts {
  std::string_view header, claims, signature, signed_part;
};

std::optional<Parts> split(std::string_view token) {
  const std::size_t first = token.find('.'), last = token.rfind('.');
  if (first == token.npos || first == last) return {};
  const Parts parts{token.substr(0, first), token.substr(first + 1, last - first - 1), token.substr(last + 1),
                    token.substr(0, last)};
  if (parts.claims.find('.') != token.npos || parts.signature.empty()) return {};
  return parts;
}

const Claim* find(const Claims& claims, std::string_view name) {
  const auto at = claims.find(name);
  return at == claims.end() ? nullptr : &at->second;
}

bool is_text(const Claim* claim) { return claim && claim->kind == Claim::Kind::text; }

bool is_jwt_type(std::string_view type) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::equal(type.begin(), type.end(), std::begin("jwt"), std::end("jwt") - 1,
                    [&](char a, char b) { return lower(a) == b; });
}

// Seconds since 1970, maybe with a fraction (RFC 7519, 2, "NumericDate").
std::optional<TimePoint> date(const Claim& claim) {
  if (claim.kind != Claim::Kind::number || !(claim.number >= 0 && claim.number <= last_date)) return {};
  return TimePoint(std::chrono::milliseconds(static_cast<std::int64_t>(std::floor(claim.number * 1000))));
}

// RFC 7519, 4.1.3: whoever does not find himself in an `aud` that is there refuses the token.
bool is_for(const Claim* aud, const std::string& audience) {
  if (!aud) return audience.empty();
  if (audience.empty()) return false;
  if (aud->kind == Claim::Kind::text) return aud->text == audience;
  return aud->kind == Claim::Kind::texts && std::count(aud->texts.begin(), aud->texts.end(), audience) != 0;
}

}  // namespace
}  // namespace jwt

namespace detail {

class JwtAuthenticator final : public Authenticator {
 public:
  explicit JwtAuthenticator(JwtOptions options) : options_(std::move(options)) {}

  void authenticate(Credentials credentials, Done<Identity> done) override {
    auto checked = check(credentials.token);
    if (auto* identity = std::get_if<Identity>(&checked)) return done(*identity);
    const auto& refusal = std::get<jwt::Refusal>(checked);
    if (options_.refused) {
      try {
        options_.refused(refusal.why);
      } catch (...) {
      }
    }
    done(Error{ErrorCode::unauthenticated,
               refusal.has_expired ? "the token has expired: get a new one" : "the token is not accepted",
               {}});
  }

 private:
  jwt::Checked<Identity> check(const std::string& token) {
    if (token.size() > jwt::most_token_bytes) return jwt::Refusal{"it is longer than 8 KiB"};
    const auto parts = jwt::split(token);
    if (!parts) return jwt::Refusal{"it is not three parts with dots between them"};
    const auto header = jwt::from_base64url(parts->header), body = jwt::from_base64url(parts->claims),
               signature = jwt::from_base64url(parts->signature);
    if (!header || !body || !signature) return jwt::Refusal{"a part of it is not base64url"};
    const auto head = jwt::read_claims(*header);
    if (!head) return jwt::Refusal{"its header is no JSON object, has a member twice, or nests too deep"};
    if (const auto refusal = check_signature(token, *parts, *head, *signature)) return *refusal;
    const auto claims = jwt::read_claims(*body);
    if (!claims) return jwt::Refusal{"its claims are no JSON object, have a member twice, or nest too deep"};
    return identify(*claims);
  }

  std::optional<jwt::Refusal> check_signature(const std::string& token, const jwt::Parts& parts,
                                              const jwt::Claims& head, const std::string& signature) const {
    if (jwt::find(head, "crit")) return jwt::Refusal{"its header has a `crit`, none of which is known here"};
    const jwt::Claim* type = jwt::find(head, "typ");
    if (type && !(jwt::is_text(type) && jwt::is_jwt_type(type->text))) return jwt::Refusal{"its `typ` is not JWT"};
    const jwt::Claim *alg = jwt::find(head, "alg"), *kid = jwt::find(head, "kid");
    if (!jwt::is_text(alg)) return jwt::Refusal{"its header has no `alg`"};
    if (kid && !jwt::is_text(kid)) return jwt::Refusal{"its `kid` is no text"};
    bool is_known = false;
    const auto keys = options_.keys->keyring_->current();  // held: they may be replaced meanwhile
    for (const auto& key : *keys) {
      if ((kid && key->id() != kid->text) || alg->text != jwt::name_of(key->algorithm())) continue;
      is_known = true;
      if (key->has_signed(token, parts.signed_part, signature)) return {};
    }
    return jwt::Refusal{is_known ? "no key of ours has signed it" : "there is no key of its `kid` and `alg`"};
  }

  jwt::Checked<Identity> identify(const jwt::Claims& claims) {
    const TimePoint now = options_.clock->wall();
    Identity identity;
    if (const jwt::Claim* exp = jwt::find(claims, "exp")) {
      const auto when = jwt::date(*exp);
      if (!when) return jwt::Refusal{"its `exp` is no date"};
      identity.expires = *when + options_.leeway;
      if (now >= identity.expires) return jwt::Refusal{"it has expired", true};
    } else if (!options_.allow_no_expiry) {
      return jwt::Refusal{"it has no `exp`"};
    }
    if (const jwt::Claim* nbf = jwt::find(claims, "nbf")) {
      const auto when = jwt::date(*nbf);
      if (!when) return jwt::Refusal{"its `nbf` is no date"};
      if (now < *when - options_.leeway) return jwt::Refusal{"it is not valid yet"};
    }
    if (!jwt::is_for(jwt::find(claims, "aud"), options_.audience)) return jwt::Refusal{"it is for another audience"};
    const jwt::Claim* iss = jwt::find(claims, "iss");
    if (!options_.issuer.empty() && !(jwt::is_text(iss) && iss->text == options_.issuer)) {
      return jwt::Refusal{"it is of another issuer"};
    }
    const jwt::Claim* sub = jwt::find(claims, "sub");
    auto user = UserId::make(jwt::is_text(sub) ? std::string_view(sub->text) : std::string_view());
    if (!user) return jwt::Refusal{"its `sub` is no user id"};
    identity.user = *user;
    if (const jwt::Claim* named = options_.device_claim.empty() ? nullptr : jwt::find(claims, options_.device_claim)) {
      auto device = DeviceId::make(jwt::is_text(named) ? std::string_view(named->text) : std::string_view());
      if (!device) return jwt::Refusal{"its device is no device id"};
      identity.device = *device;
    }
    return identity;
  }

  JwtOptions options_;
};

}  // namespace detail

namespace jwt {
namespace {

class SystemClock final : public Clock {
 public:
  TimePoint wall() override {
    return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }
  SteadyTime steady() override { return std::chrono::steady_clock::now(); }
};

}  // namespace
}  // namespace jwt

Result<std::unique_ptr<Authenticator>> make_jwt_authenticator(JwtOptions options) {
  if (!options.keys) return {ErrorCode::invalid, "JwtOptions::keys: make some with JwtKeys::make"};
  if (options.leeway < std::chrono::seconds(0) || options.leeway > std::chrono::seconds(60)) {
    return {ErrorCode::invalid, "JwtOptions::leeway: must be 0 to 60 s"};
  }
  if (!options.clock) options.clock = std::make_shared<jwt::SystemClock>();
  return std::unique_ptr<Authenticator>(std::make_unique<detail::JwtAuthenticator>(std::move(options)));
}

}  // namespace v1
}  // namespace chatcore
