#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <chatcore/engine.h>

#include "core/core.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// A page of what was committed after a batch, on its way: whole batches in order, until there are `limit` events or 1
// MiB. Plain data; blocks, on storage threads.
class FeedPageReader {
 public:
  // `newest`: a batch that is known to be there.
  FeedPageReader(std::uint64_t after, std::uint32_t limit, std::uint64_t newest)
      : newest_(newest), limit_(limit), page_{.next = after} {}

  // Some of the work. True: the page is whole, or there is nothing more. invalid, gone; corruption, naming conversation
  // and seq; and the storage's errors: never while there is a batch that can be given.
  Result<bool> step(Storage&);

  bool is_empty() const { return page_.events.empty(); }
  FeedEvents take() { return std::move(page_); }

 private:
  Status begin(Storage&);
  Status next_batch(Storage&);
  Status read_moved(Storage&, const std::string& partition, Seq head);
  void end_batch();
  Error damaged(const std::string& conversation, Seq, const Error&) const;

  const std::uint64_t newest_;
  const std::uint32_t limit_;
  bool has_begun_ = false;
  FeedEvents page_;  // of the batches that are read: up to page_.next
  std::size_t bytes_ = 0;
  std::map<std::string, Seq, std::less<>> heads_{};  // of partitions, behind page_.next, where they are known
  // The batch that is being read.
  struct Batch {
    std::uint64_t number{};
    bool more = false;                                // there are later ones
    std::deque<std::pair<std::string, Seq>> moved{};  // what is not yet read of it
    std::vector<EventPtr> events{};
    std::size_t bytes = 0;
  };
  std::optional<Batch> batch_{};
};

// Those who read the feed, on the first shard. Whoever finds nothing waits for the next commit.
class Feed {
 public:
  void read(Shard& first, std::uint64_t after, std::uint32_t limit, std::chrono::milliseconds wait, Reply<FeedEvents>);
  void moved(Shard& first);  // there may be another batch
  void give_up();            // the engine stops

 private:
  struct Reader {
    std::shared_ptr<FeedPageReader> page{};  // shared with the job that reads, which may outlive the engine
    SteadyTime until{};
    Reply<FeedEvents> reply{};
    std::uint64_t moves = 0;  // that had been told of when it last began to read
    bool is_last = false;     // its time is over: it looks once more
  };
  using ReaderPtr = std::shared_ptr<Reader>;

  void go_on(Shard& first, ReaderPtr);
  void has_read(Shard& first, ReaderPtr, Result<bool> whole);
  void end(Reader&, Result<FeedEvents>);
  void schedule(Shard& first);
  void look(Shard& first);

  unsigned readers_ = 0;
  std::uint64_t moves_ = 0;
  std::vector<ReaderPtr> waiting_{};
  std::optional<SteadyTime> timer_{};
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
