#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <chatcore/engine.h>

#include "core/core.h"
#include "engine/loop.h"

namespace chatcore {
inline namespace v1 {
namespace detail {

class LocalSession;

// The composition root: puts the parts together, gives them threads, and takes them apart.
//
// Stop order: no more requests; those under way are answered; the inbox entries are written; the sessions are closed;
// transports, storage threads, engine threads; then what still waits is dropped, which answers it.
class EngineCore final : public Acceptor, public std::enable_shared_from_this<EngineCore> {
 public:
  static Result<std::shared_ptr<EngineCore>> open(EngineOptions);
  ~EngineCore() override;

  core::Core& core() { return *core_; }
  std::shared_ptr<LocalSession> open_session(SessionOptions);
  Result<Endpoint> listen(std::unique_ptr<Transport>);
  void revoke(const UserId&, const DeviceId&);
  PollResult poll(std::chrono::microseconds budget);
  void run();
  Status stop(std::chrono::milliseconds deadline);
  void membership_changed(const ConversationId&);
  void membership_changed(const UserId&);
  void profile_changed(const UserId&);
  void read_feed(std::uint64_t after, std::uint32_t limit, std::chrono::milliseconds wait, Done<FeedEvents>);
  Stats stats() const;
  bool stopped() const { return stopped_.load(); }

  void attach(std::shared_ptr<Connection>, AttachOptions) override;
  std::size_t frame_bytes() const override { return core_->limits.frame_bytes; }

 private:
  explicit EngineCore(EngineOptions&);
  Status start(EngineOptions&);
  void start_threads();
  void sweep(core::Shard&);
  void relieve(core::Shard&);
  bool on_engine_thread() const;
  // Works or waits until `over`; false: the deadline came first.
  bool wait_until(SteadyTime deadline, Function<bool()> over);
  // With threads = 0: becomes the thread that polls. False: another one is in the host's code, and stays there.
  bool take_over_polling(SteadyTime farewell, SteadyTime deadline);
  void say_goodbye(SteadyTime farewell, SteadyTime deadline);
  bool end_threads(SteadyTime deadline);
  void stop_transports(bool threads_ended);
  void finish();  // by the last thread that ran something of ours
  void finish_if_left();
  void write_what_waits(SteadyTime deadline);

  std::shared_ptr<core::Core> core_;
  const std::unique_ptr<Authenticator> authenticator_;
  const std::unique_ptr<Membership> membership_;
  const std::unique_ptr<Policy> policy_;
  Function<void()> host_wake_;
  const unsigned thread_count_;
  std::vector<std::unique_ptr<Loop>> loops_;  // one a thread; one for poll() where there are none
  std::vector<std::thread> threads_;
  std::mutex polling_;  // one thread at a time
  std::atomic<std::thread::id> poller_{};

  std::mutex mutex_;  // guards what follows
  std::condition_variable ended_;
  unsigned running_ = 0;
  std::vector<std::shared_ptr<Transport>> transports_;
  std::vector<std::shared_ptr<Transport>> late_transports_;  // whose poll() hung when we stopped
  bool stop_began_ = false, finish_when_ended_ = false;
  std::atomic<bool> left_polling_{false};  // a stop went without the thread that polls, which finishes
  std::atomic<bool> stopped_{false};
  Status stop_status_{};
};

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
