#include "support/answers.h"

// Who has received and read up to where.

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

std::string receipts_of(Server& server, std::string_view who, const ConversationId& id) {
  const auto page = server.ask(who, GetReceipts{.conversation = id});
  if (!page) return std::string(name(page.error().code));
  return line(Receipts{id, page->receipts});
}

// Of what came, what is a receipt.
Lines moved(Person& who) {
  Lines lines;
  for (std::string& each : who.receives()) {
    if (each.starts_with("receipts: ")) lines.push_back(each.substr(10));
  }
  return lines;
}

}  // namespace

TEST_CASE("The sender sees that his message has arrived, and that it was read") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    Person alice(server, "alice"), bob(server, "bob");
    const ConversationId pair = alice.says(Direct{"bob"}, "hi").conversation;
    alice.says(pair, "there?");
    CHECK(moved(alice).empty());
    CHECK(bob.asks(MarkDelivered{pair, 2})->seq == 2);
    server.advance(250ms);
    CHECK(moved(alice) == Lines{"bob 2/0"});
    REQUIRE(bob.asks(MarkRead{pair, 1}));
    server.advance(250ms);
    CHECK(moved(alice) == Lines{"bob 2/1"});
    CHECK(receipts_of(server, "alice", pair) == "bob 2/1");
    REQUIRE(bob.asks(MarkRead{pair, 2}));
    REQUIRE(alice.asks(MarkRead{pair, 2}));
    server.advance(3s);
    CHECK(receipts_of(server, "bob", pair) == "alice 2/2, bob 2/2");
  }
}

TEST_CASE("However many read, and however often, a session is told once a tick") {
  Server server(with_shards(2));
  std::vector<std::string> names{"alice"};
  for (std::size_t i = 0; i < 40; ++i) names.push_back(numbered("m", i));
  const ConversationId room = server.group("room", names);
  Person alice(server, "alice");
  for (int i = 0; i < 10; ++i) alice.says(room, "hi");
  server.advance(1s);
  alice.takes();
  for (Seq seq = 2; seq <= 11; ++seq) {
    for (std::size_t i = 0; i < 40; ++i) REQUIRE(server.ask(names[i + 1], MarkDelivered{room, seq}));
  }
  server.advance(250ms);
  std::size_t frames = 0, told = 0;
  for (const Push& push : alice.takes()) {
    const auto* receipts = push.as<Receipts>();
    REQUIRE(receipts);
    ++frames;
    told = receipts->receipts.size();
    for (const Receipt& each : receipts->receipts) CHECK(each.delivered == 11);
  }
  CHECK(frames == 1);
  CHECK(told == 40);
}

TEST_CASE("A receipt never moves back: not by a smaller seq, not by a crash, not by coming again") {
  Server server(with_shards(2));
  const ConversationId room = server.group("room", {"alice", "bob"});
  for (int i = 0; i < 20; ++i) REQUIRE(server.ask("alice", text(room, "hi")));
  REQUIRE(server.ask("bob", MarkDelivered{room, 15}));
  REQUIRE(server.ask("bob", MarkRead{room, 10}));
  server.advance(3s);
  REQUIRE(server.ask("bob", MarkDelivered{room, 3}));
  REQUIRE(server.ask("bob", MarkRead{room, 2}));
  CHECK(receipts_of(server, "alice", room) == "bob 15/10");
  server.crash();
  CHECK(receipts_of(server, "alice", room) == "bob 15/10");
  REQUIRE(server.ask("bob", MarkDelivered{room, 20}));
  server.crash();  // within the second
  CHECK(receipts_of(server, "alice", room) == "bob 15/10");
  REQUIRE(server.ask("bob", MarkRead{room, 18}));
  server.restart();  // a stop writes what waits
  CHECK(receipts_of(server, "alice", room) == "bob 18/18");
  REQUIRE(server.ask("bob", Leave{room}));
  CHECK(receipts_of(server, "alice", room).empty());
  CHECK(receipts_of(server, "bob", room) == "forbidden");
  REQUIRE(server.ask("alice", AddMembers{room, {{"bob"}}}));
  CHECK(receipts_of(server, "alice", room) == "bob 18/18");
}

TEST_CASE("What a crash took of a receipt comes again with the next time its user reads") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"});
  for (int i = 0; i < 4; ++i) REQUIRE(server.ask("alice", text(room, "hi")));
  REQUIRE(server.ask("bob", MarkRead{room, 3}));  // written at once, the receipt a second later
  server.crash();
  CHECK(receipts_of(server, "alice", room).empty());
  REQUIRE(server.ask("bob", MarkRead{room, 3}));
  server.settle();
  CHECK(receipts_of(server, "alice", room) == "bob 3/3");
}

TEST_CASE("Who hides his receipts tells nobody, and his devices know; his own cursor moves all the same") {
  Server server(with_shards(4));
  const ConversationId room = server.group("room", {"alice", "bob"});
  REQUIRE(server.ask("alice", text(room, "hi")));
  Person alice(server, "alice"), bob(server, "bob");
  REQUIRE(bob.asks(ShareReceipts{false}));
  CHECK(bob.receives() == Lines{"hides"});
  REQUIRE(bob.asks(MarkDelivered{room, 2}));
  REQUIRE(bob.asks(MarkRead{room, 2}));
  server.advance(3s);
  CHECK(moved(alice).empty());
  CHECK(receipts_of(server, "alice", room).empty());
  CHECK(bob.receives() == Lines{"room read 2, hides"});
  server.restart();
  REQUIRE(server.ask("bob", MarkRead{room, 2}));
  REQUIRE(server.ask("bob", MarkDelivered{room, 2}));
  CHECK(receipts_of(server, "alice", room).empty());
  REQUIRE(server.ask("bob", ShareReceipts{true}));
  REQUIRE(server.ask("bob", MarkRead{room, 2}));
  server.settle();
  CHECK(receipts_of(server, "alice", room) == "bob 2/2");
}

TEST_CASE("In a large group receipts are had on request, in a larger one not at all") {
  EngineOptions options;
  options.limits.receipt_members = 3;
  options.limits.fan_out_on_read = 5, options.limits.fan_out_on_write = 4;
  Server server(std::move(options));
  const ConversationId room = server.group("room", {"alice", "bob", "c", "d"});
  Person alice(server, "alice");
  alice.says(room, "hi");
  for (const char* who : {"bob", "c", "d"}) REQUIRE(server.ask(who, MarkRead{room, 2}));
  server.advance(2s);
  CHECK(moved(alice).empty());
  const auto first = alice.asks(GetReceipts{.conversation = room, .limit = 2});
  REQUIRE(first);
  CHECK(line(Receipts{room, first->receipts}) == "bob 2/2, c 2/2");
  const auto rest = alice.asks(GetReceipts{.conversation = room, .after = first->next, .limit = 2});
  REQUIRE(rest);
  CHECK(line(Receipts{room, rest->receipts}) == "d 2/2");
  CHECK(rest->next.empty());
  REQUIRE(alice.asks(AddMembers{room, {{"e"}, {"f"}}}));
  const auto refused = alice.asks(GetReceipts{.conversation = room});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::too_large);
  CHECK(refused.error().message == "conversation: receipts are kept of up to 5 members");
  REQUIRE(server.ask("bob", MarkRead{room, 3}));  // his own cursor is
  REQUIRE(server.ask("bob", MarkDelivered{room, 3}));
}

TEST_CASE("What can't be: beyond the head, a stranger, a former member, the host itself, no conversation") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"});
  const auto said = [](const auto& answer) {
    return answer ? "ok" : std::string(name(answer.error().code)) + ": " + answer.error().message;
  };
  CHECK(said(server.ask("bob", MarkDelivered{room, 2})) == "invalid: seq: beyond the head, which is 1");
  CHECK(said(server.ask("bob", MarkDelivered{room, ~Seq{0}})) == "invalid: seq: beyond the head, which is 1");
  CHECK(said(server.ask("bob", MarkRead{room, ~Seq{0}})) == "invalid: seq: beyond the head, which is 1");
  CHECK(server.ask("carol", MarkDelivered{room, 1}).error().code == ErrorCode::no_such_conversation);
  CHECK(server.ask("carol", GetReceipts{.conversation = room}).error().code == ErrorCode::no_such_conversation);
  CHECK(said(server.ask("bob", MarkDelivered{{}, 1})) == "invalid: conversation: name a conversation");
  CHECK(said(server.ask("bob", GetReceipts{.conversation = room, .limit = 201})) == "invalid: limit: at most 200");
  CHECK(server.ask(Identity::system(), MarkDelivered{room, 1}).error().code == ErrorCode::invalid);
  CHECK(server.ask(Identity::system(), ShareReceipts{}).error().code == ErrorCode::invalid);
  CHECK(server.ask(Identity::system(), GetReceipts{.conversation = room}));
  REQUIRE(server.ask("alice", text(room, "hi")));
  REQUIRE(server.ask("bob", Leave{room}));
  REQUIRE(server.ask("alice", text(room, "without bob")));
  CHECK(said(server.ask("bob", MarkRead{room, 4})) == "invalid: seq: beyond the head, which is 3");
  CHECK(said(server.ask("bob", GetReceipts{.conversation = room})) ==
        "forbidden: you are no longer in this conversation");
}

TEST_CASE("A store that fails for a while loses no receipt") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"});
  REQUIRE(server.ask("alice", text(room, "hi")));
  server.advance(3s);
  server.store->commits_fail = true;
  REQUIRE(server.ask("bob", MarkDelivered{room, 2}));
  server.advance(5s);
  server.store->commits_fail = false;
  server.advance(3s);
  server.crash();
  CHECK(receipts_of(server, "alice", room) == "bob 2/0");
}

TEST_CASE("A stop writes the receipts of what was read in the last second, on whichever shards it lies") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    std::vector<ConversationId> rooms;
    for (std::size_t i = 0; i < 8; ++i) rooms.push_back(server.group(numbered("room", i), {"alice", "bob"}));
    for (const ConversationId& room : rooms) REQUIRE(server.ask("bob", MarkRead{room, 1}));
    server.restart();
    for (const ConversationId& room : rooms) CHECK(receipts_of(server, "alice", room) == "bob 1/1");
  }
}
