#include "support/answers.h"

// On the wire at least once; to the application, through the client library, exactly once, in order.

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

constexpr std::size_t window = 16, sends = 24;

EngineOptions with_window(unsigned shards) {
  EngineOptions options = with_shards(shards);
  options.limits.session_requests = window;
  return options;
}

// Alice sends Bob more than a window holds, and it is cut in between; both come back by themselves.
struct Letters {
  explicit Letters(unsigned shards) : server(with_window(shards)), alice(server, "alice"), bob(server, "bob") {
    together(server, {&alice, &bob});
    bob.says(Direct{"alice"}, "write to me");
    CHECK(alice.receives() == Lines{"write to me"});
  }

  void sends_all() {
    for (std::size_t n = 0; n < sends; ++n) {
      said.push_back(numbered("m", n));
      answers.push_back(begin(alice, text(Direct{"bob"}, said.back())));
    }
  }

  // One thing, of the server's or of a client's. False: there is nothing to do.
  bool one_thing() {
    for (int tried = 0; tried < 3; ++tried) {
      turn = (turn + 1) % 3;
      const auto poll = [](auto& of) { return of.poll(0us).handled > 0; };
      if (turn == 0 ? poll(server.engine()) : poll(turn == 1 ? alice.client() : bob.client())) return true;
    }
    return false;
  }

  void check_all() {
    for (int i = 0; i < 200; ++i) {
      together(server, {&alice, &bob}, 100ms);
      if (std::all_of(answers.begin(), answers.end(), [](const auto& a) { return a.came(); })) break;
    }
    for (std::size_t n = 0; n < answers.size(); ++n) CHECK(answers[n]->seq == n + 2);
    auto events = log_of(server, answers.front()->conversation, Identity{.user = user("alice")});
    check_dense(events);
    events.erase(events.begin());
    CHECK(lines_of(events) == said);
    together(server, {&alice, &bob}, 3s);
    CHECK(bob.receives() == said);
    CHECK(alice.receives().empty());
    // And so it goes on.
    CHECK(bob.says(Direct{"alice"}, "enough").seq == sends + 2);
    together(server, {&alice, &bob}, 100ms);
    CHECK(alice.receives() == Lines{"enough"});
    CHECK(bob.receives().empty());
  }

  Server server;
  Guest alice, bob;
  Lines said{};
  std::vector<Answer<Accepted>> answers{};
  int turn = 0;
};

}  // namespace

TEST_CASE("A window of 16 cut after each of its frames keeps its order, and each message arrives once") {
  for (std::size_t frames = 0; frames <= sends + 4; ++frames) {
    CAPTURE(frames);
    Letters letters(frames % 2 == 0 ? 1 : 4);
    letters.sends_all();
    letters.server.network->cut_after(frames);
    letters.check_all();
  }
}

TEST_CASE("Cut again and again, and each message still arrives once, in order") {
  for (std::size_t frames = 1; frames <= 12; ++frames) {
    CAPTURE(frames);
    Letters letters(2);
    letters.sends_all();
    for (int cuts = 0; cuts < 8; ++cuts) {
      letters.server.network->cut_after(frames + (cuts % 3));
      together(letters.server, {&letters.alice, &letters.bob}, 1s);
    }
    letters.server.network->cut_after(1'000'000);
    letters.check_all();
  }
}

TEST_CASE("Cut at any moment, answers and pushes on their way included") {
  for (std::size_t things = 0; things < 260; things += 3) {
    CAPTURE(things);
    Letters letters(things % 2 == 0 ? 1 : 3);
    letters.sends_all();
    for (std::size_t i = 0; i < things && letters.one_thing(); ++i) {
    }
    letters.server.network->cut();
    letters.check_all();
  }
}

TEST_CASE("The server crashes at any moment") {
  for (std::size_t things = 0; things < 260; things += 5) {
    CAPTURE(things);
    Letters letters(things % 2 == 0 ? 1 : 3);
    letters.sends_all();
    for (std::size_t i = 0; i < things && letters.one_thing(); ++i) {
    }
    letters.server.crash();
    letters.check_all();
  }
}

TEST_CASE("Commits fail while it is cut and crashes") {
  using Fate = SharedStorage::Fate;
  for (std::size_t things = 0; things < 200; things += 7) {
    for (const Fate fate : {Fate::refused, Fate::unknown_done, Fate::unknown_late}) {
      CAPTURE(things);
      CAPTURE(static_cast<int>(fate));
      Letters letters(2);
      letters.server.store->next({Fate::done, fate, Fate::done, fate});
      letters.sends_all();
      for (std::size_t i = 0; i < things && letters.one_thing(); ++i) {
      }
      letters.server.network->cut();
      for (std::size_t i = 0; i < things && letters.one_thing(); ++i) {
      }
      letters.server.store->land();
      if (things % 2 == 0) letters.server.crash();
      letters.check_all();
    }
  }
}

TEST_CASE("Three who all write at once see one order, each the others' messages once") {
  for (const unsigned shards : {1u, 2u, 4u}) {
    for (std::size_t things = 10; things < 400; things += 40) {
      CAPTURE(shards);
      CAPTURE(things);
      Server server(with_window(shards));
      const ConversationId id = server.group("room", {"alice", "bob", "carol"});
      const std::vector<std::string> names = {"alice", "bob", "carol"};
      Guest alice(server, "alice"), bob(server, "bob"), carol(server, "carol");
      Guest* const guests[] = {&alice, &bob, &carol};
      together(server, {&alice, &bob, &carol});
      std::vector<Answer<Accepted>> answers;
      for (std::size_t n = 0; n < 20; ++n) {
        for (std::size_t who = 0; who < 3; ++who) {
          answers.push_back(begin(*guests[who], text(id, names[who] + numbered(" ", n))));
        }
      }
      for (std::size_t i = 0; i < things; ++i) {
        i % 4 == 3 ? (void)one_item(server) : (void)guests[i % 4]->client().poll(0us);
      }
      server.network->cut();
      together(server, {&alice, &bob, &carol}, 5s);
      for (const auto& answer : answers) REQUIRE(answer.result());
      const auto events = log_of(server, id);
      check_dense(events);
      REQUIRE(events.size() == 1 + answers.size());
      for (std::size_t who = 0; who < 3; ++who) {
        Lines others, own;
        for (std::size_t i = 1; i < events.size(); ++i) {
          (events[i]->sender.view() == names[who] ? own : others).push_back(line(*events[i]));
        }
        CHECK(guests[who]->receives() == others);
        for (std::size_t n = 0; n < 20; ++n) CHECK(own[n] == names[who] + numbered(" ", n));
      }
    }
  }
}

TEST_CASE("The wire itself may say a thing twice, but never out of order and never with a hole") {
  // A session in the process has no client library that drops what came before.
  for (std::size_t items = 0; items < 60; items += 2) {
    CAPTURE(items);
    Server server(with_shards(items % 4 == 0 ? 1 : 3));
    Person alice(server, "alice");
    Checkpoint place;
    {
      Person bob(server, "bob");
      alice.says(Direct{"bob"}, "first");
      server.advance(2s);
      bob.receives();
      place = bob.checkpoint();
    }
    for (int i = 0; i < 5; ++i) alice.says(Direct{"bob"}, "missed");
    Session bob = server.engine().open_session({.identity = {.user = user("bob")}, .resume = place});
    for (std::size_t i = 0; i < items; ++i) {
      if (i % 3 == 0) begin(alice, text(Direct{"bob"}, "live"));
      one_item(server);
    }
    const Seq head = alice.says(Direct{"bob"}, "last").seq;
    server.settle();
    Seq last = 1;
    while (auto push = bob.take()) {
      REQUIRE(push->event());
      CHECK(push->event()->seq <= last + 1);
      CHECK(push->event()->seq >= last);  // again, but not older than the one before
      last = std::max(last, push->event()->seq);
    }
    CHECK(last == head);
  }
}
