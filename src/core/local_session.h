#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include <chatcore/session.h>

#include "core/session.h"
#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace detail {

// A session of the host's, pulled from a bounded outbox. The outbox has a lock: the host takes from any thread.
class LocalSession final : public core::Session {
 public:
  LocalSession(core::Core&, std::uint64_t id, SessionOptions);
  ~LocalSession() override;

  void start();  // on the user's home shard
  void refuse(const Error&);

  // Any thread.
  std::optional<Push> take();
  bool wait(std::chrono::milliseconds);  // until there is something to take; false: there is nothing
  Checkpoint checkpoint_taken() const;
  // Whether a request may be made; else why not.
  Status enter_call();
  void leave_call();
  void close_from_outside();
  bool is_closed_from_outside() const { return closed_from_outside_; }
  core::Caller caller_from_outside() const { return {options_.identity, id(), limit_}; }
  core::Core& core() { return core_; }

  void flush(core::Shard&) override { tell_ready(); }
  void close(const Error&) override;
  void revoke(const Error&) override;

 private:
  bool has_room(std::size_t bytes) const override;
  bool half_full() const override;
  std::size_t bound() const override { return bounded(options_.outbox_bytes); }
  std::vector<Frame> take_queue() override;
  void put_queue(std::vector<Frame>) override;
  bool waits(const Frame&) const override;
  bool is_stale_push(const protocol::PushPlace&);
  void tell_ready();
  void queue(Frame) override;

  SessionOptions options_;
  std::atomic<unsigned> calls_{0};
  core::RateLimit rate_;
  std::atomic<bool> over_{false}, closed_from_outside_{false};
  bool is_ready_ = false, silent_ = false;

  std::recursive_mutex ready_mutex_;  // while the host is told; it may close the session meanwhile
  mutable std::mutex mutex_;          // guards what follows
  std::condition_variable filled_;
  std::deque<Frame> outbox_;
  std::size_t bytes_ = 0;
  bool closed_ = false, started_ = false;
  Checkpoint taken_{};
};

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
