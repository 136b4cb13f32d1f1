#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <chatcore/requests.h>

namespace chatcore {
inline namespace v1 {
namespace protocol {

inline constexpr std::uint32_t version = 1;

// What a connection says that is no request of a user's: docs/protocol.md, "Login" and "Heartbeat".
struct LoggedIn {
  std::uint32_t version{};
  UserId user{};
  DeviceId device{};
  std::string epoch{};
  std::uint64_t heartbeat_ms{};
  std::uint64_t frame_bytes{};
  std::uint64_t session_requests{};
  bool reset = false;       // the place to resume at is gone: start again from the conversation list
  Checkpoint checkpoint{};  // without `resume`, or after a reset: where this session begins
};
struct Login {
  using Reply = LoggedIn;
  static constexpr auto id = RequestId::login;
  std::uint32_t version = protocol::version;
  std::string token{};
  std::string device{};
  Checkpoint resume{};
};
struct Pong {
  std::uint64_t time_ms{};
};
struct Ping {
  using Reply = Pong;
  static constexpr auto id = RequestId::ping;
};

// Answers of the features that read: stored events go out as the bytes they are. On the wire they are their base.
struct RawHistoryPage : HistoryPage {
  std::vector<Bytes> raw{};  // encoded Events, in place of `events`
};
struct RawSyncPage : SyncPage {
  std::vector<Bytes> raw{};
};

}  // namespace protocol
}  // namespace v1
}  // namespace chatcore
