#pragma once

#include <string>
#include <vector>

#include <chatcore/request.h>

namespace chatcore {
inline namespace v1 {

struct SessionInfo {
  std::string session{};  // its name, while this engine runs
  DeviceId device{};
  TimePoint since{};           // logged in
  std::string peer_address{};  // as its transport says; empty: in this process
  bool mine = false;           // the one that asks
};
struct SessionsPage {
  std::vector<SessionInfo> sessions{};  // oldest first
};
// Where the caller is logged in, now, on this engine.
struct ListSessions {
  using Reply = SessionsPage;
  static constexpr auto id = RequestId::list_sessions;
};

struct SessionsEnded {
  std::uint32_t sessions{};
};
// Ends sessions of the caller: those named, or all but the one that asks where none is. What is queued for them is
// dropped, their last push is Closed with `unauthenticated`. One that is gone already is passed over. Whoever holds a
// token logs in again: to keep him out is the Authenticator's matter, and Engine::revoke's.
// `invalid`: more than 1,000 are named.
struct EndSessions {
  using Reply = SessionsEnded;
  static constexpr auto id = RequestId::end_sessions;
  std::vector<std::string> sessions{};
};

}  // namespace v1
}  // namespace chatcore
