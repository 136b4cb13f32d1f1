#include <doctest/doctest.h>

#include <numeric>
#include <string>
#include <vector>

#include "transport/nets.h"
#include "transport/tcp/frames.h"

using namespace fakes;

namespace {

// Cuts what a raw socket receives into frames.
struct Received {
  template <class Socket>
  bool read(Socket& from) {
    std::string more;
    const bool is_open = from.receive(more);
    cutter.feed(bytes(more), [&](std::span<const std::byte> frame) {
      frames.push_back(text(frame));
      return true;
    });
    return is_open;
  }
  tcp::FrameCutter cutter{1 << 20};
  std::vector<std::string> frames{};
};

// Frame number i: large, and told from all others.
std::string large(std::size_t i) {
  return std::to_string(i) + std::string(20'000 + i % 7, static_cast<char>('a' + i % 26));
}

}  // namespace

TEST_CASE_TEMPLATE("tcp: frames that come byte by byte", Net, Plain, Secured) {
  Server<Net> server;
  typename Net::Socket client;
  const auto peer = server.accept(client);
  for (char c : framed("hello") + framed("world")) {
    REQUIRE(client.send(std::string(1, c)));
    server.transport->poll(1ms);
  }
  CHECK(until([&] { return peer->frames.size() == 2; }, *server.transport));
  CHECK(peer->frames == std::vector<std::string>{"hello", "world"});
}

TEST_CASE_TEMPLATE("tcp: many frames in one segment", Net, Plain, Secured) {
  Server<Net> server;
  typename Net::Socket client;
  const auto peer = server.accept(client);
  std::string all;
  for (int i = 0; i < 1000; ++i) all += framed(std::to_string(i));
  REQUIRE(client.send(all));
  REQUIRE(until([&] { return peer->frames.size() == 1000; }, *server.transport));
  for (std::size_t i = 0; i < 1000; ++i) CHECK(peer->frames[i] == std::to_string(i));
}

TEST_CASE_TEMPLATE("tcp: a frame of the largest size passes, a longer or empty one closes the connection", Net, Plain,
                   Secured) {
  constexpr std::size_t most = 100'000;
  Server<Net> server(most);
  {
    typename Net::Socket client;
    const auto peer = server.accept(client);
    REQUIRE(client.send(framed(std::string(most, 'x'))));
    CHECK(until([&] { return peer->frames.size() == 1; }, *server.transport));
    CHECK(peer->frames[0].size() == most);
  }
  for (const std::string& header : {std::string("\0\0\0\0", 4), framed(std::string(most + 1, 'x')).substr(0, 4),
                                    std::string("\x7f\xff\xff\xff", 4), std::string("\xff\xff\xff\xff", 4)}) {
    typename Net::Socket client;
    const auto peer = server.accept(client);
    REQUIRE(client.send(framed("before") + header));
    REQUIRE(until([&] { return peer->closes == 1; }, *server.transport));
    CHECK(peer->reason.code == ErrorCode::malformed_frame);
    CHECK(peer->frames == std::vector<std::string>{"before", ""});  // the empty one says so
    CHECK(peer->send("late").closed);
    std::string rest;
    CHECK(until([&] { return !client.receive(rest); }, *server.transport));
  }
}

TEST_CASE_TEMPLATE("tcp: sends do not block, and all that was taken arrives in order", Net, Plain, Secured) {
  constexpr std::size_t count = 3000;
  Server<Net> server;
  typename Net::Socket client;
  const auto peer = server.accept(client);
  std::size_t sent = 0;
  bool is_full = false;
  const auto send_more = [&] {
    is_full = false;
    while (sent < count && !is_full) {
      std::vector<Frame> some;
      for (std::size_t i = sent; i < std::min(sent + 100, count); ++i) some.push_back(frame(large(i)));
      const SendResult result = peer->connection->send(some);
      CHECK_FALSE(result.closed);
      is_full = result.taken < some.size();
      sent += result.taken;
    }
  };
  peer->on_writable = send_more;
  send_more();
  CHECK(is_full);
  CHECK(sent < count);
  for (int i = 0; i < 20; ++i) server.transport->poll(1ms);
  CHECK(peer->writables == 0);  // nobody reads

  Received received;
  REQUIRE(until([&] { return received.read(client) && received.frames.size() == count; }, *server.transport));
  for (std::size_t i = 0; i < count; ++i) {
    if (received.frames[i] != large(i)) FAIL_CHECK(i);
  }
  CHECK(peer->writables > 0);
}

TEST_CASE_TEMPLATE("tcp: a frame larger than all that the network holds arrives whole", Net, Plain, Secured) {
  Server<Net> server;
  typename Net::Socket client;
  const auto peer = server.accept(client);
  std::string text(24 << 20, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 + (i >> 16));
  CHECK(peer->send(text).taken == 1);
  CHECK(peer->send("behind").taken == 0);
  std::string got;
  REQUIRE(until([&] { return client.receive(got) && got.size() >= text.size() + 4; }, *server.transport));
  CHECK(got == framed(text));
  CHECK(until([&] { return peer->writables == 1; }, *server.transport));
}

TEST_CASE_TEMPLATE("tcp: small frames one by one, to the last that is taken", Net, Plain, Secured) {
  Server<Net> server;
  typename Net::Socket client;
  const auto peer = server.accept(client);
  std::string sent;
  SendResult result;
  for (int i = 0; (result = peer->send(std::to_string(i) + std::string(500, 'x'))).taken == 1; ++i) {
    sent += framed(std::to_string(i) + std::string(500, 'x'));
  }
  CHECK_FALSE(result.closed);
  std::string got;
  CHECK(until([&] { return client.receive(got) && got.size() >= sent.size(); }, *server.transport));
  CHECK(got == sent);
  CHECK(until([&] { return peer->writables == 1; }, *server.transport));
}

TEST_CASE_TEMPLATE("tcp: writable comes once for each send that took less", Net, Plain, Secured) {
  Server<Net> server;
  typename Net::Socket client;
  const auto peer = server.accept(client);
  const std::vector<Frame> many(1000, frame(large(0)));
  std::size_t taken = 0;
  for (int i = 0; i < 5; ++i) taken += peer->connection->send(many).taken;
  Received received;
  REQUIRE(until([&] { return received.read(client) && received.frames.size() == taken; }, *server.transport));
  for (int i = 0; i < 20; ++i) server.transport->poll(1ms);
  CHECK(peer->writables == 1);
  CHECK(peer->send("x").taken == 1);
}

TEST_CASE_TEMPLATE("tcp: while reading is paused nothing is read", Net, Plain, Secured) {
  Server<Net> server;
  typename Net::Socket client;
  const auto peer = server.accept(client);
  peer->connection->pause_reading(true);
  REQUIRE(client.send(framed("one")));
  for (int i = 0; i < 20; ++i) server.transport->poll(1ms);
  CHECK(peer->frames.empty());
  peer->connection->pause_reading(false);
  CHECK(until([&] { return peer->frames.size() == 1; }, *server.transport));

  // From inside receive: what lies in the same segment may still come, what comes later does not.
  peer->on_receive = [&] { peer->connection->pause_reading(true); };
  REQUIRE(client.send(framed("two")));
  CHECK(until([&] { return peer->frames.size() == 2; }, *server.transport));
  REQUIRE(client.send(framed("three")));
  for (int i = 0; i < 20; ++i) server.transport->poll(1ms);
  CHECK(peer->frames.size() == 2);
  peer->connection->pause_reading(false);
  CHECK(until([&] { return peer->frames.size() == 3; }, *server.transport));
}

TEST_CASE_TEMPLATE("tcp: close sends first what was taken, and is told once", Net, Plain, Secured) {
  Server<Net> server;
  typename Net::Socket client;
  const auto peer = server.accept(client);
  REQUIRE(client.send(framed("unread by the time of the close")));
  const std::vector<Frame> many(1000, frame(large(0)));
  const std::size_t taken = peer->connection->send(many).taken;
  CHECK(taken < many.size());
  const Error why{ErrorCode::overloaded, "enough", {}};
  peer->connection->close(why);
  peer->connection->close({});
  CHECK(peer->closes == 0);  // never inside the call
  CHECK(peer->send("late").closed);

  Received received;
  CHECK(until([&] { return !received.read(client); }, *server.transport));
  CHECK(received.frames.size() == taken);
  CHECK_FALSE(client.was_reset());
  client.close();
  REQUIRE(until([&] { return peer->closes == 1; }, *server.transport));
  CHECK(peer->reason.code == ErrorCode::overloaded);
  CHECK(peer->writables == 0);
  peer->connection->close({});
  peer->connection->pause_reading(true);
  peer->connection->pause_reading(false);
  for (int i = 0; i < 5; ++i) server.transport->poll(1ms);
  CHECK(peer->closes == 1);
}

TEST_CASE_TEMPLATE("tcp: close from inside receive ends the frames", Net, Plain, Secured) {
  Server<Net> server;
  typename Net::Socket client;
  const auto peer = server.accept(client);
  peer->on_receive = [&] {
    peer->send("goodbye");
    peer->connection->close({});
  };
  REQUIRE(client.send(framed("one") + framed("two")));
  Received received;
  CHECK(until([&] { return !received.read(client); }, *server.transport));
  CHECK(received.frames == std::vector<std::string>{"goodbye"});
  CHECK(peer->frames == std::vector<std::string>{"one"});
}

TEST_CASE_TEMPLATE("tcp: a peer that reads nothing is closed within two seconds", Net, Plain, Secured) {
  Server<Net> server;
  typename Net::Socket client;
  const auto peer = server.accept(client);
  const std::vector<Frame> many(1000, frame(large(0)));
  peer->connection->send(many);
  const auto begun = std::chrono::steady_clock::now();
  peer->connection->close({});
  CHECK(until([&] { return peer->closes == 1; }, *server.transport));
  CHECK(std::chrono::steady_clock::now() - begun < 2s);
}

TEST_CASE_TEMPLATE("tcp: a peer that goes away", Net, Plain, Secured) {
  Server<Net> server;
  typename Net::Socket client;
  const auto peer = server.accept(client);
  REQUIRE(client.send(framed("last") + "\1"));
  client.close();
  REQUIRE(until([&] { return peer->closes == 1; }, *server.transport));
  CHECK(peer->reason.code == ErrorCode::transport_failed);
  CHECK(peer->frames == std::vector<std::string>{"last"});
  CHECK(peer->send("late").closed);
}

TEST_CASE_TEMPLATE("tcp: a peer's address is ip:port", Net, Plain, Secured) {
  Server<Net> server;
  typename Net::Socket client;
  const auto peer = server.accept(client);
  CHECK(peer->connection->peer_address().starts_with("127.0.0.1:"));
}
