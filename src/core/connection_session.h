#pragma once

#include <mutex>

#include "core/link_target.h"
#include "core/session.h"
#include "core/slim_queue.h"
#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// A session over a connection: frames in, through the gate, to the features; answers and pushes out, gathered.
//
// Before its login it lives on a shard of its own choosing, afterwards on its user's. Frames arrive on the transport's
// thread, and wait in inbound_ for whichever shard is home.
class ConnectionSession final : public Session, public detail::LinkTarget {
 public:
  static constexpr std::size_t own_bytes = 2048;  // about: itself, its connection, its places in tables
  ConnectionSession(Core&, Shard& lobby, std::uint64_t id, std::shared_ptr<Connection>, AttachOptions);

  void start();  // on the lobby's thread
  void sweep(Shard& at, SteadyTime now);

  // detail::LinkTarget, any thread
  void receive(std::span<const std::byte> frame) override;
  void writable() override;
  void closed(const Error&) override;

  // Session
  void flush(Shard& at) override;
  void close(const Error&) override;
  void revoke(const Error&) override;
  // When nothing runs any more: a connection that keeps its link would keep both alive.
  void let_go();

 private:
  enum class Phase { login, authenticating, open, closing, gone };

  bool has_room(std::size_t bytes) const override;
  bool half_full() const override;
  void queue(Frame) override;
  void make_room() override { send_queued(); }
  std::size_t bound() const override { return bounded(core_.limits.outbox_bytes); }
  std::vector<Frame> take_queue() override;
  void put_queue(std::vector<Frame>) override;
  std::string peer_address() const override;
  bool waits(const Frame&) const override;

  Shard* shard() const;  // where it lives now
  template <class F>
  void at_home(F run);  // on the shard where it lives when that runs
  void wake_drain();
  bool lives_on(const Shard&);
  void drain(Shard* at);
  void post_drain();  // with the lock
  bool may_read() const;
  bool is_within_rate(Shard& at);
  void tell_paused();
  void handle(const Bytes& frame);
  void request(const protocol::ClientFrame&);
  void log_in(const protocol::ClientFrame&);
  void authenticated(std::uint64_t call, Checkpoint resume, Result<Identity>);
  void welcome(std::uint64_t call, const Identity&, const Checkpoint& resume);
  void answer(std::uint64_t call, Result<Bytes>);
  void send_queued();
  void cut();
  void finish_close();
  void gone();

  Shard* lobby_;
  std::shared_ptr<Connection> connection_;
  std::unique_ptr<const Identity> given_;  // by the host that attached it: no token is asked for
  Phase phase_ = Phase::login;
  Error close_reason_{};
  SteadyTime since_{};
  SlimQueue<Frame> outbox_;
  std::size_t outbox_bytes_ = 0;
  bool is_ready_ = false, is_full_ = false, is_close_told_ = false;
  unsigned under_way_ = 0;
  std::size_t reserved_ = 0;  // of the outbox, for pages under way
  RateLimit rate_;            // of what is read
  bool waits_for_rate_ = false;
  SteadyTime progress_{};               // when the peer last took something
  std::atomic<std::int64_t> heard_{0};  // steady, ns

  std::mutex inbound_mutex_;  // guards what follows
  SlimQueue<Bytes> inbound_;
  std::size_t inbound_bytes_ = 0;
  bool drain_posted_ = false, is_paused_ = false;
  bool is_moving_ = false;  // to where_, which has not welcomed it yet
  std::vector<Function<void(ConnectionSession&)>> after_move_;
  Shard* where_;
  mutable std::mutex connection_mutex_;  // the connection is called by one thread at a time
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
