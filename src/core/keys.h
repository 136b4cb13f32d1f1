#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include <chatcore/ids.h>
#include <chatcore/storage.h>

#include "protocol/record.h"
#include "protocol/rows.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// 128 bits of sender and key. Who finds two requests of his own with one hash deceives himself only.
struct KeyHash {
  std::uint64_t low{}, high{};
  bool operator==(const KeyHash&) const = default;
};
struct KeyHasher {
  std::size_t operator()(const KeyHash& hash) const noexcept { return static_cast<std::size_t>(hash.low); }
};
KeyHash hash_key(const UserId& sender, const IdempotencyKey&);
KeyHash hash_source(const UserId& sender, const std::string& source);
std::string source_row_key(KeyHash source);

// Which keys of one conversation have been used. The log is the record; this is its index: the keys of the last events
// in full, older ones of the last 24 h as hash and seq, in blocks of 128 events that are written in the same change as
// a new event and read back when the conversation is loaded.
class Keys {
 public:
  static constexpr std::uint64_t memory_ms = 24 * 3'600'000;

  struct Used {
    Seq seq{};
    TimePoint time{};
    protocol::Digest digest{};
    std::uint64_t age{};
  };
  struct Look {
    enum class What {
      unused,
      used,        // `recent` says by what
      in_log,      // by the event at `seq`, if its row says so
      ask_source,  // unused as far as memory goes; the source's row has to be read first
      expired,
      earlier_failed,  // a smaller number of the source failed and has not come again
    } what{};
    const Used* recent = nullptr;
    Seq seq{};
  };
  Look look(const UserId& sender, const IdempotencyKey&, std::uint64_t now) const;

  void use(const UserId& sender, const IdempotencyKey&, const Used&);  // of each event, in order; the key may be empty
  void source_read(const UserId& sender, const std::string& source, std::uint64_t number);  // 0: it has no row
  void failed(const UserId& sender, const IdempotencyKey&);                                 // retryably
  void abandon(const UserId& sender, const IdempotencyKey&);  // or answered for good: nothing waits for it any more
  bool any_failed() const;
  // Moves the oldest keys, of events up to `durable`, out of memory where there are too many; adds the rows that keep
  // them, and deletes the rows that are too old.
  void spill(Seq durable, std::uint64_t now, std::vector<Row>& rows);

  // When the conversation is loaded. What failed is kept.
  void clear();
  void load_block(const protocol::KeyBlockRow&);
  void has_sources(bool any) { sources_in_store_ = any; }
  std::size_t bytes() const;  // in memory, about
  Seq loaded_to() const;      // the last seq in a block

 private:
  struct Block {
    std::vector<protocol::KeyMark> marks;  // ascending by hash, the newest of equal ones first
    Seq first{}, last{};
    std::uint64_t newest_age{};
  };
  struct Source {
    std::uint64_t used = 0;            // the largest number that was used
    std::set<std::uint64_t> failed{};  // and have to come again
    bool asked = false;                // its row was read, or is known not to exist
  };
  struct Recent {
    Used used{};
    KeyHash hash{}, source{};
    std::uint64_t number{};
    bool has_key = false;
  };
  static Block block_of(const protocol::KeyBlockRow&);

  const Recent* find_recent(KeyHash, bool numbered) const;

  std::deque<Recent> recent_;  // the last events, by seq; numbers are searched here, which only a repeat asks for
  std::unordered_map<KeyHash, Seq, KeyHasher> free_strings_;  // of the above, each where it was used last
  std::deque<Block> blocks_;                                  // ascending by seq
  std::unordered_map<KeyHash, Source, KeyHasher> sources_;
  bool sources_in_store_ = false;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
