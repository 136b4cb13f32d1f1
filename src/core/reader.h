#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <chatcore/requests.h>
#include <chatcore/storage.h>

#include "core/keys.h"
#include "core/roster.h"
#include "protocol/record.h"

// What is read from a conversation's partition, as plain functions on a Storage: they block, run on storage threads,
// and know nothing of shards.

namespace chatcore {
inline namespace v1 {
namespace core {

inline constexpr std::string_view settings_row = "conversation";  // the one row of Table::settings

struct LoadedConversation {
  bool exists = false;
  Seq head{}, oldest{};
  protocol::ConversationRow conversation{};
  std::vector<Participant> members{};  // where it is fanned out on read: who came or went after the seq that was known
  std::vector<protocol::KeyBlockRow> key_blocks{};
  bool any_sources = false;
  struct Tail {
    Seq seq{};
    UserId sender{};
    TimePoint time{};
    protocol::Origin origin{};
  };
  std::vector<Tail> tail{};  // the events whose keys are in no block, ascending
};
// `known`: the head as it was known before, if it was.
Result<LoadedConversation> load_conversation(Storage&, const std::string& partition, std::uint64_t now,
                                             std::optional<Seq> known = {});
// All members' rows, ascending by user; or those of some.
Result<std::vector<Participant>> read_members(Storage&, const std::string& partition);
// Who came or went after a seq, as their rows are now, ascending by user.
Result<std::vector<Participant>> members_moved(Storage&, const std::string& partition, Seq after, Seq head);
using MemberRows = std::vector<std::pair<UserId, std::optional<protocol::MemberRow>>>;
Result<MemberRows> read_members(Storage&, const std::string& partition, const std::vector<UserId>&);

// One event, whichever log it is in; empty: not there.
Result<std::optional<Bytes>> read_event(Storage&, const std::string& partition, Seq);

// Part of a log, whoever reads it.
struct PageRange {
  bool with_changes = false;  // messages and changes, forward only: a page of what happened; else of history
  Seq start{};
  Direction direction{};
  Seq head{};  // nothing above is shown: it may not be durable
  std::uint32_t limit = 50;
  std::uint32_t bytes = 128 << 10;  // of one answer: half a frame, so that what surrounds it fits
};
struct StoredPage {
  struct Item {
    Seq seq{};
    Bytes event{};    // encoded, without the key; of a change with the present state of its target
    Bytes blind{};    // of a change: without that, for whom who can't see the target
    Seq target{};     // of a change
    UserId sender{};  // only where there is a key
    IdempotencyKey key{};
  };
  std::vector<Item> items{};
  Seq covers_from{}, covers_to{}, oldest{}, head{};
  bool more = false;
  std::size_t bytes = 0;  // in memory, about
};
using StoredPagePtr = std::shared_ptr<const StoredPage>;
Result<StoredPagePtr> read_stored(Storage&, const std::string& partition, const PageRange&);

struct ReadPage {
  std::vector<std::pair<Seq, Bytes>>
      events{};  // encoded Events as they go on the wire; changes with their target's state
  Seq covers_from{}, covers_to{}, oldest{};
  bool more = false;
};
struct ReadRange {
  Seq start{};
  Direction direction{};
  Seq head{};  // nothing above is shown: it may not be durable
  std::uint32_t limit = 50;
  std::uint32_t bytes = 128 << 10;  // of one answer: half a frame, so that what surrounds it fits
  UserId reader{};                  // sees the keys of his own events
  Intervals intervals{};
};
inline std::uint32_t page_bytes(const Limits& limits) { return static_cast<std::uint32_t>(limits.frame_bytes / 2); }
// What one reader sees of a page.
ReadPage shown_to(const ReadRange&, const StoredPage&);
// Messages only: a page of history.
Result<ReadPage> read_messages(Storage&, const std::string& partition, const ReadRange&);

// Where a reader continues: after a seq he knows, or after a batch.
struct ReplayFrom {
  std::optional<Seq> after{};
  std::uint64_t batch = 0;
  std::uint32_t limit = 100;  // of events
  bool pulls = false;         // he asked for it: else he is only told where a conversation is set to notify only
};
// The largest known seq up to which everything lies in batches up to `batch`: 0 where there is none. Halves the log.
Result<Seq> covered_by(Storage&, const std::string& partition, std::uint64_t batch, Seq head);

}  // namespace core
}  // namespace v1
}  // namespace chatcore
