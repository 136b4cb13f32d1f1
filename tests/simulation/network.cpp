#include "simulation/network.h"

#include <algorithm>
#include <utility>

namespace simulation {
namespace {
Error lost(std::string why) { return {ErrorCode::transport_failed, std::move(why), {}}; }
}  // namespace

class Network::End final : public Connection, public std::enable_shared_from_this<End> {
 public:
  End(Network& network, unsigned device, std::uint64_t connection, bool is_server)
      : network_(network), device_(device), connection_(connection), is_server_(is_server) {}

  void attached(Link link) override {
    link_ = std::move(link);
    attached_ = true;
  }
  SendResult send(std::span<const Frame> frames) override {
    const auto peer = peer_.lock();
    if (over_ || closed_ || !peer) return {.taken = 0, .closed = true};
    SendResult result;
    for (; result.taken < frames.size() && !stalled_ && peer->inbox_.size() < network_.most_queued; ++result.taken) {
      const Frame& frame = frames[result.taken];
      if (is_server_ && network_.leaves) network_.leaves(device_, frame);
      if (peer->deaf_) continue;
      if (is_server_ && network_.to_client) {
        for (Frame& sent : network_.to_client(device_, connection_, frame)) peer->inbox_.push_back(std::move(sent));
      } else {
        peer->inbox_.push_back(frame);
      }
    }
    wants_room_ = wants_room_ || result.taken < frames.size();
    return result;
  }
  void pause_reading(bool pause) override { paused_ = pause; }
  void close(const Error& why) override {
    if (over_) return;
    end_with(why);
    const auto peer = peer_.lock();
    if (peer && !peer->closed_ && !peer->deaf_) peer->closed_ = lost("the peer closed the connection");
  }
  std::string peer_address() const override { return "simulated"; }

  void end_with(Error why) {
    over_ = true;
    inbox_.clear();
    closed_ = std::move(why);
  }
  bool has_room() const {
    const auto peer = peer_.lock();
    return attached_ && wants_room_ && !over_ && !stalled_ &&
           (!peer || peer->inbox_.size() <= network_.most_queued / 2);
  }
  bool has_work() const {
    if (is_new_) return true;
    if (!attached_) return false;
    return has_room() || (!inbox_.empty() && !paused_) || (closed_ && inbox_.empty());
  }

  Network& network_;
  const unsigned device_;
  const std::uint64_t connection_;
  const bool is_server_;
  std::weak_ptr<End> peer_{};
  Link link_{};
  std::deque<Frame> inbox_{};
  std::optional<Error> closed_{};  // told behind the inbox
  bool is_new_ = false, attached_ = false, paused_ = false, over_ = false;
  bool wants_room_ = false, stalled_ = false;
  bool deaf_ = false;  // nothing reaches it any more
};

class SimulatedTransport final : public Transport {
 public:
  explicit SimulatedTransport(Network& network) : network_(network) {}
  Result<Endpoint> start(Acceptor& acceptor) override {
    network_.acceptor_ = &acceptor;
    return Endpoint{"simulated", 0};
  }
  bool poll(std::chrono::microseconds) override { return network_.step(random_); }
  void stop() override { network_.server_is_gone(); }

 private:
  Network& network_;
  Random random_{1};
};

class SimulatedDialer final : public Dialer {
 public:
  SimulatedDialer(Network& network, unsigned device) : network_(network), device_(device) {}
  void dial(Done<std::shared_ptr<Connection>> done) override { dialing_ = std::move(done); }
  bool poll(std::chrono::microseconds) override {
    if (!dialing_) return false;
    std::exchange(dialing_, {})(network_.connect(device_));
    return true;
  }
  void stop() override {
    if (dialing_) std::exchange(dialing_, {})(lost("the dialer is stopped"));
    network_.cut(device_);
  }

 private:
  Network& network_;
  const unsigned device_;
  Done<std::shared_ptr<Connection>> dialing_{};
};

Network::Network() = default;
Network::~Network() = default;

std::unique_ptr<Transport> Network::transport() { return std::make_unique<SimulatedTransport>(*this); }
std::unique_ptr<Dialer> Network::dialer(unsigned device) { return std::make_unique<SimulatedDialer>(*this, device); }

Network::Device& Network::device(unsigned number) {
  if (devices_.size() <= number) devices_.resize(number + 1);
  return devices_[number];
}

Result<std::shared_ptr<Connection>> Network::connect(unsigned number) {
  if (!acceptor_ || device(number).refused) return lost("nobody listens");
  ++last_connection_;
  const auto client = std::make_shared<End>(*this, number, last_connection_, false);
  const auto server = std::make_shared<End>(*this, number, last_connection_, true);
  client->peer_ = server;
  server->peer_ = client;
  server->is_new_ = true;
  ends_.push_back(client);
  ends_.push_back(server);
  return std::shared_ptr<Connection>(client);
}

bool Network::step(Random& random) {
  ++steps_;
  std::vector<std::shared_ptr<End>> ready;
  for (const auto& end : ends_) {
    if (end->has_work() && device(end->device_).held_until <= steps_) ready.push_back(end);
  }
  if (ready.empty()) return false;
  give(*ready[random.below(static_cast<unsigned>(ready.size()))]);
  return true;
}

bool Network::swallows() const {
  return std::any_of(ends_.begin(), ends_.end(), [](const auto& end) { return end->deaf_; });
}

void Network::give(End& end) {
  const auto keep = end.shared_from_this();
  Link link = end.link_;
  if (end.is_new_) {
    end.is_new_ = false;
    if (acceptor_) acceptor_->attach(keep, {});
  } else if (end.has_room()) {
    end.wants_room_ = false;
    link.writable();
  } else if (!end.inbox_.empty() && !end.paused_) {
    const Frame frame = std::move(end.inbox_.front());
    end.inbox_.pop_front();
    link.receive(*frame);
  } else {
    const Error why = *end.closed_;
    end.over_ = true;
    end.link_ = {};
    forget(end);
    link.closed(why);
  }
}

void Network::forget(const End& end) {
  std::erase_if(ends_, [&](const auto& one) { return one.get() == &end; });
}

void Network::cut(unsigned number) {
  for (const auto& end : ends_) {
    if (end->device_ == number && !end->over_) end->end_with(lost("the connection was cut"));
  }
}

void Network::delay(unsigned number, std::uint64_t steps) { device(number).held_until = steps_ + steps; }

void Network::stall(unsigned number) {
  for (const auto& end : ends_) end->stalled_ = end->stalled_ || end->device_ == number;
}

void Network::swallow(unsigned number, unsigned way) {
  for (const auto& end : ends_) {
    if (end->device_ != number || end->is_server_ != (way == 0)) continue;
    end->deaf_ = true;
    end->inbox_.clear();
  }
}

void Network::refuse(unsigned number, bool yes) { device(number).refused = yes; }

void Network::mend(unsigned number) {
  device(number) = {};
  for (const auto& end : ends_) end->stalled_ = end->stalled_ && end->device_ != number;
}

// The clients learn it, unless their connection swallows what comes.
void Network::server_is_gone() {
  acceptor_ = nullptr;
  for (const auto& end : std::vector(ends_)) {
    if (!end->is_server_) {
      if (!end->over_ && !end->deaf_) end->closed_ = end->closed_.value_or(lost("the server is gone"));
      continue;
    }
    Link link = std::exchange(end->link_, {});
    const bool told = !end->attached_;
    end->end_with(lost("the process ended"));
    forget(*end);
    if (!told) link.closed(lost("the process ended"));
  }
}

}  // namespace simulation
