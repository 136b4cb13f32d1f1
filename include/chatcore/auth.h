#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/ids.h>

namespace chatcore {
inline namespace v1 {

class Clock;  // options.h

namespace detail {
class JwtAuthenticator;
class JwtKeyring;
}  // namespace detail

// Who makes a request. A host that has checked a user itself writes {.user = id}.
struct Identity {
  UserId user{};
  DeviceId device{};
  TimePoint expires = TimePoint::max();
  bool trusted = false;  // no membership and no role is asked for; the engine clears it in what an Authenticator says

  // The host itself: its events have no sender.
  static Identity system() noexcept { return {.trusted = true}; }
  // A user who is the host's own: an NPC, a bridge, a bot.
  static Identity host(UserId user) noexcept { return {.user = user, .trusted = true}; }
};

// What a client shows at login.
struct Credentials {
  std::string token{};
  std::string peer_address{};  // as the transport names it; empty in process
};

// Turns credentials into an identity.
//
// Threads: authenticate() is called on engine threads, by several at once where there are several, and must not block;
// it may complete at once or later, from any thread. The engine takes the first completion; a completion that is
// dropped counts as `cancelled`, and one that has not come within the login deadline (5 s) as `timeout`. What it throws
// counts as `unauthenticated`, and so does an identity that has expired when it comes.
// Ownership: the engine owns it and destroys it after stop().
// Errors: any; `unauthenticated` is the usual one. The message reaches the client.
// authenticator_conformance in testing.h checks an implementation.
class CHATCORE_API Authenticator {
 public:
  virtual ~Authenticator();
  virtual void authenticate(Credentials, Done<Identity>) = 0;
};

// A function of the host's.
CHATCORE_API std::unique_ptr<Authenticator> make_authenticator(Function<void(Credentials, Done<Identity>)>);

// The token is the user id and nothing is checked. For trying things out only.
CHATCORE_API std::unique_ptr<Authenticator> make_insecure_dev_authenticator();

// ---- JSON Web Tokens (RFC 7519), signed (RFC 7515)

// The tokens that a key may check. Never the token's choice (RFC 8725, 3.1): `none` does not exist here.
enum class JwtAlgorithm : std::uint8_t {
  hs256 = 1,  // HMAC with SHA-256 (RFC 7518, 3.2): who checks tokens can make them
  rs256 = 2,  // RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, 3.3)
  eddsa = 3,  // Ed25519 (RFC 8037)
};

struct JwtKey {
  std::string id{};  // the token's `kid`; empty: checks only tokens without one
  JwtAlgorithm algorithm{};
  // hs256: the secret, any bytes, at least 32 of them. Else the public key in PEM ("-----BEGIN PUBLIC KEY-----", as
  // `openssl pkey -pubout` writes it); RSA of 2048 bits or more.
  std::string key{};
};

// The keys that tokens are checked with, replaced while logins go on: new keys first beside the old ones, then alone
// once the old tokens have expired. Any thread; never blocks for longer than the keys take to be read.
class CHATCORE_API JwtKeys {
 public:
  // 1 to 64 keys. `invalid`, naming the key and what is wrong with it: a short secret, a PEM text as secret, no public
  // key, one of another kind or too small, two keys of one id.
  static Result<std::shared_ptr<JwtKeys>> make(std::vector<JwtKey>);
  ~JwtKeys();
  JwtKeys(const JwtKeys&) = delete;
  JwtKeys& operator=(const JwtKeys&) = delete;

  // For every login that begins from now on. Errors as make(); then nothing has changed. Sessions that are open stay
  // so until they expire.
  Status replace(std::vector<JwtKey>);

 private:
  friend class detail::JwtAuthenticator;
  explicit JwtKeys(std::unique_ptr<detail::JwtKeyring>);
  std::unique_ptr<detail::JwtKeyring> keyring_;
};

struct JwtOptions {
  std::shared_ptr<JwtKeys> keys{};  // required
  std::string audience{};           // the token's `aud` must be or contain it; unset: a token with an `aud` is refused
  std::string issuer{};             // unset: any `iss`
  std::string device_claim{};       // the claim that names the device; unset, or not in the token: the login's own
  bool allow_no_expiry = false;     // take tokens without `exp`: their sessions never expire
  std::chrono::seconds leeway{0};   // 0 to 60 s: how far the issuer's clock may be off, at `exp` and at `nbf`
  std::shared_ptr<Clock> clock{};   // its wall(); unset: the system's
  // Told why a token was refused, for the host's log: the client only learns whether it has expired. Called on engine
  // threads, several at once; what it throws is dropped.
  Function<void(std::string_view why)> refused{};
};

// Logs in whoever shows a token in the compact form (RFC 7515, 7.1), of at most 8 KiB, that one of the keys has signed:
// the one that its `kid` names, without a `kid` any of its `alg`. The user is `sub`, the session expires at `exp` (and
// the leeway). Completes inside authenticate(). What RFC 8725 warns of is refused: unknown `crit`, a `typ` other than
// JWT, members that occur twice, nesting beyond 16, base64url that is not canonical.
// Errors: `invalid` (no keys, a leeway out of range). To the client: `unauthenticated`.
CHATCORE_API Result<std::unique_ptr<Authenticator>> make_jwt_authenticator(JwtOptions);

}  // namespace v1
}  // namespace chatcore
