#pragma once

#include <optional>
#include <string>
#include <vector>

#include <chatcore/request.h>
#include <chatcore/requests/conversations.h>

namespace chatcore {
inline namespace v1 {

// Members and former members read what was visible to them. no_such_conversation to everyone else.

// Seqs that an answer covers and that have no content in it.
struct Gap {
  enum class Why : std::uint8_t { trimmed = 1, not_visible = 2 };
  Seq from{}, to{};  // both included
  Why why{};
};

struct HistoryPage {
  std::vector<EventPtr> events{};  // in the direction asked for; a message in its present state
  Seq covers_from{}, covers_to{};  // ascending, both included; 0, 0: nothing. Nothing in between is missing but
                                   // changes and the gaps
  Seq oldest{}, head{};
  std::vector<Gap> gaps{};
  std::string epoch{};
  bool more = false;  // there is more in this direction
};
// A page of messages and of what happened to the group. Go on with covers_from - 1 backward, covers_to + 1 forward.
struct ReadHistory {
  using Reply = HistoryPage;
  static constexpr auto id = RequestId::read_history;
  ConversationId conversation{};
  Seq start = 0;  // included; 0: from the newest backward, from the oldest forward
  Direction direction = Direction::backward;
  std::uint32_t limit = 50;  // at most Limits::page_items
};

struct SyncPage {
  std::vector<EventPtr> events{};  // ascending; messages and changes, each with the present state of its message
  Seq covers_from{}, covers_to{};  // both included; 0, 0: nothing is newer
  Seq oldest{}, head{};
  std::vector<Gap> gaps{};
  std::string epoch{};
  bool more = false;
  Seq live_from{};  // the session is pushed everything from this seq on. 0: not yet, where there is more; or never, as
                    // the conversation is set to notify only: the next HeadMoved says when there is something again
};
// What happened after a seq. For a client that knows a conversation up to `after` and wants to know the rest.
struct Sync {
  using Reply = SyncPage;
  static constexpr auto id = RequestId::sync;
  ConversationId conversation{};
  Seq after = 0;
  std::uint32_t limit = 50;  // at most Limits::page_items
};

// Moves the caller's read cursor forward; a smaller seq changes nothing. `invalid`: beyond the head. It is written, and
// his other devices are told (OwnChanged), at once or within a second of the last one; a crash may lose that second.
struct ReadCursor {
  Seq seq{};
};
struct MarkRead {
  using Reply = ReadCursor;
  static constexpr auto id = RequestId::mark_read;
  ConversationId conversation{};
  Seq seq{};
};

struct ConversationEntry {
  ConversationInfo info{};
  TimePoint active{};        // of the last event that is visible
  EventPtr last{};           // the preview: the last visible message, its text up to 512 bytes; null: none
  std::uint32_t unread{};    // messages of others after the read cursor, without deleted ones; up to 100
  bool unread_more = false;  // more than that
  Seq read{};                // the read cursor
  Marks marks{};             // all that the caller has marked of it
};
struct ConversationsPage {
  std::vector<ConversationEntry> conversations{};  // last activity first
  std::string next{};                              // give as `after` to go on; empty: this was the last page
};
// The caller's conversations by last activity; a page may hold fewer than `limit`. One that moves while paging may show
// twice or not at all.
struct ListConversations {
  using Reply = ConversationsPage;
  static constexpr auto id = RequestId::list_conversations;
  std::string after{};
  std::uint32_t limit = 50;  // at most Limits::page_items
};

}  // namespace v1
}  // namespace chatcore
