#include "core/store.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {

constexpr std::size_t commit_bytes = 4 << 20;  // of events in one commit
constexpr std::size_t commit_changes = 8192;

std::size_t size_of(const OwnedChange& change) {
  std::size_t size = 0;
  for (const auto& event : change.events) size += event.bytes.size();
  return size;
}

Change view_of(const OwnedChange& change, std::vector<StoredEvent>& events) {
  const std::size_t first = events.size();
  for (const OwnedEvent& event : change.events) events.push_back({event.log, event.seq, event.bytes});
  return Change{.partition = change.partition,
                .expected_head = change.expected_head,
                .new_head = change.new_head,
                .events = std::span<const StoredEvent>(events).subspan(first),
                .rows = change.rows};
}

}  // namespace

Store::Store(Core& core, std::shared_ptr<Storage> storage, unsigned threads)
    : core_(core), shared_(std::make_shared<Shared>()), gathered_(core.shards.size()), thread_count_(threads) {
  shared_->storage = std::move(storage);
  last_batch_ = last_conversation_batch_ = core.first_batch;
  for (unsigned i = 0; i < threads; ++i) {
    ++shared_->running;
    threads_.emplace_back([this, shared = shared_, i, alone = threads == 1] {
      // Only the committing thread touches the Store itself, and stop() never returns true before it has ended.
      if (i == 0) {
        commit_loop(shared, alone);
      } else {
        read_loop(shared);
      }
      std::lock_guard lock(shared->mutex);
      --shared->running;
      shared->ended.notify_all();
    });
  }
}

Store::~Store() {
  if (!threads_.empty()) stop(std::chrono::steady_clock::now());
}

void Store::on_wake(Function<void()> wake) { wake_ = std::move(wake); }

void Store::submit(Shard& from, std::shared_ptr<const OwnedChange> change, Outcome outcome) {
  gathered_[from.index()].push_back({std::move(change), &from, std::move(outcome)});
  from.submitted();
}

void Store::flush(Shard& from) {
  if (gathered_[from.index()].empty()) return;
  auto& gathered = gathered_[from.index()];
  std::vector<Waiting> dropped;  // nobody would commit them any more
  {
    std::lock_guard lock(shared_->mutex);
    if (shared_->stopping) {
      dropped.swap(gathered);
    } else {
      jobs_.fetch_add(gathered.size());
      std::move(gathered.begin(), gathered.end(), std::back_inserter(shared_->commits));
    }
  }
  gathered.clear();
  shared_->commits_changed.notify_one();
  if (thread_count_ == 0 && wake_) wake_();
}

void Store::enqueue(ReadPtr read) {
  {
    std::lock_guard lock(shared_->mutex);
    if (shared_->stopping) return;
    jobs_.fetch_add(1);
    shared_->reads.push_back(std::move(read));
  }
  (thread_count_ == 1 ? shared_->commits_changed : shared_->reads_changed).notify_one();
  if (thread_count_ == 0 && wake_) wake_();
}

bool Store::runnable() const { return thread_count_ == 0 && jobs_.load() != 0; }

bool Store::run_one() {
  if (thread_count_ != 0) return false;
  Shared& shared = *shared_;
  std::unique_lock lock(shared.mutex);
  if (shared.asked != shared.done || (shared.reads.empty() && shared.commits.empty())) return false;
  const std::size_t jobs = shared.is_read_due() ? 1 : shared.commits.size();
  if (!threads_.empty()) {
    ++shared.asked;
    shared.commits_changed.notify_one();
    if (!shared.ended.wait_until(lock, wait_until_, [&] { return shared.done == shared.asked; })) return false;
    jobs_.fetch_sub(jobs);
    return true;
  }
  ++shared.running;  // stop() may be called by another thread while the host's code hangs here
  run_job(shared, lock);
  jobs_.fetch_sub(jobs);
  --shared.running;
  shared.ended.notify_all();
  std::shared_ptr<Storage> left;  // closed here, as stop() could not
  if (shared.abandoned) left = std::move(shared.storage);
  lock.unlock();
  return true;
}

void Store::bound_waits(SteadyTime until) {
  wait_until_ = until;
  if (thread_count_ != 0 || !threads_.empty()) return;
  try {
    threads_.emplace_back([this, shared = shared_] { bounded_loop(shared); });
  } catch (const std::system_error&) {  // no thread to be had: jobs are done as before
    return;
  }
  std::lock_guard lock(shared_->mutex);
  ++shared_->running;
}

void Store::cancel() {
  guarded(core_, [&] { shared_->storage->cancel(); });
}

void Store::commit_loop(std::shared_ptr<Shared> shared, bool also_reads) {
  std::unique_lock lock(shared->mutex);
  while (!shared->abandoned) {
    shared->commits_changed.wait(
        lock, [&] { return shared->stopping || !shared->commits.empty() || (also_reads && !shared->reads.empty()); });
    const bool reads = also_reads && !shared->reads.empty();
    if (shared->stopping && shared->commits.empty() && !reads) return;
    if (reads) run_read(*shared, lock);
    if (!shared->abandoned && !shared->commits.empty()) commit(*shared, lock);
  }
}

void Store::read_loop(std::shared_ptr<Shared> shared) {
  std::unique_lock lock(shared->mutex);
  while (!shared->abandoned) {
    shared->reads_changed.wait(lock, [&] { return shared->stopping || !shared->reads.empty(); });
    if (shared->reads.empty()) return;
    run_read(*shared, lock);
  }
}

void Store::bounded_loop(std::shared_ptr<Shared> shared) {
  std::unique_lock lock(shared->mutex);
  while (!shared->abandoned) {
    shared->commits_changed.wait(lock, [&] { return shared->stopping || shared->asked != shared->done; });
    if (shared->asked == shared->done) break;
    run_job(*shared, lock);
    ++shared->done;
    shared->ended.notify_all();
  }
  --shared->running;
  shared->ended.notify_all();
}

void Store::run_job(Shared& shared, std::unique_lock<std::mutex>& lock) {
  shared.read_last = shared.is_read_due();
  shared.read_last ? run_read(shared, lock) : commit(shared, lock);
}

void Store::run_read(Shared& shared, std::unique_lock<std::mutex>& lock) {
  ReadPtr read = std::move(shared.reads.front());
  shared.reads.pop_front();
  shared.reading.push_back(read);
  lock.unlock();
  read->job(*shared.storage);
  lock.lock();
  std::erase(shared.reading, read);
  if (!shared.abandoned) read->from->post(std::move(read->then));
}

// Takes all that waits, and commits what fits at a time.
void Store::commit(Shared& shared, std::unique_lock<std::mutex>& lock) {
  shared.committing = std::exchange(shared.commits, {});
  for (std::size_t first = 0, count = shared.committing.size(); first < count && !shared.abandoned;) {
    std::size_t last = first, bytes = 0;
    while (last < count && last - first < commit_changes && (last == first || bytes < commit_bytes)) {
      bytes += size_of(*shared.committing[last++].change);
    }
    commit_some(shared, first, last, lock);
    first = last;
  }
  if (!shared.abandoned) shared.committing.clear();
}

// The outcomes go back together, each one item on its shard, and behind them, to every shard, that the batch is over.
void Store::commit_some(Shared& shared, std::size_t first, std::size_t last, std::unique_lock<std::mutex>& lock) {
  const std::span<Waiting> waiting = std::span(shared.committing).subspan(first, last - first);
  std::size_t event_count = 0;
  for (const Waiting& w : waiting) event_count += w.change->events.size();
  std::vector<StoredEvent> events;
  events.reserve(event_count);  // the views point into it
  std::vector<Change> changes;
  changes.reserve(waiting.size());
  for (const Waiting& w : waiting) changes.push_back(view_of(*w.change, events));
  std::vector<Status> outcomes(changes.size(), Status(ErrorCode::unknown_outcome, "the commit did not say"));
  CommitInfo info;
  lock.unlock();
  try {
    info = shared.storage->commit(changes, outcomes);
  } catch (...) {  // those still unset stay unknown
  }
  lock.lock();
  if (shared.abandoned) return;

  struct Told {
    Outcome outcome;
    Status status;
  };
  add(core_.counters.commits);
  const std::uint64_t before = last_batch_.load(std::memory_order_relaxed);
  if (info.batch != 0) last_batch_.store(info.batch, std::memory_order_relaxed);
  std::vector<std::vector<Told>> told(core_.shards.size());
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    Waiting& w = waiting[i];
    if (!outcomes[i]) {
      add(core_.counters.failed_changes);
      if (outcomes[i].error().code == ErrorCode::unknown_outcome) {
        sure_to_.store(std::min(sure_to(), before), std::memory_order_relaxed);
      }
    } else if (w.change->partition.starts_with("c:") && w.change->new_head > w.change->expected_head) {
      last_conversation_batch_.store(info.batch, std::memory_order_relaxed);
    }
    told[w.from->index()].push_back({std::move(w.outcome), std::move(outcomes[i])});
  }
  for (auto& shard : core_.shards) {
    shard->post([&shard = *shard, told = std::move(told[shard->index()]), batch = info.batch]() mutable {
      shard.step([&shard, told = std::move(told), batch, next = std::size_t{0}]() mutable {
        if (next < told.size()) {
          Told& t = told[next++];
          t.outcome(t.status, t.status ? batch : 0);
        }
        if (next < told.size()) return false;
        shard.finished(batch);
        return true;
      });
    });
  }
}

bool Store::stop(SteadyTime deadline) {
  std::vector<Task> dropped_reads;
  std::vector<Outcome> dropped_outcomes;
  std::unique_lock lock(shared_->mutex);
  shared_->stopping = true;
  shared_->commits_changed.notify_all();
  shared_->reads_changed.notify_all();
  const auto ended = [&] { return shared_->running == 0; };
  if (!shared_->ended.wait_until(lock, deadline, ended)) {
    lock.unlock();
    cancel();
    lock.lock();
    shared_->ended.wait_for(lock, std::chrono::milliseconds(100), ended);
  }
  const bool all_ended = ended();
  shared_->abandoned = true;
  for (ReadPtr& read : shared_->reading) dropped_reads.push_back(std::move(read->then));
  for (ReadPtr& read : shared_->reads) dropped_reads.push_back(std::move(read->then));
  for (auto* waiting : {&shared_->committing, &shared_->commits}) {
    for (Waiting& w : *waiting) dropped_outcomes.push_back(std::move(w.outcome));
  }
  shared_->reads.clear();
  shared_->commits.clear();
  lock.unlock();
  for (auto& thread : threads_) all_ended ? thread.join() : thread.detach();
  threads_.clear();
  if (all_ended) shared_->storage.reset();  // closed now, whoever still holds a session or a link
  return all_ended;
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
