#pragma once

#include <chatcore/request.h>

namespace chatcore {
inline namespace v1 {

// What a user has marked for himself: his alone, and the same on all his devices. It stands in a log of his own, which
// his sessions receive, resume and sync as they do a conversation (its kind is `own`): each change comes as OwnChanged
// with the whole of the marks, also to a device that was away. Marks are of a conversation that he is in, or was. A
// repeat changes nothing. Besides the errors of a conversation: unknown_outcome, storage_full.

// No notifications until then; the epoch: again from now on. TimePoint::max(): until further notice. The messages of a
// muted conversation do not count in GetUnread.
struct Mute {
  using Reply = Marks;
  static constexpr auto id = RequestId::mute;
  ConversationId conversation{};
  TimePoint until{};
};

// Wants it at the top of his list; the order of ListConversations stays that of last activity.
struct Pin {
  using Reply = Marks;
  static constexpr auto id = RequestId::pin;
  ConversationId conversation{};
  bool pinned = true;
};

struct Archive {
  using Reply = Marks;
  static constexpr auto id = RequestId::archive;
  ConversationId conversation{};
  bool archived = true;
};

// Shows it as unread, whatever he has read; MarkRead takes the mark off, also where it moves nothing.
struct MarkUnread {
  using Reply = Marks;
  static constexpr auto id = RequestId::mark_unread;
  ConversationId conversation{};
  bool unread = true;
};

struct UnreadTotal {
  std::uint32_t messages{};       // unread in conversations that are not muted; up to 1,000
  std::uint32_t conversations{};  // those, and those marked as unread
  bool more = false;              // there is more than that
};
// What the badge of an application shows.
struct GetUnread {
  using Reply = UnreadTotal;
  static constexpr auto id = RequestId::get_unread;
};

}  // namespace v1
}  // namespace chatcore
