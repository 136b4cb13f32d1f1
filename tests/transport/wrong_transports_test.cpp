#include <doctest/doctest.h>

#include <functional>
#include <map>
#include <set>
#include <vector>

#include <chatcore/testing.h>

#include "core/link_target.h"

// Networks that are wrong in one way each: the suite has to notice, and say by name what is broken.

using namespace chatcore;
using namespace std::chrono_literals;

namespace {

class Wire;

// Loopback behind a wall; a wrong network takes something out of it.
struct Wall {
  std::shared_ptr<Loopback> network = std::make_shared<Loopback>();
  std::map<bool, int> made{};  // connections, by side: the nth of each are the two ends of one
  std::vector<std::weak_ptr<Wire>> wires{};
  std::set<int> closing{}, paused_clients{};  // by number
  bool is_stopping = false, wake_dialer = true;
  Acceptor* acceptor = nullptr;

  // What each does unless it is replaced.
  std::function<Result<Endpoint>(Transport&, Acceptor&)> start = [](Transport& t, Acceptor& a) { return t.start(a); };
  std::function<bool(Transport&, std::chrono::microseconds)> poll = [](auto& t, auto wait) { return t.poll(wait); };
  std::function<void(Transport&)> wake = [](Transport& t) { t.wake(); };
  std::function<void(std::unique_ptr<Transport>&)> stop = [](auto& t) { t->stop(); };
  std::function<void(Dialer&, Done<std::shared_ptr<Connection>>)> dial = [](Dialer& d, auto done) {
    d.dial(std::move(done));
  };
  std::function<void(Dialer&)> stop_dialer = [](Dialer& d) { d.stop(); };
  std::function<SendResult(Wire&, std::span<const Frame>)> send;
  std::function<void(Wire&, bool)> pause;
  std::function<void(Wire&, const Error&)> close;
  std::function<void(Wire&, std::span<const std::byte>)> receive;
  std::function<void(Wire&)> writable;
  std::function<void(Wire&, const Error&)> closed;
};

class Wire final : public Connection, public detail::LinkTarget, public std::enable_shared_from_this<Wire> {
 public:
  Wire(std::shared_ptr<Wall> wall, std::shared_ptr<Connection> real, bool server)
      : inner(std::move(real)), is_server(server), number(wall->made[server]++), wall_(std::move(wall)) {}

  void attached(Link to) override {
    link = std::move(to);
    inner->attached(Link(shared_from_this()));
  }
  SendResult send(std::span<const Frame> frames) override {
    return wall_->send ? wall_->send(*this, frames) : inner->send(frames);
  }
  void pause_reading(bool yes) override { wall_->pause ? wall_->pause(*this, yes) : inner->pause_reading(yes); }
  void close(const Error& why) override { wall_->close ? wall_->close(*this, why) : inner->close(why); }

  void receive(std::span<const std::byte> frame) override {
    wall_->receive ? wall_->receive(*this, frame) : link.receive(frame);
  }
  void writable() override { wall_->writable ? wall_->writable(*this) : link.writable(); }
  void closed(const Error& why) override {
    is_closed = true;
    wall_->closed ? wall_->closed(*this, why) : link.closed(why);
    link = {};
  }

  const std::shared_ptr<Connection> inner;
  const bool is_server;
  const int number;
  Link link{};
  bool is_closed = false;

 private:
  const std::shared_ptr<Wall> wall_;
};

std::shared_ptr<Wire> wrap(const std::shared_ptr<Wall>& wall, std::shared_ptr<Connection> real, bool server) {
  auto wire = std::make_shared<Wire>(wall, std::move(real), server);
  wall->wires.push_back(wire);
  return wire;
}

class WalledTransport final : public Transport, public Acceptor {
 public:
  explicit WalledTransport(std::shared_ptr<Wall> wall) : wall_(std::move(wall)), inner_(wall_->network->transport()) {}
  Result<Endpoint> start(Acceptor& acceptor) override {
    wall_->acceptor = acceptor_ = &acceptor;
    return wall_->start(*inner_, *this);
  }
  bool poll(std::chrono::microseconds wait) override { return wall_->poll(*inner_, wait); }
  void wake() override { wall_->wake(*inner_); }
  void stop() override { wall_->stop(inner_); }
  void attach(std::shared_ptr<Connection> connection, AttachOptions options) override {
    acceptor_->attach(wrap(wall_, std::move(connection), true), std::move(options));
  }
  std::size_t frame_bytes() const override { return acceptor_->frame_bytes() + extra; }
  std::size_t extra = 0;

 private:
  const std::shared_ptr<Wall> wall_;
  std::unique_ptr<Transport> inner_;
  Acceptor* acceptor_ = nullptr;
};

class WalledDialer final : public Dialer {
 public:
  explicit WalledDialer(std::shared_ptr<Wall> wall) : wall_(std::move(wall)), inner_(wall_->network->dialer()) {}
  void dial(Done<std::shared_ptr<Connection>> done) override {
    wall_->dial(*inner_, [wall = wall_, done = std::move(done)](auto result) mutable {
      if (!result) return done(std::move(result));
      done(std::shared_ptr<Connection>(wrap(wall, std::move(*result), false)));
    });
  }
  bool poll(std::chrono::microseconds wait) override { return inner_->poll(wait); }
  void wake() override {
    if (wall_->wake_dialer) inner_->wake();
  }
  void stop() override { wall_->stop_dialer(*inner_); }

 private:
  const std::shared_ptr<Wall> wall_;
  const std::unique_ptr<Dialer> inner_;
};

std::string broken_promises(const std::function<void(Wall&)>& twist, std::size_t extra_frame_bytes = 0) {
  const auto make = [&] {
    auto wall = std::make_shared<Wall>();
    twist(*wall);
    auto transport = std::make_unique<WalledTransport>(wall);
    transport->extra = extra_frame_bytes;
    return TransportPair{std::move(transport),
                         [wall](const Endpoint&) { return std::make_unique<WalledDialer>(wall); }};
  };
  std::string names;
  for (Check& check : transport_conformance(make, 200ms)) {
    if (!check.run()) names += (names.empty() ? "" : "; ") + check.name;
  }
  return names;
}

struct Wrong {
  const char* what;
  void (*twist)(Wall&);
  const char* broken;
};

constexpr Wrong all_wrong[] = {
    {"names no address",
     [](Wall& w) {
       w.start = [](Transport& t, Acceptor& a) -> Result<Endpoint> {
         if (auto started = t.start(a); !started) return started;
         return Endpoint{};
       };
     },
     "start gives the endpoint"},
    {"completes inside dial",
     [](Wall& w) {
       w.dial = [](Dialer& d, auto done) {
         d.dial(std::move(done));
         d.poll(0us);
       };
     },
     "a dial completes later, once"},
    {"cuts a frame at a zero byte",
     [](Wall& w) {
       w.receive = [](Wire& wire, auto frame) {
         const auto end = std::find(frame.begin(), frame.end(), std::byte{0});
         wire.link.receive(frame.first(static_cast<std::size_t>(end - frame.begin())));
       };
     },
     "frames arrive whole and in order, both ways"},
    {"counts the longest frame as too long",
     [](Wall& w) {
       w.receive = [most = std::size_t{64 << 10}](Wire& wire, auto frame) {
         wire.link.receive(frame.size() == most ? std::span<const std::byte>() : frame);
       };
     },
     "frames of every size allowed arrive"},
    {"forgets writable", [](Wall& w) { w.writable = [](Wire&) {}; }, "writable follows a send that took less than all"},
    {"loses the last frame of a long send",
     [](Wall& w) {
       w.send = [](Wire& wire, auto frames) {
         if (frames.size() <= 100) return wire.inner->send(frames);
         SendResult sent = wire.inner->send(frames.first(99));
         if (sent.taken == 99) ++sent.taken;
         return sent;
       };
     },
     "what was taken is sent, and nothing else"},
    {"sends more than it says it took",
     [](Wall& w) {
       w.send = [](Wire& wire, auto frames) {
         SendResult sent = wire.inner->send(frames);
         if (frames.size() > 100 && sent.taken > 0) --sent.taken;
         return sent;
       };
     },
     "what was taken is sent, and nothing else"},
    {"reads on while it is paused", [](Wall& w) { w.pause = [](Wire&, bool) {}; },
     "a paused reader slows its peer down"},
    {"says writable inside send",
     [](Wall& w) {
       w.send = [](Wire& wire, auto frames) {
         const SendResult sent = wire.inner->send(frames);
         if (sent.taken < frames.size() && !sent.closed) wire.link.writable();
         return sent;
       };
     },
     "a call does not call the link back"},
    {"says closed inside close",
     [](Wall& w) {
       w.close = [](Wire& wire, const Error& why) {
         wire.inner->close(why);
         std::exchange(wire.link, {}).closed(why);
       };
     },
     "a call does not call the link back"},
    {"drops what is under way when it closes",
     [](Wall& w) {
       w.close = [&w](Wire& wire, const Error& why) {
         w.closing.insert(wire.number);
         wire.inner->close(why);
       };
       w.receive = [&w](Wire& wire, auto frame) {
         if (!w.closing.contains(wire.number)) wire.link.receive(frame);
       };
     },
     "close sends what was taken"},
    {"does not close from the dialer's side",
     [](Wall& w) {
       w.close = [](Wire& wire, const Error& why) {
         if (wire.is_server) wire.inner->close(why);
       };
     },
     "close closes both ends"},
    {"waits for a peer that takes nothing",
     [](Wall& w) {
       w.pause = [&w](Wire& wire, bool yes) {
         if (!wire.is_server)
           yes ? (void)w.paused_clients.insert(wire.number) : (void)w.paused_clients.erase(wire.number);
         wire.inner->pause_reading(yes);
       };
       w.close = [&w](Wire& wire, const Error& why) {
         if (!w.paused_clients.contains(wire.number)) wire.inner->close(why);
       };
     },
     "close waits for nobody"},
    {"says closed twice",
     [](Wall& w) {
       w.closed = [](Wire& wire, const Error& why) {
         Link(wire.link).closed(why);
         wire.link.closed(why);
       };
     },
     "closed comes once and last"},
    {"says writable after closed",
     [](Wall& w) {
       w.closed = [](Wire& wire, const Error& why) {
         Link(wire.link).closed(why);
         wire.link.writable();
       };
     },
     "closed comes once and last"},
    {"takes frames once it is closed",
     [](Wall& w) {
       w.send = [](Wire& wire, auto frames) {
         const SendResult sent = wire.inner->send(frames);
         return sent.closed ? SendResult{.taken = frames.size()} : sent;
       };
     },
     "what is closed takes nothing"},
    {"does not notice that the peer is gone",
     [](Wall& w) {
       w.stop_dialer = [&w](Dialer& d) {
         w.is_stopping = true;
         d.stop();
       };
       w.closed = [&w](Wire& wire, const Error& why) {
         if (!wire.is_server || !w.is_stopping) wire.link.closed(why);
       };
     },
     "a peer that vanishes is noticed"},
    {"does not say why it closed",
     [](Wall& w) {
       w.closed = [](Wire& wire, const Error& why) {
         wire.link.closed(why.code == ErrorCode::transport_failed ? Error{} : why);
       };
     },
     "a peer that vanishes is noticed"},
    {"closes all where it should close one",
     [](Wall& w) {
       w.close = [&w](Wire& one, const Error& why) {
         one.inner->close(why);
         for (const auto& each : w.wires) {
           if (const auto wire = each.lock(); wire && wire->number != one.number) wire->inner->close(why);
         }
       };
     },
     "connections are independent"},
    {"does not hear a wake", [](Wall& w) { w.wake = [](Transport&) {}; }, "wake ends a poll"},
    {"does not hear a wake of the dialer", [](Wall& w) { w.wake_dialer = false; }, "wake ends a poll"},
    {"does not say that stop has closed",
     [](Wall& w) {
       w.stop = [&w](auto& t) {
         w.is_stopping = true;
         t->stop();
       };
       w.closed = [&w](Wire& wire, const Error& why) {
         if (!wire.is_server || !w.is_stopping) wire.link.closed(why);
       };
     },
     "stop closes everything before it returns"},
    {"does not say that the dialer's stop has closed",
     [](Wall& w) {
       w.stop_dialer = [&w](Dialer& d) {
         w.is_stopping = true;
         d.stop();
         w.is_stopping = false;
       };
       w.closed = [&w](Wire& wire, const Error& why) {
         if (wire.is_server || !w.is_stopping) wire.link.closed(why);
       };
     },
     "a dialer that stops leaves nothing open"},
    {"listens on after stop",
     [](Wall& w) {
       w.stop = [&w](auto& t) {
         t->stop();
         t = w.network->transport();
         (void)t->start(*w.acceptor);
       };
     },
     "nothing is accepted after stop"},
    {"fails a dial to nobody with another error",
     [](Wall& w) {
       w.dial = [](Dialer& d, auto done) {
         d.dial([done = std::move(done)](auto result) mutable {
           if (result) return done(std::move(result));
           done(Error{ErrorCode::invalid, "wrong on purpose", {}});
         });
       };
     },
     "nothing is accepted after stop"},
};

}  // namespace

TEST_CASE("a transport that is wrong in one way fails the check that is named after it, and no other") {
  for (const Wrong& wrong : all_wrong) {
    SUBCASE(wrong.what) { CHECK(broken_promises(wrong.twist) == wrong.broken); }
  }
  SUBCASE("delivers what is too long") {
    CHECK(broken_promises([](Wall&) {}, 1) == "a longer frame is malformed");
  }
}

TEST_CASE("the wall that the wrong transports stand behind is not itself wrong") {
  CHECK(broken_promises([](Wall&) {}).empty());
}
