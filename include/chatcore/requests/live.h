#pragma once

#include <vector>

#include <chatcore/request.h>
#include <chatcore/requests/messages.h>

namespace chatcore {
inline namespace v1 {

// Who types and who is here: true now, stored nowhere. What comes of it is a Signal (event.h), which is dropped first
// where a session has no room.

// Says that the caller types in a conversation, or has stopped. Members are shown it (Typing) for Limits::typing from
// the last time it was said; his next message ends it. Say it while he types, as often as is handy: both ends leave out
// what was said already. Needs the role `member`.
// too_large: more members than Limits::typing_members.
struct SetTyping {
  using Reply = Nothing;
  static constexpr auto id = RequestId::set_typing;
  Target to{};
  bool typing = true;
};

// How this session counts for its user's presence, from now on: online (as it begins) or away; offline: not at all, so
// that who says so in all his sessions is here unseen.
struct SetPresence {
  using Reply = Nothing;
  static constexpr auto id = RequestId::set_presence;
  PresenceState state = PresenceState::online;
};

struct PresencePage {
  std::vector<Presence> users{};  // in the order asked for
};
// Whether these users are here. A user nobody has heard of, and one whom the Policy hides from the caller, is offline.
// too_large: more than Limits::watched_users.
struct GetPresence {
  using Reply = PresencePage;
  static constexpr auto id = RequestId::get_presence;
  std::vector<UserId> users{};
};

// From now on this session is told of these users and of the members of these conversations, and of nobody else: first
// how they all are, then who changes (PresenceChanged), once a Limits::live_tick. What a session had no room for it is
// told again, as a whole. Of a conversation with more members than Limits::presence_members it is told how many are
// here (OnlineCount). Both empty: of nobody. too_large: more than Limits::watched_users, or than 100 conversations.
struct WatchPresence {
  using Reply = Nothing;
  static constexpr auto id = RequestId::watch_presence;
  std::vector<UserId> users{};
  std::vector<ConversationId> conversations{};
};

}  // namespace v1
}  // namespace chatcore
