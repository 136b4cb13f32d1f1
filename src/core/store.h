#pragma once

#include <condition_variable>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <chatcore/storage.h>

#include "core/core.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// A Change that owns what it points to, on its way to Storage::commit.
struct OwnedEvent {
  Log log{};
  Seq seq{};
  Bytes bytes{};
};
struct OwnedChange {
  std::string partition{};
  Seq expected_head{}, new_head{};
  std::vector<OwnedEvent> events{};
  std::vector<Row> rows{};
};

// The storage, and the threads that may block in it. One commits: while it is in a commit, what arrives gathers for
// the next, so that one sync serves many. The others read. With no thread of its own, run_one() does one job.
class Store {
 public:
  // What became of a change; on the shard that submitted it. `batch` is 0 unless it was done.
  using Outcome = Function<void(const Status&, std::uint64_t batch)>;

  Store(Core&, std::shared_ptr<Storage>, unsigned threads);
  ~Store();

  // From a shard's thread. A change is handed on by flush(), at the end of the shard's turn.
  void submit(Shard& from, std::shared_ptr<const OwnedChange>, Outcome);
  void flush(Shard& from);

  // Runs `job`, which gives a Result, where blocking is allowed; then `then` with it on `from`. What the storage throws
  // is storage_unavailable. The job must hold plain data only: where it hangs for ever, it outlives the engine.
  template <class Job, class Then>
  void read(Shard& from, Job job, Then then) {
    using Answer = std::invoke_result_t<Job&, Storage&>;
    auto answer = std::make_shared<Answer>(Error{ErrorCode::storage_unavailable, "the storage threw an exception"});
    enqueue(std::make_shared<Read>(
        &from,
        [answer, job = std::move(job)](Storage& storage) mutable {
          try {
            *answer = job(storage);
          } catch (...) {  // the answer says so already
          }
        },
        [answer, then = std::move(then)]() mutable { then(std::move(*answer)); }));
  }

  // With no thread of its own.
  bool run_one();
  bool runnable() const;
  void on_wake(Function<void()>);  // before threads run
  // With no thread of its own: from now on run_one() has its job done by one, and waits for it until then. A job that
  // takes longer leaves run_one() with nothing to do until it has ended.
  void bound_waits(SteadyTime until);

  std::uint64_t last_batch() const { return last_batch_.load(std::memory_order_relaxed); }
  // The newest batch that moved a conversation's head.
  std::uint64_t last_conversation_batch() const { return last_conversation_batch_.load(std::memory_order_relaxed); }
  // The batch before the first one of unknown outcome: what lies behind it may have moved a head that nobody was told.
  std::uint64_t sure_to() const { return sure_to_.load(std::memory_order_relaxed); }

  // Asks the storage to let go of its calls. Any thread.
  void cancel();
  // No more jobs; waits for those under way. False: one had not returned by then, its thread is left alone with what
  // it needs, and nothing it does reaches a shard any more.
  bool stop(SteadyTime deadline);

 private:
  struct Waiting {
    std::shared_ptr<const OwnedChange> change{};
    Shard* from = nullptr;
    Outcome outcome{};
  };
  struct Read {
    Read(Shard* f, Function<void(Storage&)> j, Task t) : from(f), job(std::move(j)), then(std::move(t)) {}
    Shard* from = nullptr;
    Function<void(Storage&)> job{};
    Task then{};
  };
  using ReadPtr = std::shared_ptr<Read>;
  // Outlives the Store where a thread hangs in the host's code.
  struct Shared {
    std::shared_ptr<Storage> storage;
    std::mutex mutex;
    std::condition_variable commits_changed, reads_changed, ended;
    std::vector<Waiting> commits, committing;  // the latter are read without the lock, but for their outcomes
    std::deque<ReadPtr> reads;
    std::vector<ReadPtr> reading;
    bool stopping = false, abandoned = false;
    bool read_last = false;  // by run_job
    unsigned running = 0;
    std::uint64_t asked = 0, done = 0;  // jobs that run_one() leaves to a thread

    // In turn: neither of the two waits until there is nothing more of the other.
    bool is_read_due() const { return commits.empty() || (!reads.empty() && !read_last); }
  };

  void commit_loop(std::shared_ptr<Shared>, bool also_reads);
  static void read_loop(std::shared_ptr<Shared>);
  void bounded_loop(std::shared_ptr<Shared>);
  void enqueue(ReadPtr);
  void commit(Shared&, std::unique_lock<std::mutex>&);
  void commit_some(Shared&, std::size_t first, std::size_t last, std::unique_lock<std::mutex>&);
  static void run_read(Shared&, std::unique_lock<std::mutex>&);
  void run_job(Shared&, std::unique_lock<std::mutex>&);  // there is one

  Core& core_;
  std::shared_ptr<Shared> shared_;
  std::vector<std::vector<Waiting>> gathered_;  // by shard, each touched by its thread only
  std::vector<std::thread> threads_;
  const unsigned thread_count_;
  SteadyTime wait_until_{};  // of run_one(), where a thread does its job
  Function<void()> wake_;
  std::atomic<std::size_t> jobs_{0};
  std::atomic<std::uint64_t> last_batch_{0}, last_conversation_batch_{0};
  std::atomic<std::uint64_t> sure_to_{std::numeric_limits<std::uint64_t>::max()};
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
