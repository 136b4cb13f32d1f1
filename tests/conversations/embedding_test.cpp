#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "support/chat.h"
#include "support/wire.h"

using namespace chat;
using std::chrono::steady_clock;

namespace {

template <class T>
ErrorCode code(const Result<T>& answer) {
  return answer ? ErrorCode::ok : answer.error().code;
}

Send hi(std::string_view to, std::string_view text = "hi") {
  return Send{.to = Direct{user(to)}, .content = {.text = std::string(text)}};
}
const Identity alice_is{.user = "alice"};

EngineOptions in_memory(unsigned threads, unsigned shards = 1) {
  EngineOptions options;
  options.storage = make_memory_storage();
  options.durability = Durability::memory;
  options.threads = threads;
  options.shards = shards;
  return options;
}

Engine open(EngineOptions options) {
  auto engine = Engine::open(std::move(options));
  REQUIRE_MESSAGE(engine, engine.error().message);
  return std::move(*engine);
}

// Real time is waited for, never slept through. False: it did not come.
bool until(const std::function<bool()>& over, std::chrono::milliseconds most = 20s) {
  const auto end = steady_clock::now() + most;
  while (!over()) {
    if (steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

std::chrono::milliseconds time_of(const std::function<void()>& what) {
  const auto start = steady_clock::now();
  what();
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - start);
}

// A storage in memory that hangs or throws where it is told to. What is told outlives it.
enum class At { nothing, commit, events, row, rows };
struct Orders {
  std::mutex mutex;
  std::condition_variable changed;
  At hangs = At::nothing, throws = At::nothing;
  bool cancel_helps = false;
  int inside = 0;
  bool destroyed = false;

  void set(At hang, At except = At::nothing) {
    std::lock_guard lock(mutex);
    hangs = hang, throws = except;
    changed.notify_all();
  }
  void wait_for(const std::function<bool()>& over) {
    std::unique_lock lock(mutex);
    REQUIRE(changed.wait_for(lock, 20s, over));
  }
};
class Troubled final : public Storage {
 public:
  explicit Troubled(std::shared_ptr<Orders> orders) : orders_(std::move(orders)) {}
  ~Troubled() override {
    std::lock_guard lock(orders_->mutex);
    orders_->destroyed = true;
    orders_->changed.notify_all();
  }
  Result<StoreInfo> open(Durability d) override { return inner_->open(d); }
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    go(At::commit);
    return inner_->commit(changes, outcome);
  }
  Result<EventPage> events(std::string_view p, Log l, Seq s, Direction d, PageLimit n) override {
    go(At::events);
    return inner_->events(p, l, s, d, n);
  }
  Result<std::optional<Row>> row(std::string_view p, Table t, std::string_view k) override {
    go(At::row);
    return inner_->row(p, t, k);
  }
  Result<RowPage> rows(std::string_view p, Table t, std::string_view a, PageLimit n) override {
    go(At::rows);
    return inner_->rows(p, t, a, n);
  }
  Result<FeedPage> feed(std::uint64_t a, PageLimit n) override { return inner_->feed(a, n); }
  void cancel() override {
    std::lock_guard lock(orders_->mutex);
    if (orders_->cancel_helps) orders_->hangs = At::nothing;
    orders_->changed.notify_all();
  }

 private:
  void go(At here) {
    std::unique_lock lock(orders_->mutex);
    ++orders_->inside;
    orders_->changed.notify_all();
    orders_->changed.wait(lock, [&] { return orders_->hangs != here; });
    --orders_->inside;
    if (orders_->throws == here) throw std::runtime_error("the host's storage");
  }
  const std::shared_ptr<Orders> orders_;
  const std::unique_ptr<Storage> inner_ = make_memory_storage();
};

// A coroutine that runs at once and is over when it is over.
struct Fire {
  struct promise_type {
    Fire get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { FAIL("an exception in a coroutine"); }
  };
};

}  // namespace

// ---- the host's loop

TEST_CASE("poll keeps to its budget, whatever is queued: ten thousand requests, five hundred sessions, a page") {
  TestEngine test = TestEngine::open();
  Engine& engine = test.engine();
  std::vector<Session> sessions;
  CreateConversation create{.conversation = "big"};
  for (int i = 0; i < 500; ++i) {
    const UserId who = user("u" + std::to_string(i));
    create.members.push_back({who});
    sessions.push_back(engine.open_session({.identity = {.user = who}}));
  }
  engine.call(Identity::system(), create);
  test.settle();
  for (int i = 0; i < 200; ++i)
    engine.call(Identity::system(), Send{.to = ConversationId("big"), .content = {.text = "m"}});
  test.settle();

  test.cost_per_item(10us);
  const auto check = [&](PollResult polled) {
    CHECK(polled.handled <= 51);
    return polled;
  };
  SUBCASE("ten thousand requests") {
    std::size_t answered = 0;
    for (int i = 0; i < 10'000; ++i) {
      engine.call(Identity{.user = user("u" + std::to_string(i % 500))}, hi("u" + std::to_string(i % 7)),
                  [&](Result<Sent> sent) { answered += sent ? 1 : 0; });
    }
    PollResult first = check(engine.poll(500us));
    CHECK(first.handled > 10);
    CHECK(first.more);
    CHECK(answered < 51);
    int polls = 0;
    while (check(engine.poll(500us)).handled > 0) REQUIRE(++polls < 100'000);
    CHECK(answered == 10'000);
  }
  SUBCASE("a message to five hundred sessions") {
    bool answered = false;
    engine.call(Identity::system(), Send{.to = ConversationId("big"), .content = {.text = "hi"}},
                [&](Result<Sent> sent) {
                  REQUIRE(sent);
                  answered = true;
                });
    PollResult first = check(engine.poll(500us));
    CHECK(first.more);
    int polls = 1;
    while (check(engine.poll(500us)).handled > 0) ++polls;
    CHECK(answered);
    CHECK(polls > 5);
    test.cost_per_item(0us);
    for (Session& session : sessions) {
      int taken = 0;
      std::string last;
      while (auto push = session.take()) ++taken, last = line(*push);
      CHECK(taken == 202);
      CHECK(last == "hi");
    }
  }
  SUBCASE("a page of history, and one after another") {
    int answered = 0;
    for (int i = 0; i < 20; ++i) {
      engine.call(Identity{.user = "u0"}, ReadHistory{.conversation = "big", .limit = 200},
                  [&](Result<HistoryPage> page) {
                    REQUIRE(page);
                    CHECK(page->events.size() == 200);
                    ++answered;
                  });
    }
    const PollResult first = check(engine.poll(500us));
    CHECK(first.more);
    CHECK(answered < 20);
    while (check(engine.poll(500us)).handled > 0) {
    }
    CHECK(answered == 20);
  }
  SUBCASE("all at once") {
    for (int i = 0; i < 10'000; ++i)
      engine.call(Identity{.user = "u1"}, ListMembers{.conversation = "big", .limit = 1});
    engine.call(Identity::system(), Send{.to = ConversationId("big"), .content = {.text = "hi"}});
    engine.call(Identity{.user = "u0"}, ReadHistory{.conversation = "big", .limit = 200});
    for (int i = 0; i < 10; ++i) CHECK(check(engine.poll(500us)).more);
    CHECK(check(engine.poll(0us)).handled == 1);
  }
}

TEST_CASE("poll says when it wants to be called again") {
  TestEngine test = TestEngine::open();
  Engine& engine = test.engine();
  test.settle();
  PollResult idle = engine.poll(1ms);
  CHECK(idle.handled == 0);
  CHECK_FALSE(idle.more);
  CHECK(idle.next > 0ms);
  CHECK(idle.next <= 1s);
  engine.call(alice_is, hi("bob"));
  CHECK(engine.poll(0us).more);
  test.settle();
  idle = engine.poll(1ms);
  CHECK(idle.next <= 1s);  // the inbox entries
}

TEST_CASE("With threads of the engine's own poll does nothing; with none, a host that sleeps is woken") {
  Engine threaded = open(in_memory(1));
  CHECK(threaded.poll(1ms).handled == 0);

  std::atomic<int> wakes{0};
  EngineOptions options = in_memory(0);
  options.runtime.wake = [&] { ++wakes; };
  Engine engine = open(std::move(options));
  while (engine.poll(1ms).more) {
  }
  const int before = wakes;
  bool done = false;
  std::thread([&] { engine.call(alice_is, hi("bob"), [&](Result<Sent>) { done = true; }); }).join();
  CHECK(wakes > before);
  while (!done) engine.poll(1ms);
}

TEST_CASE("run ends when another thread stops the engine, with threads and without") {
  for (const unsigned threads : {0u, 1u, 2u}) {
    CAPTURE(threads);
    Engine engine = open(in_memory(threads, 2));
    std::atomic<bool> answered{false};
    std::thread runner([&] { engine.run(); });
    engine.call(alice_is, hi("bob"), [&](Result<Sent> sent) { answered = static_cast<bool>(sent); });
    CHECK(until([&] { return answered.load(); }));
    CHECK(engine.stop(2s));
    runner.join();
    engine.run();  // returns at once
  }
}

TEST_CASE("run ends when a callback stops the engine") {
  for (const unsigned threads : {0u, 1u, 2u}) {
    CAPTURE(threads);
    Engine engine = open(in_memory(threads));
    Session bob = engine.open_session({.identity = {.user = "bob"}});
    std::atomic<int> answers{0};
    engine.call(alice_is, hi("bob"), [&](Result<Sent>) {
      ++answers;
      (void)engine.stop(100ms);
    });
    engine.run();
    CHECK(answers == 1);
    CHECK(time_of([&] { (void)engine.stop(2s); }) < 2500ms);
    engine.call(alice_is, hi("bob"), [&](Result<Sent> sent) {
      CHECK(code(sent) == ErrorCode::stopped);
      ++answers;
    });
    CHECK(until([&] { return answers == 2; }));  // the thread that stopped it may still be on its way out
  }
}

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

// ---- storage

TEST_CASE("Whatever of a storage throws, each request is answered once, and all is well when it has stopped") {
  for (const At at : {At::commit, At::events, At::row, At::rows}) {
    for (const unsigned threads : {0u, 1u}) {
      CAPTURE(static_cast<int>(at));
      CAPTURE(threads);
      auto orders = std::make_shared<Orders>();
      EngineOptions options = in_memory(threads);
      options.storage = std::make_unique<Troubled>(orders);
      Engine engine = open(std::move(options));
      Session session = engine.open_session({.identity = alice_is});
      const auto one = wait(engine, alice_is, hi("bob", "one"));
      REQUIRE(one);
      orders->set(At::nothing, at);
      std::atomic<int> answers{0};
      const auto counted = [&](const auto&) { ++answers; };
      session.call(Send{.to = Direct{"bob"}, .content = {.text = "two"}, .key = "two"}, counted);
      session.call(hi("carol"), counted);
      session.call(EditMessage{.conversation = one->conversation, .seq = 1, .content = {.text = "x"}}, counted);
      session.call(ReadHistory{.conversation = one->conversation}, counted);
      session.call(Sync{.conversation = one->conversation}, counted);
      session.call(ListConversations{}, counted);
      session.call(MarkRead{.conversation = one->conversation, .seq = 1}, counted);
      Session late = engine.open_session({.identity = {.user = "bob"}, .resume = session.checkpoint()});
      CHECK(until([&] {
        engine.poll(1ms);
        return answers == 7;
      }));
      orders->set(At::nothing);
      const auto again = wait(engine, alice_is, Send{.to = Direct{"bob"}, .content = {.text = "two"}, .key = "two"});
      REQUIRE_MESSAGE(again, again.error().message);
      CHECK(wait(engine, alice_is, hi("carol")));
      const auto page = wait(engine, Identity{.user = "bob"},
                             ReadHistory{.conversation = one->conversation, .direction = Direction::forward});
      REQUIRE(page);
      int twos = 0;
      for (const EventPtr& event : page->events) twos += line(*event) == "two" ? 1 : 0;
      CHECK(twos == 1);
      CHECK(engine.stop(2s));
      CHECK(answers == 7);
    }
  }
}

TEST_CASE("A cursor is on its way when the engine stops: each request is answered, and nothing is left") {
  for (int items = 0; items < 40; ++items) {
    CAPTURE(items);
    std::weak_ptr<int> held;
    int answers = 0;
    {
      Server server;
      const ConversationId id = server.group("room", {"alice", "bob"});
      Person bob(server, "bob");  // a session that is asked through holds its engine
      const auto token = std::make_shared<int>(0);
      held = token;
      for (int i = 0; i < 5; ++i) {  // one waits behind the other
        bob.session().call(MarkRead{id, 1}, [&answers, token](Result<ReadCursor>) { ++answers; });
      }
      for (int i = 0; i < items; ++i) (void)server.engine().poll(0us);
      (void)server.engine().stop(0ms);
    }
    CHECK(answers == 5);
    CHECK(held.expired());
  }
}

TEST_CASE("Whose login is on its way between two shards when the engine stops is sent away too") {
  std::vector<std::pair<std::string, Done<Identity>>> waiting;
  EngineOptions options;
  options.shards = 4;
  options.authenticator = make_authenticator(
      [&](Credentials who, Done<Identity> done) { waiting.emplace_back(who.token, std::move(done)); });
  TestEngine test = TestEngine::open(std::move(options));
  REQUIRE(test.status());
  std::vector<std::unique_ptr<Wire>> wires;
  for (int i = 0; i < 16; ++i) {
    wires.push_back(std::make_unique<Wire>(test.engine()));
    test.settle();
    wires.back()->says(frame(1, 64, number(1, 1) + text(2, "user" + std::to_string(i))));
  }
  test.settle();
  REQUIRE(waiting.size() == 16);
  for (auto& [name, done] : waiting) done(Identity{.user = user(name)});
  test.cost_per_item(2ms);  // an item a poll: a shard is told to close in the middle of its turn
  CHECK(test.engine().stop(200ms));
  for (const auto& wire : wires) {
    const auto why = Wire::farewell(wire->hears());
    REQUIRE(why);
    CHECK(why->code == ErrorCode::stopped);
  }
}

TEST_CASE("stop closes the storage, whoever still holds a session or a link") {
  for (const unsigned threads : {0u, 1u}) {
    CAPTURE(threads);
    auto orders = std::make_shared<Orders>();
    EngineOptions options = in_memory(threads);
    options.storage = std::make_unique<Troubled>(orders);
    Engine engine = open(std::move(options));
    Session session = engine.open_session({.identity = alice_is});
    REQUIRE(wait(engine, alice_is, hi("bob")));
    CHECK_FALSE(orders->destroyed);
    CHECK(engine.stop(2s));
    CHECK(orders->destroyed);
  }
}

TEST_CASE("stop returns in time though a call of the storage hangs for ever") {
  for (const At at : {At::commit, At::events, At::row, At::rows}) {
    CAPTURE(static_cast<int>(at));
    auto orders = std::make_shared<Orders>();
    std::atomic<int> answers{0};
    {
      EngineOptions options = in_memory(1, 2);
      options.storage = std::make_unique<Troubled>(orders);
      Engine engine = open(std::move(options));
      Session session = engine.open_session({.identity = alice_is});
      REQUIRE(wait(engine, alice_is, hi("bob")));
      orders->set(at);
      for (int i = 0; i < 5; ++i) {
        session.call(hi("p" + std::to_string(i)), [&, at](Result<Sent> sent) {
          CHECK_MESSAGE((code(sent) == ErrorCode::stopped || at == At::rows), name(code(sent)));
          ++answers;
        });
        session.call(ListConversations{}, [&, at](Result<ConversationsPage> page) {  // has it anything to write first?
          CHECK_MESSAGE((code(page) == ErrorCode::stopped || at == At::commit), name(code(page)));
          ++answers;
        });
      }
      orders->wait_for([&] { return orders->inside > 0; });
      Status stopped;
      CHECK(time_of([&] { stopped = engine.stop(200ms); }) < 700ms);
      REQUIRE_FALSE(stopped);
      CHECK(stopped.error().code == ErrorCode::timeout);
      CHECK(engine.stop(5s).error().code == ErrorCode::timeout);  // says the same again
      CHECK(answers == 10);
      CHECK_FALSE(orders->destroyed);
    }
    CHECK_FALSE(orders->destroyed);  // its thread still needs it
    orders->set(At::nothing);
    orders->wait_for([&] { return orders->destroyed; });
    CHECK(answers == 10);
  }
}

TEST_CASE("A storage whose cancel lets its calls return is stopped cleanly") {
  auto orders = std::make_shared<Orders>();
  orders->cancel_helps = true;
  EngineOptions options = in_memory(1);
  options.storage = std::make_unique<Troubled>(orders);
  Engine engine = open(std::move(options));
  REQUIRE(wait(engine, alice_is, hi("bob")));
  orders->set(At::commit);
  std::atomic<int> answers{0};
  engine.call(alice_is, hi("bob"), [&](Result<Sent>) { ++answers; });
  orders->wait_for([&] { return orders->inside > 0; });
  Status stopped(ErrorCode::invalid, "");
  CHECK(time_of([&] { stopped = engine.stop(200ms); }) < 700ms);
  CHECK(stopped);
  CHECK(answers == 1);
  CHECK(orders->destroyed);
}

TEST_CASE("stop returns in time though a callback hangs, and what the callback needs stays") {
  std::mutex mutex;
  std::condition_variable changed;
  bool inside = false, release = false;
  std::atomic<int> answers{0};
  auto orders = std::make_shared<Orders>();
  {
    EngineOptions options = in_memory(1);
    options.storage = std::make_unique<Troubled>(orders);
    Engine engine = open(std::move(options));
    engine.call(alice_is, hi("bob"), [&](Result<Sent>) {
      std::unique_lock lock(mutex);
      inside = true;
      changed.notify_all();
      changed.wait(lock, [&] { return release; });
      ++answers;
    });
    {
      std::unique_lock lock(mutex);
      REQUIRE(changed.wait_for(lock, 20s, [&] { return inside; }));
    }
    for (int i = 0; i < 5; ++i) engine.call(alice_is, hi("bob"), [&](Result<Sent>) { ++answers; });
    Status stopped;
    CHECK(time_of([&] { stopped = engine.stop(200ms); }) < 700ms);
    REQUIRE_FALSE(stopped);
    CHECK(stopped.error().code == ErrorCode::timeout);
  }
  {
    std::lock_guard lock(mutex);
    release = true;
    changed.notify_all();
  }
  CHECK(until([&] { return answers == 6; }));  // those behind it too, when it has gone
}

// ---- handles

TEST_CASE("Handles are moved, closed twice, and used after their engine is gone") {
  for (const unsigned threads : {0u, 1u}) {
    CAPTURE(threads);
    Session left, closed;
    std::optional<Wire> wire;
    int answers = 0;
    {
      EngineOptions options = in_memory(threads);
      options.authenticator = make_insecure_dev_authenticator();
      Engine first = open(std::move(options));
      Engine engine = std::move(first);
      left = engine.open_session({.identity = {.user = "bob"}});
      closed = engine.open_session({.identity = {.user = "bob"}});
      Session moved = std::move(closed);
      CHECK_FALSE(closed.take());
      CHECK(closed.checkpoint().empty());
      closed.close();
      closed = std::move(moved);
      closed.close();
      closed.close();
      REQUIRE(wait(engine, alice_is, hi("bob")));
      const auto push = left.take(2s);
      REQUIRE(push);
      CHECK(line(*push) == "hi");
      // Still answered, once and later: it is closed, the engine is not.
      std::atomic<int> stopped{0};
      closed.call(ListConversations{}, [&](Result<ConversationsPage> page) {
        CHECK(code(page) == ErrorCode::stopped);
        ++stopped;
      });
      CHECK(until([&] {
        engine.poll(1ms);
        return stopped == 1;
      }));
      Engine other = open(in_memory(threads));
      other = std::move(engine);  // stops what it was
      REQUIRE(wait(other, alice_is, hi("bob", "two")));
      if (threads == 0) {
        wire.emplace(other);
        while (other.poll(1ms).more) {
        }
      }
    }
    const auto two = left.take();
    REQUIRE(two);
    CHECK(line(*two) == "two");
    const auto last = left.take();
    REQUIRE(last);
    CHECK(line(*last) == "closed stopped");
    CHECK_FALSE(left.take(1ms));
    CHECK_FALSE(closed.take(1ms));
    const auto counted = [&](const auto& result) {
      CHECK(code(result) == ErrorCode::stopped);
      ++answers;
    };
    left.call(hi("bob"), counted);
    left.call(ListConversations{}, counted);
    CHECK(answers == 2);
    (void)left.checkpoint();
    if (wire) {
      wire->link().receive(frame(1, 65, ""));
      wire->link().writable();
      wire->link().closed();
    }
    left.close();
    left.close();
    CHECK_FALSE(left.take());
  }
  Link nothing;
  nothing.receive({});
  nothing.writable();
  nothing.closed();
  Session never;
  CHECK_FALSE(never.take(1ms));
  CHECK(never.checkpoint().empty());
  never.close();
}

TEST_CASE("A session that the engine has closed is answered with stopped") {
  TestEngine test = TestEngine::open();
  Session slow = test.engine().open_session({.identity = {.user = "bob"}, .outbox_bytes = 1000});
  test.settle();
  for (int i = 0; i < 50; ++i) test.engine().call(alice_is, hi("bob", std::string(100, 'x')));
  test.settle();
  CHECK(test.engine().stats().closed_slow == 1);
  std::optional<ErrorCode> answer;
  slow.call(hi("carol"), [&](Result<Sent> sent) { answer = code(sent); });
  CHECK_FALSE(answer);
  test.settle();
  CHECK(answer == ErrorCode::stopped);
}

TEST_CASE("Destroying the engine in one of its callbacks is survived") {
  for (const unsigned threads : {1u, 2u}) {
    std::optional<Engine> engine;
    engine.emplace(open(in_memory(threads, 2)));
    Session bob = engine->open_session({.identity = {.user = "bob"}});
    std::atomic<int> state{0};
    engine->call(alice_is, hi("bob"), [&](Result<Sent>) {
      (void)engine->stop(100ms);
      state = 1;
    });
    CHECK(until([&] { return state == 1; }));
    CHECK(time_of([&] { engine.reset(); }) < 2s);
    while (bob.take()) {
    }
  }
}

TEST_CASE("A callback of a stopping engine may stop it again, poll it and take from it") {
  Engine engine = open(in_memory(0));
  Session bob = engine.open_session({.identity = {.user = "bob"}});
  int answers = 0;
  for (int i = 0; i < 3; ++i) {
    engine.call(alice_is, hi("bob"), [&](Result<Sent>) {
      ++answers;
      CHECK(engine.poll(1ms).handled == 0);
      (void)bob.take(1ms);
      CHECK(time_of([&] { (void)engine.stop(5s); }) < 1s);
    });
  }
  Status stopped(ErrorCode::invalid, "");
  CHECK(time_of([&] { stopped = engine.stop(2s); }) < 2500ms);
  CHECK(stopped);
  CHECK(answers == 3);
}

TEST_CASE("Two engines in one process talk to each other from their callbacks") {
  for (const unsigned threads : {0u, 1u}) {
    CAPTURE(threads);
    Engine here = open(in_memory(threads)), there = open(in_memory(threads));
    Session listener = there.open_session({.identity = {.user = "bob"}});
    std::atomic<int> bridged{0};
    for (int i = 0; i < 50; ++i) {
      here.call(alice_is, hi("bob", std::to_string(i)), [&](Result<Sent> sent) {
        CHECK(sent);
        there.call(Identity::host("bridge"), hi("bob", "bridged"), [&](Result<Sent> other) {
          CHECK(other);
          here.call(alice_is, ListConversations{}, [&](Result<ConversationsPage> page) {
            CHECK(page);
            ++bridged;
          });
        });
        there.poll(1ms);  // one engine may be polled from the callback of another
      });
    }
    CHECK(until([&] {
      here.poll(1ms);
      there.poll(1ms);
      return bridged == 50;
    }));
    int received = 0;
    while (auto push = listener.take(received < 50 ? 5s : 0s)) received += line(*push) == "bridged" ? 1 : 0;
    CHECK(received == 50);
    CHECK(here.stats().messages == 50);
    CHECK(there.stats().messages == 50);
    CHECK(here.stop(1s));
    CHECK(wait(there, alice_is, hi("bob")));
  }
}

// ---- wait and ask

TEST_CASE("wait waits, with threads and without, and gives up at its deadline") {
  for (const unsigned threads : {0u, 1u}) {
    auto orders = std::make_shared<Orders>();
    EngineOptions options = in_memory(threads);
    options.storage = std::make_unique<Troubled>(orders);
    Engine engine = open(std::move(options));
    const auto sent = wait(engine, alice_is, hi("bob"));
    REQUIRE(sent);
    CHECK(sent->seq == 1);
    CHECK(code(wait(engine, alice_is, ReadHistory{.conversation = "nowhere"})) == ErrorCode::no_such_conversation);
    if (threads == 0) continue;
    orders->set(At::commit);
    CHECK(code(wait(engine, alice_is, hi("bob"), 20ms)) == ErrorCode::timeout);
    orders->set(At::nothing);
    CHECK(wait(engine, alice_is, hi("bob"))->seq == 3);  // it was done after all
  }
}

TEST_CASE("co_await ask goes on with the answer") {
  for (const unsigned threads : {0u, 1u}) {
    CAPTURE(threads);
    Engine engine = open(in_memory(threads));
    std::atomic<Seq> last{0};
    const auto talk = [](Engine& on, std::atomic<Seq>& to) -> Fire {
      for (int i = 0; i < 20; ++i) {
        Send request = hi("bob", std::to_string(i));
        const Result<Sent> sent = co_await ask(on, alice_is, std::move(request));
        CHECK(sent);
        if (sent) to = sent->seq;
      }
      Send bad = hi("bob", "");
      const Result<Sent> refused = co_await ask(on, alice_is, std::move(bad));
      CHECK(code(refused) == ErrorCode::invalid);
      to = 1000;
    };
    talk(engine, last);
    CHECK(until([&] {
      engine.poll(1ms);
      return last == 1000;
    }));
    Send dropped = hi("bob", "nobody waits");
    { auto asked = ask(engine, alice_is, std::move(dropped)); }
    CHECK(until([&] {
      engine.poll(1ms);
      return engine.stats().messages == 21;
    }));
  }
}

// ---- many threads

TEST_CASE("Eight threads send at once: everything arrives once, in order, with any number of shards and threads") {
  constexpr int senders = 8, each = 40;
  for (const unsigned shards : {1u, 2u, 4u}) {
    for (const unsigned threads : {0u, 1u, 2u, 4u}) {
      CAPTURE(shards);
      CAPTURE(threads);
      Engine engine = open(in_memory(threads, shards));
      const std::vector<ConversationId> groups{"g0", "g1", "g2"};
      std::vector<Member> members;
      for (int i = 0; i < senders; ++i) members.push_back({user("s" + std::to_string(i))});
      for (int i = 0; i < 4; ++i) members.push_back({user("r" + std::to_string(i))});
      for (const auto& group : groups)
        REQUIRE(wait(engine, Identity::system(), CreateConversation{.conversation = group, .members = members}));

      std::vector<Session> receivers;
      for (int i = 0; i < 4; ++i)
        receivers.push_back(engine.open_session({.identity = {.user = user("r" + std::to_string(i))}}));
      for (auto& receiver : receivers) {  // each is there before the first message
        std::atomic<bool> there{false};
        receiver.call(ListConversations{}, [&](Result<ConversationsPage>) { there = true; });
        REQUIRE(until([&] {
          engine.poll(1ms);
          return there.load();
        }));
      }
      std::thread runner;
      if (threads == 0) runner = std::thread([&] { engine.run(); });
      std::atomic<int> accepted{0}, failed{0};
      std::vector<std::thread> crowd;
      for (int s = 0; s < senders; ++s) {
        crowd.emplace_back([&, s] {
          Session own = engine.open_session({.identity = {.user = user("s" + std::to_string(s))}});
          for (int i = 0; i < each; ++i) {
            const ConversationId& to = groups[static_cast<std::size_t>(i) % groups.size()];
            Send send{.to = to,
                      .content = {.text = std::to_string(s) + " " + std::to_string(i)},
                      .key = IdempotencyKey("s" + std::to_string(s), static_cast<std::uint64_t>(i) + 1)};
            engine.call(Identity{.user = user("s" + std::to_string(s))}, std::move(send),
                        [&](Result<Sent> sent) { ++(sent ? accepted : failed); });
            (void)own.take();
          }
        });
      }
      constexpr std::size_t total = senders * each;
      const auto end = steady_clock::now() + 20s;
      for (auto& receiver : receivers) {
        std::map<ConversationId, Seq> seqs;
        std::map<std::pair<std::string, ConversationId>, int> from;
        std::size_t received = 0;
        while (received < total && steady_clock::now() < end) {
          const auto push = receiver.take(100ms);
          if (!push || !push->event()) continue;
          const Event& event = *push->event();
          Seq& seq = seqs.try_emplace(event.conversation, event.seq - 1).first->second;
          REQUIRE(event.seq == ++seq);
          if (event.seq == 1) continue;  // who came: the session may be there before that is published
          ++received;
          const std::string text = line(event);
          const int number = std::stoi(text.substr(text.find(' ') + 1));
          int& last = from.try_emplace({event.sender.string(), event.conversation}, -1).first->second;
          REQUIRE(number > last);
          last = number;
        }
        CHECK(received == total);
      }
      for (auto& thread : crowd) thread.join();
      CHECK(until([&] { return accepted + failed == static_cast<int>(total); }));
      CHECK(failed == 0);
      CHECK(engine.stop(5s));
      if (runner.joinable()) runner.join();
      CHECK(engine.stats().sessions == 0);
    }
  }
}

TEST_CASE("Sessions come and go on many threads while others talk") {
  Engine engine = open(in_memory(2, 4));
  REQUIRE(wait(engine, Identity::system(),
               CreateConversation{.conversation = "g", .members = {{"a"}, {"b"}, {"c"}, {"d"}}}));
  std::atomic<bool> over{false};
  std::vector<std::thread> crowd;
  for (const char* name : {"a", "b", "c", "d"}) {
    crowd.emplace_back([&, name] {
      Checkpoint place;
      for (int i = 0; i < 40; ++i) {
        std::atomic<int> ready{0};
        Session session =
            engine.open_session({.identity = {.user = user(name)}, .resume = place, .on_ready = [&] { ++ready; }});
        session.call(Send{.to = ConversationId("g"), .content = {.text = "hi"}});
        if (auto push = session.take(1ms); push && i % 3 == 0) (void)session.take(1ms);
        if (!session.checkpoint().empty()) place = session.checkpoint();
      }
    });
  }
  for (auto& thread : crowd) thread.join();
  CHECK(engine.stop(5s));
  CHECK(engine.stats().sessions == 0);
  CHECK(engine.stats().outbox_bytes == 0);
}

TEST_CASE("Engines are opened and closed many times, in the middle of their work") {
  for (int i = 0; i < 100; ++i) {
    Engine engine = open(in_memory(static_cast<unsigned>(i) % 4, 1u << (i % 3)));
    Session bob = engine.open_session({.identity = {.user = "bob"}});
    std::atomic<int> answers{0};
    for (int n = 0; n < 10; ++n) engine.call(alice_is, hi("bob"), [&](Result<Sent>) { ++answers; });
    if (i % 2 == 0) {
      CHECK(engine.stop(2s));
      CHECK(answers == 10);
    } else {
      Engine gone = std::move(engine);
      { Engine last = std::move(gone); }
      CHECK(answers == 10);
    }
  }
}
