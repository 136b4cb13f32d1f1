#include <atomic>
#include <thread>

#include "support/host.h"

// The host drives the engine from its own loop.

using namespace chat;

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

TEST_CASE("The inbox entries of five hundred are written a few at a time, and what is said meanwhile goes in between") {
  TestEngine test = TestEngine::open();
  Engine& engine = test.engine();
  CreateConversation create{.conversation = "big"};
  for (int i = 0; i < 500; ++i) create.members.push_back({user("u" + std::to_string(i))});
  engine.call(Identity::system(), create);
  test.settle();
  const std::uint64_t before = engine.stats().commits;
  const auto commits = [&] { return engine.stats().commits - before; };

  test.clock().advance(1s);
  for (int polls = 0; commits() < 2; ++polls) {
    engine.poll(0us);  // an item
    REQUIRE(polls < 1000);
  }
  bool answered = false;
  engine.call(Identity::system(), Send{.to = ConversationId("big"), .content = {.text = "hi"}},
              [&](Result<Sent> sent) { answered = static_cast<bool>(sent); });
  while (!answered && engine.poll(0us).handled > 0) {
  }
  CHECK(answered);
  CHECK(commits() <= 5);
  test.settle();
  CHECK(commits() >= 500 / 50);
}

TEST_CASE("The storage has its turn though new requests never end") {
  TestEngine test = TestEngine::open();
  test.cost_per_item(10us);
  std::size_t accepted = 0;
  const auto ask = [&] {
    test.engine().call(alice_is, hi("bob"), [&](Result<Accepted> answer) { accepted += answer ? 1 : 0; });
  };
  for (int i = 0; i < 200; ++i) ask();
  for (int i = 0; i < 20'000 && accepted == 0; ++i) {
    ask();  // as many as a poll handles
    test.engine().poll(10us);
  }
  CHECK(accepted > 0);
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
    CHECK(time_of([&] { (void)engine.stop(2s); }) < 7s);
    engine.call(alice_is, hi("bob"), [&](Result<Sent> sent) {
      CHECK(code(sent) == ErrorCode::stopped);
      ++answers;
    });
    CHECK(until([&] { return answers == 2; }));  // the thread that stopped it may still be on its way out
  }
}
