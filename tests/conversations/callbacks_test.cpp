#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>

#include "support/host.h"
#include "support/wire.h"

// What the engine calls is the host's code: it may throw, call back, answer late or never.

using namespace chat;

// ---- callbacks

TEST_CASE("Every request is answered exactly once, and never inside the call") {
  TestEngine test = TestEngine::open();
  Engine& engine = test.engine();
  Session session = engine.open_session({.identity = alice_is});
  test.settle();
  int answers = 0, asked = 0;
  bool inside = false;
  const auto counted = [&](const auto&) {
    CHECK_FALSE(inside);
    ++answers;
  };
  const auto ask = [&](auto request) {
    inside = true;
    engine.call(alice_is, request, counted);
    session.call(request, counted);
    inside = false;
    asked += 2;
  };
  const auto all = [&](const ConversationId& id, Target to, std::string_view text) {
    const Content content{.text = std::string(text)};
    ask(Send{.to = to, .content = content});
    ask(SendEphemeral{.to = to, .content = content});
    ask(EditMessage{.conversation = id, .seq = 1, .content = content});
    ask(DeleteMessage{.conversation = id, .seq = 1});
    ask(Abandon{.to = to, .key = {"i", 1}});
    ask(CreateConversation{.conversation = id});
    ask(ChangeSettings{.conversation = id});
    ask(GetConversation{.of = to});
    ask(AddMembers{.conversation = id, .members = {{"bob"}}});
    ask(RemoveMembers{.conversation = id, .users = {"bob"}});
    ask(Join{.conversation = id});
    ask(Leave{.conversation = id});
    ask(SetRole{.conversation = id, .user = "bob", .role = Role::admin});
    ask(ListMembers{.conversation = id});
    ask(ReadHistory{.conversation = id});
    ask(Sync{.conversation = id});
    ask(MarkRead{.conversation = id, .seq = 1});
    ask(ListConversations{});
  };
  all({}, Direct{}, "");  // invalid
  all("nowhere", Direct{"bob"}, "x");
  all("nowhere", ConversationId("nowhere"), "x");
  CHECK(answers == 0);
  test.settle();
  CHECK(answers == asked);
  all("nowhere", Direct{"bob"}, "x");  // under way when the engine stops
  (void)engine.stop(1s);
  CHECK(answers == asked);
}

TEST_CASE("What the host's callbacks throw goes no further") {
  std::atomic<int> wakes{0}, logs{0};
  EngineOptions options;
  options.limits = without_rates();
  options.runtime.wake = [&] {
    ++wakes;
    throw std::runtime_error("wake");
  };
  options.runtime.log = [&](LogLevel, std::string_view) {
    ++logs;
    throw std::runtime_error("log");
  };
  TestEngine test = TestEngine::open(std::move(options));
  Engine& engine = test.engine();
  int answers = 0, told = 0;
  Session bob = engine.open_session({.identity = {.user = "bob"}, .on_ready = [&] {
                                       ++told;
                                       throw std::runtime_error("on_ready");
                                     }});
  const std::uint64_t before = engine.stats().callback_exceptions;
  for (int i = 0; i < 5; ++i) {
    engine.call(alice_is, hi("bob"), [&](Result<Sent> sent) {
      CHECK(sent);
      ++answers;
      throw 42;
    });
    bob.call(ListConversations{}, [&](Result<ConversationsPage>) {
      ++answers;
      throw std::runtime_error("done");
    });
    test.settle();
  }
  CHECK(answers == 10);
  CHECK(told > 0);
  CHECK(wakes > 0);
  CHECK(engine.stats().callback_exceptions >= before + 15);
  int received = 0;
  while (bob.take()) ++received;
  CHECK(received == 5);
  // A callback that throws has left: it is no longer under way.
  for (int i = 0; i < 200; ++i) {
    bob.call(ListConversations{}, [&](Result<ConversationsPage> page) {
      CHECK(page);
      throw 1;
    });
    test.settle();
  }
}

TEST_CASE("A clock and a random source that throw take nobody down") {
  struct Moody final : Clock {
    std::shared_ptr<ManualClock> inner = std::make_shared<ManualClock>();
    std::atomic<bool> throws{false};
    TimePoint wall() override {
      if (throws) throw std::runtime_error("wall");
      return inner->wall();
    }
    SteadyTime steady() override {
      if (throws) throw std::runtime_error("steady");
      return inner->steady();
    }
  };
  auto clock = std::make_shared<Moody>();
  EngineOptions options = in_memory(0);
  options.runtime.clock = clock;
  options.runtime.random = []() -> std::uint64_t { throw std::runtime_error("random"); };
  Engine engine = open(std::move(options));
  int answers = 0;
  for (int i = 0; i < 20; ++i) {
    clock->throws = i % 2 == 1;
    engine.call(alice_is, hi("bob"), [&](Result<Sent> sent) {
      CHECK(sent);
      ++answers;
    });
    engine.call(alice_is, CreateConversation{}, [&](Result<Accepted> made) {
      CHECK(made);
      ++answers;
    });
    for (int n = 0; n < 20; ++n) engine.poll(1ms);
  }
  clock->throws = false;
  for (int n = 0; n < 20; ++n) engine.poll(1ms);
  CHECK(answers == 40);
  clock->throws = true;
  CHECK(engine.stop(1s));
}

TEST_CASE("A session that is closed hears no more of on_ready, also where it closes itself there") {
  TestEngine test = TestEngine::open();
  Engine& engine = test.engine();
  int told = 0;
  std::optional<Session> bob;
  bob.emplace(engine.open_session({.identity = {.user = "bob"}, .on_ready = [&] {
                                     ++told;
                                     if (told == 2) bob->close();
                                   }}));
  test.settle();
  const int at_first = told;
  for (int i = 0; i < 5; ++i) {
    engine.call(alice_is, hi("bob"));
    test.settle();
  }
  CHECK(told <= std::max(2, at_first));
  CHECK(engine.stats().sessions == 0);
}

TEST_CASE("What a callback asks for is not answered inside its call, also where the answer is known at once") {
  TestEngine test = TestEngine::open();
  Engine& engine = test.engine();
  bool is_inside = false;
  int answered = 0;
  engine.call(alice_is, hi("bob"), [&](Result<Sent>) {
    is_inside = true;
    engine.call(alice_is, hi("bob", ""), [&](Result<Sent> nothing_said) {
      CHECK(code(nothing_said) == ErrorCode::invalid);
      CHECK_FALSE(is_inside);
      ++answered;
    });
    is_inside = false;
  });
  test.settle();
  CHECK(answered == 1);
}

TEST_CASE("A callback may call the engine, and what it starts is done") {
  TestEngine test = TestEngine::open();
  Engine& engine = test.engine();
  int depth = 0;
  std::function<void()> go = [&] {
    engine.call(alice_is, hi("bob", std::to_string(depth)), [&](Result<Sent> sent) {
      REQUIRE(sent);
      CHECK(engine.poll(1ms).handled == 0);  // not from a callback: nothing happens
      Session session = engine.open_session({.identity = {.user = "carol"}});
      CHECK_FALSE(session.take());
      if (++depth < 100) go();
    });
  };
  go();
  test.settle();
  CHECK(depth == 100);
  CHECK(engine.stats().sessions == 0);
}

// ---- logins

TEST_CASE("An authenticator may say yes, no, nobody, twice, later, never, or throw") {
  std::vector<Done<Identity>> kept;
  std::vector<std::string> addresses;
  EngineOptions options;
  options.authenticator = make_authenticator([&](Credentials credentials, Done<Identity> done) {
    addresses.push_back(credentials.peer_address);
    const std::string& token = credentials.token;
    if (token == "yes") return done(Identity{.user = "alice", .trusted = true});
    if (token == "no") return done(Error{ErrorCode::unauthenticated, "wrong password", {}});
    if (token == "nobody") return done(Identity{});
    if (token == "twice") {
      done(Identity{.user = "alice"});
      done(Identity{.user = "mallory"});
      return done(Error{ErrorCode::forbidden, "no", {}});
    }
    if (token == "later" || token == "never") return kept.push_back(std::move(done));
    if (token == "throw") throw std::runtime_error("the host's authenticator");
    if (token == "keep and throw") {
      kept.push_back(std::move(done));
      throw std::runtime_error("the host's authenticator");
    }
    // dropped
  });
  TestEngine test = TestEngine::open(std::move(options));
  Engine& engine = test.engine();
  test.settle();
  struct LoggedIn {
    std::unique_ptr<Wire> wire;
    std::vector<Heard> heard;
  };
  const auto log_in = [&](std::string_view token) {
    LoggedIn in{std::make_unique<Wire>(engine), {}};
    test.settle();
    in.wire->says(frame(1, 64, number(1, 1) + text(2, token)));
    test.settle();
    in.heard = in.wire->hears();
    return in;
  };
  const auto answer = [](const LoggedIn& in) -> std::string {
    if (in.heard.empty()) return "nothing yet";
    if (in.heard[0].error) return std::string(name(in.heard[0].error->code));
    const auto reply = protocol::decode<protocol::LoggedIn>(in.heard[0].body);
    REQUIRE(reply);
    return reply->user.string();
  };
  CHECK(answer(log_in("yes")) == "alice");
  CHECK(addresses.back() == "by hand");
  CHECK(answer(log_in("no")) == "unauthenticated");
  CHECK(log_in("no").heard[0].error->message == "wrong password");
  CHECK(answer(log_in("nobody")) == "unauthenticated");
  CHECK(answer(log_in("twice")) == "alice");
  CHECK(answer(log_in("dropped")) == "cancelled");
  CHECK(answer(log_in("throw")) == "unauthenticated");
  CHECK(answer(log_in("keep and throw")) == "unauthenticated");
  kept.clear();

  LoggedIn later = log_in("later");
  CHECK(answer(later) == "nothing yet");
  later.wire->says(frame(2, 65, ""));  // waits for the login
  test.settle();
  std::thread([&] { kept.at(0)(Identity{.user = "bob"}); }).join();
  test.settle();
  later.heard = later.wire->hears();
  REQUIRE(later.heard.size() == 2);
  CHECK(answer(later) == "bob");
  CHECK(later.heard[1].call == 2);

  LoggedIn never = log_in("never");
  test.advance(7s);
  const auto heard = never.wire->hears();
  const auto farewell = Wire::farewell(heard);
  REQUIRE(farewell);
  CHECK(farewell->code == ErrorCode::timeout);
  CHECK(never.wire->closed().size() == 1);
  kept.at(1)(Identity{.user = "carol"});  // too late
  test.settle();
  CHECK(never.wire->hears().empty());

  // The engine clears what an authenticator must not say.
  LoggedIn trusted = log_in("yes");
  const auto denied = [&] {
    trusted.wire->says(frame(9, 8, text(1, "chosen")));
    test.settle();
    for (const Heard& h : trusted.wire->hears()) {
      if (h.call == 9) return h.error ? h.error->code : ErrorCode::ok;
    }
    return ErrorCode::ok;
  }();
  CHECK(denied == ErrorCode::forbidden);
  CHECK(engine.stats().callback_exceptions == 2);
}

TEST_CASE("A completion of a login that the host never lets go of keeps nothing of the engine alive") {
  std::vector<Done<Identity>> kept;
  std::weak_ptr<int> engine_lives;
  {
    EngineOptions options;
    options.authenticator =
        make_authenticator([&](Credentials, Done<Identity> done) { kept.push_back(std::move(done)); });
    const auto token = std::make_shared<int>();
    engine_lives = token;
    options.runtime.log = [token](LogLevel, std::string_view) {};
    TestEngine test = TestEngine::open(std::move(options));
    for (const bool hangs_up : {true, false}) {
      Wire wire(test.engine());
      test.settle();
      wire.says(frame(1, 64, number(1, 1) + text(2, "x")));
      test.settle();
      if (hangs_up) {
        wire.hang_up();
        test.settle();
      } else {
        test.advance(7s);
        CHECK(wire.closed().size() == 1);
      }
      test.settle();
      CHECK(test.engine().stats().connections == 0);
    }
    REQUIRE(kept.size() == 2);
    kept.at(0)(Identity{.user = "alice"});
    test.settle();
    CHECK(test.engine().stats().sessions == 0);
  }
  CHECK(engine_lives.expired());
  kept.at(1)(Identity{.user = "alice"});
}

TEST_CASE("A login whose identity has expired when it comes is refused, and may be tried again") {
  std::vector<Done<Identity>> kept;
  EngineOptions options;
  options.authenticator =
      make_authenticator([&](Credentials, Done<Identity> done) { kept.push_back(std::move(done)); });
  TestEngine test = TestEngine::open(std::move(options));
  Wire wire(test.engine());
  const auto logs_in = [&](std::uint64_t call, TimePoint expires) {
    test.settle();
    wire.says(frame(call, 64, number(1, 1) + text(2, "x")));
    test.settle();
    REQUIRE(kept.size() == call);
    kept.back()(Identity{.user = "alice", .expires = expires});
    test.settle();
    const auto heard = wire.hears();
    REQUIRE(heard.size() == 1);
    CHECK(heard[0].call == call);
    return heard[0].error ? heard[0].error->code : ErrorCode::ok;
  };
  const TimePoint now = test.clock().wall();
  CHECK(logs_in(1, now - 1ms) == ErrorCode::unauthenticated);
  CHECK(logs_in(2, now) == ErrorCode::unauthenticated);
  CHECK(test.engine().stats().sessions == 0);
  CHECK(logs_in(3, now + 1ms) == ErrorCode::ok);
}

TEST_CASE("One login is answered by many threads at once: one of them counts") {
  std::vector<Done<Identity>> kept;
  EngineOptions options;
  options.shards = 4;
  options.authenticator =
      make_authenticator([&](Credentials, Done<Identity> done) { kept.push_back(std::move(done)); });
  TestEngine test = TestEngine::open(std::move(options));
  std::vector<std::unique_ptr<Wire>> wires;
  for (int i = 0; i < 50; ++i) {
    wires.push_back(std::make_unique<Wire>(test.engine()));
    test.settle();
    wires.back()->says(frame(1, 64, number(1, 1) + text(2, "x")));
  }
  test.settle();
  REQUIRE(kept.size() == 50);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, who = user("user" + std::to_string(t))] {
      for (auto& done : kept) done(Identity{.user = who});
    });
  }
  for (std::thread& thread : threads) thread.join();
  test.settle();
  for (const auto& wire : wires) {
    const auto heard = wire->hears();
    REQUIRE(heard.size() == 1);
    CHECK_FALSE(heard[0].error);
  }
  CHECK(test.engine().stats().sessions == 50);
}

TEST_CASE("A login that is answered after the connection, or the engine, has gone harms nobody") {
  std::vector<Done<Identity>> kept;
  std::optional<Wire> wire;
  {
    EngineOptions options;
    options.authenticator =
        make_authenticator([&](Credentials, Done<Identity> done) { kept.push_back(std::move(done)); });
    TestEngine test = TestEngine::open(std::move(options));
    for (int i = 0; i < 2; ++i) {
      wire.emplace(test.engine());
      test.settle();
      wire->says(frame(1, 64, number(1, 1) + text(2, "x")));
      test.settle();
      if (i == 0) {
        wire->hang_up();
        test.settle();
        kept.at(0)(Identity{.user = "alice"});
        test.settle();
        CHECK(test.engine().stats().sessions == 0);
      }
    }
    REQUIRE(kept.size() == 2);
    CHECK(test.engine().stop(1s));
  }
  std::thread([&] { kept.at(1)(Identity{.user = "alice"}); }).join();
  kept.at(1)(Identity{.user = "bob"});
  wire->link().receive(frame(2, 65, ""));
  wire->link().writable();
  wire->link().closed();
}
