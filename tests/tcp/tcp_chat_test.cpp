#include <atomic>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "support/host.h"
#include "support/wire.h"
#include "transport/nets.h"

using namespace chat;
using fakes::Plain;
using fakes::RawSocket;
using fakes::Secured;
using Lines = std::vector<std::string>;

// The whole way, over real sockets.

namespace {

template <class Net>
struct House {
  explicit House(unsigned shards = 1, unsigned threads = 1, Limits limits = {})
      : engine(open(shards, threads, limits)) {
    auto endpoint = engine.listen(make_tcp_transport(Net::options()));
    REQUIRE_MESSAGE(endpoint, endpoint.error().message);
    CHECK(endpoint->port != 0);
    port = endpoint->port;
  }
  static Engine open(unsigned shards, unsigned threads, Limits limits) {
    EngineOptions options;
    options.limits = without_rates();
    options.storage = make_memory_storage();
    options.durability = Durability::memory;
    options.authenticator = make_insecure_dev_authenticator();
    options.shards = shards;
    options.threads = threads;
    options.limits = limits;
    auto engine = Engine::open(std::move(options));
    REQUIRE_MESSAGE(engine, engine.error().message);
    return std::move(*engine);
  }
  Client client(std::string name, std::optional<Checkpoint> resume = {}) {
    ClientOptions options;
    options.server = {"127.0.0.1", port};
    options.tls = Net::trust();
    options.token = [name] { return name; };
    options.resume = std::move(resume);
    options.backoff_first = 10ms;
    options.backoff_most = 100ms;
    auto client = Client::open(std::move(options));
    REQUIRE(client);
    return std::move(*client);
  }

  Engine engine;
  std::uint16_t port = 0;
};

template <Request R>
Result<typename R::Reply> ask(Client& client, R request) {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Result<typename R::Reply>> answer;
  client.call(std::move(request), [&](Result<typename R::Reply> result) {
    std::lock_guard lock(mutex);
    answer.emplace(std::move(result));
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  REQUIRE(changed.wait_for(lock, 20s, [&] { return answer.has_value(); }));
  return std::move(*answer);
}

std::string next(Client& client) {
  const auto push = client.take(20s);
  REQUIRE(push);
  return line(*push);
}

Send text_to(Target to, std::string text) { return Send{.to = to, .content = {.text = std::move(text)}}; }

// Frames of the server's, as they come.
template <class Net>
struct Raw {
  explicit Raw(std::uint16_t port) {
    REQUIRE(socket.connect(port));
    REQUIRE(until([&] { return socket.shake(); }));
  }
  bool says(const Bytes& frame) {
    return socket.send(fakes::framed({reinterpret_cast<const char*>(frame.data()), frame.size()}));
  }
  // The next frame; empty: closed before one came.
  std::optional<Heard> hears(std::chrono::milliseconds most = 20s) {
    std::optional<Heard> heard;
    until(
        [&] {
          const bool open = closed ? false : socket.receive(received);
          if (!open) closed = true;
          if (received.size() >= 4) {
            std::size_t size = 0;
            for (int i = 0; i < 4; ++i)
              size = size << 8 | static_cast<unsigned char>(received[static_cast<std::size_t>(i)]);
            if (received.size() >= 4 + size) {
              const Bytes bytes = to_bytes(std::string_view(received).substr(4, size));
              received.erase(0, 4 + size);
              const auto frame = protocol::decode_server_frame(bytes);
              REQUIRE(frame);
              heard.emplace();
              if (const auto* answer = std::get_if<protocol::Answer>(&*frame)) {
                heard->call = answer->call;
                heard->error = answer->error;
              } else if (const auto* push = std::get_if<Push>(&*frame)) {
                heard->push = *push;
              }
              return true;
            }
          }
          return closed;
        },
        most);
    return heard;
  }
  // Reads to the end; why the server closed, as far as it said.
  std::optional<ErrorCode> farewell(std::chrono::milliseconds most = 20s) {
    std::optional<ErrorCode> why;
    while (const std::optional<Heard> heard = hears(most)) {
      if (heard->push && heard->push->as<Closed>()) why = heard->push->as<Closed>()->why.code;
    }
    CHECK(closed);
    return why;
  }
  typename Net::Socket socket{};
  std::string received;
  bool closed = false;
};

}  // namespace

TEST_CASE_TEMPLATE("Clients talk over TCP, with any number of shards and threads", Net, Plain, Secured) {
  for (const unsigned shards : {1u, 2u, 4u}) {
    for (const unsigned threads : {1u, 2u, 4u}) {
      CAPTURE(shards);
      CAPTURE(threads);
      House<Net> house(shards, threads);
      Client alice = house.client("alice"), bob = house.client("bob"), carol = house.client("carol");
      for (Client* client : {&alice, &bob, &carol}) REQUIRE(ask(*client, ListConversations{}));  // logged in
      CHECK(bob.status().user.view() == "bob");
      const auto hello = ask(alice, text_to(Direct{"bob"}, "hi"));
      REQUIRE(hello);
      CHECK(hello->seq == 1);
      CHECK(next(bob) == "hi");
      REQUIRE(ask(bob, text_to(Direct{"alice"}, "hello")));
      CHECK(next(alice) == "hello");

      const auto group = ask(alice, CreateConversation{.members = {{"bob"}, {"carol"}}});
      REQUIRE(group);
      CHECK(next(bob) == "joined alice, joined bob, joined carol, role4 alice");
      CHECK(next(carol) == "joined alice, joined bob, joined carol, role4 alice");
      std::atomic<int> accepted{0};
      for (int i = 0; i < 30; ++i) {
        alice.call(text_to(group->conversation, "a" + std::to_string(i)),
                   [&](Result<Sent> sent) { accepted += sent ? 1 : 0; });
        bob.call(text_to(group->conversation, "b" + std::to_string(i)),
                 [&](Result<Sent> sent) { accepted += sent ? 1 : 0; });
      }
      std::map<char, int> last{{'a', -1}, {'b', -1}};
      Seq seq = 1;
      for (int i = 0; i < 60; ++i) {
        const auto push = carol.take(20s);
        REQUIRE(push);
        REQUIRE(push->event());
        CHECK(push->event()->seq == ++seq);
        const std::string text = line(*push);
        CHECK(std::stoi(text.substr(1)) == ++last[text[0]]);
      }
      for (int i = 0; i < 30; ++i) CHECK(next(alice) == "b" + std::to_string(i));
      for (int i = 0; i < 30; ++i) CHECK(next(bob) == "a" + std::to_string(i));
      CHECK(until([&] { return accepted == 60; }));
      CHECK(house.engine.stats().connections == 3);
      CHECK(house.engine.stats().sessions == 3);
      alice.close();
      bob.close();
      carol.close();
      CHECK(until([&] { return house.engine.stats().connections == 0; }));
      CHECK(house.engine.stats().outbox_bytes == 0);
    }
  }
}

TEST_CASE_TEMPLATE("A client dies, and another comes back with what it had kept, and misses nothing", Net, Plain,
                   Secured) {
  House<Net> house(2, 2);
  Client alice = house.client("alice");
  REQUIRE(ask(alice, text_to(Direct{"bob"}, "0")));
  Checkpoint kept;
  int seen = 0;
  {
    Client bob = house.client("bob");
    REQUIRE(ask(bob, ListConversations{}));
    for (int i = 1; i <= 5; ++i) REQUIRE(ask(alice, text_to(Direct{"bob"}, std::to_string(i))));
    for (int i = 1; i <= 3; ++i) CHECK(next(bob) == std::to_string(i));
    seen = 3;
    kept = bob.checkpoint();
    REQUIRE_FALSE(kept.empty());
  }
  for (int i = 6; i <= 150; ++i) REQUIRE(ask(alice, text_to(Direct{"bob"}, std::to_string(i))));
  Client bob = house.client("bob", kept);
  while (seen < 150) CHECK(next(bob) == std::to_string(++seen));
  REQUIRE(ask(alice, text_to(Direct{"bob"}, "live")));
  CHECK(next(bob) == "live");
}

TEST_CASE_TEMPLATE("Two hundred connections at once are all answered", Net, Plain, Secured) {
  for (const unsigned threads : {1u, 4u}) {
    House<Net> house(threads, threads);
    std::vector<std::unique_ptr<Raw<Net>>> crowd;
    for (int i = 0; i < 200; ++i) crowd.push_back(std::make_unique<Raw<Net>>(house.port));
    for (std::size_t i = 0; i < crowd.size(); ++i) {
      REQUIRE(crowd[i]->says(frame(1, 64, number(1, 1) + text(2, "u" + std::to_string(i)))));
      REQUIRE(crowd[i]->says(frame(2, 1, text(1, text(2, "hub")) + text(2, text(1, "hi")))));
    }
    for (auto& one : crowd) {
      for (const std::uint64_t call : {1u, 2u}) {
        std::optional<Heard> heard;
        do heard = one->hears();
        while (heard && heard->call == 0);
        REQUIRE(heard);
        CHECK(heard->call == call);
        CHECK_FALSE(heard->error);
      }
    }
    CHECK(house.engine.stats().connections == 200);
    CHECK(house.engine.stats().sessions == 200);
    CHECK(house.engine.stats().messages == 200);
    crowd.clear();
    CHECK(until([&] { return house.engine.stats().connections == 0; }));
  }
}

TEST_CASE_TEMPLATE("Bytes that are not the protocol close that connection with a reason, and no other", Net, Plain,
                   Secured) {
  House<Net> house;
  Client alice = house.client("alice");
  REQUIRE(ask(alice, ListConversations{}));
  const auto close_reason = [&](const std::string& bytes) {
    Raw<Net> raw(house.port);
    raw.socket.send(bytes);
    return raw.farewell();
  };
  CHECK(close_reason(fakes::framed("\xff\xff\xff")) == ErrorCode::malformed_frame);
  CHECK(close_reason(fakes::framed(std::string(1000, '\x0b'))) == ErrorCode::malformed_frame);
  // A length that cannot be is refused before anything is kept of it.
  for (const std::string& length : {std::string("\xff\xff\xff\xff"), std::string("\x7f\xff\xff\xff"),
                                    std::string("\x00\x04\x00\x01", 4), std::string(4, '\0')}) {
    CHECK(close_reason(length + std::string(100, 'x')) == ErrorCode::malformed_frame);
  }
  CHECK(close_reason("GET / HTTP/1.1\r\n\r\n") == ErrorCode::malformed_frame);
  CHECK(until([&] { return house.engine.stats().closed_malformed >= 6; }));
  REQUIRE(ask(alice, text_to(Direct{"bob"}, "still here")));
  CHECK(house.engine.stats().connections == 1);
}

TEST_CASE_TEMPLATE("Half a frame and then silence, or nothing at all, is closed when the time for a login is over", Net,
                   Plain, Secured) {
  House<Net> house(1, 1, {.login = 200ms});
  Raw<Net> half(house.port), nothing(house.port), logged_in(house.port);
  half.socket.send(fakes::framed(std::string(100, 'x')).substr(0, 50));
  logged_in.says(frame(1, 64, number(1, 1) + text(2, "alice")));
  CHECK(half.farewell(5s) == ErrorCode::timeout);
  CHECK(nothing.farewell(5s) == ErrorCode::timeout);
  half.socket.close();
  nothing.socket.close();
  CHECK(until([&] { return house.engine.stats().connections == 1; }));
  logged_in.says(frame(2, 65, ""));
  std::optional<Heard> heard;
  do heard = logged_in.hears();
  while (heard && heard->call != 2);
  CHECK(heard);
}

TEST_CASE_TEMPLATE("A frame that comes byte by byte is a frame", Net, Plain, Secured) {
  House<Net> house;
  Raw<Net> raw(house.port);
  const Bytes bytes = frame(1, 64, number(1, 1) + text(2, "alice"));
  for (const char byte : fakes::framed({reinterpret_cast<const char*>(bytes.data()), bytes.size()})) {
    REQUIRE(raw.socket.send({&byte, 1}));
  }
  const auto heard = raw.hears();
  REQUIRE(heard);
  CHECK(heard->call == 1);
  CHECK_FALSE(heard->error);
}

TEST_CASE_TEMPLATE("A peer that stops reading is cut, and harms nobody", Net, Plain, Secured) {
  House<Net> house(2, 2);
  Client alice = house.client("alice"), carol = house.client("carol");
  const auto group = ask(alice, CreateConversation{.members = {{"bob"}, {"carol"}}});
  REQUIRE(group);
  REQUIRE(ask(carol, ListConversations{}));
  Raw<Net> bob(house.port);
  bob.says(frame(1, 64, number(1, 1) + text(2, "bob")));
  REQUIRE(bob.hears());
  std::atomic<int> accepted{0};
  int sent = 0, received = 0;
  while (house.engine.stats().closed_slow == 0 && sent < 2000) {
    for (int i = 0; i < 20; ++i, ++sent) {
      alice.call(text_to(group->conversation, std::string(16'000, 'x')),
                 [&](Result<Sent> s) { accepted += s ? 1 : 0; });
    }
    REQUIRE(until([&] { return accepted == sent; }));
    while (received < sent) {
      const auto push = carol.take(20s);
      REQUIRE(push);
      if (push->as<MessagePosted>()) ++received;
    }
  }
  CHECK(house.engine.stats().closed_slow == 1);
  CHECK(until([&] { return house.engine.stats().sessions == 2; }));
  CHECK(until([&] { return house.engine.stats().connections == 2; }, 15s));
}

TEST_CASE_TEMPLATE("stop tells every client that the server stops, and returns in time", Net, Plain, Secured) {
  for (const unsigned threads : {1u, 4u}) {
    CAPTURE(threads);
    House<Net> house(threads, threads);
    std::vector<std::unique_ptr<Raw<Net>>> crowd;
    for (int i = 0; i < 20; ++i) {
      crowd.push_back(std::make_unique<Raw<Net>>(house.port));
      crowd.back()->says(frame(1, 64, number(1, 1) + text(2, "u" + std::to_string(i))));
      REQUIRE(crowd.back()->hears());
    }
    Raw<Net> not_logged_in(house.port);
    CHECK(until([&] { return house.engine.stats().connections == 21; }));
    Client client = house.client("client");
    REQUIRE(ask(client, ListConversations{}));
    Status stopped;
    CHECK(time_of([&] { stopped = house.engine.stop(20s); }) < 25s);
    CHECK(stopped);
    for (auto& one : crowd) CHECK(one->farewell() == ErrorCode::stopped);
    CHECK(not_logged_in.farewell() == ErrorCode::stopped);
    CHECK(until([&] { return !client.status().connected; }));
    CHECK(house.engine.stats().connections == 0);
    RawSocket late;
    CHECK_FALSE(late.connect(house.port));
  }
}

TEST_CASE_TEMPLATE("stop returns in time though a peer reads nothing", Net, Plain, Secured) {
  House<Net> house;
  Client alice = house.client("alice");
  Raw<Net> bob(house.port);
  bob.says(frame(1, 64, number(1, 1) + text(2, "bob")));
  REQUIRE(bob.hears());
  std::atomic<int> accepted{0};
  for (int i = 0; i < 200; ++i)
    alice.call(text_to(Direct{"bob"}, std::string(16'000, 'x')), [&](Result<Sent> s) { accepted += s ? 1 : 0; });
  REQUIRE(until([&] { return accepted == 200; }));
  CHECK(time_of([&] { (void)house.engine.stop(500ms); }) < 1s);
}

TEST_CASE_TEMPLATE("A client goes on where it was when its server comes back on the same port", Net, Plain, Secured) {
  std::atomic<int> accepted{0};
  std::optional<House<Net>> house;
  house.emplace();
  const std::uint16_t port = house->port;
  Client alice = house->client("alice");
  REQUIRE(ask(alice, text_to(Direct{"bob"}, "before")));
  (void)house->engine.stop(1s);
  alice.call(text_to(Direct{"bob"}, "while it was away"), [&](Result<Sent> sent) { accepted += sent ? 1 : 0; });
  Engine again = House<Net>::open(1, 1, {});
  std::optional<Result<Endpoint>> endpoint;
  REQUIRE(until([&] {
    TcpOptions options = Net::options();
    options.port = port;
    endpoint = again.listen(make_tcp_transport(std::move(options)));
    return static_cast<bool>(*endpoint);
  }));
  CHECK((*endpoint)->port == port);
  CHECK(until([&] { return accepted == 1; }));
}

TEST_CASE("A port that is in use is said to be") {
  using Net = Plain;
  House<Net> house;
  Engine other = House<Net>::open(1, 1, {});
  auto taken = other.listen(make_tcp_transport({.port = house.port}));
  REQUIRE_FALSE(taken);
  CHECK(taken.error().code == ErrorCode::in_use);
  CHECK(taken.error().message.find(std::to_string(house.port)) != std::string::npos);
  CHECK(other.listen(make_tcp_transport({.address = "not an address", .port = 0})).error().code ==
        ErrorCode::transport_failed);
  CHECK(other.listen(make_tcp_transport({.port = 0})));  // it goes on
  CHECK(other.listen(make_tcp_transport({.port = 0})));  // on two ports, if one likes
}
