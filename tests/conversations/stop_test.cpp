#include <atomic>
#include <condition_variable>
#include <mutex>

#include "support/host.h"
#include "support/troubled_storage.h"
#include "support/wire.h"

// The end: a stop in the middle of work, a storage or a callback that hangs, handles that live on.

using namespace chat;

// ---- storage

TEST_CASE("Whatever of a storage throws, each request is answered once, and all is well when it has stopped") {
  for (const StorageCall at : calls_of_an_engine) {
    for (const unsigned threads : {0u, 1u}) {
      CAPTURE(static_cast<int>(at));
      CAPTURE(threads);
      auto faults = std::make_shared<StorageFaults>();
      EngineOptions options = in_memory(threads);
      options.storage = troubled(faults);
      Engine engine = open(std::move(options));
      Session session = engine.open_session({.identity = alice_is});
      const auto one = wait(engine, alice_is, hi("bob", "one"));
      REQUIRE(one);
      faults->add({.call = at, .kind = StorageFault::Kind::throws, .times = 0});
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
      faults->clear();
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

TEST_CASE("stop returns in time though a login hangs for ever, and the authenticator outlives the call") {
  struct Told {
    std::atomic<bool> inside{false}, released{false}, returned{false}, destroyed{false};
  };
  struct Hangs final : Authenticator {
    explicit Hangs(std::shared_ptr<Told> to) : told(std::move(to)) {}
    ~Hangs() override { told->destroyed = true; }
    void authenticate(Credentials, Done<Identity> done) override {
      told->inside = true;
      until([&] { return told->released.load(); });
      if (told->destroyed) return;  // and said so below
      told->returned = true;
      done(Identity{.user = "alice"});
    }
    const std::shared_ptr<Told> told;
  };
  auto told = std::make_shared<Told>();
  {
    EngineOptions options = in_memory(1);
    options.authenticator = std::make_unique<Hangs>(told);
    Engine engine = open(std::move(options));
    Wire wire(engine);
    REQUIRE(until([&] { return engine.stats().connections == 1 && wire.is_attached(); }));
    wire.says(frame(1, 64, number(1, 1) + text(2, "x")));
    REQUIRE(until([&] { return told->inside.load(); }));
    Status stopped;
    CHECK(time_of([&] { stopped = engine.stop(200ms); }) < 5s);
    CHECK(code(stopped) == ErrorCode::timeout);
  }
  CHECK_FALSE(told->destroyed);
  told->released = true;
  CHECK(until([&] { return told->destroyed.load(); }));
  CHECK(told->returned);
}

TEST_CASE("stop closes the storage, whoever still holds a session or a link") {
  for (const unsigned threads : {0u, 1u}) {
    CAPTURE(threads);
    auto faults = std::make_shared<StorageFaults>();
    EngineOptions options = in_memory(threads);
    options.storage = troubled(faults);
    Engine engine = open(std::move(options));
    Session session = engine.open_session({.identity = alice_is});
    REQUIRE(wait(engine, alice_is, hi("bob")));
    CHECK(faults->storages() == 1);
    CHECK(engine.stop(2s));
    CHECK(faults->storages() == 0);
  }
}

TEST_CASE("A storage whose cancel lets its calls return is stopped cleanly") {
  auto faults = std::make_shared<StorageFaults>();
  EngineOptions options = in_memory(1);
  options.storage = troubled(faults);
  Engine engine = open(std::move(options));
  REQUIRE(wait(engine, alice_is, hi("bob")));
  faults->add({.call = StorageCall::commit, .kind = StorageFault::Kind::hangs, .times = 0});
  std::atomic<int> answers{0};
  engine.call(alice_is, hi("bob"), [&](Result<Sent>) { ++answers; });
  REQUIRE(faults->wait_for([&] { return faults->hanging() > 0; }, 20s));
  Status stopped(ErrorCode::invalid, "");
  CHECK(time_of([&] { stopped = engine.stop(200ms); }) < 5s);
  CHECK(stopped);
  CHECK(answers == 1);
  CHECK(faults->storages() == 0);
}

TEST_CASE("stop returns in time though a callback hangs, and what the callback needs stays") {
  std::mutex mutex;
  std::condition_variable changed;
  bool inside = false, release = false;
  std::atomic<int> answers{0};
  auto faults = std::make_shared<StorageFaults>();
  {
    EngineOptions options = in_memory(1);
    options.storage = troubled(faults);
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
    CHECK(time_of([&] { stopped = engine.stop(200ms); }) < 5s);
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
  Session slow = test.engine().open_session({.identity = {.user = "bob"}, .outbox_bytes = 10});  // not even a notice
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
  CHECK(time_of([&] { stopped = engine.stop(2s); }) < 7s);
  CHECK(stopped);
  CHECK(answers == 3);
}
