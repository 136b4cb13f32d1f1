#include <doctest/doctest.h>
#include <netdb.h>
#include <sys/resource.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "transport/nets.h"

using namespace fakes;

namespace {

std::uint16_t closed_port() {  // a port that was free a moment ago
  FakeAcceptor acceptor;
  auto transport = make_tcp_transport({.port = 0});
  const auto started = transport->start(acceptor);
  REQUIRE(started);
  return started->port;
}

}  // namespace

TEST_CASE("tcp: a port in use says so, with the address") {
  FakeAcceptor acceptor;
  auto first = make_tcp_transport({.port = 0});
  const auto started = first->start(acceptor);
  REQUIRE(started);
  auto second = make_tcp_transport({.port = started->port});
  const auto refused = second->start(acceptor);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::in_use);
  CHECK(refused.error().message.find("127.0.0.1:" + std::to_string(started->port)) != std::string::npos);
  second->stop();

  first->stop();  // and is free again at once
  auto third = make_tcp_transport({.port = started->port});
  CHECK(third->start(acceptor));
}

TEST_CASE("tcp: an address that is none") {
  FakeAcceptor acceptor;
  for (const char* address : {"", "nowhere", "300.1.1.1", "192.0.2.1"}) {
    auto transport = make_tcp_transport({.address = address, .port = 0});
    const auto started = transport->start(acceptor);
    REQUIRE_FALSE(started);
    CHECK(started.error().code == ErrorCode::transport_failed);
    CHECK(started.error().message.find("cannot listen on") == 0);
    CHECK_FALSE(transport->poll(0us));
  }
}

TEST_CASE("tcp: stop closes what is open before it returns") {
  FakeAcceptor acceptor;
  auto transport = make_tcp_transport({.port = 0});
  const auto started = transport->start(acceptor);
  REQUIRE(started);
  RawSocket clients[3];
  for (RawSocket& client : clients) REQUIRE(client.connect(started->port));
  REQUIRE(until([&] { return acceptor.peers.size() == 3; }, *transport));
  acceptor.peers[1]->connection->close({ErrorCode::timeout, "", {}});  // one of them is closing already
  transport->stop();
  for (const auto& peer : acceptor.peers) {
    CHECK(peer->closes == 1);
    CHECK(peer->send("late").closed);
  }
  transport->stop();
  transport.reset();
  for (const auto& peer : acceptor.peers) peer->connection->close({});  // outlives its transport
  CHECK(acceptor.peers[0]->closes == 1);
  RawSocket late;
  CHECK_FALSE(late.connect(started->port));
}

TEST_CASE("tcp: stop from inside a callback") {
  FakeAcceptor acceptor;
  auto transport = make_tcp_transport({.port = 0});
  const auto started = transport->start(acceptor);
  REQUIRE(started);
  RawSocket client(started->port), other(started->port);
  REQUIRE(until([&] { return acceptor.peers.size() == 2; }, *transport));
  for (const auto& peer : acceptor.peers) peer->on_receive = [&] { transport->stop(); };
  REQUIRE(client.send(framed("a") + framed("b")));
  CHECK(until([&] { return acceptor.peers[0]->closes + acceptor.peers[1]->closes == 2; }, *transport));
}

TEST_CASE("tcp: stop while another thread polls") {
  FakeAcceptor acceptor;
  auto transport = make_tcp_transport({.port = 0});
  const auto started = transport->start(acceptor);
  REQUIRE(started);
  RawSocket client(started->port);
  REQUIRE(until([&] { return acceptor.peers.size() == 1; }, *transport));
  std::atomic<bool> stopped{false};
  std::thread poller([&] {
    while (!stopped) transport->poll(10s);
  });
  const auto begun = std::chrono::steady_clock::now();
  transport->stop();
  CHECK(acceptor.peers[0]->closes == 1);
  stopped = true;
  transport->wake();
  poller.join();
  CHECK(std::chrono::steady_clock::now() - begun < 5s);
}

TEST_CASE_TEMPLATE("tcp: a connection attached after the stop is told closed", Net, Plain, Secured) {
  struct Late final : Acceptor {
    void attach(std::shared_ptr<Connection> c, AttachOptions) override { connection = std::move(c); }
    std::size_t frame_bytes() const override { return 100; }
    std::shared_ptr<Connection> connection{};
  } acceptor;
  auto transport = make_tcp_transport(Net::options());
  const auto started = transport->start(acceptor);
  REQUIRE(started);
  typename Net::Socket client;
  REQUIRE(client.connect(started->port));
  REQUIRE(until([&] { return client.shake() && acceptor.connection != nullptr; }, *transport));
  transport->stop();
  CHECK(attach(acceptor.connection)->closes == 1);
}

TEST_CASE("tcp: wake ends a poll that waits, or the next one") {
  FakeAcceptor acceptor;
  auto transport = make_tcp_transport({.port = 0});
  REQUIRE(transport->start(acceptor));
  while (transport->poll(0us)) {
  }
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) transport->wake();
  CHECK_FALSE(transport->poll(10s));
  std::thread waker([&] { transport->wake(); });
  CHECK_FALSE(transport->poll(10s));
  waker.join();
  CHECK(std::chrono::steady_clock::now() - begun < 5s);
  CHECK_FALSE(transport->poll(1ms));  // a thousand wakes were one
}

#ifndef __SANITIZE_ADDRESS__  // UBSan, which comes with it here, opens pipes to look at memory, and sees ghosts without
TEST_CASE("tcp: out of file descriptors, it waits and goes on") {
  FakeAcceptor acceptor;
  auto transport = make_tcp_transport({.port = 0});
  const auto started = transport->start(acceptor);
  REQUIRE(started);
  while (transport->poll(0us)) {
  }
  RawSocket client;  // has its descriptor already
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit low = before;
  low.rlim_cur = 64;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  std::vector<int> taken;
  for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) taken.push_back(fd);
  const bool connected = client.connect(started->port);
  int handled = 0;
  for (const auto end = std::chrono::steady_clock::now() + 250ms; std::chrono::steady_clock::now() < end;) {
    handled += transport->poll(10ms);
  }
  for (int fd : taken) ::close(fd);
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK(connected);
  CHECK(acceptor.peers.empty());
  CHECK(handled >= 1);
  CHECK(handled < 10);
  CHECK(until([&] { return acceptor.peers.size() == 1; }, *transport));
}
#endif

TEST_CASE_TEMPLATE("tcp: a dialer talks to a transport, by number and by name", Net, Plain, Secured) {
  FakeAcceptor acceptor;
  auto transport = make_tcp_transport(Net::options());
  const auto started = transport->start(acceptor);
  REQUIRE(started);
  std::vector<std::string> addresses{"127.0.0.1"};
  addrinfo* found = nullptr;  // a machine may have no names at all
  if (::getaddrinfo("localhost", nullptr, nullptr, &found) == 0) {
    addresses.emplace_back("localhost");
    ::freeaddrinfo(found);
  }
  for (const std::string& address : addresses) {
    CAPTURE(address);
    acceptor.peers.clear();
    auto dialer = make_tcp_dialer({address, started->port}, 16 << 20, Net::trust());
    Error why;
    const auto client = dial(*dialer, why, *transport);
    REQUIRE(client);
    REQUIRE(until([&] { return !acceptor.peers.empty(); }, *transport, *dialer));
    const auto server = acceptor.peers[0];
    CHECK(client->send("to the server").taken == 1);
    CHECK(server->send("to the client").taken == 1);
    CHECK(until([&] { return !server->frames.empty() && !client->frames.empty(); }, *transport, *dialer));
    CHECK(server->frames == std::vector<std::string>{"to the server"});
    CHECK(client->frames == std::vector<std::string>{"to the client"});
    dialer->stop();
    CHECK(client->closes == 1);
    CHECK(until([&] { return server->closes == 1; }, *transport));
  }
}

TEST_CASE_TEMPLATE("tcp: a dialer has a bound on frames of its own", Net, Plain, Secured) {
  FakeAcceptor acceptor;
  auto transport = make_tcp_transport(Net::options());
  const auto started = transport->start(acceptor);
  REQUIRE(started);
  auto dialer = make_tcp_dialer(*started, 10, Net::trust());
  Error why;
  const auto client = dial(*dialer, why, *transport);
  REQUIRE(client);
  REQUIRE(until([&] { return !acceptor.peers.empty(); }, *transport));
  acceptor.peers[0]->send("eleven char");
  CHECK(until([&] { return client->closes == 1; }, *transport, *dialer));
  CHECK(client->reason.code == ErrorCode::malformed_frame);
}

TEST_CASE("tcp: a dial that fails says why, later") {
  Error why;
  auto dialer = make_tcp_dialer({"127.0.0.1", closed_port()});
  CHECK_FALSE(dial(*dialer, why));
  CHECK(why.code == ErrorCode::transport_failed);
  CHECK(why.message.find("cannot connect to 127.0.0.1:") == 0);
  CHECK_FALSE(dial(*dialer, why));  // and may be tried again

  auto nowhere = make_tcp_dialer({"no such host", 1});
  CHECK_FALSE(dial(*nowhere, why));
  CHECK(why.code == ErrorCode::transport_failed);
}

TEST_CASE("tcp: a dial that is under way ends with the dialer") {
  auto dialer = make_tcp_dialer({"127.0.0.1", closed_port()});
  ErrorCode first{}, second{}, late{};
  dialer->dial([&](auto result) { first = result.error().code; });
  dialer->dial([&](auto result) { second = result.error().code; });
  dialer->stop();
  CHECK(first != ErrorCode::ok);
  CHECK(second != ErrorCode::ok);
  dialer->dial([&](auto result) { late = result.error().code; });
  CHECK(late == ErrorCode::ok);
  while (dialer->poll(0us)) {
  }
  CHECK(late == ErrorCode::stopped);
}

TEST_CASE_TEMPLATE("tcp: one thread sends while another polls", Net, Plain, Secured) {
  constexpr int count = 20'000;
  FakeAcceptor acceptor;
  auto transport = make_tcp_transport(Net::options());
  const auto started = transport->start(acceptor);
  REQUIRE(started);
  auto dialer = make_tcp_dialer(*started, 16 << 20, Net::trust());
  Error why;
  const auto client = dial(*dialer, why, *transport);
  REQUIRE(client);
  REQUIRE(until([&] { return !acceptor.peers.empty(); }, *transport));
  const auto server = acceptor.peers[0];

  std::atomic<bool> has_room{true}, sent{false};
  server->on_writable = [&] { has_room = true; };
  std::thread sender([&] {
    for (int i = 0; i < count;) {
      if (!has_room.exchange(false)) {
        std::this_thread::yield();
        continue;
      }
      bool is_full = false;
      while (i < count && !is_full) {
        is_full = server->send(std::to_string(i) + std::string(500, 'x')).taken == 0;
        if (!is_full) ++i;
        if (i % 100 == 0) server->connection->pause_reading(i % 200 == 0);
      }
      if (!is_full) has_room = true;
    }
    server->connection->close({ErrorCode::stopped, "", {}});
    sent = true;
  });
  CHECK(until([&] { return client->closes == 1; }, *transport, *dialer));
  sender.join();
  CHECK(client->frames.size() == count);
  for (std::size_t i = 0; i < client->frames.size(); ++i) {
    if (!client->frames[i].starts_with(std::to_string(i) + "x")) FAIL_CHECK(i);
  }
  CHECK(until([&] { return server->closes == 1; }, *transport));
}
