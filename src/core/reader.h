#pragma once

#include <cstdint>
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
  std::vector<Membership> members{};
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
Result<LoadedConversation> load_conversation(Storage&, const std::string& partition, std::uint64_t now);

// One event, whichever log it is in; empty: not there.
Result<std::optional<Bytes>> read_event(Storage&, const std::string& partition, Seq);

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
  std::vector<protocol::Interval> intervals{};
};
inline std::uint32_t page_bytes(const Limits& limits) { return static_cast<std::uint32_t>(limits.frame_bytes / 2); }
// Messages only: a page of history.
Result<ReadPage> read_messages(Storage&, const std::string& partition, const ReadRange&);
// Messages and changes, forward: a page of what happened.
Result<ReadPage> read_all(Storage&, const std::string& partition, const ReadRange&);

// Where a reader continues: after a seq he knows, or after a batch.
struct ReplayFrom {
  std::optional<Seq> after{};
  std::uint64_t batch = 0;
  std::uint32_t limit = 100;  // of events
};
// The largest known seq up to which everything lies in batches up to `batch`: 0 where there is none. Halves the log.
Result<Seq> covered_by(Storage&, const std::string& partition, std::uint64_t batch, Seq head);

}  // namespace core
}  // namespace v1
}  // namespace chatcore
