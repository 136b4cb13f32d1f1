#include "support/answers.h"

// Retention drops the oldest only; ids are never used again. Nothing in the engine trims yet: the storage does, as a
// host's retention would.

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

// A room in which the seqs 2 to `head` are messages "m2" and so on.
struct Room {
  explicit Room(Seq to) : id(server.group("room", {"alice", "bob"})) { goes_on_to(to); }
  void goes_on_to(Seq seq) {
    for (; head < seq; ++head) {
      REQUIRE(server.ask("alice", text(id, numbered("m", head + 1), numbered("k", head + 1)))->seq == head + 1);
    }
  }
  HistoryPage history(Seq start, Direction direction, std::uint32_t limit = 100) {
    auto page = server.ask("bob", ReadHistory{id, start, direction, limit});
    REQUIRE(page);
    return *page;
  }

  Server server;
  ConversationId id;
  Seq head = 1;
};

std::string gaps_of(const std::vector<Gap>& gaps) {
  std::string text;
  for (const Gap& gap : gaps) {
    text += (gap.why == Gap::Why::trimmed ? "trimmed " : "not visible ") + std::to_string(gap.from) + "-" +
            std::to_string(gap.to) + " ";
  }
  return text;
}

}  // namespace

TEST_CASE("History says what was trimmed, in both directions") {
  Room room(30);
  room.server.store->trim(room.id, 10);
  for (const bool restarted : {false, true}) {
    if (restarted) room.server.restart();
    const HistoryPage forward = room.history(0, Direction::forward);
    CHECK(forward.oldest == 11);
    CHECK(forward.head == 30);
    CHECK(forward.covers_from == 1);
    CHECK(forward.covers_to == 30);
    CHECK(gaps_of(forward.gaps) == "trimmed 1-10 ");
    REQUIRE(forward.events.size() == 20);
    CHECK(line(*forward.events.front()) == "m11");
    CHECK_FALSE(forward.more);

    const HistoryPage backward = room.history(0, Direction::backward);
    CHECK(backward.covers_to == 30);
    CHECK(backward.events.size() == 20);
    CHECK(line(*backward.events.back()) == "m11");
    CHECK_FALSE(backward.more);
    CHECK(gaps_of(backward.gaps) == (backward.covers_from <= 10 ? "trimmed 1-10 " : ""));

    const HistoryPage below = room.history(5, Direction::backward);
    CHECK(below.events.empty());
    CHECK(below.covers_to == 5);
    CHECK(gaps_of(below.gaps) == "trimmed " + std::to_string(below.covers_from) + "-5 ");
    CHECK_FALSE(below.more);

    auto sync = room.server.ask("bob", Sync{room.id, 4, 100});
    REQUIRE(sync);
    CHECK(sync->covers_from == 5);
    CHECK(sync->covers_to == 30);
    CHECK(gaps_of(sync->gaps) == "trimmed 5-10 ");
    CHECK(sync->events.size() == 20);
    CHECK(sync->live_from == 31);
  }
}

TEST_CASE("A conversation says what its oldest is") {
  Room room(30);
  CHECK(room.server.ask("bob", GetConversation{room.id})->oldest == 1);
  room.server.store->trim(room.id, 10);
  room.server.restart();
  CHECK(room.server.ask("bob", GetConversation{room.id})->oldest == 11);
}

TEST_CASE("Pages walk over what was trimmed, and come to an end") {
  Room room(60);
  REQUIRE(room.server.ask("alice", EditMessage{room.id, 50, {.text = "edited"}}));
  room.server.store->trim(room.id, 25);
  for (const std::uint32_t limit : {1u, 7u, 35u, 36u}) {
    CAPTURE(limit);
    std::size_t seen = 0;
    Seq next = 1;
    for (int pages = 0; next <= 61; ++pages) {
      REQUIRE(pages < 100);
      const HistoryPage page = room.history(next, Direction::forward, limit);
      REQUIRE(page.covers_from == next);
      REQUIRE(page.covers_to >= next);
      seen += page.events.size();
      next = page.covers_to + 1;
    }
    CHECK(seen == 35);
    seen = 0;
    next = 61;
    for (int pages = 0;; ++pages) {
      REQUIRE(pages < 100);
      const HistoryPage page = room.history(next, Direction::backward, limit);
      REQUIRE(page.covers_to == next);
      seen += page.events.size();
      next = page.covers_from - 1;
      if (!page.more) break;
    }
    CHECK(seen == 35);
    seen = 0;
    for (Seq after = 0;;) {
      auto page = room.server.ask("bob", Sync{room.id, after, limit});
      REQUIRE(page->covers_to > after);
      seen += page->events.size();
      after = page->covers_to;
      if (!page->more) break;
    }
    CHECK(seen == 36);
  }
}

TEST_CASE("After everything was trimmed the next seq is the next one, in every life") {
  Room room(20);
  for (int life = 0; life < 4; ++life) {
    CAPTURE(life);
    const Seq head = room.head;
    room.server.store->trim(room.id, head);
    if (life == 1) room.server.restart();
    if (life >= 2) room.server.crash();
    const HistoryPage empty = room.history(0, Direction::backward);
    CHECK(empty.events.empty());
    CHECK(empty.head == head);
    CHECK(empty.oldest == head + 1);
    CHECK(gaps_of(empty.gaps) == "trimmed 1-" + std::to_string(head) + " ");
    CHECK(room.server.ask("bob", GetConversation{room.id})->head == head);
    CHECK(room.server.ask("bob", ListMembers{room.id})->total == 2);
    auto list = room.server.ask("bob", ListConversations{});
    REQUIRE(list);
    REQUIRE(list->conversations.size() == 1);
    CHECK(list->conversations.front().last == nullptr);
    CHECK(list->conversations.front().unread == 0);
    CHECK_FALSE(room.server.ask("alice", EditMessage{room.id, 5, {.text = "?"}}));
    CHECK_FALSE(room.server.ask("alice", DeleteMessage{room.id, head}));
    CHECK(room.server.ask("bob", MarkRead{room.id, 3}));
    room.goes_on_to(head + 5);  // dense: checked there
    CHECK(room.history(0, Direction::forward).events.size() == 5);
  }
}

TEST_CASE("A message that was trimmed while it is edited stays gone") {
  Room room(10);
  room.server.restart();
  for (std::size_t items = 0; items < 8; ++items) {
    CAPTURE(items);
    const Seq target = room.head;
    const auto edit = begin(room.server, "alice", EditMessage{room.id, target, {.text = "edited"}});
    for (std::size_t i = 0; i < items; ++i) one_item(room.server);
    room.server.store->trim(room.id, target);
    room.server.settle();
    const HistoryPage page = room.history(target, Direction::backward);
    CHECK(page.events.empty());
    if (edit.result()) {
      CHECK(edit->seq == ++room.head);
      auto sync = room.server.ask("bob", Sync{room.id, target});
      REQUIRE(sync->events.size() == 1);
      CHECK_FALSE(sync->events.front()->as<MessageChanged>()->now);
    } else {
      CHECK(edit.code() == ErrorCode::no_such_message);
    }
    room.goes_on_to(room.head + 1);
  }
}

TEST_CASE("A retry of what was trimmed makes no second message") {
  Room room(600);
  room.server.store->trim(room.id, 590);
  CHECK(room.server.ask("alice", text(room.id, "m580", "k580"))->seq == 580);  // still in memory
  auto again = room.server.ask("alice", text(room.id, "m100", "k100"));
  REQUIRE_FALSE(again);
  CHECK(again.error().code == ErrorCode::key_expired);
  room.server.restart();
  again = room.server.ask("alice", text(room.id, "m100", "k100"));
  REQUIRE_FALSE(again);
  CHECK(again.error().code == ErrorCode::key_expired);
  CHECK(room.server.ask("alice", text(room.id, "m595", "k595"))->seq == 595);
  CHECK(room.history(0, Direction::backward).head == 600);
}

TEST_CASE("Who comes back after a trim gets what is left, and goes on") {
  for (const Seq trimmed : {5u, 40u, 80u, 150u}) {
    CAPTURE(trimmed);
    Room room(30);
    Checkpoint persons, guests;
    {
      Person bob(room.server, "bob");
      CHECK(bob.receives().empty());
      persons = bob.checkpoint();
      Guest guest(room.server, "bob");
      room.goes_on_to(31);
      together(room.server, {&guest}, 1s);
      CHECK(guest.receives() == Lines{"m31"});
      together(room.server, {&guest}, 1s);
      guests = guest.checkpoint();
    }
    room.goes_on_to(150);
    room.server.store->trim(room.id, trimmed);
    Lines left;
    for (Seq n = std::max<Seq>(31, trimmed) + 1; n <= 150; ++n) left.push_back(numbered("m", n));
    Guest guest(room.server, "bob", guests);
    together(room.server, {&guest}, 1s);
    CHECK(guest.receives() == left);
    Person bob(room.server, "bob", persons);
    if (trimmed < 31) left.insert(left.begin(), "m31");
    CHECK(bob.receives() == left);
    room.goes_on_to(151);
    CHECK(bob.receives() == Lines{"m151"});
    together(room.server, {&guest}, 3s);
    CHECK(guest.receives() == Lines{"m151"});
  }
}
