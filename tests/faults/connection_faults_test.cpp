#include <doctest/doctest.h>

#include <chatcore/testing.h>

#include "transport/fakes.h"

using namespace fakes;

namespace {

// Loopback, with faults at the listener's side or at the dialer's.
struct Net {
  explicit Net(bool at_server = true) {
    if (at_server) transport = make_faulty_transport(std::move(transport), faults);
    if (!at_server) dialer = make_faulty_dialer(std::move(dialer), faults);
    REQUIRE(transport->start(acceptor));
  }
  std::shared_ptr<Peer> connect() {
    Error why;
    auto client = dial(*dialer, why);
    REQUIRE(client);
    const std::size_t before = acceptor.peers.size();
    REQUIRE(until([&] { return acceptor.peers.size() > before; }, *transport));
    server = acceptor.peers.back();
    return client;
  }
  void settle() {
    while (transport->poll(0us) || dialer->poll(0us)) {
    }
  }

  Loopback loopback{};
  std::shared_ptr<ConnectionFaults> faults = std::make_shared<ConnectionFaults>();
  FakeAcceptor acceptor{};
  std::unique_ptr<Transport> transport = loopback.transport();
  std::unique_ptr<Dialer> dialer = loopback.dialer();
  std::shared_ptr<Peer> server{};
};

}  // namespace

TEST_CASE("a connection is cut once so many frames have come, and only that one") {
  for (const bool at_server : {true, false}) {
    Net net(at_server);
    const auto client = net.connect(), other = net.connect();
    const auto first_server = net.acceptor.peers[0];
    Peer& faulty = at_server ? *first_server : *client;
    Peer& far = at_server ? *client : *first_server;
    net.faults->cut_after(2);
    for (const char* text : {"1", "2", "3", "4"}) far.send(text);
    net.settle();
    CHECK(faulty.frames == std::vector<std::string>{"1", "2"});
    CHECK(faulty.closes == 1);
    CHECK(faulty.reason.code == ErrorCode::transport_failed);
    CHECK(far.closes == 1);
    CHECK(faulty.send("late").closed);
    CHECK(other->send("x").taken == 1);
    net.settle();
    CHECK(other->closes == 0);
    CHECK(net.faults->received() == (at_server ? 3 : 2));
  }
}

TEST_CASE("all connections are cut") {
  Net net;
  const auto one = net.connect(), two = net.connect();
  net.faults->cut_after(0);
  net.settle();
  for (const auto& peer : {one, two, net.acceptor.peers[0], net.acceptor.peers[1]}) CHECK(peer->closes == 1);
  const auto again = net.connect();
  again->send("x");
  net.settle();
  CHECK(net.server->frames.size() == 1);
}

TEST_CASE("a send takes so many frames, and writable follows in the next poll") {
  Net net;
  const auto client = net.connect();
  net.faults->take_at_most(2);
  std::vector<Frame> waiting;
  for (int i = 0; i < 7; ++i) waiting.push_back(frame(std::to_string(i)));
  std::size_t sent = 0;
  int sends = 0;
  const auto send = [&] {
    ++sends;
    const SendResult result = net.server->connection->send(std::span(waiting).subspan(sent));
    CHECK(result.taken <= 2);
    sent += result.taken;
  };
  net.server->on_writable = send;
  send();
  CHECK(net.server->writables == 0);
  net.settle();
  CHECK(sends == 4);
  CHECK(client->frames == std::vector<std::string>{"0", "1", "2", "3", "4", "5", "6"});
  CHECK(net.faults->sent() == 7);
}

TEST_CASE("what happens reaches the link so many polls later, in order, and closed last") {
  Net net;
  const auto client = net.connect();
  net.faults->delay(3);
  client->send("1");
  client->send("2");
  client->connection->close({});
  CHECK(net.transport->poll(0us));
  net.faults->delay(0);  // what comes from now on still waits for what came before
  for (int polls = 0; polls < 2; ++polls) {
    CHECK(net.transport->poll(10s));  // does not wait while something is due
    CHECK(net.server->frames.empty());
    CHECK(net.server->closes == 0);
  }
  net.settle();
  CHECK(net.server->frames == std::vector<std::string>{"1", "2"});
  CHECK(net.server->closes == 1);
  CHECK_FALSE(net.server->was_told_after_end);
}

TEST_CASE("stop tells what was delayed before it returns") {
  Net net;
  const auto client = net.connect();
  net.faults->delay(1'000);
  client->send("1");
  CHECK(net.transport->poll(0us));
  net.transport->stop();
  CHECK(net.server->frames.size() == 1);
  CHECK(net.server->closes == 1);
}

TEST_CASE("new connections are refused, at either side") {
  for (const bool at_server : {true, false}) {
    Net net(at_server);
    net.faults->refuse(true);
    Error why;
    const auto client = dial(*net.dialer, why);
    net.settle();
    CHECK(net.acceptor.peers.size() == (at_server ? 0 : 1));
    if (at_server) {
      REQUIRE(client);
      CHECK(client->closes == 1);
    } else {
      CHECK_FALSE(client);
      CHECK(why.code == ErrorCode::transport_failed);
      CHECK(net.acceptor.peers[0]->closes == 1);
    }
    net.faults->refuse(false);
    CHECK(net.connect());
  }
}
