#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

#include <chatcore/engine.h>

#include "core/core.h"

namespace chatcore {
inline namespace v1 {
namespace detail {

// What one thread runs: its shards, the transports it polls, and the storage where that has no thread. The thread is an
// engine's own (run), or the host's, now and then (poll).
class Loop {
 public:
  Loop(core::Core&, bool with_store);

  void add(core::Shard&);                // before it runs
  void add(std::shared_ptr<Transport>);  // any time
  void on_idle_wake(Function<void()>* wake) { host_wake_.store(wake); }

  // Items, until nothing is left or so much time is over.
  PollResult poll(std::chrono::microseconds budget);
  // Until stop() says so.
  void run();
  void stop();
  // Whoever is in poll() comes back from the host's code, and touches nothing more. Any thread.
  void abandon() { abandoned_ = true; }
  void wake();  // any thread
  // Whether its thread is in that transport's poll() now. Any thread.
  bool is_inside(const Transport& transport) const { return inside_.load() == &transport; }

 private:
  bool run_one(SteadyTime now);
  bool run_shard_or_transport(SteadyTime now);
  bool poll_transport(Transport&, std::chrono::microseconds wait);
  bool runnable() const;
  std::chrono::milliseconds until_timer(SteadyTime now) const;
  void sleep();
  void take_transports();

  core::Core& core_;
  const bool with_store_;
  std::vector<core::Shard*> shards_;
  std::vector<std::shared_ptr<Transport>> transports_;
  std::size_t at_ = 0;  // the source whose turn it is
  unsigned in_a_row_ = 0;
  unsigned before_store_ = 0;
  std::size_t sleeper_ = 0;  // the transport that waits
  std::atomic<const Transport*> inside_{nullptr};

  std::mutex mutex_;  // guards what follows
  std::condition_variable woken_;
  std::vector<std::shared_ptr<Transport>> arriving_;
  Transport* waiting_in_ = nullptr;
  bool wake_pending_ = false;
  std::atomic<Function<void()>*> host_wake_{nullptr};  // of a host that polls
  std::atomic<bool> has_arriving_{false}, asleep_{false}, stopping_{false}, abandoned_{false};
};

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
