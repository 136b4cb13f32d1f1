#include <algorithm>
#include <utility>

#include "core/hub.h"
#include "core/inbox.h"
#include "core/shard.h"
#include "core/store.h"
#include "engine/engine_core.h"

namespace chatcore {
inline namespace v1 {
namespace detail {

bool EngineCore::on_engine_thread() const {
  for (const std::thread& thread : threads_) {
    if (thread.get_id() == std::this_thread::get_id()) return true;
  }
  return false;
}

// Deadlines are real time, whatever clock the engine was given: the host waits.
bool EngineCore::wait_until(SteadyTime deadline, Function<bool()> over) {
  while (!over()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    bool did = false;
    if (thread_count_ == 0) {
      did = loops_.front()->poll(std::chrono::milliseconds(1)).handled > 0;
    }
    if (!did) {
      std::unique_lock lock(mutex_);
      ended_.wait_for(lock, std::chrono::milliseconds(1));
    }
  }
  return true;
}

Status EngineCore::stop(std::chrono::milliseconds time) {
  core_->stopping = true;
  if (poller_ == std::this_thread::get_id()) {  // in a callback: ends run(); who ran it stops the engine
    loops_.front()->stop();
    return {};
  }
  {
    std::unique_lock lock(mutex_);
    if (std::exchange(stop_began_, true)) {
      ended_.wait_for(lock, time, [&] { return stopped_.load(); });
      return stop_status_;
    }
    ended_.notify_all();
  }
  const SteadyTime deadline = std::chrono::steady_clock::now() + time;
  const auto farewell = std::min(deadline, std::chrono::steady_clock::now() + time / 2);
  if (thread_count_ == 0) loops_.front()->stop();  // ends run()
  std::unique_lock polling(polling_, std::defer_lock);
  if (thread_count_ == 0) {
    polling.lock();
    poller_ = std::this_thread::get_id();
  }

  const auto all_answered = [this] { return core_->under_way.load() <= 0; };
  if (!wait_until(farewell, all_answered)) {
    core_->decides_no_more = true;
    for (auto& shard : core_->shards) {
      shard->post([&conversations = shard->conversations()] { conversations.give_up_undecided(); });
    }
    wait_until(std::min(deadline, std::chrono::steady_clock::now() + std::chrono::milliseconds(100)), all_answered);
  }
  flush_inboxes(farewell);
  for (auto& shard : core_->shards) {
    shard->post([&hub = shard->hub()] {
      hub.close_all({ErrorCode::stopped, "the server is stopping: come back and resume", std::chrono::seconds(1)});
    });
  }
  wait_until(deadline,
             [this] { return core_->counters.connections.load() == 0 && core_->counters.sessions.load() == 0; });
  std::vector<std::shared_ptr<Transport>> transports;
  {
    std::lock_guard lock(mutex_);
    transports = transports_;
  }
  const bool threads_ended = end_threads(deadline);
  for (auto& transport : transports) core::guarded(*core_, [&] { transport->stop(); });
  const bool storage_ended = core_->store->stop(deadline);
  // Where a thread of ours still runs (it hangs in the host's code, or is the one that stops us in a callback), it may
  // touch its shard when it returns: the last one drops what waits.
  bool drop_now = false;
  {
    std::lock_guard lock(mutex_);
    drop_now = running_ == 0;
    drop_when_ended_ = !drop_now;
  }
  if (drop_now) drop_all();
  if (thread_count_ == 0) poller_ = std::thread::id();
  std::lock_guard lock(mutex_);
  if (!threads_ended) {
    stop_status_ = Error{ErrorCode::timeout, "a callback of the host had not returned by the deadline", {}};
  } else if (!storage_ended) {
    stop_status_ = Error{ErrorCode::timeout, "a call of the storage had not returned by the deadline", {}};
  }
  stopped_ = true;
  ended_.notify_all();
  return stop_status_;
}

void EngineCore::drop_all() {
  for (auto& shard : core_->shards) shard->drop_all();
}

// So that the next open finds nothing to recover.
void EngineCore::flush_inboxes(SteadyTime deadline) {
  auto left = std::make_shared<std::atomic<std::size_t>>(core_->shards.size());
  for (auto& shard : core_->shards) {
    shard->post([&shard = *shard, left] { shard.inbox().flush_then([left](Status) { left->fetch_sub(1); }); });
  }
  wait_until(deadline, [left] { return left->load() == 0; });
}

bool EngineCore::end_threads(SteadyTime deadline) {
  for (auto& loop : loops_) loop->stop();
  const bool inside = on_engine_thread();  // stop() in a callback: that thread ends when it returns
  bool ended = true;
  {
    std::unique_lock lock(mutex_);
    ended = ended_.wait_until(lock, deadline + std::chrono::milliseconds(100),
                              [&] { return running_ <= (inside ? 1u : 0u); });
  }
  for (std::thread& thread : threads_) {
    if (!thread.joinable()) continue;
    ended&& thread.get_id() != std::this_thread::get_id() ? thread.join() : thread.detach();
  }
  threads_.clear();
  return ended;
}

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
