#include "core/inbox.h"
#include "features/own_log.h"
#include "support/answers.h"

// What a user has marked for himself: his devices agree, also those that were away.

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

std::string marks_of(const Result<Marks>& marks) {
  return marks ? line(*marks) : std::string(name(marks.error().code)) + ": " + marks.error().message;
}

// What his list says of a conversation.
std::string listed(Server& server, std::string_view who, const ConversationId& id) {
  const auto page = server.ask(who, ListConversations{});
  REQUIRE_MESSAGE(page, page.error().message);
  for (const ConversationEntry& entry : page->conversations) {
    if (entry.info.conversation != id) continue;
    CHECK(entry.read == entry.marks.read);
    return line(entry.marks);
  }
  return "not listed";
}

Result<ReadCursor> reads(Server& server, std::string_view who, const ConversationId& id, Seq seq) {
  return server.ask(who, MarkRead{id, seq});
}

Lines own_log(Server& server, std::string_view who) {
  Lines lines;
  const auto page = server.ask(
      who, ReadHistory{.conversation = features::own_log_of(user(who)), .direction = Direction::forward, .limit = 200});
  if (!page) return lines;
  for (const EventPtr& event : page->events) lines.push_back(line(*event));
  return lines;
}

// What a broken disk makes of a row of his own log.
void damage(Server& server, std::string_view who, Table table, const std::string& key) {
  Storage& storage = server.store->inner();
  const std::string partition = "c:" + features::own_log_of(user(who)).string();
  const auto page = storage.events(partition, Log::messages, 1, Direction::forward, {.rows = 1});
  REQUIRE(page);
  const std::vector<Row> rows{{.table = table, .key = key, .value = Bytes(9)}};
  const Change change{.partition = partition, .expected_head = page->head, .new_head = page->head, .rows = rows};
  Status outcome;
  storage.commit(std::span(&change, 1), std::span(&outcome, 1));
  REQUIRE(outcome);
}

}  // namespace

TEST_CASE("What one device mutes, pins, archives and reads the other one sees") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    const ConversationId room = server.group("room", {"alice", "bob"});
    Person phone(server, "alice"), desk(server, "alice"), bob(server, "bob");
    CHECK(marks_of(phone.asks(Mute{room, TimePoint::max()})) == "room read 0 muted");
    CHECK(marks_of(phone.asks(Pin{room})) == "room read 0 muted pinned");
    CHECK(marks_of(desk.asks(Archive{room})) == "room read 0 muted pinned archived");
    CHECK(marks_of(desk.asks(MarkUnread{room})) == "room read 0 muted pinned archived unread");
    CHECK(phone.asks(MarkRead{room, 1})->seq == 1);
    server.settle();
    const Lines all{"room read 0 muted", "room read 0 muted pinned", "room read 0 muted pinned archived",
                    "room read 0 muted pinned archived unread", "room read 1 muted pinned archived"};
    CHECK(phone.receives() == all);
    CHECK(desk.receives() == all);
    for (const std::string& other : bob.receives()) CHECK(other.starts_with("receipts: "));
    CHECK(marks_of(desk.asks(Mute{room, TimePoint{}})) == "room read 1 pinned archived");
    CHECK(marks_of(desk.asks(Pin{room, false})) == "room read 1 archived");
    CHECK(marks_of(desk.asks(Archive{room, false})) == "room read 1");
    CHECK(listed(server, "alice", room) == "room read 1");
    CHECK(listed(server, "bob", room) == "room read 0");
  }
}

TEST_CASE("A device that was away learns what was marked meanwhile, in order") {
  Server server(with_shards(2));
  const ConversationId room = server.group("room", {"alice", "bob"}), other = server.group("other", {"alice"});
  Checkpoint place;
  {
    Person phone(server, "alice");
    server.advance(2s);
    phone.takes();
    place = phone.checkpoint();
  }
  REQUIRE(server.ask("alice", Pin{room}));
  REQUIRE(server.ask("bob", text(room, "hi")));
  REQUIRE(reads(server, "alice", room, 2));
  REQUIRE(server.ask("alice", Archive{other}));
  for (const bool restarts : {false, true}) {
    if (restarts) server.restart();
    Person phone(server, "alice", place);
    Lines own;
    for (const std::string& each : phone.receives()) {
      if (each != "hi") own.push_back(each);
    }
    CHECK(own == Lines{"room read 0 pinned", "room read 2 pinned", "other read 0 archived"});
  }
}

TEST_CASE("A repeat changes nothing and tells nobody") {
  Server server;
  const ConversationId room = server.group("room", {"alice"});
  Person alice(server, "alice");
  for (int i = 0; i < 3; ++i) CHECK(marks_of(alice.asks(Pin{room})) == "room read 0 pinned");
  for (int i = 0; i < 3; ++i) CHECK(marks_of(alice.asks(Mute{room})) == "room read 0 pinned");
  CHECK(alice.receives() == Lines{"room read 0 pinned"});
  CHECK(own_log(server, "alice") == Lines{"room read 0 pinned"});
}

TEST_CASE("Cursors are written at once, then a second's together; the list and a stop wait for none") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"}), other = server.group("other", {"alice", "bob"});
  for (int i = 0; i < 30; ++i) REQUIRE(server.ask("bob", text(room, "hi")));
  REQUIRE(server.ask("bob", text(other, "hi")));
  server.advance(3s);
  for (Seq seq = 1; seq <= 20; ++seq) CHECK(reads(server, "alice", room, seq)->seq == seq);
  CHECK(own_log(server, "alice") == Lines{"room read 1"});
  CHECK(reads(server, "alice", room, 5)->seq == 20);  // never back, written or not
  CHECK(reads(server, "alice", other, 2)->seq == 2);
  server.advance(999ms);
  CHECK(own_log(server, "alice") == Lines{"room read 1"});
  server.advance(2ms);
  CHECK(own_log(server, "alice") == Lines{"room read 1", "other read 2, room read 20"});
  CHECK(reads(server, "alice", room, 21)->seq == 21);
  CHECK(listed(server, "alice", room) == "room read 21");
  CHECK(reads(server, "alice", room, 22)->seq == 22);
  server.restart();
  CHECK(listed(server, "alice", room) == "room read 22");
  CHECK(reads(server, "alice", room, 23)->seq == 23);
  server.advance(60s);
  const std::uint64_t before = server.store->commits;
  server.advance(60s);
  CHECK(server.store->commits == before);  // then there is nothing to do
}

TEST_CASE("A crash loses at most the last second of cursors, and moves none back") {
  Server server(with_shards(2));
  const ConversationId room = server.group("room", {"alice", "bob"});
  for (int i = 0; i < 50; ++i) REQUIRE(server.ask("bob", text(room, "hi")));
  Seq least = 0;
  for (Seq seq = 1; seq <= 50; ++seq) {
    REQUIRE(reads(server, "alice", room, seq));
    server.advance(150ms);
    if (seq % 10 != 0) continue;
    server.crash();
    const auto now = reads(server, "alice", room, 0);
    REQUIRE(now);
    CHECK(now->seq + 8 >= seq);
    CHECK(now->seq >= least);
    least = now->seq;
    CHECK(listed(server, "alice", room) == "room read " + std::to_string(least));
  }
}

TEST_CASE("Where the store takes nothing cursors wait, and marks are refused") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"});
  REQUIRE(server.ask("bob", text(room, "hi")));
  server.advance(3s);
  server.store->commits_fail = true;
  CHECK(reads(server, "alice", room, 2)->seq == 2);
  CHECK(server.ask("alice", Pin{room}).error().code == ErrorCode::storage_unavailable);
  server.advance(10s);
  CHECK(reads(server, "alice", room, 1)->seq == 2);
  server.store->commits_fail = false;
  server.advance(2s);
  CHECK(own_log(server, "alice") == Lines{"room read 2"});
  // Nobody said whether it was written: the repeat finds out.
  server.store->next({SharedStorage::Fate::unknown_done});
  CHECK(server.ask("alice", Pin{room}).error().code == ErrorCode::unknown_outcome);
  CHECK(marks_of(server.ask("alice", Pin{room})) == "room read 2 pinned");
  CHECK(own_log(server, "alice") == Lines{"room read 2", "room read 2 pinned", "shares"});  // what found it out
}

TEST_CASE("A user's own log is his alone, and holds what he marks and nothing else") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  REQUIRE(alice.asks(Pin{room}));
  const auto pushes = alice.takes();
  REQUIRE(pushes.size() == 1);
  const ConversationId log = pushes.front().event()->conversation;
  CHECK(log == features::own_log_of(user("alice")));
  CHECK(pushes.front().event()->sender == user("alice"));
  const auto info = alice.asks(GetConversation{log});
  REQUIRE(info);
  CHECK(info->kind == ConversationKind::own);
  CHECK(info->head == 1);
  CHECK(alice.asks(Sync{log})->events.size() == 1);
  const auto code_of = [](const auto& answer) { return answer ? ErrorCode::ok : answer.error().code; };
  for (Person* who : {&alice, &bob}) {
    const ErrorCode expected = who == &alice ? ErrorCode::forbidden : ErrorCode::no_such_conversation;
    CHECK(code_of(who->asks(text(log, "hi"))) == expected);
    CHECK(code_of(who->asks(EditMessage{log, 1, {.text = "x"}})) == expected);
    CHECK(code_of(who->asks(DeleteMessage{log, 1})) == expected);
    CHECK(code_of(who->asks(ChangeSettings{log, {.title = "x"}})) == expected);
    CHECK(code_of(who->asks(AddMembers{log, {{"carol"}}})) == expected);
    CHECK(code_of(who->asks(RemoveMembers{log, {"alice"}})) == expected);
    CHECK(code_of(who->asks(SetRole{log, "alice", Role::owner})) == expected);
    CHECK(code_of(who->asks(Leave{log})) == expected);
    CHECK(code_of(who->asks(MarkRead{log, 1})) == expected);
    CHECK(code_of(who->asks(MarkDelivered{log, 1})) == expected);
    CHECK(code_of(who->asks(Pin{log})) == expected);
  }
  CHECK(code_of(bob.asks(Join{log})) == ErrorCode::no_such_conversation);
  CHECK(code_of(bob.asks(ReadHistory{log})) == ErrorCode::no_such_conversation);
  CHECK(code_of(server.ask(Identity::system(), text(log, "hi"))) == ErrorCode::forbidden);
  const auto list = alice.asks(ListConversations{});
  REQUIRE(list);
  REQUIRE(list->conversations.size() == 1);
  CHECK(list->conversations.front().info.conversation == room);
}

TEST_CASE("Whoever was in a conversation marks it, a stranger does not, nor the host itself") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"});
  REQUIRE(server.ask("bob", Leave{room}));
  CHECK(marks_of(server.ask("bob", Archive{room})) == "room read 0 archived");
  CHECK(server.ask("carol", Pin{room}).error().code == ErrorCode::no_such_conversation);
  CHECK(server.ask("alice", Pin{conversation("nowhere")}).error().code == ErrorCode::no_such_conversation);
  CHECK(marks_of(server.ask("alice", Pin{ConversationId{}})) == "invalid: conversation: name a conversation");
  CHECK(server.ask(Identity::system(), Pin{room}).error().code == ErrorCode::invalid);
  CHECK(marks_of(server.ask(Identity::host("alice"), Pin{room})) == "room read 0 pinned");
  CHECK(listed(server, "alice", room) == "room read 0 pinned");
}

TEST_CASE("Marks outlive leaving, coming back and the crossing of the threshold") {
  EngineOptions options;
  options.limits.fan_out_on_read = 4, options.limits.fan_out_on_write = 3;
  Server server(std::move(options));
  const ConversationId room = server.group("room", {"alice", "bob"});
  REQUIRE(server.ask("bob", Mute{room, TimePoint::max()}));
  REQUIRE(reads(server, "bob", room, 1));
  REQUIRE(server.ask("alice", AddMembers{room, {{"c"}, {"d"}, {"e"}}}));
  CHECK(listed(server, "bob", room) == "room read 1 muted");
  REQUIRE(reads(server, "bob", room, 2));
  REQUIRE(server.ask("alice", RemoveMembers{room, {"bob", "c", "d"}}));
  CHECK(listed(server, "bob", room) == "room read 2 muted");
  REQUIRE(server.ask("alice", AddMembers{room, {{"bob"}}}));
  server.restart();
  CHECK(listed(server, "bob", room) == "room read 2 muted");
}

TEST_CASE("A damaged row of marks hides nothing else, and is written anew with the next mark") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"}), den = server.group("den", {"alice", "bob"});
  REQUIRE(server.ask("alice", Pin{room}));
  REQUIRE(server.ask("alice", Pin{den}));
  REQUIRE(server.ask("alice", ShareReceipts{true}));
  damage(server, "alice", Table::marks, "room");
  CHECK(listed(server, "alice", room) == "room read 0");
  CHECK(listed(server, "alice", den) == "den read 0 pinned");
  CHECK(server.ask("alice", GetUnread{}));
  CHECK(reads(server, "alice", room, 1)->seq == 1);
  CHECK(marks_of(server.ask("alice", Archive{room})) == "room read 1 archived");
  damage(server, "alice", Table::settings, "own");
  REQUIRE(server.ask("alice", MarkDelivered{den, 1}));
  CHECK(server.ask("bob", GetReceipts{.conversation = den})->receipts.empty());  // nobody knows whether she shares them
}

TEST_CASE("What is marked as unread and then read is read, however close the one is behind the other") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"}), den = server.group("den", {"alice", "bob"});
  Person alice(server, "alice");
  for (const Seq head : {1u, 1u, 1u}) {
    REQUIRE(alice.asks(MarkRead{room, head}));
    begin(alice, MarkRead{den, head});
    begin(alice, MarkUnread{room});
    begin(alice, MarkRead{room, head});
    server.advance(3s);
    CHECK(listed(server, "alice", room) == "room read 1");
  }
}
