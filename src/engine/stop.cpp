#include <algorithm>
#include <utility>

#include "core/feed.h"
#include "core/hints.h"
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
      core_->store->bound_waits(deadline);  // a storage that hangs in this poll must not hold us
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
      if (ended_.wait_for(lock, time, [&] { return stopped_.load(); })) return stop_status_;
      return Error{ErrorCode::timeout, "the engine is still being stopped", {}};
    }
    ended_.notify_all();
  }
  const SteadyTime start = std::chrono::steady_clock::now(), deadline = start + time, farewell = start + time / 2;
  if (thread_count_ == 0) loops_.front()->stop();  // ends run()
  const bool polls = thread_count_ == 0 && take_over_polling(farewell, deadline);
  const bool left = thread_count_ == 0 && !polls;  // the thread that polls does not come back
  if (!left) say_goodbye(farewell, deadline);
  const bool threads_ended = end_threads(deadline) && !left;
  stop_transports(threads_ended);
  if (left) loops_.front()->abandon();
  const bool storage_ended = core_->store->stop(deadline);
  // Where a thread still runs something of ours (it hangs in the host's code, or is the one that stops us in a
  // callback), it may touch its shard when it returns: the last one drops what waits. One that polls, and hangs in the
  // storage, does not.
  bool finish_now = false;
  {
    std::lock_guard lock(mutex_);
    finish_now = running_ == 0 && (!left || !storage_ended);
    finish_when_ended_ = running_ != 0;
  }
  if (finish_now) finish();
  {
    std::lock_guard lock(mutex_);
    if (!storage_ended) {
      stop_status_ = Error{ErrorCode::timeout, "a call of the storage had not returned by the deadline", {}};
    } else if (!threads_ended) {
      stop_status_ = Error{ErrorCode::timeout, "a callback of the host had not returned by the deadline", {}};
    }
    stopped_ = true;
    ended_.notify_all();
  }
  if (polls) {  // not before: whoever polls next must see that there is nothing left
    poller_ = std::thread::id();
    polling_.unlock();
  }
  if (left && !finish_now) {
    left_polling_ = true;
    finish_if_left();  // it may have returned just now
  }
  return stop_status_;
}

bool EngineCore::take_over_polling(SteadyTime farewell, SteadyTime deadline) {
  const auto lock_until = [this](SteadyTime end) {
    while (!polling_.try_lock()) {
      if (std::chrono::steady_clock::now() >= end) return false;
      std::unique_lock lock(mutex_);
      ended_.wait_for(lock, std::chrono::milliseconds(1));
    }
    return true;
  };
  if (!lock_until(farewell)) {
    core_->store->cancel();  // it may be the storage in which it hangs
    if (!lock_until(deadline)) return false;
  }
  poller_ = std::this_thread::get_id();
  return true;
}

// What is under way is finished, and everyone is told.
void EngineCore::say_goodbye(SteadyTime farewell, SteadyTime deadline) {
  core_->shards.front()->post([&first = *core_->shards.front()] { first.state<core::Feed>().give_up(); });
  const auto all_answered = [this] { return core_->under_way.load() <= 0; };
  if (!wait_until(farewell, all_answered)) {
    core_->decides_no_more = true;
    for (auto& shard : core_->shards) {
      shard->post([&conversations = shard->conversations()] { conversations.give_up_undecided(); });
    }
    wait_until(std::min(deadline, std::chrono::steady_clock::now() + std::chrono::milliseconds(100)), all_answered);
  }
  write_what_waits(farewell);
  if (core_->hints) core_->hints->stop();
  for (auto& shard : core_->shards) {
    shard->post([&hub = shard->hub()] {
      hub.close_all({ErrorCode::stopped, "the server is stopping: come back and resume", std::chrono::seconds(1)});
    });
  }
  wait_until(deadline,
             [this] { return core_->counters.connections.load() == 0 && core_->counters.sessions.load() == 0; });
}

// But for one in whose poll() a thread hangs: that thread stops it when it returns.
void EngineCore::stop_transports(bool threads_ended) {
  std::vector<std::shared_ptr<Transport>> transports;
  {
    std::lock_guard lock(mutex_);
    transports = transports_;
  }
  for (std::size_t i = 0; i < transports.size(); ++i) {
    if (!threads_ended && loops_[i % loops_.size()]->is_inside(*transports[i])) {
      std::lock_guard lock(mutex_);
      late_transports_.push_back(std::move(transports[i]));
    } else {
      core::guarded(*core_, [&] { transports[i]->stop(); });
    }
  }
}

void EngineCore::finish() {
  std::vector<std::shared_ptr<Transport>> late;
  {
    std::lock_guard lock(mutex_);
    late.swap(late_transports_);
  }
  for (auto& transport : late) core::guarded(*core_, [&] { transport->stop(); });
  for (auto& shard : core_->shards) shard->drop_all();
}

// By the thread that polled while the engine was stopped without it.
void EngineCore::finish_if_left() {
  if (!left_polling_) return;
  std::unique_lock lock(polling_, std::try_to_lock);
  if (lock) finish();
}

// What was to be written a little later; so the next open finds nothing to recover.
void EngineCore::write_what_waits(SteadyTime deadline) {
  const auto on_all = [&](auto work) {
    auto left = std::make_shared<std::atomic<std::size_t>>(core_->shards.size());
    for (auto& shard : core_->shards) {
      shard->post([&shard = *shard, work, left] { work(shard, [left] { left->fetch_sub(1); }); });
    }
    wait_until(deadline, [left] { return left->load() == 0; });
  };
  // What one feature writes may give another one something to write, which reaches its shard by the end of the second
  // time.
  for (int i = 0; i < 3; ++i) {
    on_all([](core::Shard& shard, auto done) { shard.say_goodbye(std::move(done)); });
  }
  on_all([](core::Shard& shard, auto done) { shard.inbox().flush_then([done = std::move(done)](Status) { done(); }); });
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
