#include "core/hub.h"
#include "core/shard.h"
#include "engine/engine_core.h"
#include "support/answers.h"
#include "support/host.h"
#include "support/wire.h"

// Logins that are over: revoked by the host, or expired.

using namespace chat;

namespace {

using Lines = std::vector<std::string>;

struct Peer {  // logged in over a connection
  Peer(Server& server, std::string_view name, DeviceId device = {}, TimePoint expires = TimePoint::max())
      : wire(server.engine(), {.identity = Identity{.user = user(name), .device = device, .expires = expires}}) {
    server.settle();
    login = wire.logs_in(server, name);
    (void)wire.hears();
  }
  std::optional<ErrorCode> farewell() {
    const auto heard = wire.hears();
    const auto why = Wire::farewell(heard);
    if (!why) return {};
    CHECK(heard.back().push);  // nothing comes after it
    CHECK(heard.back().push->as<Closed>());
    return why->code;
  }
  Wire wire;
  ErrorCode login{};
};

Session session(Server& server, std::string_view name, DeviceId device = {}, TimePoint expires = TimePoint::max()) {
  Session opened =
      server.engine().open_session({.identity = {.user = user(name), .device = device, .expires = expires}});
  server.settle();
  return opened;
}

std::string next(Session& session) {
  const auto push = session.take();
  return push ? line(*push) : "nothing";
}

}  // namespace

TEST_CASE("Whose login is revoked is sent away on every device, with a last word, and what was queued is dropped") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    EngineOptions options;
    options.shards = shards;
    Server server(std::move(options));
    Session here = session(server, "alice", "desk"), bobs = session(server, "bob");
    Peer phone(server, "alice", "phone"), tablet(server, "alice", "tablet"), bob(server, "bob");
    phone.wire.takes(0);
    REQUIRE(server.ask("carol", hi("alice", "before")));
    REQUIRE(server.ask("carol", hi("bob", "to bob")));
    server.settle();
    server.engine().revoke("alice");
    server.settle();
    CHECK(server.engine().stats().sessions == 2);  // bob's
    REQUIRE(server.ask("carol", hi("alice", "after")));
    server.settle();
    CHECK(next(here) == "closed unauthenticated");
    CHECK(next(here) == "nothing");
    phone.wire.takes(100);
    server.advance(500ms);
    CHECK(phone.farewell() == ErrorCode::unauthenticated);
    const auto heard = tablet.wire.hears();
    REQUIRE(heard.size() >= 2);
    CHECK(heard.front().push->as<MessagePosted>()->content.text == "before");
    CHECK(Wire::farewell(heard)->message == "revoked: log in again");
    CHECK(heard.back().push);
    CHECK(tablet.wire.closed().size() == 1);
    CHECK(next(bobs) == "to bob");
    CHECK(next(bobs) == "nothing");
    CHECK_FALSE(bob.farewell());
    // Whether he is let in again is the Authenticator's matter.
    Peer again(server, "alice");
    CHECK(again.login == ErrorCode::ok);
    Session back = session(server, "alice");
    CHECK(next(back) == "nothing");
    CHECK(server.engine().stats().outbox_bytes == 0);
  }
}

TEST_CASE("The login of one device is revoked, and the others stay") {
  Server server;
  Session desk = session(server, "alice", "desk"), nameless = session(server, "alice");
  Peer phone(server, "alice", "phone");
  server.engine().revoke("alice", "phone");
  server.engine().revoke("alice", "another");
  server.engine().revoke("nobody");
  server.engine().revoke(UserId());
  server.settle();
  CHECK(phone.farewell() == ErrorCode::unauthenticated);
  CHECK(next(desk) == "nothing");
  CHECK(next(nameless) == "nothing");
  CHECK(server.engine().stats().sessions == 2);
}

TEST_CASE("A connection that takes nothing is closed within a second of the revocation") {
  Server server;
  Peer phone(server, "alice");
  phone.wire.takes(0);
  server.engine().revoke("alice");
  server.settle();
  CHECK(phone.wire.closed().empty());
  server.advance(1s);
  CHECK(phone.wire.closed().size() == 1);
  CHECK(server.engine().stats().connections == 0);
}

TEST_CASE("A resume that is under way ends with the revocation") {
  for (int items = 0; items < 60; items += 3) {
    CAPTURE(items);
    Server server;
    Person alice(server, "alice");
    REQUIRE(server.ask("bob", hi("alice", "first")));
    server.advance(1s);
    (void)alice.takes();
    const Checkpoint there = alice.checkpoint();
    REQUIRE_FALSE(there.empty());
    alice.leaves();
    for (int i = 0; i < 30; ++i) REQUIRE(server.ask("user" + std::to_string(i), hi("alice", "m")));
    Session back = server.engine().open_session({.identity = alice_is, .resume = there});
    for (int i = 0; i < items; ++i) (void)one_item(server);
    server.engine().revoke("alice");
    server.settle();
    Lines lines;
    while (auto push = back.take()) lines.push_back(line(*push));
    CHECK(lines == Lines{"closed unauthenticated"});
    CHECK(server.engine().stats().sessions == 0);
  }
}

TEST_CASE("A login that was checked before the revocation does not come through it, wherever it is by then") {
  for (int items = 0; items < 30; ++items) {
    CAPTURE(items);
    Done<Identity> done;
    EngineOptions options;
    options.shards = 4;
    options.authenticator = make_authenticator([&](Credentials, Done<Identity> d) { done = std::move(d); });
    TestEngine test = TestEngine::open(std::move(options));
    std::vector<std::unique_ptr<Wire>> wires;
    for (int i = 0; i < 4; ++i) {  // in four lobbies
      wires.push_back(std::make_unique<Wire>(test.engine()));
      test.settle();
      wires.back()->says(frame(1, 64, number(1, 1) + text(2, "x")));
      test.settle();
      done(alice_is);
    }
    for (int i = 0; i < items; ++i) (void)test.engine().poll(0us);
    test.engine().revoke("alice");
    test.settle();
    test.engine().call({.user = "bob"}, hi("alice", "after"));
    test.settle();
    for (const auto& wire : wires) {
      const auto heard = wire->hears();
      const auto why = Wire::farewell(heard);
      REQUIRE(why);
      CHECK(why->code == ErrorCode::unauthenticated);
      for (const Heard& h : heard) CHECK_FALSE((h.push && h.push->event()));
    }
    CHECK(test.engine().stats().sessions == 0);
  }
}

TEST_CASE("A login that waits for the Authenticator when it is revoked is turned away; one that begins later is not") {
  std::vector<Done<Identity>> waiting;
  EngineOptions options;
  options.authenticator = make_authenticator([&](Credentials, Done<Identity> d) { waiting.push_back(std::move(d)); });
  TestEngine test = TestEngine::open(std::move(options));
  const auto begins = [&](Wire& wire) {
    test.settle();
    wire.says(frame(1, 64, number(1, 1) + text(2, "x")));
    test.settle();
  };
  Wire before(test.engine());
  begins(before);
  test.engine().revoke("alice");
  Wire after(test.engine());
  begins(after);
  REQUIRE(waiting.size() == 2);
  for (auto& done : waiting) done(alice_is);
  test.settle();
  const auto heard = before.hears();
  REQUIRE_FALSE(heard.empty());
  REQUIRE(heard.front().error);
  CHECK(heard.front().error->code == ErrorCode::unauthenticated);
  CHECK(Wire::farewell(heard));
  const auto fine = after.hears();
  CHECK_FALSE(fine.front().error);
  CHECK_FALSE(Wire::farewell(fine));
  CHECK(test.engine().stats().sessions == 1);
}

TEST_CASE("A session that is opened right after the revocation is not meant by it; one right before is") {
  Server server;
  Session before = server.engine().open_session({.identity = alice_is});
  server.engine().revoke("alice");
  Session after = server.engine().open_session({.identity = alice_is});
  server.settle();
  CHECK(next(before) == "closed unauthenticated");
  CHECK(next(after) == "nothing");
}

TEST_CASE("An identity that the host vouched for before the revocation does not log in after it, however late") {
  for (const auto later : {0s, 4s}) {
    Server server;
    Wire wire(server.engine(), {.identity = alice_is});
    server.settle();
    server.engine().revoke("alice");
    server.advance(later);
    CHECK(wire.logs_in(server, "alice") == ErrorCode::unauthenticated);
    CHECK(server.engine().stats().sessions == 0);
  }
}

TEST_CASE(
    "A revocation means the logins that began before it, in whichever order the two come, and when it is forgotten "
    "too") {
  EngineOptions options = in_memory(0);
  auto clock = std::make_shared<ManualClock>();
  options.runtime.clock = clock;
  auto engine = detail::EngineCore::open(std::move(options));
  REQUIRE(engine);
  core::Core& core = (*engine)->core();
  core::Hub& hub = core.home(user("alice")).hub();
  const auto settle = [&] {
    while ((*engine)->poll(1ms).handled > 0) {
    }
  };
  const std::uint64_t number = ++core.revocations;  // as of a thread that goes on only later
  Session after((*engine)->open_session({.identity = alice_is}));
  settle();
  hub.revoke("alice", {}, number);
  settle();
  CHECK(next(after) == "nothing");
  CHECK_FALSE(hub.may_begin(alice_is, number - 1));
  CHECK(hub.may_begin(alice_is, number));
  CHECK(hub.may_begin({.user = "bob"}, number - 1));
  clock->advance(36s);
  hub.revoke("carol", {}, ++core.revocations);
  CHECK_FALSE(hub.may_begin(alice_is, number - 1));
  CHECK_FALSE(hub.may_begin({.user = "bob"}, number - 1));  // whether he was meant is not known any more
  CHECK(hub.may_begin(alice_is, number));
  (void)(*engine)->stop(1s);
}

TEST_CASE("A client of the library that is revoked ends, and says why") {
  Server server;
  Guest alice(server, "alice");
  alice.says(Direct{"bob"}, "hi");
  server.engine().revoke("alice");
  CHECK(alice.receives() == Lines{"closed unauthenticated"});
  CHECK(code(alice.asks(hi("bob"))) == ErrorCode::unauthenticated);
}

TEST_CASE("A session that is revoked answers what is asked through it") {
  Server server;
  Person alice(server, "alice");
  const auto sent = begin(alice, hi("bob"));
  server.engine().revoke("alice");
  server.settle();
  CHECK(sent->seq == 1);  // it was under way
  CHECK(code(alice.asks(hi("bob"))) == ErrorCode::stopped);
}

// ---- expiry

TEST_CASE("A login ends within a second of its expiry, over a connection and in process") {
  Server server;
  const TimePoint expires = server.clock().wall() + 10s;
  Session here = session(server, "alice", {}, expires), stays = session(server, "alice");
  Peer phone(server, "alice", {}, expires);
  server.advance(9900ms);
  REQUIRE(server.ask("bob", hi("alice", "in time")));
  CHECK(next(here) == "in time");
  CHECK(phone.wire.hears().size() >= 1);
  server.advance(1100ms);
  REQUIRE(server.ask("bob", hi("alice", "too late")));
  CHECK(next(here) == "closed not_logged_in");
  CHECK(next(here) == "nothing");
  CHECK(phone.farewell() == ErrorCode::not_logged_in);
  CHECK(next(stays) == "in time");
  CHECK(next(stays) == "too late");
}

TEST_CASE("From its expiry on a session's requests are refused, though it is not closed yet") {
  Server server;
  Session here = session(server, "alice", {}, server.clock().wall() + 10s);
  server.clock().advance(10s);
  std::optional<ErrorCode> answer;
  here.call(hi("bob"), [&](Result<Sent> sent) { answer = code(sent); });
  server.settle();
  CHECK(answer == ErrorCode::not_logged_in);
}

TEST_CASE("Expiry is wall time: a jump of the clock ends logins, and a jump back does not") {
  Server server;
  Session here = session(server, "alice", {}, server.clock().wall() + std::chrono::hours(1));
  Peer phone(server, "alice", {}, server.clock().wall() + std::chrono::hours(1));
  server.clock().jump(-std::chrono::hours(24));
  server.advance(2s);
  CHECK(next(here) == "nothing");
  server.clock().jump(std::chrono::hours(25));
  server.advance(1s);
  CHECK(next(here) == "closed not_logged_in");
  CHECK(phone.farewell() == ErrorCode::not_logged_in);
}

TEST_CASE("Who comes with an expired identity is not let in") {
  Server server;
  const TimePoint over = server.clock().wall();
  Session here = session(server, "alice", {}, over);
  CHECK(next(here) == "closed not_logged_in");
  Peer phone(server, "alice", {}, over);
  CHECK(phone.login == ErrorCode::unauthenticated);
  CHECK(server.engine().stats().sessions == 0);
}
