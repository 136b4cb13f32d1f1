#include "client/backoff.h"
#include "client/fake_server.h"

namespace chatcore::client_tests {

TEST_CASE("without a server, or without a token, there is no client") {
  CHECK(Client::open({.token = [] { return std::string(); }}).error().code == ErrorCode::invalid);
  FakeServer server;
  CHECK(Client::open({.dialer = server.dialer()}).error().code == ErrorCode::invalid);
}

TEST_CASE("alice logs in") {
  Alice alice(ClientOptions{.device = "phone"});
  CHECK(!alice.status().connected);
  CHECK(alice.server.dials() == 0);  // open() does not connect
  alice.settles();
  REQUIRE(alice.server.logins().size() == 1);
  const auto login = alice.server.logins().front();
  CHECK(login.version == protocol::version);
  CHECK(login.token == "alice's token");
  CHECK(login.device == "phone");
  CHECK(login.resume.empty());
  CHECK(alice.status().connected);
  CHECK(alice.status().user == UserId("alice"));
  CHECK(alice.status().last_error.code == ErrorCode::ok);
}

TEST_CASE("who has an answer can ask who is logged in, also where it came together with that of the login") {
  Alice alice;
  alice.server.answers_logins = false;
  std::optional<ClientStatus> status;
  alice.client->call(ListConversations{}, [&](Result<ConversationsPage> page) {
    CHECK(page);
    status = alice.client->status();
  });
  alice.settles();
  alice.server.answer(1, alice.server.welcome);
  alice.server.answer(2, ConversationsPage{});
  alice.settles();
  REQUIRE(status);
  CHECK(status->connected);
  CHECK(status->user == UserId("alice"));
}

TEST_CASE("a login refused for good ends the client, and everybody hears why") {
  for (const ErrorCode why : {ErrorCode::unauthenticated, ErrorCode::version_too_new, ErrorCode::forbidden}) {
    Alice alice;
    alice.server.refusal = Error{why, "no"};
    alice.sends("hi");
    alice.settles();
    const std::string word(name(why));
    CHECK(alice.acknowledged() == std::vector{"hi: " + word});
    CHECK(alice.hears() == std::vector{"closed: " + word});
    CHECK(alice.status().last_error.code == why);
    alice.waits(20s);
    CHECK(alice.server.dials() == 1);
    alice.sends("hello?");
    alice.settles();
    CHECK(alice.acknowledged().back() == "hello?: " + word);
    CHECK(!alice.client->take());
  }
}

TEST_CASE("a login refused for now is tried again, with a fresh token") {
  int tokens = 0;
  Alice alice(ClientOptions{.token = [&] { return std::to_string(++tokens); }});
  alice.server.refusal = Error{ErrorCode::overloaded, "later", 3s};
  alice.sends("hi");
  alice.waits(2'999ms);
  CHECK(alice.server.dials() == 1);
  CHECK(alice.status().last_error.code == ErrorCode::overloaded);
  alice.server.refusal.reset();
  alice.waits(200ms);
  CHECK(alice.status().connected);
  CHECK(alice.server.logins().back().token == "2");
  CHECK(alice.server.waiting() == 1);
}

TEST_CASE("a token function that throws is asked again") {
  int asked = 0;
  Alice alice(ClientOptions{.token = [&]() -> std::string {
    if (++asked == 1) throw 1;
    return "token";
  }});
  alice.settles();
  CHECK(!alice.status().connected);
  alice.waits(200ms);
  CHECK(alice.status().connected);
}

TEST_CASE("a server that does not answer the login is left after ten seconds") {
  Alice alice;
  alice.server.answers_logins = false;
  alice.waits(9'999ms);
  CHECK(alice.server.closed().empty());
  alice.waits(1ms);
  REQUIRE(alice.server.closed().size() == 1);
  CHECK(alice.server.closed().front().code == ErrorCode::timeout);
  alice.server.answers_logins = true;
  alice.waits(200ms);
  CHECK(alice.status().connected);
}

TEST_CASE("the pause doubles up to its limit, all of it is jitter") {
  client::Backoff backoff(100ms, 1s);
  for (const int most : {100, 200, 400, 800, 1000, 1000}) CHECK(backoff.next(most).count() == most);
  backoff.reset();
  CHECK(backoff.next(101).count() == 0);  // 0 to 100
  CHECK(backoff.next(150).count() == 150);
  client::Backoff odd(0ms, -1ms);
  CHECK(odd.next(UINT64_MAX).count() <= 1);
}

TEST_CASE("an unreachable server is dialled ever more rarely, until a login succeeds") {
  ClientOptions options{.backoff_first = 100ms, .backoff_most = 400ms};
  options.runtime.random = [] { return std::uint64_t{101} * 201 * 401 - 1; };  // always the longest
  Alice alice(std::move(options));
  alice.server.reachable(false);
  std::size_t dials = 1;
  for (const auto pause : {100ms, 200ms, 400ms, 400ms}) {
    alice.settles();
    CHECK(alice.server.dials() == dials);
    alice.waits(pause - 1ms);
    CHECK(alice.server.dials() == dials);
    alice.waits(1ms);
    CHECK(alice.server.dials() == ++dials);
  }
  alice.server.reachable(true);
  alice.waits(400ms);
  CHECK(alice.status().connected);
  alice.server.cut();
  alice.waits(99ms);
  CHECK(!alice.status().connected);
  alice.waits(1ms);
  CHECK(alice.status().connected);
}

TEST_CASE("a silent client shows that it is there") {
  Alice alice;
  alice.waits(29'999ms);
  CHECK(alice.server.pings() == 0);
  alice.waits(1ms);
  CHECK(alice.server.pings() == 1);
  alice.waits(10s);
  alice.sends("hi");  // that shows it as well
  alice.waits(29'999ms);
  CHECK(alice.server.pings() == 1);
  alice.waits(1ms);
  CHECK(alice.server.pings() == 2);
  CHECK(alice.server.logins().size() == 1);
}

TEST_CASE("a server that answers no ping is left, and found again") {
  Alice alice;
  alice.settles();
  alice.server.answers_pings = false;
  alice.waits(59'999ms);
  CHECK(alice.server.closed().empty());
  alice.waits(1ms);
  REQUIRE(alice.server.closed().size() == 1);
  CHECK(alice.server.closed().front().code == ErrorCode::timeout);
  alice.waits(200ms);
  CHECK(alice.server.logins().size() == 2);
}

TEST_CASE("a server that says nothing while alice talks is left too") {
  Alice alice;
  alice.server.welcome.session_requests = 100;
  for (int second = 0; second < 61; ++second) {
    alice.sends("anybody?");
    alice.waits(1s);
  }
  CHECK(alice.server.closed().size() == 1);
}

TEST_CASE("a frame that is none cuts the connection") {
  Alice alice;
  alice.settles();
  alice.server.say(Bytes(3, std::byte{0xff}));
  alice.settles();
  CHECK(alice.status().last_error.code == ErrorCode::malformed_frame);
  alice.waits(200ms);
  CHECK(alice.status().connected);
}

TEST_CASE("a server that closes is come back to, one that does not want alice is not") {
  Alice alice;
  alice.settles();
  alice.server.say(protocol::encode_closed({ErrorCode::stopped, "restarting", 1s}));
  alice.waits(999ms);
  CHECK(alice.server.dials() == 1);
  alice.waits(200ms);
  CHECK(alice.status().connected);
  CHECK(alice.hears().empty());
  alice.server.say(protocol::encode_closed({ErrorCode::unauthenticated, "expired"}));
  CHECK(alice.hears() == texts({"closed: unauthenticated"}));
  alice.waits(20s);
  CHECK(alice.server.dials() == 2);
}

TEST_CASE("a connection is held until it says that it is closed, and no longer") {
  Alice alice;
  alice.settles();
  for (int i = 0; i < 5; ++i) {
    alice.server.cut();
    alice.waits(200ms);
    CHECK(alice.server.alive() == 1);
    alice.server.say(protocol::encode_closed({ErrorCode::overloaded, "too slow", {}}));
    alice.waits(200ms);
    CHECK(alice.server.alive() == 1);
  }
  CHECK(alice.server.logins().size() == 11);
  alice.client->close();
  CHECK(alice.server.alive() == 0);
}

TEST_CASE("a host that does not poll costs a bounded amount, and loses nothing") {
  Alice alice;
  alice.settles();
  const Bytes large = protocol::encode_signal_push(Ephemeral{general, "bob", {.text = std::string(1 << 20, 'x')}});
  for (int i = 0; i < 100; ++i) alice.server.thrust(large);
  const std::size_t kept = alice.hears().size();
  CHECK(kept > 10);
  CHECK(kept < 30);
  REQUIRE(alice.server.closed().size() == 1);
  CHECK(alice.server.closed().front().code == ErrorCode::overloaded);
  alice.waits(200ms);
  CHECK(alice.status().connected);
}

TEST_CASE("poll keeps to its budget") {
  Alice alice;
  alice.settles();
  for (int i = 0; i < 100; ++i) alice.sends("hi");
  alice.clock->cost_per_read(100us);
  const PollResult polled = alice.client->poll(1ms);
  CHECK(polled.more);
  CHECK(polled.handled >= 9);
  CHECK(polled.handled <= 11);
}

TEST_CASE("the host is told when there is something to poll") {
  auto woken = std::make_shared<int>(0);
  ClientOptions options;
  options.runtime.wake = [woken] { ++*woken; };
  Alice alice(std::move(options));
  alice.settles();
  CHECK(*woken == 0);
  alice.sends("1");
  alice.sends("2");
  CHECK(*woken == 1);
  alice.settles();
  alice.sends("3");
  CHECK(*woken == 2);
}

}  // namespace chatcore::client_tests
