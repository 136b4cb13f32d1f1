#pragma once

#include <memory>
#include <string>

#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/ids.h>

namespace chatcore {
inline namespace v1 {

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
// Threads: authenticate() is called on an engine thread and must not block; it may complete at once or later, from
// any thread. The engine takes the first completion; a completion that is dropped counts as `cancelled`, and one
// that has not come within the login deadline (5 s) as `timeout`. What it throws counts as `unauthenticated`.
// Ownership: the engine owns it and destroys it after stop().
// Errors: any; `unauthenticated` is the usual one. The message reaches the client.
class CHATCORE_API Authenticator {
 public:
  virtual ~Authenticator();
  virtual void authenticate(Credentials, Done<Identity>) = 0;
};

// A function of the host's.
CHATCORE_API std::unique_ptr<Authenticator> make_authenticator(Function<void(Credentials, Done<Identity>)>);

// The token is the user id and nothing is checked. For trying things out only.
CHATCORE_API std::unique_ptr<Authenticator> make_insecure_dev_authenticator();

}  // namespace v1
}  // namespace chatcore
