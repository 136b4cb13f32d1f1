#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <optional>

#include <chatcore/testing.h>

#include "core/link_target.h"

namespace chatcore {
inline namespace v1 {

struct ConnectionFaults::State {
  std::mutex mutex{};
  std::optional<std::size_t> frames_to_cut{};
  std::uint64_t cuts = 0;  // of all connections at once
  std::size_t most_taken = 0, received = 0, sent = 0;
  unsigned delay = 0;
  bool refuses = false;
};

ConnectionFaults::ConnectionFaults() : state_(std::make_shared<State>()) {}
ConnectionFaults::~ConnectionFaults() = default;

void ConnectionFaults::cut_after(std::size_t frames) {
  std::lock_guard lock(state_->mutex);
  state_->frames_to_cut.reset();
  if (frames == 0) {
    ++state_->cuts;
  } else {
    state_->frames_to_cut = frames;
  }
}
void ConnectionFaults::take_at_most(std::size_t frames) {
  std::lock_guard lock(state_->mutex);
  state_->most_taken = frames;
}
void ConnectionFaults::delay(unsigned polls) {
  std::lock_guard lock(state_->mutex);
  state_->delay = polls;
}
void ConnectionFaults::refuse(bool does) {
  std::lock_guard lock(state_->mutex);
  state_->refuses = does;
}
std::size_t ConnectionFaults::received() const {
  std::lock_guard lock(state_->mutex);
  return state_->received;
}
std::size_t ConnectionFaults::sent() const {
  std::lock_guard lock(state_->mutex);
  return state_->sent;
}

namespace detail {
namespace {

Error lost() { return {ErrorCode::transport_failed, "a fault on order", {}}; }

}  // namespace

// What the connections of one transport, or dialer, share: the orders, and what is still to reach their Links.
class FaultyWires : public std::enable_shared_from_this<FaultyWires> {
 public:
  explicit FaultyWires(const ConnectionFaults& faults) : orders_(faults.state_), cuts_(orders_->cuts) {}

  std::shared_ptr<Connection> wrap(std::shared_ptr<Connection>);

  bool refuses() const {
    std::lock_guard lock(orders_->mutex);
    return orders_->refuses;
  }
  // What is due by now; all of it, where the transport stops. False: nothing.
  bool deliver(bool all = false);
  // Does by `poll`, so that what is due does not wait for it.
  template <class Poll>
  bool poll(std::chrono::microseconds wait, Poll&& inner) {
    cut_all();
    const bool delivered = deliver();
    bool is_empty;
    {
      std::lock_guard lock(mutex_);
      is_empty = waiting_.empty();
    }
    return inner(delivered || !is_empty ? std::chrono::microseconds(0) : wait) || delivered || !is_empty;
  }
  // `wake` ends a poll that waits; it is called until stop_waking() has returned.
  void wake_by(Function<void()> wake) { wake_ = std::move(wake); }
  void stop_waking() {
    std::lock_guard lock(mutex_);
    wake_ = {};
  }

 private:
  class Wire;
  struct Late {
    std::uint64_t due;  // poll
    std::shared_ptr<Wire> wire;
    Function<void(Wire&)> happens;
  };
  void tell(Wire&, unsigned polls_later, Function<void(Wire&)>);
  void cut_all();

  const std::shared_ptr<ConnectionFaults::State> orders_;
  std::mutex mutex_;  // guards what follows; nothing is called with it but wake_
  std::uint64_t cuts_, polls_ = 0;
  std::deque<Late> waiting_{};
  std::vector<std::weak_ptr<Wire>> wires_{};
  Function<void()> wake_{};
};

// One connection: the inner one's Link leads here.
class FaultyWires::Wire final : public Connection, public LinkTarget, public std::enable_shared_from_this<Wire> {
 public:
  Wire(std::shared_ptr<FaultyWires> all, std::shared_ptr<Connection> inner)
      : all_(std::move(all)), inner_(std::move(inner)) {}

  void attached(Link link) override {
    link_ = std::move(link);
    inner_->attached(Link(shared_from_this()));
  }
  SendResult send(std::span<const Frame> frames) override {
    if (is_cut_) return {.taken = 0, .closed = true};
    std::size_t most = 0;
    {
      std::lock_guard lock(all_->orders_->mutex);
      most = all_->orders_->most_taken;
    }
    const std::size_t offered = most == 0 ? frames.size() : std::min(most, frames.size());
    const SendResult result = inner_->send(frames.first(offered));
    {
      std::lock_guard lock(all_->orders_->mutex);
      all_->orders_->sent += result.taken;
    }
    // Had the inner connection taken less than it was offered, it would say so itself.
    if (!result.closed && result.taken == offered && offered < frames.size()) {
      all_->tell(*this, 1, [](Wire& wire) { wire.link_.writable(); });
    }
    return result;
  }
  void pause_reading(bool pause) override { inner_->pause_reading(pause); }
  void close(const Error& why) override { inner_->close(why); }
  std::string peer_address() const override { return inner_->peer_address(); }

  // What is under way is lost, as far as that can be had from outside: nothing more goes in or out.
  void cut() {
    if (is_cut_.exchange(true)) return;
    inner_->close(lost());
  }

  // LinkTarget, in the inner transport's poll
  void receive(std::span<const std::byte> frame) override {
    if (is_cut_) return;
    bool cuts = false;
    {
      std::lock_guard lock(all_->orders_->mutex);
      auto& left = all_->orders_->frames_to_cut;
      ++all_->orders_->received;
      cuts = left && --*left == 0;
      if (cuts) left.reset();
    }
    later([bytes = Bytes(frame.begin(), frame.end())](Wire& wire) { wire.link_.receive(bytes); });
    if (cuts) cut();
  }
  void writable() override {
    later([](Wire& wire) { wire.link_.writable(); });
  }
  void closed(const Error& why) override {
    later([why = is_cut_ ? lost() : why](Wire& wire) { std::exchange(wire.link_, {}).closed(why); });
  }

 private:
  friend class FaultyWires;
  void later(Function<void(Wire&)> happens) {
    unsigned delay = 0;
    {
      std::lock_guard lock(all_->orders_->mutex);
      delay = all_->orders_->delay;
    }
    all_->tell(*this, delay, std::move(happens));
  }

  const std::shared_ptr<FaultyWires> all_;
  const std::shared_ptr<Connection> inner_;
  Link link_{};
  std::atomic<bool> is_cut_{false};
  unsigned behind_ = 0;  // how much of it waits; with all_'s mutex
};

std::shared_ptr<Connection> FaultyWires::wrap(std::shared_ptr<Connection> inner) {
  auto wire = std::make_shared<Wire>(shared_from_this(), std::move(inner));
  std::lock_guard lock(mutex_);
  std::erase_if(wires_, [](const auto& each) { return each.expired(); });
  wires_.push_back(wire);
  return wire;
}

// At once where nothing of this connection waits, else behind it.
void FaultyWires::tell(Wire& wire, unsigned polls_later, Function<void(Wire&)> happens) {
  {
    std::lock_guard lock(mutex_);
    if (polls_later > 0 || wire.behind_ > 0) {
      ++wire.behind_;
      waiting_.push_back({polls_ + polls_later, wire.shared_from_this(), std::move(happens)});
      if (wake_) wake_();
      return;
    }
  }
  happens(wire);
}

bool FaultyWires::deliver(bool all) {
  bool did = false;
  std::unique_lock lock(mutex_);
  ++polls_;
  for (std::size_t left = waiting_.size(); left > 0 && !waiting_.empty(); --left) {
    if (!all && waiting_.front().due > polls_) break;
    Late late = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    late.happens(*late.wire);
    did = true;
    lock.lock();
    --late.wire->behind_;
  }
  return did;
}

void FaultyWires::cut_all() {
  std::vector<std::weak_ptr<Wire>> wires;
  {
    std::scoped_lock lock(mutex_, orders_->mutex);
    if (std::exchange(cuts_, orders_->cuts) == orders_->cuts) return;
    wires = wires_;
  }
  for (const auto& each : wires) {
    if (const auto wire = each.lock()) wire->cut();
  }
}

namespace {

class FaultyTransport final : public Transport, public Acceptor {
 public:
  FaultyTransport(std::unique_ptr<Transport> inner, const ConnectionFaults& faults)
      : wires_(std::make_shared<FaultyWires>(faults)), inner_(std::move(inner)) {
    wires_->wake_by([this] { inner_->wake(); });
  }
  ~FaultyTransport() override { wires_->stop_waking(); }

  Result<Endpoint> start(Acceptor& acceptor) override {
    acceptor_ = &acceptor;
    return inner_->start(*this);
  }
  bool poll(std::chrono::microseconds wait) override {
    return wires_->poll(wait, [&](auto left) { return inner_->poll(left); });
  }
  void wake() override { inner_->wake(); }
  void stop() override {
    inner_->stop();
    while (wires_->deliver(true)) {
    }
  }

  void attach(std::shared_ptr<Connection> connection, AttachOptions options) override {
    const bool refuses = wires_->refuses();
    auto wire = wires_->wrap(std::move(connection));
    if (!refuses) return acceptor_->attach(std::move(wire), std::move(options));
    wire->attached(Link());
    wire->close(lost());
  }
  std::size_t frame_bytes() const override { return acceptor_->frame_bytes(); }

 private:
  const std::shared_ptr<FaultyWires> wires_;
  const std::unique_ptr<Transport> inner_;
  Acceptor* acceptor_ = nullptr;
};

class FaultyDialer final : public Dialer {
 public:
  FaultyDialer(std::unique_ptr<Dialer> inner, const ConnectionFaults& faults)
      : wires_(std::make_shared<FaultyWires>(faults)), inner_(std::move(inner)) {
    wires_->wake_by([this] { inner_->wake(); });
  }
  ~FaultyDialer() override { wires_->stop_waking(); }

  void dial(Done<std::shared_ptr<Connection>> done) override {
    inner_->dial([wires = wires_, done = std::move(done)](Result<std::shared_ptr<Connection>> connection) mutable {
      if (!connection) return done(std::move(connection));
      const bool refuses = wires->refuses();
      auto wire = wires->wrap(std::move(*connection));
      if (!refuses) return done(std::move(wire));
      wire->attached(Link());
      wire->close(lost());
      done(lost());
    });
  }
  bool poll(std::chrono::microseconds wait) override {
    return wires_->poll(wait, [&](auto left) { return inner_->poll(left); });
  }
  void wake() override { inner_->wake(); }
  void stop() override {
    inner_->stop();
    while (wires_->deliver(true)) {
    }
  }

 private:
  const std::shared_ptr<FaultyWires> wires_;
  const std::unique_ptr<Dialer> inner_;
};

}  // namespace
}  // namespace detail

std::unique_ptr<Transport> make_faulty_transport(std::unique_ptr<Transport> inner,
                                                 std::shared_ptr<ConnectionFaults> faults) {
  return std::make_unique<detail::FaultyTransport>(std::move(inner), *faults);
}
std::unique_ptr<Dialer> make_faulty_dialer(std::unique_ptr<Dialer> inner, std::shared_ptr<ConnectionFaults> faults) {
  return std::make_unique<detail::FaultyDialer>(std::move(inner), *faults);
}

}  // namespace v1
}  // namespace chatcore
