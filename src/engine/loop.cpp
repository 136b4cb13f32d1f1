#include "engine/loop.h"

#include <algorithm>
#include <utility>

#include "core/shard.h"
#include "core/store.h"

namespace chatcore {
inline namespace v1 {
namespace detail {
namespace {
constexpr unsigned most_in_a_row = 64;
constexpr unsigned most_before_store = 2048;
constexpr std::chrono::milliseconds longest_sleep{1000};
}  // namespace

Loop::Loop(core::Core& core, bool with_store) : core_(core), with_store_(with_store) {}

void Loop::add(core::Shard& shard) { shards_.push_back(&shard); }

void Loop::add(std::shared_ptr<Transport> transport) {
  {
    std::lock_guard lock(mutex_);
    arriving_.push_back(std::move(transport));
    has_arriving_ = true;
  }
  wake();
}

void Loop::take_transports() {
  if (!has_arriving_.load(std::memory_order_acquire)) return;
  std::lock_guard lock(mutex_);
  for (auto& transport : arriving_) transports_.push_back(std::move(transport));
  arriving_.clear();
  has_arriving_ = false;
}

// The storage last: what one sync costs is shared by all that has come by then.
bool Loop::run_one(SteadyTime now) {
  take_transports();
  if (!with_store_) return run_shard_or_transport(now);
  if (before_store_ < most_before_store && run_shard_or_transport(now)) {
    ++before_store_;
    return true;
  }
  before_store_ = 0;
  return core_.store->run_one() || run_shard_or_transport(now);
}

// The sources in turn, each for a while.
bool Loop::run_shard_or_transport(SteadyTime now) {
  const std::size_t transports_at = shards_.size(), count = transports_at + transports_.size();
  for (std::size_t tried = 0; tried < count;) {
    bool did = false;
    if (in_a_row_ < most_in_a_row) {
      if (at_ < transports_at) {
        did = shards_[at_]->run_one(now);
      } else if (at_ < count) {
        did = poll_transport(*transports_[at_ - transports_at], std::chrono::microseconds(0));
      }
    }
    if (did) {
      ++in_a_row_;
      return true;
    }
    tried = in_a_row_ >= most_in_a_row ? 0 : tried + 1;  // there may be more of it: not an idle round
    in_a_row_ = 0;
    at_ = at_ + 1 >= count ? 0 : at_ + 1;
  }
  return false;
}

bool Loop::poll_transport(Transport& transport, std::chrono::microseconds wait) {
  bool did = false;
  inside_.store(&transport, std::memory_order_relaxed);
  core::guarded(core_, [&] { did = transport.poll(wait); });
  inside_.store(nullptr, std::memory_order_release);
  return did;
}

bool Loop::runnable() const {
  if (with_store_ && core_.store->runnable()) return true;
  return std::any_of(shards_.begin(), shards_.end(), [](const core::Shard* s) { return s->runnable(); });
}

std::chrono::milliseconds Loop::until_timer(SteadyTime now) const {
  SteadyTime next = now + longest_sleep;
  for (const core::Shard* shard : shards_) next = std::min(next, shard->next_timer());
  return std::max(std::chrono::milliseconds(0), std::chrono::ceil<std::chrono::milliseconds>(next - now));
}

PollResult Loop::poll(std::chrono::microseconds budget) {
  PollResult result;
  const SteadyTime start = core_.clock->steady();
  SteadyTime now = start;
  bool idle = false;
  do {
    if (!run_one(now)) {
      idle = true;
      break;
    }
    ++result.handled;
    if (abandoned_.load(std::memory_order_relaxed)) return result;
    now = core_.clock->steady();
  } while (now - start < budget);
  result.next = until_timer(now);
  result.more = runnable() || (!idle && result.handled > 0) || result.next.count() == 0;
  return result;
}

void Loop::run() {
  while (!stopping_.load(std::memory_order_relaxed)) {
    const SteadyTime now = core_.clock->steady();
    unsigned did = 0;
    while (did < most_in_a_row && !stopping_.load(std::memory_order_relaxed) && run_one(now)) {
      ++did;
      if (abandoned_.load(std::memory_order_relaxed)) return;
    }
    if (did == 0) sleep();
  }
}

// Asleep is said before the last look, and asked after something was added: one of the two sees the other.
void Loop::sleep() {
  std::chrono::milliseconds most = until_timer(core_.clock->steady());
  if (most.count() == 0) return;
  asleep_.store(true, std::memory_order_seq_cst);
  if (runnable() || stopping_ || has_arriving_) {
    asleep_ = false;
    return;
  }
  if (transports_.empty()) {
    std::unique_lock lock(mutex_);
    woken_.wait_for(lock, most, [&] { return std::exchange(wake_pending_, false); });
  } else {
    // With more than one, none is waited for long.
    if (transports_.size() > 1) most = std::min(most, std::chrono::milliseconds(2));
    sleeper_ = (sleeper_ + 1) % transports_.size();
    Transport& transport = *transports_[sleeper_];
    {
      std::lock_guard lock(mutex_);
      waiting_in_ = &transport;
      if (std::exchange(wake_pending_, false)) most = std::chrono::milliseconds(0);
    }
    (void)poll_transport(transport, most);
    std::lock_guard lock(mutex_);
    waiting_in_ = nullptr;
  }
  asleep_ = false;
}

void Loop::wake() {
  if (Function<void()>* host = host_wake_) {
    if (*host) core::guarded(core_, [&] { (*host)(); });
    return;
  }
  if (!asleep_.exchange(false, std::memory_order_seq_cst)) return;
  std::lock_guard lock(mutex_);
  if (waiting_in_) {
    core::guarded(core_, [&] { waiting_in_->wake(); });
  } else {
    wake_pending_ = true;
    woken_.notify_one();
  }
}

void Loop::stop() {
  stopping_ = true;
  wake();
}

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
