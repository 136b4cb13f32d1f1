#pragma once

#include <cstdint>
#include <vector>

#include <chatcore/event.h>
#include <chatcore/storage.h>

#include "protocol/codec.h"

// The rows beside the logs, as they are stored: the low 32 bits of XXH3_64 of what follows, little-endian, then a
// Protobuf message (docs/storage.md names the fields). Frozen as the records are.

namespace chatcore {
inline namespace v1 {
namespace protocol {

// What one member may see: seqs from one to the other, both included. `to` 0: still open.
struct Interval {
  Seq from{};
  Seq to{};
};

// Table::members, key: the user. Former members stay.
struct MemberRow {
  Role role = Role::member;
  bool former = false;
  std::vector<Interval> intervals{};  // ascending
  Seq since{};                        // the seq at which he joined, the last time
};

// Table::settings, key "conversation".
struct ConversationRow {
  ConversationKind kind = ConversationKind::group;
  ConversationSettings settings{};
  bool on_read = false;                   // fanned out on read; then, and only then, the two counts are kept
  std::uint64_t members = 0, owners = 0;  // without former ones
  Seq crossed = 0;                        // where on_read became what it is; 0: it never changed
};

// Table::keys, key: the first seq, big-endian. Keys that have left the writer's memory and are not yet 24 h old.
struct KeyMark {
  std::uint64_t hash{};  // of sender and key
  Seq seq{};
};
struct KeyBlockRow {
  std::vector<KeyMark> marks{};
  std::uint64_t newest_age{};  // engine time of the last of them
};

// Table::sources, key: hash of sender and source. No number up to this one is new.
struct SourceRow {
  std::uint64_t number{};
};

// Table::inbox of a user, key: the conversation.
struct InboxRow {
  Seq head{};             // of what is visible to the user
  std::uint64_t batch{};  // in which the head came, or a later one
  std::uint64_t age{};    // engine time of it; its order among the user's conversations
};

// Table::marks of a user's own log, key: the conversation: Marks, without its id. Table::profiles of a user, key
// "profile": Profile, without the user.

// Table::settings of a user's own log, key "own".
struct OwnSettingsRow {
  bool hides_receipts = false;
};

// Table::receipts, key: the user.
struct ReceiptRow {
  Seq delivered{}, read{};
};

// Table::channels of a user, key: a conversation that is fanned out on read; the seq at which that began for him.
// Table::presence of a user, key "seen": when he was last here, in milliseconds since 1970. Table::engine: a number by
// its name.
struct NumberRow {
  std::uint64_t number{};
};

// Of each of the types above.
template <class T>
Bytes encode_row(const T&);
template <class T>
Result<T> decode_row(View stored);  // corruption

}  // namespace protocol
}  // namespace v1
}  // namespace chatcore
