#include <memory>
#include <utility>

#include <chatcore/testing.h>

#include "transport/loopback/network.h"

namespace chatcore {
inline namespace v1 {
namespace loopback {
namespace {

class LoopbackTransport final : public Transport {
 public:
  explicit LoopbackTransport(std::shared_ptr<Network> network) : network_(std::move(network)) {}
  ~LoopbackTransport() override { stop(); }

  Result<Endpoint> start(Acceptor& acceptor) override {
    const std::size_t frame_bytes = acceptor.frame_bytes();
    std::lock_guard lock(network_->mutex);
    if (network_->listener) return Error{ErrorCode::in_use, "another transport of this Loopback listens", {}};
    network_->listener = side_;
    network_->acceptor = &acceptor;
    network_->frame_bytes = frame_bytes;
    return Endpoint{"loopback", 0};
  }
  bool poll(std::chrono::microseconds wait) override { return network_->poll(*side_, wait); }
  void wake() override { network_->wake(*side_); }
  void stop() override { network_->close_side(side_); }

 private:
  const std::shared_ptr<Network> network_;
  const std::shared_ptr<Side> side_ = std::make_shared<Side>();
};

class LoopbackDialer final : public Dialer {
 public:
  using Connected = Done<std::shared_ptr<Connection>>;

  explicit LoopbackDialer(std::shared_ptr<Network> network) : network_(std::move(network)) {}
  ~LoopbackDialer() override { stop(); }

  void dial(Connected done) override {
    std::lock_guard lock(network_->mutex);
    dials_.push_back(std::move(done));
    side_->is_woken = true;
    side_->changed.notify_one();
  }
  bool poll(std::chrono::microseconds wait) override {
    if (Connected done = next_dial()) {
      done(Network::connect(network_, side_));
      return true;
    }
    return network_->poll(*side_, wait);
  }
  void wake() override { network_->wake(*side_); }
  void stop() override {
    while (Connected done = next_dial()) done(Error{ErrorCode::stopped, "the dialer is stopped", {}});
    network_->close_side(side_);
  }

 private:
  Connected next_dial() {
    std::lock_guard lock(network_->mutex);
    if (dials_.empty()) return {};
    Connected done = std::move(dials_.front());
    dials_.pop_front();
    return done;
  }

  const std::shared_ptr<Network> network_;
  const std::shared_ptr<Side> side_ = std::make_shared<Side>();
  std::deque<Connected> dials_{};  // guarded by the network's mutex
};

}  // namespace
}  // namespace loopback

struct Loopback::State : loopback::Network {};

Loopback::Loopback() : state_(std::make_shared<State>()) {}
Loopback::~Loopback() = default;

std::unique_ptr<Transport> Loopback::transport() { return std::make_unique<loopback::LoopbackTransport>(state_); }
std::unique_ptr<Dialer> Loopback::dialer() { return std::make_unique<loopback::LoopbackDialer>(state_); }
void Loopback::cut() { state_->cut(); }

void Loopback::cut_after(std::size_t frames) {
  std::lock_guard lock(state_->mutex);
  state_->frames_to_cut = frames;
  if (frames == 0) state_->cut_all();
}

void Loopback::refuse(bool refuses) {
  std::lock_guard lock(state_->mutex);
  state_->refuses = refuses;
}

}  // namespace v1
}  // namespace chatcore
