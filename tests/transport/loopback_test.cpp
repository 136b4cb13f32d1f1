#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <chatcore/testing.h>

#include "transport/fakes.h"

using namespace fakes;

namespace {

struct Net {
  explicit Net(std::size_t frame_bytes = 1 << 20) : acceptor(frame_bytes) { REQUIRE(transport->start(acceptor)); }

  std::shared_ptr<Peer> connect() {
    Error why;
    auto client = dial(*dialer, why);
    REQUIRE(client);
    REQUIRE(transport->poll(0us));
    server = acceptor.peers.back();
    return client;
  }
  void settle() {
    while (transport->poll(0us) || dialer->poll(0us)) {
    }
  }

  Loopback loopback{};
  FakeAcceptor acceptor;
  std::unique_ptr<Transport> transport = loopback.transport();
  std::unique_ptr<Dialer> dialer = loopback.dialer();
  std::shared_ptr<Peer> server{};
};

}  // namespace

TEST_CASE("loopback: frames are handed over one a poll, in order, by the side that receives them") {
  Net net;
  const auto client = net.connect();
  client->send("one");
  client->send("two");
  net.server->send("back");
  CHECK(net.server->frames.empty());
  CHECK(net.transport->poll(0us));
  CHECK(net.server->frames == std::vector<std::string>{"one"});
  CHECK(net.transport->poll(0us));
  CHECK(net.server->frames == std::vector<std::string>{"one", "two"});
  CHECK_FALSE(net.transport->poll(0us));
  CHECK(client->frames.empty());
  CHECK(net.dialer->poll(0us));
  CHECK(client->frames == std::vector<std::string>{"back"});
  CHECK_FALSE(net.dialer->poll(0us));
}

TEST_CASE("loopback: connections take turns") {
  Net net;
  const auto first = net.connect();
  const auto first_server = net.server;
  const auto second = net.connect();
  for (const char* text : {"1", "2"}) first->send(text);
  second->send("3");
  net.transport->poll(0us);
  net.transport->poll(0us);
  CHECK(first_server->frames.size() == 1);
  CHECK(net.server->frames.size() == 1);
}

TEST_CASE("loopback: it takes so many frames and says when it takes more") {
  Net net;
  const auto client = net.connect();
  const std::vector<Frame> many(300, frame("x"));
  CHECK(client->connection->send(many).taken == 256);
  CHECK(client->send("x").taken == 0);
  net.dialer->poll(0us);
  CHECK(client->writables == 0);
  while (net.transport->poll(0us)) {
  }
  CHECK(net.server->frames.size() == 256);
  net.settle();
  CHECK(client->writables == 1);
  CHECK(client->send("x").taken == 1);
}

TEST_CASE("loopback: nothing is handed over while reading is paused") {
  Net net;
  const auto client = net.connect();
  net.server->connection->pause_reading(true);
  client->send("x");
  net.settle();
  CHECK(net.server->frames.empty());
  net.server->connection->pause_reading(false);
  net.settle();
  CHECK(net.server->frames.size() == 1);
}

TEST_CASE("loopback: close lets arrive what was taken, and both are told once") {
  Net net;
  const auto client = net.connect();
  net.server->send("last");
  net.server->connection->close({ErrorCode::overloaded, "enough", {}});
  net.server->connection->close({});
  CHECK(net.server->closes == 0);
  CHECK(net.server->send("late").closed);
  CHECK(client->send("late").closed);
  net.settle();
  CHECK(client->frames == std::vector<std::string>{"last"});
  CHECK(client->closes == 1);
  CHECK(client->reason.code == ErrorCode::transport_failed);
  CHECK(net.server->closes == 1);
  CHECK(net.server->reason.code == ErrorCode::overloaded);
  client->connection->close({});
  net.settle();
  CHECK(client->closes == 1);
}

TEST_CASE("loopback: a cut drops what is under way and tells both sides") {
  Net net;
  const auto client = net.connect();
  client->send("lost");
  net.server->send("lost");
  net.loopback.cut();
  CHECK(client->send("late").closed);
  net.settle();
  CHECK(client->frames.empty());
  CHECK(net.server->frames.empty());
  for (const auto& peer : {client, net.server}) {
    CHECK(peer->closes == 1);
    CHECK(peer->reason.code == ErrorCode::transport_failed);
  }
  const auto again = net.connect();
  again->send("hello");
  net.settle();
  CHECK(net.server->frames.size() == 1);
}

TEST_CASE("loopback: a cut after so many frames") {
  Net net;
  const auto client = net.connect();
  net.loopback.cut_after(2);
  for (int i = 0; i < 4; ++i) client->send(std::to_string(i));
  net.settle();
  CHECK(net.server->frames == std::vector<std::string>{"0", "1"});
  CHECK(net.server->closes == 1);
  CHECK(client->closes == 1);
  const auto again = net.connect();  // only once
  for (int i = 0; i < 4; ++i) again->send(std::to_string(i));
  net.settle();
  CHECK(net.server->frames.size() == 4);
  net.loopback.cut_after(0);
  net.settle();
  CHECK(again->closes == 1);
}

TEST_CASE("loopback: new connections can be refused, and need a listener") {
  Net net;
  Error why;
  net.loopback.refuse(true);
  CHECK_FALSE(dial(*net.dialer, why));
  CHECK(why.code == ErrorCode::transport_failed);
  net.loopback.refuse(false);
  CHECK(net.connect());
  net.transport->stop();
  CHECK(net.server->closes == 1);
  CHECK_FALSE(dial(*net.dialer, why));

  auto second = net.loopback.transport();  // an engine that was opened again
  CHECK(second->start(net.acceptor));
  auto third = net.loopback.transport();
  const auto started = third->start(net.acceptor);
  REQUIRE_FALSE(started);
  CHECK(started.error().code == ErrorCode::in_use);
}

TEST_CASE("loopback: stop tells its own side before it returns, and the other in its poll") {
  Net net;
  const auto client = net.connect();
  net.server->send("last");
  net.transport->stop();
  CHECK(net.server->closes == 1);
  CHECK_FALSE(net.transport->poll(0us));
  CHECK(client->closes == 0);
  net.settle();
  CHECK(client->frames.size() == 1);
  CHECK(client->closes == 1);

  bool told = false;
  net.dialer->dial([&](auto result) { told = !result; });
  CHECK_FALSE(told);
  net.dialer->stop();
  CHECK(told);
}

TEST_CASE("loopback: the listener's bound on frames holds here too") {
  Net net(3);
  const auto client = net.connect();
  client->send("abc");
  client->send("abcd");
  net.settle();
  CHECK(net.server->frames == std::vector<std::string>{"abc"});
  CHECK(net.server->reason.code == ErrorCode::malformed_frame);
  CHECK(client->closes == 1);
}

TEST_CASE("loopback: wake ends a poll that waits") {
  Net net;
  const auto begun = std::chrono::steady_clock::now();
  net.transport->wake();
  CHECK_FALSE(net.transport->poll(10s));
  std::thread waker([&] { net.dialer->wake(); });
  CHECK_FALSE(net.dialer->poll(10s));
  waker.join();
  CHECK(std::chrono::steady_clock::now() - begun < 5s);
}

TEST_CASE("loopback: the two sides and a sender in threads of their own") {
  constexpr std::size_t count = 20'000;
  Net net;
  const auto client = net.connect();
  std::atomic<bool> has_room{true}, stopped{false};
  client->on_writable = [&] { has_room = true; };
  std::atomic<std::size_t> received{0};
  net.server->on_receive = [&] { ++received; };
  std::thread dialer([&] {
    while (!stopped) net.dialer->poll(1ms);
  });
  std::thread sender([&] {
    for (std::size_t i = 0; i < count;) {
      if (client->send(std::to_string(i)).taken == 1) {
        ++i;
      } else {
        while (!has_room.exchange(false)) std::this_thread::yield();
      }
    }
  });
  CHECK(until([&] { return received == count; }, *net.transport));
  sender.join();
  stopped = true;
  net.dialer->wake();
  dialer.join();
  for (std::size_t i = 0; i < count; ++i) {
    if (net.server->frames[i] != std::to_string(i)) FAIL_CHECK(i);
  }
}
