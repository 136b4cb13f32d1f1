#include "core/shard.h"

#include <algorithm>
#include <utility>

#include "core/conversation.h"
#include "core/feed.h"
#include "core/hub.h"
#include "core/inbox.h"
#include "core/pages.h"
#include "core/session.h"
#include "core/store.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {

constexpr unsigned tasks_per_turn = 64;

// The shard that this thread is running an item of, so that what it tells others goes in one vector a turn.
thread_local Shard* running = nullptr;

class Running {
 public:
  explicit Running(Shard* shard) : before_(std::exchange(running, shard)) {}
  ~Running() { running = before_; }

 private:
  Shard* before_;
};

}  // namespace

Shard::Shard(Core& core, unsigned index)
    : core_(core),
      index_(index),
      conversations_(std::make_unique<Conversations>(*this)),
      inbox_(std::make_unique<Inbox>(*this)),
      pages_(std::make_unique<Pages>(*this)),
      hub_(std::make_unique<Hub>(*this)) {}

Shard::~Shard() = default;

void Shard::on_wake(Function<void()> wake) { wake_ = std::move(wake); }

bool Shard::is_running_here() const { return running == this; }

void Shard::post(Task task) {
  if (running && &running->core_ == &core_) return running->tell(*this, std::move(task));
  post_at_once(std::move(task));
}

void Shard::post_at_once(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (dropped_) return;
    arrived_.push_back(std::move(task));
    has_arrived_.store(true, std::memory_order_seq_cst);
  }
  if (wake_) wake_();
}

void Shard::arrive(std::vector<Task>&& tasks) {
  {
    std::lock_guard lock(mutex_);
    if (dropped_) return tasks.clear();
    if (arrived_.empty()) {
      arrived_.swap(tasks);
    } else {
      std::move(tasks.begin(), tasks.end(), std::back_inserter(arrived_));
    }
    has_arrived_.store(true, std::memory_order_seq_cst);
  }
  tasks.clear();
  if (wake_) wake_();
}

bool Shard::runnable() const {
  return has_arrived_.load(std::memory_order_seq_cst) || local_.load(std::memory_order_relaxed) != 0;
}

void Shard::tell(Shard& to, Task task) {
  if (&to == this) {
    tasks_.push_back(std::move(task));
    local_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  if (outgoing_.empty()) outgoing_.resize(core_.shards.size());
  outgoing_[to.index()].push_back(std::move(task));
  local_.fetch_add(1, std::memory_order_relaxed);
}

void Shard::after(std::chrono::milliseconds delay, Task task) {
  timers_.emplace(core_.clock->steady() + delay, std::move(task));
}

void Shard::step(Function<bool()> work) {
  steps_.push_back(std::move(work));
  local_.fetch_add(1, std::memory_order_relaxed);
}

void Shard::changed(std::shared_ptr<Conversation> conversation) {
  changed_.push_back(std::move(conversation));
  local_.fetch_add(1, std::memory_order_relaxed);
}

void Shard::submitted() {
  if (!std::exchange(submitted_, true)) local_.fetch_add(1, std::memory_order_relaxed);
}

void Shard::ready(std::shared_ptr<Session> session) {
  ready_.push_back(std::move(session));
  local_.fetch_add(1, std::memory_order_relaxed);
}

void Shard::finished(std::uint64_t batch) {
  finished_ = std::max(finished_, batch);
  if (index_ == 0) state<Feed>().moved(*this);
}

bool Shard::run_timer(SteadyTime now) {
  if (timers_.empty() || timers_.begin()->first > now) return false;
  auto timer = timers_.extract(timers_.begin());
  timer.mapped()();
  return true;
}

SteadyTime Shard::next_timer() const { return timers_.empty() ? SteadyTime::max() : timers_.begin()->first; }

bool Shard::next_task(Task& task) {
  if (tasks_.empty() && has_arrived_.load(std::memory_order_relaxed)) {
    std::vector<Task> arrived;
    {
      std::lock_guard lock(mutex_);
      arrived.swap(arrived_);
      has_arrived_.store(false, std::memory_order_relaxed);
    }
    for (Task& t : arrived) tasks_.push_back(std::move(t));
    local_.fetch_add(arrived.size(), std::memory_order_relaxed);
  }
  if (tasks_.empty()) return false;
  task = std::move(tasks_.front());
  tasks_.pop_front();
  local_.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

// The work stays in place while it runs: what it adds comes behind it.
void Shard::run_step() {
  bool over = true;  // also where it throws
  struct Pop {
    Shard& shard;
    bool& over;
    ~Pop() {
      if (!over) return;
      shard.steps_.pop_front();
      shard.local_.fetch_sub(1, std::memory_order_relaxed);
    }
  } pop{*this, over};
  over = steps_.front()();
}

// Everything that runs here is the engine's own and throws only bad_alloc; what belongs to the host is run by
// guarded() where it is called. The last catch keeps a host alive even so.
bool Shard::run_one(SteadyTime now) {
  Running here(this);
  try {
    return run_an_item(now);
  } catch (...) {
    add(core_.counters.callback_exceptions);
    core_.log(LogLevel::error, "an item of a shard was given up: out of memory");
    return true;
  }
}

bool Shard::run_an_item(SteadyTime now) {
  if (phase_ == Phase::tasks && run_timer(now)) return true;
  for (bool idle = false;;) {
    switch (phase_) {
      case Phase::tasks: {
        Task task;
        if (turn_left_ > 0 && next_task(task)) {
          --turn_left_;
          task();
          return true;
        }
        if (local_.load(std::memory_order_relaxed) == 0 && finished_ == told_finished_) {
          turn_left_ = tasks_per_turn;
          if (idle || !has_arrived_.load(std::memory_order_relaxed)) return false;
          idle = true;
          continue;
        }
        phase_ = Phase::steps;
        [[fallthrough]];
      }
      case Phase::steps:
        if (!steps_.empty()) {
          run_step();
          return true;
        }
        phase_ = Phase::changes;
        [[fallthrough]];
      case Phase::changes:
        if (!changed_.empty()) {
          auto conversation = std::move(changed_.front());
          changed_.pop_front();
          local_.fetch_sub(1, std::memory_order_relaxed);
          conversation->submit();
          return true;
        }
        if (std::exchange(submitted_, false)) {
          local_.fetch_sub(1, std::memory_order_relaxed);
          core_.store->flush(*this);
        }
        phase_ = Phase::sends;
        [[fallthrough]];
      case Phase::sends:
        if (!ready_.empty()) {
          auto session = std::move(ready_.front());
          ready_.pop_front();
          local_.fetch_sub(1, std::memory_order_relaxed);
          session->flush(*this);
          return true;
        }
        phase_ = Phase::hand_over;
        [[fallthrough]];
      case Phase::hand_over: {
        const bool told = hand_over();
        phase_ = Phase::tasks;
        turn_left_ = tasks_per_turn;
        if (told) return true;
      }
    }
  }
}

bool Shard::hand_over() {
  if (finished_ != told_finished_) {
    // Behind what was published: whoever reads this has everything up to that batch.
    told_finished_ = finished_;
    for (auto& shard : core_.shards) {
      tell(*shard, [&hub = shard->hub(), from = index_, batch = finished_] { hub.complete(from, batch); });
    }
  }
  bool told = false;
  for (std::size_t i = 0; i < outgoing_.size(); ++i) {
    if (outgoing_[i].empty()) continue;
    local_.fetch_sub(outgoing_[i].size(), std::memory_order_relaxed);
    core_.shards[i]->arrive(std::move(outgoing_[i]));
    outgoing_[i].clear();
    told = true;
  }
  return told;
}

void Shard::before_stop(Function<void(Task)> work) { before_stop_.push_back(std::move(work)); }

void Shard::say_goodbye(Task done) {
  const auto left = std::make_shared<std::size_t>(before_stop_.size());
  if (*left == 0) return done();
  const auto all_done = std::make_shared<Task>(std::move(done));
  for (auto& work : before_stop_) {
    work([left, all_done] {
      if (--*left == 0) (*all_done)();
    });
  }
}

void Shard::drop_all() {
  std::vector<Task> arrived;
  {
    std::lock_guard lock(mutex_);
    dropped_ = true;
    arrived.swap(arrived_);
    has_arrived_ = false;
  }
  arrived.clear();
  std::exchange(tasks_, {}).clear();
  std::exchange(steps_, {}).clear();
  std::exchange(timers_, {}).clear();
  changed_.clear();
  core_.store->flush(*this);  // which takes nothing any more
  ready_.clear();
  outgoing_.clear();
  hub_->clear();
  conversations_->clear();
  inbox_->clear();
  pages_->clear();
  in_order_.clear();
  before_stop_.clear();
  states_.clear();
  local_ = 0;
  submitted_ = false;
  finished_ = told_finished_;
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
