#include "support/chat.h"

using namespace chat;
using Lines = std::vector<std::string>;

TEST_CASE("Bob was away: he resumes from his checkpoint and misses nothing") {
  for (unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    EngineOptions options;
    options.shards = shards;
    Server server(std::move(options));
    Person alice(server, "alice");
    Checkpoint place;
    {
      Person bob(server, "bob");
      alice.says(Direct{"bob"}, "one");
      CHECK(bob.receives() == Lines{"one"});
      server.advance(2s);
      CHECK(bob.receives().empty());
      place = bob.checkpoint();
      CHECK_FALSE(place.empty());
    }
    alice.says(Direct{"bob"}, "two");
    alice.says(Direct{"bob"}, "three");
    Person bob(server, "bob", place);
    CHECK(bob.receives() == Lines{"two", "three"});
    alice.says(Direct{"bob"}, "four");
    CHECK(bob.receives() == Lines{"four"});
  }
}

TEST_CASE("A checkpoint of another life of the store gets a reset") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");
  alice.says(Direct{"bob"}, "one");
  server.advance(2s);
  bob.receives();
  const Checkpoint place = bob.checkpoint();
  server.store->epoch = "second";
  server.restart();
  Person again(server, "bob", place);
  CHECK(again.receives() == Lines{"reset"});
}

TEST_CASE("Who is told to start again, and goes at once, is not told so a second time") {
  Server server;
  std::optional<Checkpoint> place = [&] {
    Person bob(server, "bob");
    (void)bob.takes();
    return bob.checkpoint();
  }();
  server.store->epoch = "second";
  server.restart();
  for (const std::string told : {"reset", "nothing"}) {
    Session bob = server.engine().open_session({.identity = {.user = user("bob")}, .resume = place});
    server.settle();
    const auto push = bob.take();
    CHECK((push ? line(*push) : "nothing") == told);
    place = bob.checkpoint();
  }
}
