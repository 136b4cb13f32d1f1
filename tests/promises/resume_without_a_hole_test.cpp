#include <map>

#include "support/answers.h"

// Resume gives everything after the cursor, or says `reset`. Never a silent hole.

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

// What a reader has seen: of each conversation every seq from the first on, in order. The same may come twice.
class Reader {
 public:
  void sees(const Push& push) {
    REQUIRE_MESSAGE(push.event(), line(push));
    const Event& event = *push.event();
    Seq& last = last_[event.conversation];
    CHECK_MESSAGE(event.seq <= last + 1, event.conversation.string(), ": ", event.seq, " after ", last);
    last = std::max(last, event.seq);
  }
  void sees(const std::vector<Push>& pushes) {
    for (const Push& push : pushes) sees(push);
  }
  void knows(const ConversationId& id, Seq seq) { last_[id] = seq; }
  Seq last(const ConversationId& id) const { return last_.contains(id) ? last_.at(id) : 0; }

 private:
  std::map<ConversationId, Seq> last_;
};

struct Town {
  Town(unsigned shards, std::size_t rooms_count) : server(with_shards(shards)) {
    for (std::size_t i = 0; i < rooms_count; ++i) rooms.push_back(server.group(numbered("room", i), {"alice", "bob"}));
    server.advance(2s);
  }
  // Bob was here, has seen everything up to now, and goes.
  void bob_goes() {
    Person bob(server, "bob");
    server.advance(1s);
    reader.sees(bob.takes());
    place = bob.checkpoint();
    for (const ConversationId& room : rooms) reader.knows(room, head(room));
  }
  Seq head(const ConversationId& room) { return server.ask(Identity::system(), GetConversation{.of = room})->head; }
  void all_say(std::string_view words) {
    for (const ConversationId& room : rooms) REQUIRE(server.ask("alice", text(room, words)));
  }
  void check_seen_all() {
    for (const ConversationId& room : rooms) CHECK(reader.last(room) == head(room));
  }

  Server server;
  std::vector<ConversationId> rooms{};
  Reader reader{};
  Checkpoint place{};
};

}  // namespace

TEST_CASE("Live events keep arriving in many conversations while someone resumes") {
  for (const unsigned shards : {1u, 2u, 4u}) {
    for (std::size_t rhythm = 1; rhythm < 12; rhythm += 2) {
      CAPTURE(shards);
      CAPTURE(rhythm);
      Town town(shards, 30);
      town.bob_goes();
      for (std::size_t i = 0; i < town.rooms.size(); i += 3) {  // of the others he missed nothing
        for (int n = 0; n < 3; ++n) REQUIRE(town.server.ask("alice", text(town.rooms[i], "missed")));
      }
      town.server.advance(2s);
      Session bob;
      for (std::size_t i = 0; i < 600; ++i) {
        if (i % rhythm == 0) begin(town.server, "alice", text(town.rooms[i * 7 % town.rooms.size()], "live"));
        one_item(town.server);
        if (i == rhythm * 5) {  // in the middle of it
          bob = town.server.engine().open_session({.identity = {.user = user("bob")}, .resume = town.place});
        }
        if (i % 50 == 0) {
          while (auto push = bob.take()) town.reader.sees(*push);
        }
      }
      town.server.settle();
      while (auto push = bob.take()) town.reader.sees(*push);
      town.check_seen_all();
      town.all_say("after");
      town.server.settle();
      while (auto push = bob.take()) town.reader.sees(*push);
      town.check_seen_all();
    }
  }
}

TEST_CASE("Someone who goes before his session began keeps the place he came with") {
  Town town(1, 1);
  town.bob_goes();
  town.all_say("missed");
  const Session bob = town.server.engine().open_session({.identity = {.user = user("bob")}, .resume = town.place});
  CHECK(bob.checkpoint().opaque == town.place.opaque);
  Person again(town.server, "bob", bob.checkpoint());
  town.reader.sees(again.takes());
  town.check_seen_all();
}

TEST_CASE("Any checkpoint ever given out is a place to resume from without a hole") {
  for (const unsigned shards : {1u, 2u, 4u}) {
    CAPTURE(shards);
    Town town(shards, 6);
    town.bob_goes();
    struct Place {
      Checkpoint checkpoint;
      Reader reader;
    };
    std::vector<Place> places{{town.place, town.reader}};
    Session bob = town.server.engine().open_session({.identity = {.user = user("bob")}, .resume = town.place});
    std::size_t said = 0;
    for (std::size_t i = 0; i < 6'000; ++i) {
      if (i % 17 == 0) begin(town.server, "alice", text(town.rooms[said++ % town.rooms.size()], "live"));
      if (!one_item(town.server) || i % 29 == 0) town.server.clock().advance(40ms);
      while (auto push = bob.take()) town.reader.sees(*push);
      if (bob.checkpoint().opaque != places.back().checkpoint.opaque) places.push_back({bob.checkpoint(), town.reader});
    }
    town.server.settle();
    CHECK(places.size() > 10);
    for (const bool crashed : {false, true}) {
      if (crashed) town.server.crash();
      for (Place& place : places) {
        Reader reader = place.reader;
        Person again(town.server, "bob", place.checkpoint);
        reader.sees(again.takes());
        for (const ConversationId& room : town.rooms) CHECK(reader.last(room) == town.head(room));
      }
    }
  }
}

TEST_CASE("More than a page was missed, with edits and deletions among it") {
  for (const unsigned shards : {1u, 4u}) {
    for (const bool guest : {false, true}) {
      CAPTURE(shards);
      CAPTURE(guest);
      Town town(shards, 2);
      const ConversationId room = town.rooms.front();
      town.bob_goes();
      Checkpoint place;
      if (guest) {
        Guest bob(town.server, "bob");
        together(town.server, {&bob}, 1s);
        place = bob.checkpoint();
        REQUIRE_FALSE(place.empty());
      }
      for (Seq n = 2; n <= 351; ++n) {
        REQUIRE(town.server.ask("alice", text(room, numbered("m", n))));
      }
      std::size_t deleted = 0;
      for (Seq n = 2; n <= 351; n += 3) {
        if (n % 2 == 0) {
          REQUIRE(town.server.ask("alice", EditMessage{room, n, {.text = numbered("edited", n)}}));
        } else {
          REQUIRE(town.server.ask("alice", DeleteMessage{room, n}));
          ++deleted;
        }
      }
      std::vector<Push> came;
      if (guest) {
        Guest bob(town.server, "bob", place);
        together(town.server, {&bob}, 1s);
        for (bob.settle(); auto push = bob.client().take(); bob.settle()) came.push_back(std::move(*push));
      } else {
        came = Person(town.server, "bob", town.place).takes();
      }
      town.reader.sees(came);
      town.check_seen_all();
      REQUIRE(came.size() == 350 + 117);
      std::size_t hidden = 0;
      for (const Push& push : came) {
        const Event& event = *push.event();
        if (const auto* message = event.as<MessagePosted>()) {  // as it is now
          const bool is_changed = (event.seq - 2) % 3 == 0;
          hidden += message->deleted ? 1 : 0;
          CHECK(message->revision == (is_changed ? 1u : 0u));
          if (!message->deleted) CHECK(message->content.text == numbered(is_changed ? "edited" : "m", event.seq));
        } else {
          const auto* change = event.as<MessageChanged>();
          REQUIRE(change);
          REQUIRE(change->now);
          CHECK(change->now->deleted == (change->kind == ChangeKind::deleted));
          CHECK(change->now->content.text == (change->now->deleted ? "" : numbered("edited", change->target)));
        }
      }
      CHECK(hidden == deleted);
    }
  }
}

TEST_CASE("A small outbox makes a resume slow, not impossible") {
  for (const std::size_t bytes : {2'000u, 8'000u, 64'000u}) {
    for (const unsigned shards : {1u, 2u}) {
      CAPTURE(bytes);
      CAPTURE(shards);
      Town town(shards, 5);
      town.bob_goes();
      for (int i = 0; i < 120; ++i) town.all_say(std::string(200, 'x'));
      Person bob(town.server, "bob", town.place, bytes);
      std::size_t taken = 0;
      for (int idle = 0; idle < 3;) {
        town.server.settle();
        if (auto push = bob.session().take()) {
          town.reader.sees(*push);
          idle = 0;
          ++taken;
        } else {
          ++idle;
        }
        if (taken % 100 == 99) town.all_say("meanwhile");
      }
      town.check_seen_all();
      town.server.advance(2s);
      bob.takes();
      // Where it ended is a place, too.
      Person again(town.server, "bob", bob.checkpoint(), bytes);
      CHECK(again.receives().empty());
    }
  }
}

TEST_CASE("A message may be as large as it is allowed to be, and many of them were missed") {
  Town town(2, 1);
  town.bob_goes();
  for (int i = 0; i < 150; ++i) town.all_say(std::string(16'000, 'x'));
  Person bob(town.server, "bob", town.place);
  for (int i = 0; i < 200; ++i) town.reader.sees(bob.takes());
  town.check_seen_all();
}

TEST_CASE("The network is cut at any moment of a guest's resume, and of the next, and nothing is missed") {
  for (const unsigned shards : {1u, 3u}) {
    for (std::size_t things = 0; things < 220; things += 6) {
      CAPTURE(shards);
      CAPTURE(things);
      Server server(with_shards(shards));
      std::vector<ConversationId> rooms;
      for (std::size_t i = 0; i < 6; ++i) rooms.push_back(server.group(numbered("room", i), {"alice", "bob"}));
      Checkpoint place;
      {
        Guest bob(server, "bob");
        for (const ConversationId& room : rooms) REQUIRE(server.ask("alice", text(room, "seen")));
        together(server, {&bob}, 2s);
        CHECK(bob.receives().size() == rooms.size());
        together(server, {&bob}, 1s);
        place = bob.checkpoint();
      }
      REQUIRE_FALSE(place.empty());
      std::map<ConversationId, Lines> missed;
      std::size_t said = 0;
      const auto says = [&](std::size_t in) {
        const std::string words = numbered("m", said++);
        missed[rooms[in % rooms.size()]].push_back(words);
        begin(server, "alice", text(rooms[in % rooms.size()], words));
      };
      for (std::size_t i = 0; i < 150; ++i) says(i % 2 == 0 ? 0 : i);
      server.settle();
      Guest bob(server, "bob", place);
      for (std::size_t cuts = 0; cuts < 3; ++cuts) {
        for (std::size_t i = 0; i < things; ++i) {
          if (i % 25 == 0) says(i);
          i % 2 == 0 ? (void)one_item(server) : (void)bob.client().poll(0us);
        }
        server.network->cut();
        together(server, {&bob}, 300ms);
      }
      together(server, {&bob}, 5s);
      server.settle();
      std::map<ConversationId, Lines> came;
      bob.settle();
      while (auto push = bob.client().take()) {
        REQUIRE_MESSAGE(push->event(), line(*push));
        came[push->event()->conversation].push_back(line(*push));
        bob.settle();
      }
      CHECK(came == missed);
    }
  }
}

TEST_CASE("He was added, removed and added again while he was away") {
  for (const unsigned shards : {1u, 2u, 4u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    const ConversationId left = server.group("left", {"alice", "bob"}),
                         again = server.group("again", {"alice", "bob"}, {.newcomers_see = NewcomersSee::none});
    Checkpoint place;
    {
      Person bob(server, "bob");
      CHECK(bob.receives().empty());
      place = bob.checkpoint();
    }
    const auto alice = [&](auto request) { REQUIRE(server.ask("alice", std::move(request))); };
    alice(text(left, "before you go"));
    alice(RemoveMembers{left, {user("bob")}});
    alice(text(left, "not for Bob"));
    alice(text(again, "for Bob"));
    alice(RemoveMembers{again, {user("bob")}});
    alice(text(again, "not for Bob"));
    alice(AddMembers{again, {{user("bob")}}});
    alice(text(again, "for Bob again"));
    const ConversationId fresh = server.group("fresh", {"alice", "bob"});
    alice(text(fresh, "new here"));
    alice(text(Direct{"bob"}, "psst"));
    for (const bool crashed : {false, true}) {
      CAPTURE(crashed);
      if (crashed) server.crash();
      Person bob(server, "bob", place);
      std::map<std::string, Lines> came;
      for (const Push& push : bob.takes()) {
        REQUIRE(push.event());
        came[push.event()->conversation.view().front() == '~' ? "direct" : push.event()->conversation.string()]
            .push_back(line(push));
      }
      CHECK(came["left"] == Lines{"before you go", "left bob"});
      CHECK(came["again"] == Lines{"for Bob", "left bob", "joined bob", "for Bob again"});
      CHECK(came["fresh"] == Lines{"joined alice, joined bob, role4 alice", "new here"});
      CHECK(came["direct"] == Lines{"psst"});
    }
  }
}

TEST_CASE("What can't be resumed says reset") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"});
  Checkpoint place;
  {
    Person bob(server, "bob");
    REQUIRE(server.ask("alice", text(id, "one")));
    server.advance(2s);
    bob.receives();
    place = bob.checkpoint();
  }
  SUBCASE("another epoch") {
    server.store->epoch = "second";
    server.restart();
  }
  SUBCASE("a place ahead of the store") { place.opaque = "1.999999." + server.store->epoch; }
  SUBCASE("nothing of ours") { place.opaque = "hello"; }
  SUBCASE("of a later version") { place.opaque = "9" + place.opaque; }
  Person bob(server, "bob", place);
  CHECK(bob.receives() == Lines{"reset"});
  REQUIRE(server.ask("alice", text(id, "two")));
  CHECK(bob.receives() == Lines{"two"});  // live all the same
  Guest guest(server, "bob", place);
  CHECK(guest.receives() == Lines{"reset"});
}

TEST_CASE("One resume follows another, each from where the last ended, while things go on") {
  Town town(3, 4);
  town.bob_goes();
  Guest alice(town.server, "alice");
  Checkpoint place = town.place;
  for (std::size_t round = 0; round < 60; ++round) {
    Person bob(town.server, "bob", place);
    for (std::size_t i = 0; i < round % 9; ++i) begin(town.server, "alice", text(town.rooms[i % 4], "hi"));
    for (std::size_t i = 0; i < round * 5 % 40; ++i) one_item(town.server);
    if (round % 3 == 0) town.server.advance(700ms);
    while (auto push = bob.session().take()) {
      REQUIRE(push->event());
      town.reader.sees(*push);
    }
    if (!bob.checkpoint().empty()) place = bob.checkpoint();
  }
  Person bob(town.server, "bob", place);
  town.reader.sees(bob.takes());
  town.check_seen_all();
}
