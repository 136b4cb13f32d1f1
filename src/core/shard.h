#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/core.h"
#include "core/in_order.h"

namespace chatcore {
inline namespace v1 {
namespace core {

class Conversation;
class Conversations;
class Hub;
class Inbox;
class Pages;
class Session;

// An executor that one thread runs at a time, and the state that only it may touch. It works in turns: up to 64
// tasks; then long work, step by step; then the changes of its conversations go to the store together; then each
// session with something to say sends it at once; then what other shards are to know is handed over, one vector a
// shard. run_one() does one item of that, so that poll(budget) may stop between any two.
class Shard {
 public:
  Shard(Core&, unsigned index);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // From any thread. From a shard of the same engine it is handed over at the end of that one's turn. In order, for
  // each pair of shards.
  void post(Task);
  // The same, but handed over at once: so that what a host asks for in a callback and what he asks for after it keep
  // their order.
  void post_at_once(Task);
  // Now, where this thread is running an item of this shard; else posts it.
  template <class F>
  void run(F&& task) {
    is_running_here() ? task() : post(std::forward<F>(task));
  }
  bool runnable() const;
  void on_wake(Function<void()>);  // before threads run

  // From this shard's thread.
  void after(std::chrono::milliseconds, Task);
  void before_stop(Function<void(Task done)>);  // a stop runs it, with the shard still at work, and waits for `done`
  void say_goodbye(Task done);                  // runs these
  void step(Function<bool()>);                  // long work: called until it says true, each call one item; in order
  void changed(std::shared_ptr<Conversation>);  // has a change to hand to the store this turn
  void submitted();                             // to the store, which wants it flushed this turn
  void ready(std::shared_ptr<Session>);         // has something to send this turn
  void finished(std::uint64_t batch);           // everything this shard publishes of batches up to this one is told

  // The thread that runs it, one at a time.
  bool run_one(SteadyTime now);  // false: nothing to do
  SteadyTime next_timer() const;

  Core& core() const { return core_; }
  unsigned index() const { return index_; }
  Conversations& conversations() { return *conversations_; }
  Hub& hub() { return *hub_; }
  Inbox& inbox() { return *inbox_; }
  Pages& pages() { return *pages_; }
  InOrder& in_order() { return in_order_; }
  // What a feature keeps on a shard: one of each type, made when it is first asked for.
  template <class T>
  T& state() {
    auto& slot = states_[&key_of<T>];
    if (!slot) slot = std::make_shared<T>();
    return *static_cast<T*>(slot.get());
  }

  // When nothing runs any more: drops everything that waits, which answers it; what comes later is dropped at once.
  void drop_all();

 private:
  template <class T>
  static constexpr char key_of{};

  bool is_running_here() const;
  enum class Phase { tasks, steps, changes, sends, hand_over };
  bool run_an_item(SteadyTime now);
  bool run_timer(SteadyTime now);
  void tell(Shard& to, Task);
  void arrive(std::vector<Task>&&);
  bool next_task(Task&);
  void run_step();
  bool hand_over();

  Core& core_;
  const unsigned index_;

  mutable std::mutex mutex_;  // guards the next two
  std::vector<Task> arrived_;
  bool dropped_ = false;
  std::atomic<bool> has_arrived_{false};
  Function<void()> wake_;

  std::deque<Task> tasks_;
  std::deque<Function<bool()>> steps_;
  std::deque<std::shared_ptr<Conversation>> changed_;
  std::deque<std::shared_ptr<Session>> ready_;
  std::vector<std::vector<Task>> outgoing_;  // by shard
  std::multimap<SteadyTime, Task> timers_;
  std::atomic<std::size_t> local_{0};  // what waits in all of the above: what runnable() looks at
  bool submitted_ = false;
  Phase phase_ = Phase::tasks;
  unsigned turn_left_ = 64;
  std::uint64_t finished_ = 0, told_finished_ = 0;

  InOrder in_order_;
  std::vector<Function<void(Task)>> before_stop_;
  std::map<const void*, std::shared_ptr<void>> states_;
  std::unique_ptr<Conversations> conversations_;
  std::unique_ptr<Inbox> inbox_;
  std::unique_ptr<Pages> pages_;
  std::unique_ptr<Hub> hub_;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
