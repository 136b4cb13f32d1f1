#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <chatcore/export.h>
#include <chatcore/ids.h>

namespace chatcore {
inline namespace v1 {

// What an acknowledged write survives. Ordered: each survives what those before it do.
enum class Durability : std::uint8_t {
  memory = 1,   // nothing
  process = 2,  // a killed process
  disk = 3,     // a power cut
};

enum class Direction : std::uint8_t { backward = 1, forward = 2 };

// The tables of rows beside the logs. A feature adds one; Storage gets no new method. Frozen numbers.
enum class Table : std::uint8_t {
  members = 1,
  settings = 2,
  keys = 3,
  sources = 4,
  inbox = 5,
  inbox_order = 6,
  marks = 7,
  engine = 8,
  channels = 9,
  receipts = 10,
  profiles = 11,
  presence = 12,
};

struct Row {
  Table table{};
  std::string key{};                     // 1 to 256 bytes, any; rows sort by its unsigned bytes
  std::optional<Bytes> value{};          // empty: delete the row; deleting what is not there is no error
  TimePoint expires = TimePoint::max();  // a hint: from then on the storage may drop the row by itself
};

// The two logs of a partition. They share one seq: a seq stands in one of them.
enum class Log : std::uint8_t { messages = 1, changes = 2 };

struct StoredEvent {
  Log log{};
  Seq seq{};
  std::span<const std::byte> bytes{};
};

// A step of one partition: all of it or nothing. Everything it points to is valid until commit() returns.
struct Change {
  std::string_view partition{};           // "c:", "u:" or "e:" and up to 63 bytes of id
  Seq expected_head{};                    // refused with `conflict` if the partition's head is another
  Seq new_head{};                         // >= expected_head
  std::span<const StoredEvent> events{};  // above expected_head: new, ascending. Up to it: replaces that row,
                                          // which exists (or is trimmed: then it is left out silently)
  std::span<const Row> rows{};            // put and delete, in order
  Seq trim_to = 0;                        // events up to and including this seq are dropped; the head stays
};

struct CommitInfo {
  std::uint64_t batch{};  // 0 where nothing was done
};

// Answers stop at whichever comes first, but hold at least one item where there is one.
struct PageLimit {
  std::uint32_t rows = 50;
  std::uint32_t bytes = 256 << 10;
};

struct EventPage {
  std::vector<std::pair<Seq, Bytes>> events{};  // in the direction asked for
  Seq oldest{};                                 // the first seq not trimmed: 1 from the start, head + 1 when all are
  Seq head{};                                   // of the partition, over both logs; 0: no such partition
  bool more = false;                            // the limit ended the page: this log has more in that direction
};

struct RowPage {
  std::vector<Row> rows{};  // ascending by key
  std::string next{};       // give as `after` to go on; empty: this was the last page
};

struct FeedPage {
  std::vector<std::pair<std::string, Seq>> moved{};  // partition, its head after the batch; in batch order
  std::uint64_t oldest{};  // the first batch that the feed still holds; 0: none. One that was left out counts as held
  std::uint64_t next{};    // give as `after` to go on: the last batch in this page
  bool more = false;       // there are later batches
};

// `invalid`, naming the rule, where a change breaks one of those written at Change. For an implementation's commit();
// what can't be told without reading (whether the event that is replaced exists) is left to it.
CHATCORE_API Status check_change(const Change&);

// The limits of one answer, counted while an implementation fills it: an item fits if it is the first, or if both
// bounds allow it.
class PageRoom {
 public:
  explicit PageRoom(PageLimit limit) : limit_(limit) {}

  // Whether an item of so many bytes still goes in. One that does not is `more`.
  bool take(std::size_t bytes) {
    if (rows_ > 0 && (rows_ >= limit_.rows || bytes > limit_.bytes || bytes_ > limit_.bytes - bytes)) {
      full_ = true;
      return false;
    }
    ++rows_;
    bytes_ += bytes;
    return true;
  }
  bool full() const { return full_; }  // something was left out

 private:
  PageLimit limit_;
  std::size_t rows_ = 0;
  std::size_t bytes_ = 0;
  bool full_ = false;
};

// What a storage can do. Reported by open(), checked once by the engine.
struct StoreInfo {
  std::uint32_t format{};
  std::string epoch{};           // changes whenever an acknowledged suffix may be gone; at most 32 bytes
  Durability durability{};       // the strongest that commit() can give
  unsigned max_concurrency = 1;  // reads that may run at once, beside one commit
  std::uint64_t last_batch{};    // the newest batch, 0 in an empty store
};

// A set of partitions. A partition is a conversation ("c:" and its id), a user's own log ("u:"), or the engine's
// ("e:"). It has a head (the last seq given out), two logs that share one seq, and sorted rows in a few tables.
// It comes into being with its first change (expected_head 0).
//
// Threads: every method blocks and is called from storage threads only (with storage_threads = 0 from inside poll(),
// and from a thread of stop()'s own while that polls). One commit at a time; up to max_concurrency reads beside it.
// open() comes first, alone. Exceptions: what commit() throws counts as unknown_outcome for every change whose outcome
// is still unset; what a read throws counts as `storage_unavailable`. Ownership: the engine owns it and destroys it
// after stop(), unless a call hangs past the deadline of stop(): then the hanging thread keeps it alive and destroys it
// when the call returns. The conformance suite in testing.h checks what is said here, by name; what needs a power cut,
// a full disk or another process is the implementation's own to test.
class CHATCORE_API Storage {
 public:
  virtual ~Storage();

  // Opens or creates the store for the durability wanted. Errors: in_use (another process holds it), not_ours
  // (something else lives there), version_too_new, corruption, storage_unavailable, storage_full.
  virtual Result<StoreInfo> open(Durability wanted) = 0;

  // Applies changes in order. Each is atomic; all that are done are as durable as open() was asked for when this
  // returns, and readable then and not before. outcome[i] arrives as unknown_outcome and is set to
  //   ok: done. conflict: the head is another, nothing was done. storage_full, storage_unavailable: nothing was
  //   done. invalid: the change breaks the rules written at Change, nothing was done. unknown_outcome (or left as it
  //   came): it may yet appear, whole, or never.
  // A partition may occur more than once: the later change sees what the earlier did.
  // Returns the batch number: larger than all before it, over restarts too. Numbers become visible in order: once
  // batch n can be read in the feed, no smaller one appears.
  virtual CommitInfo commit(std::span<const Change>, std::span<Status> outcome) = 0;

  // The events of one log from `start` on (included), in a direction. Events that do not exist (in the other log,
  // trimmed, above the head) are skipped. An unknown partition gives an empty page with head 0 and oldest 1.
  // Errors: storage_unavailable, corruption.
  virtual Result<EventPage> events(std::string_view partition, Log, Seq start, Direction, PageLimit) = 0;

  // One row; empty where there is none.
  virtual Result<std::optional<Row>> row(std::string_view partition, Table, std::string_view key) = 0;

  // The rows of a table after a key (excluded; "" is from the first).
  virtual Result<RowPage> rows(std::string_view partition, Table, std::string_view after, PageLimit) = 0;

  // What the batches after `after` moved, whole batches in order: the partitions whose head moved and the head each
  // had after its batch. Batches that moved no head may be left out. It begins at `oldest`: what lies before was
  // dropped, and a reader who needs it must read the partitions instead.
  virtual Result<FeedPage> feed(std::uint64_t after, PageLimit) = 0;

  // Lets blocked calls return, with any error: called by stop() from another thread. Nothing may block after it.
  virtual void cancel() {}
};

// Everything in memory, gone with it. For tests, and for chats that need no past. Durability::memory only.
CHATCORE_API std::unique_ptr<Storage> make_memory_storage();

struct RocksdbOptions {
  std::string path{};                           // a directory of its own; created, with its parents
  std::uint64_t block_cache_bytes = 64 << 20;   // memory for blocks read
  std::uint64_t write_buffer_bytes = 64 << 20;  // memory for rows not yet in a table file
  std::uint64_t feed_batches = 1'000'000;       // how many batches the feed holds at least
  bool restored = false;                        // the directory was restored from a backup: begin a new epoch
};

// On RocksDB, in one directory, for one process at a time. Brings RocksDB's own background threads (two).
CHATCORE_API std::unique_ptr<Storage> make_rocksdb_storage(RocksdbOptions);

}  // namespace v1
}  // namespace chatcore
