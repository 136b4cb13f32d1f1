#include <algorithm>
#include <map>
#include <set>

#include "support/narrow.h"
#include "support/wire.h"

using namespace chat;

// Who takes too slowly: events become notices, the notices lead to pulls, and nothing is lost or kept without bound.

namespace {

// A reader by the book: shows what follows what it has seen, and pulls where it is told to or finds a hole.
class Reader {
 public:
  Reader(Server& server, std::string_view name, std::size_t outbox = 32 << 10, std::optional<Checkpoint> resume = {})
      : person_(server, name, std::move(resume), outbox) {}

  // Takes up to so many pushes, without pulling.
  std::size_t takes(Server& server, std::size_t most = SIZE_MAX) {
    server.settle();
    std::size_t count = 0;
    while (count < most) {
      auto push = person_.session().take();
      if (!push) break;
      ++count;
      if (const Event* event = push->event()) {
        Seq& seen = seen_[event->conversation.string()];
        if (event->seq == seen + 1) ++seen;
        if (event->seq > seen) behind_.insert(event->conversation.string());
      } else if (const auto* moved = push->as<HeadMoved>()) {
        behind_.insert(moved->conversation.string());
        ++notices;
      } else if (const auto* closed = push->as<Closed>()) {
        why = closed->why.code;
      }
    }
    return count;
  }
  void pulls() {
    for (const std::string& name : std::exchange(behind_, {})) {
      Seq& seen = seen_[name];
      for (int pages = 0; pages < 1000; ++pages) {
        auto page = person_.asks(Sync{.conversation = conversation(name), .after = seen, .limit = 5});
        REQUIRE(page);
        for (const EventPtr& event : page->events) CHECK(event->seq == ++seen);
        ++pulled;
        if (page->live_from != 0) {
          CHECK(page->live_from == seen + 1);
          break;
        }
        REQUIRE(page->more);
      }
    }
  }
  Seq seen(const ConversationId& id) { return seen_[id.string()]; }
  Person& person() { return person_; }

  std::size_t notices = 0, pulled = 0;
  std::optional<ErrorCode> why{};

 private:
  Person person_;
  std::map<std::string, Seq> seen_;
  std::set<std::string> behind_;
};

}  // namespace

TEST_CASE(
    "What a session does not take collapses into one notice, others don't feel it, and a pull makes it live again") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(narrow(shards));
    const ConversationId group = server.group("lunch", {"alice", "bob", "carol"});
    Person alice(server, "alice"), carol(server, "carol");
    Reader bob(server, "bob");
    REQUIRE(server.ask("bob", Sync{.conversation = group})->head == 1);
    bob.pulls();
    for (int i = 2; i <= 200; ++i) {
      alice.says(group, kilobyte(i));
      CHECK(carol.receives() == std::vector<std::string>{kilobyte(i)});
      CHECK(server.engine().stats().outbox_bytes <= (33 << 10));
    }
    CHECK(server.engine().stats().collapses >= 1);
    bob.takes(server);
    CHECK(bob.notices >= 1);
    CHECK(bob.notices <= 2);  // one where the first event was, and one with the head of now
    CHECK(bob.seen(group) < 40);
    bob.pulls();
    CHECK(bob.seen(group) == 200);
    bob.takes(server);
    alice.says(group, "and on");
    bob.takes(server);
    CHECK(bob.seen(group) == 201);  // pushed, not pulled
    CHECK_FALSE(bob.why);
    CHECK(server.engine().stats().sessions == 3);
    CHECK(server.engine().stats().closed_slow == 0);
  }
}

TEST_CASE("Only the conversation that fills the outbox collapses") {
  Server server(narrow());
  const ConversationId loud = server.group("loud", {"alice", "bob"});
  const ConversationId quiet = server.group("quiet", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob", {}, 32 << 10);
  alice.says(quiet, "listen");
  for (int i = 0; i < 100; ++i) alice.says(loud, kilobyte(i));
  alice.says(quiet, "still there?");
  const auto lines = bob.receives();
  CHECK(std::count(lines.begin(), lines.end(), "listen") == 1);
  CHECK(std::count(lines.begin(), lines.end(), "still there?") == 1);
  CHECK(std::count_if(lines.begin(), lines.end(), [](const auto& line) { return line.starts_with("pull "); }) >= 1);
}

TEST_CASE("Signals go first: as long as they make room, no event collapses") {
  Server server(narrow());
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob", {}, 32 << 10);
  for (int i = 0; i < 10; ++i) REQUIRE(alice.asks(SendEphemeral{.to = group, .content = {.text = kilobyte(i)}}));
  for (int i = 0; i < 28; ++i) alice.says(group, kilobyte(i));
  const auto lines = bob.receives();
  CHECK(std::count_if(lines.begin(), lines.end(), [](const auto& line) { return line.starts_with("pull "); }) == 0);
  CHECK(std::count_if(lines.begin(), lines.end(), [](const auto& line) { return line.starts_with("~"); }) == 0);
  CHECK(lines.size() == 28);
}

TEST_CASE("A notice is renewed as long as nobody pulls: whoever pulls after any of them comes to the end") {
  for (const unsigned shards : {1u, 4u}) {
    Server server(narrow(shards));
    const ConversationId group = server.group("lunch", {"alice", "bob"});
    Person alice(server, "alice");
    Person bob(server, "bob", {}, 32 << 10);
    for (int i = 0; i < 100; ++i) alice.says(group, kilobyte(i));
    server.settle();
    bob.takes();
    Seq told = 0;
    for (int i = 0; i < 5; ++i) {
      const Seq seq = alice.says(group, "more").seq;
      for (const Push& push : bob.takes()) {
        CHECK_FALSE(push.event());  // not live before he has pulled
        if (const auto* moved = push.as<HeadMoved>()) told = moved->head;
      }
      CHECK(told == seq);
    }
  }
}

TEST_CASE("Live again means live from there: what is said while the pull runs is in it, or told") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    Server server(narrow(1 + seed % 4));
    const ConversationId group = server.group("lunch", {"alice", "bob"});
    Person alice(server, "alice");
    Reader bob(server, "bob");
    bob.pulls();
    std::uint64_t state = seed;
    const auto random = [&state] {
      return state = state * 6364136223846793005ULL + 1442695040888963407ULL, state >> 33;
    };
    Seq head = 1;
    for (int i = 0; i < 300; ++i) {
      switch (random() % 4) {
        case 0:
        case 1:
          server.engine().call(Identity{.user = "alice"}, Send{.to = group, .content = {.text = kilobyte(i)}});
          ++head;
          break;
        case 2:
          bob.takes(server, random() % 8);
          break;
        case 3:
          bob.pulls();
          break;
      }
    }
    for (int i = 0; i < 50 && bob.seen(group) < head; ++i) bob.takes(server), bob.pulls();
    CHECK(bob.seen(group) == head);
    CHECK_FALSE(bob.why);
  }
}

TEST_CASE("Behind in more conversations than are told one by one, a session is brought on from its checkpoint") {
  for (const auto& [shards, twice] :
       {std::pair(1u, false), std::pair(1u, true), std::pair(4u, false), std::pair(4u, true)}) {
    CAPTURE(shards);
    CAPTURE(twice);  // else nothing comes later that shows a hole
    Server server(narrow(shards));
    Person alice(server, "alice");
    std::vector<ConversationId> groups;
    for (int i = 0; i < 400; ++i) groups.push_back(server.group("g" + std::to_string(i), {"alice", "bob"}));
    Reader bob(server, "bob", 64 << 10);
    for (int i = 0; i < 5; ++i) server.advance(1s), bob.takes(server), bob.pulls();
    alice.takes();
    for (const ConversationId& group : groups) alice.says(group, kilobyte(0));
    if (twice) {
      for (const ConversationId& group : groups) alice.says(group, "second");
    }
    CHECK(server.engine().stats().resyncs >= 1);
    CHECK(server.engine().stats().outbox_bytes <= (66 << 10));
    for (int i = 0; i < 300; ++i) {
      bob.takes(server, 50);
      if (i % 10 == 9) bob.pulls();
    }
    for (const ConversationId& group : groups) CHECK(bob.seen(group) == (twice ? 3 : 2));
    alice.takes();
    CHECK_FALSE(bob.why);
  }
}

TEST_CASE("A checkpoint that a slow session keeps never covers what it was not told of") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    Server server(narrow(1 + seed % 3));
    std::vector<ConversationId> groups;
    for (int i = 0; i < 4; ++i) groups.push_back(server.group("g" + std::to_string(i), {"alice", "bob"}));
    Person alice(server, "alice");
    std::uint64_t state = seed;
    const auto random = [&state] {
      return state = state * 6364136223846793005ULL + 1442695040888963407ULL, state >> 33;
    };
    std::map<std::string, Seq> seen, told;
    Checkpoint place;
    {
      Person bob(server, "bob", {}, 32 << 10);
      server.settle();
      for (int i = 0; i < 300; ++i) {
        alice.says(groups[random() % 4], kilobyte(i));
        if (random() % 4 == 0) server.advance(300ms);
        for (std::size_t n = random() % 3; n > 0; --n) {
          const auto push = bob.session().take();
          if (!push) continue;
          if (const Event* event = push->event()) seen[event->conversation.string()] = event->seq;
          if (const auto* moved = push->as<HeadMoved>()) told[moved->conversation.string()] = moved->head;
        }
        place = bob.checkpoint();
      }
    }
    if (place.empty()) continue;
    // What he has not seen comes again, or he had been told to pull it.
    Person bob(server, "bob", place, 1 << 20);
    std::map<std::string, Seq> first;
    for (const Push& push : bob.takes()) {
      if (const Event* event = push.event()) first.try_emplace(event->conversation.string(), event->seq);
    }
    for (const auto& [name, seq] : first) CHECK((seq <= seen[name] + 1 || told.contains(name)));
    for (const ConversationId& group : groups) {
      const Seq head = server.ask("bob", GetConversation{.of = group})->head;
      const bool complete = seen[group.string()] >= head || first.contains(group.string());
      CHECK((complete || told.contains(group.string())));
    }
  }
}

TEST_CASE("A connection that takes nothing for ten seconds is cut with a code, and resumes whole") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(narrow(shards));
    const ConversationId group = server.group("lunch", {"alice", "bob", "carol"});
    Person alice(server, "alice"), carol(server, "carol");
    Checkpoint place;
    {
      Wire bob(server.engine());
      const auto in = bob.asks(server, protocol::Login{.token = "bob"});
      REQUIRE(in);
      place = in->checkpoint;
      bob.takes(0);
      for (int i = 2; i <= 100; ++i) {
        alice.says(group, kilobyte(i));
        carol.takes();
        CHECK(server.engine().stats().outbox_bytes <= (33 << 10));
      }
      CHECK(server.engine().stats().closed_slow == 0);
      server.advance(9s);
      CHECK(server.engine().stats().sessions == 3);
      CHECK(bob.closed().empty());
      server.advance(3s);
      REQUIRE(bob.closed().size() == 1);
      CHECK(bob.closed()[0].code == ErrorCode::overloaded);
      CHECK(server.engine().stats().closed_slow == 1);
      CHECK(server.engine().stats().sessions == 2);
    }
    Wire bob(server.engine());
    server.settle();
    bob.says(protocol::encode_client_frame(1, RequestId::login,
                                           protocol::encode(protocol::Login{.token = "bob", .resume = place})));
    server.settle();
    std::set<Seq> seen;
    for (const Heard& heard : bob.hears()) {
      if (heard.push && heard.push->event()) seen.insert(heard.push->event()->seq);
    }
    CHECK(seen.size() == 99);
    CHECK(*seen.rbegin() == 100);
    alice.takes(), carol.takes();
    CHECK(server.engine().stats().outbox_bytes == 0);
  }
}

TEST_CASE("A connection that takes a little now and then is not cut, and gets its notice") {
  Server server(narrow());
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice");
  Wire bob(server.engine());
  REQUIRE(bob.logs_in(server, "bob") == ErrorCode::ok);
  bob.takes(0);
  for (int i = 2; i <= 100; ++i) alice.says(group, kilobyte(i));
  Seq told = 0;
  for (int i = 0; i < 60; ++i) {
    server.advance(5s);
    bob.takes(1);
    server.settle();
    for (const Heard& heard : bob.hears()) {
      if (heard.push && heard.push->as<HeadMoved>()) told = heard.push->as<HeadMoved>()->head;
    }
    bob.says(protocol::encode_client_frame(1000 + static_cast<std::uint64_t>(i), RequestId::ping, {}));
  }
  CHECK(told == 100);
  CHECK(bob.closed().empty());
  CHECK(server.engine().stats().closed_slow == 0);
}
