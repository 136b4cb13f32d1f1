#include "support/answers.h"

// Nobody says what became of a commit, and it landed all the same.

using namespace chat;
using Lines = std::vector<std::string>;
using Fate = SharedStorage::Fate;

TEST_CASE("A first message that landed unnoticed reaches the one it was for") {
  for (const bool retried : {false, true}) {
    for (const bool crashed : {false, true}) {
      CAPTURE(retried);
      CAPTURE(crashed);
      Server server;
      Person alice(server, "alice");
      Checkpoint place;
      {
        Person away(server, "bob");
        alice.says(Direct{"bob"}, "before");
        away.receives();
        server.advance(2s);
        away.receives();
        place = away.checkpoint();
      }
      Person carol(server, "carol");
      server.store->next({Fate::unknown_done, Fate::unknown_done});
      CHECK(begin(alice, text(Direct{"carol"}, "hi", "k1")).came() == false);
      server.settle();
      CHECK(carol.receives() == Lines{"hi"});
      auto to_dave = alice.asks(text(Direct{"dave"}, "hi dave", "k2"));
      REQUIRE_FALSE(to_dave);
      CHECK(to_dave.error().code == ErrorCode::unknown_outcome);
      alice.says(Direct{"bob"}, "something else");
      if (retried) CHECK(alice.says(Direct{"dave"}, "hi dave", "k2").duplicate);
      server.advance(3s);
      if (crashed) server.crash();
      auto list = server.ask("dave", ListConversations{});
      REQUIRE(list);
      REQUIRE(list->conversations.size() == 1);
      CHECK(line(*list->conversations.front().last) == "hi dave");
      Person dave(server, "dave", place);  // any place before it
      CHECK(dave.receives() == Lines{"hi dave"});
    }
  }
}

TEST_CASE("What landed unnoticed counts as newer than the checkpoints given out before it was noticed") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"}), other = server.group("other", {"alice", "bob"});
  Checkpoint place;
  const Send lost = text(id, "lost and found", "k");
  {
    Person bob(server, "bob");
    server.store->next({Fate::unknown_done});
    const auto sent = begin(server, "alice", lost);
    in_next_commit(server, [&] { server.store->reads_fail = true; });  // nor can the conversation be read again
    server.settle();
    CHECK(sent.code() == ErrorCode::unknown_outcome);
    REQUIRE(server.ask("alice", text(other, "elsewhere")));
    server.advance(3s);
    CHECK(bob.receives() == Lines{"elsewhere"});
    place = bob.checkpoint();
  }
  server.store->reads_fail = false;
  auto again = server.ask("alice", lost);
  REQUIRE(again);
  CHECK(again->duplicate);
  Person bob(server, "bob", place);
  CHECK(bob.receives() == Lines{"lost and found"});
}

TEST_CASE("What landed unnoticed is found by the next life, however long nobody looked") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"}), other = server.group("other", {"alice", "bob"});
  Checkpoint place;
  {
    Person bob(server, "bob");
    REQUIRE(server.ask("alice", text(other, "before")));
    server.advance(3s);
    bob.receives();
    place = bob.checkpoint();
  }
  server.store->next({Fate::unknown_late});
  const auto sent = begin(server, "alice", text(id, "late"));
  server.settle();
  CHECK(sent.code() == ErrorCode::unknown_outcome);
  CHECK(server.store->land() == 1);
  for (int i = 0; i < 5; ++i) {
    REQUIRE(server.ask("alice", text(other, "elsewhere")));
    server.advance(2s);
  }
  server.crash();
  Person bob(server, "bob", place);
  Lines heard = bob.receives();
  CHECK(std::count(heard.begin(), heard.end(), "late") == 1);
  CHECK(std::count(heard.begin(), heard.end(), "elsewhere") == 5);
}

TEST_CASE("What landed unnoticed counts as newer than the checkpoints of the life in which it did") {
  for (const Fate fate : {Fate::unknown_done, Fate::unknown_late}) {
    CAPTURE(static_cast<int>(fate));
    Server server;
    const ConversationId id = server.group("room", {"alice", "bob"}), other = server.group("other", {"alice", "bob"});
    Checkpoint place;
    {
      Person bob(server, "bob");
      server.store->next({fate});
      const auto sent = begin(server, "alice", text(id, "unnoticed"));
      in_next_commit(server, [&] { server.store->reads_fail = true; });  // the conversation can't be read again
      server.settle();
      CHECK(sent.code() == ErrorCode::unknown_outcome);
      server.store->land();
      REQUIRE(server.ask("alice", text(other, "elsewhere")));
      server.advance(3s);
      CHECK(bob.receives() == Lines{"elsewhere"});
      place = bob.checkpoint();
    }
    server.store->reads_fail = false;
    server.crash();
    Person bob(server, "bob", place);
    const Lines heard = bob.receives();
    CHECK(std::count(heard.begin(), heard.end(), "unnoticed") == 1);
  }
}

TEST_CASE("What landed unnoticed is told though the conversation could not be read at first, and nobody asks") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"});
  Person bob(server, "bob");
  server.store->next({Fate::unknown_done});
  const auto sent = begin(server, "alice", text(id, "unnoticed"));
  in_next_commit(server, [&] { server.store->reads_fail = true; });
  server.settle();
  CHECK(sent.code() == ErrorCode::unknown_outcome);
  server.advance(5s);
  CHECK(bob.receives().empty());
  server.store->reads_fail = false;
  server.advance(5s);
  CHECK(bob.receives() == Lines{"unnoticed"});
}

TEST_CASE("Who came and went in what landed unnoticed is told to read it") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"}, {.open = true});
  Person desk(server, "carol");
  Answer<Accepted> joined, left;
  server.store->next({Fate::done, Fate::unknown_done});
  const auto before = begin(server, "alice", text(id, "before"));
  in_next_commit(server, [&] {
    joined = begin(server, "carol", Join{id});
    left = begin(server, "carol", Leave{id});
  });
  server.settle();
  CHECK(joined.code() == ErrorCode::unknown_outcome);
  CHECK(left.code() == ErrorCode::unknown_outcome);
  CHECK(desk.receives() == Lines{"joined carol", "left carol"});
}
