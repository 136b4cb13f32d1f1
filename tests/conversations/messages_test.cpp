#include <algorithm>

#include "support/chat.h"

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

template <class T>
ErrorCode code(const Result<T>& answer) {
  return answer ? ErrorCode::ok : answer.error().code;
}

auto edits(Person& who, const ConversationId& in, Seq seq, std::string_view text, IdempotencyKey key = {}) {
  return who.asks(
      EditMessage{.conversation = in, .seq = seq, .content = {.text = std::string(text)}, .key = std::move(key)});
}

auto deletes(Person& who, const ConversationId& in, Seq seq, IdempotencyKey key = {}) {
  return who.asks(DeleteMessage{.conversation = in, .seq = seq, .key = std::move(key)});
}

// A message in its present state, as `who` reads it.
MessagePosted message(Server& server, std::string_view who, const ConversationId& in, Seq seq) {
  auto page =
      server.ask(who, ReadHistory{.conversation = in, .start = seq, .direction = Direction::forward, .limit = 1});
  REQUIRE(page);
  REQUIRE(page->events.size() == 1);
  REQUIRE(page->events[0]->seq == seq);
  REQUIRE(page->events[0]->as<MessagePosted>());
  return *page->events[0]->as<MessagePosted>();
}

Lines history(Server& server, std::string_view who, const ConversationId& in) {
  auto page = server.ask(who, ReadHistory{.conversation = in, .direction = Direction::forward, .limit = 200});
  REQUIRE(page);
  Lines lines;
  for (const EventPtr& event : page->events) lines.push_back(line(*event));
  return lines;
}

bool contains(std::span<const std::byte> bytes, std::string_view text) {
  const std::string_view view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return view.find(text) != std::string_view::npos;
}

// Whether a word stands anywhere in what the store holds of a conversation and of its readers.
bool stored(Server& server, const ConversationId& in, std::string_view word) {
  Storage& store = server.store->inner();
  for (const std::string& partition :
       {"c:" + in.string(), std::string("u:alice"), std::string("u:bob"), std::string("e:engine")}) {
    for (const Log log : {Log::messages, Log::changes}) {
      auto page = store.events(partition, log, 1, Direction::forward, {.rows = 1000, .bytes = 64 << 20});
      REQUIRE(page);
      for (const auto& [seq, bytes] : page->events) {
        if (contains(bytes, word)) return true;
      }
    }
    for (int table = 1; table <= 8; ++table) {
      auto page = store.rows(partition, static_cast<Table>(table), "", {.rows = 1000, .bytes = 64 << 20});
      REQUIRE(page);
      for (const Row& row : page->rows) {
        if (row.value && contains(*row.value, word)) return true;
      }
    }
  }
  return false;
}

Bytes bytes(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(data, data + text.size());
}

}  // namespace

// ---- edit

TEST_CASE("Alice edits what she said: Bob gets the present state, and history shows it in its old place") {
  Server server;
  Person alice(server, "alice"), tablet(server, "alice"), bob(server, "bob");
  const Accepted hi = alice.says(Direct{"bob"}, "hi Bbo");
  alice.says(Direct{"bob"}, "how are you?");
  bob.receives(), tablet.receives();

  auto edited = edits(alice, hi.conversation, hi.seq, "hi Bob");
  REQUIRE(edited);
  CHECK(edited->seq == 3);
  CHECK(edited->durability == Durability::disk);
  CHECK(alice.receives().empty());
  CHECK(tablet.receives() == Lines{"edited #1: hi Bob"});
  const auto pushed = bob.takes();
  REQUIRE(pushed.size() == 1);
  const auto* change = pushed[0].as<MessageChanged>();
  REQUIRE(change);
  CHECK(change->target == 1);
  CHECK(change->kind == ChangeKind::edited);
  CHECK(change->revision == 1);
  REQUIRE(change->now);
  CHECK(change->now->content.text == "hi Bob");
  CHECK(change->now->revision == 1);
  CHECK_FALSE(change->now->deleted);

  CHECK(history(server, "bob", hi.conversation) == Lines{"hi Bob", "how are you?"});
  const MessagePosted now = message(server, "bob", hi.conversation, 1);
  CHECK(now.revision == 1);
  CHECK(now.changed == server.clock().wall());
}

TEST_CASE("Each change counts one revision, and the last one counts") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");
  const Accepted hi = alice.says(Direct{"bob"}, "0");
  CHECK(message(server, "alice", hi.conversation, 1).revision == 0);
  CHECK(message(server, "alice", hi.conversation, 1).changed == TimePoint{});
  for (std::uint32_t n = 1; n <= 5; ++n) {
    server.advance(10ms);
    REQUIRE(edits(alice, hi.conversation, 1, std::to_string(n)));
    CHECK(message(server, "bob", hi.conversation, 1).revision == n);
    CHECK(message(server, "bob", hi.conversation, 1).changed == server.clock().wall());
  }
  bob.receives();
  REQUIRE(deletes(alice, hi.conversation, 1));
  const auto pushed = bob.takes();
  REQUIRE(pushed.size() == 1);
  CHECK(pushed[0].as<MessageChanged>()->revision == 6);
  CHECK(message(server, "bob", hi.conversation, 1).revision == 6);
}

TEST_CASE("Only its sender edits a message, and only while he is a member; the host may too") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"}, {.open = true});
  Person alice(server, "alice"), bob(server, "bob");
  const Seq seq = bob.says(group, "hi").seq;
  CHECK(code(edits(alice, group, seq, "mine")) == ErrorCode::forbidden);  // though she owns the group
  CHECK(code(server.ask(Identity::system(),
                        EditMessage{.conversation = group, .seq = seq, .content = {.text = "censored"}})) ==
        ErrorCode::ok);
  CHECK(message(server, "alice", group, seq).content.text == "censored");
  REQUIRE(bob.asks(Leave{.conversation = group}));
  CHECK(code(edits(bob, group, seq, "from outside")) == ErrorCode::forbidden);
  CHECK(code(deletes(bob, group, seq)) == ErrorCode::forbidden);
  REQUIRE(bob.asks(Join{.conversation = group}));
  CHECK(code(edits(bob, group, seq, "back")) == ErrorCode::ok);
  REQUIRE(alice.asks(SetRole{.conversation = group, .user = "bob", .role = Role::reader}));
  CHECK(code(edits(bob, group, seq, "as a reader")) == ErrorCode::forbidden);
  CHECK(code(deletes(bob, group, seq)) == ErrorCode::forbidden);
}

TEST_CASE("What is not there, is no message or is deleted can't be edited") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice");
  const Seq seq = alice.says(group, "hi").seq;
  CHECK(code(edits(alice, group, 1, "x")) == ErrorCode::no_such_message);  // who joined
  CHECK(code(edits(alice, group, 99, "x")) == ErrorCode::no_such_message);
  CHECK(code(deletes(alice, group, 1)) == ErrorCode::no_such_message);
  CHECK(code(deletes(alice, group, 99)) == ErrorCode::no_such_message);
  auto edited = edits(alice, group, seq, "hi!");
  REQUIRE(edited);
  CHECK(code(edits(alice, group, edited->seq, "x")) == ErrorCode::no_such_message);  // the change itself
  CHECK(code(deletes(alice, group, edited->seq)) == ErrorCode::no_such_message);
  REQUIRE(deletes(alice, group, seq));
  CHECK(code(edits(alice, group, seq, "x")) == ErrorCode::no_such_message);
  CHECK(code(edits(alice, group, 0, "x")) == ErrorCode::invalid);
  CHECK(code(deletes(alice, group, 0)) == ErrorCode::invalid);
}

TEST_CASE("A message is edited and deleted in the same commit as it was sent") {
  Server server;
  Person bob(server, "bob"), alice(server, "alice");
  const ConversationId pair = alice.says(Direct{"bob"}, "first").conversation;
  bob.receives();
  std::vector<Result<Accepted>> answers;
  const auto keep = [&](Result<Accepted> answer) { answers.push_back(std::move(answer)); };
  const std::uint64_t commits = server.store->commits;
  Session& session = alice.session();
  session.call(Send{.to = pair, .content = {.text = "helo"}, .key = "k"}, keep);
  session.call(EditMessage{.conversation = pair, .seq = 2, .content = {.text = "hello"}}, keep);
  session.call(EditMessage{.conversation = pair, .seq = 2, .content = {.text = "hello!"}}, keep);
  session.call(Send{.to = pair, .content = {.text = "unsayable"}}, keep);
  session.call(DeleteMessage{.conversation = pair, .seq = 5}, keep);
  server.settle();
  REQUIRE(answers.size() == 5);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    REQUIRE(answers[i]);
    CHECK(answers[i]->seq == i + 2);
  }
  CHECK(server.store->commits == commits + 1);
  // What was never readable is in no push either.
  CHECK(bob.receives() == Lines{"hello!", "edited #2: hello!", "edited #2: hello!", "(deleted)", "deleted #5"});
  CHECK(history(server, "bob", pair) == Lines{"first", "hello!", "(deleted)"});
  CHECK(message(server, "bob", pair, 2).revision == 2);
  CHECK(message(server, "bob", pair, 5).deleted);
  CHECK_FALSE(stored(server, pair, "unsayable"));
  // The key that sent it still stands for it.
  auto again = alice.asks(Send{.to = pair, .content = {.text = "helo"}, .key = "k"});
  REQUIRE(again);
  CHECK(again->duplicate);
  CHECK(again->seq == 2);
}

TEST_CASE("An edit of what is on its way to the store waits for it, and both are done") {
  Server server;
  Person bob(server, "bob"), alice(server, "alice");
  const ConversationId pair = alice.says(Direct{"bob"}, "first").conversation;
  bob.receives();
  std::vector<Result<Accepted>> answers;
  const auto keep = [&](Result<Accepted> answer) { answers.push_back(std::move(answer)); };
  bool once = false;
  server.store->before_commit = [&] {
    if (std::exchange(once, true)) return;
    alice.session().call(EditMessage{.conversation = pair, .seq = 2, .content = {.text = "two!"}}, keep);
    alice.session().call(DeleteMessage{.conversation = pair, .seq = 1}, keep);
  };
  alice.session().call(Send{.to = pair, .content = {.text = "two"}}, keep);
  server.settle();
  server.store->before_commit = {};
  REQUIRE(answers.size() == 3);
  for (const auto& answer : answers) CHECK(answer);
  CHECK(bob.receives() == Lines{"two", "edited #2: two!", "deleted #1"});
  CHECK(history(server, "bob", pair) == Lines{"(deleted)", "two!"});
}

TEST_CASE("An edit with the key of an earlier edit is the same edit") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");
  const ConversationId pair = alice.says(Direct{"bob"}, "0").conversation;
  auto first = edits(alice, pair, 1, "1", "k");
  REQUIRE(first);
  auto again = edits(alice, pair, 1, "1", "k");
  REQUIRE(again);
  CHECK(again->duplicate);
  CHECK(again->seq == first->seq);
  CHECK(message(server, "bob", pair, 1).revision == 1);
  CHECK(code(edits(alice, pair, 1, "2", "k")) == ErrorCode::conflict);
  CHECK(code(deletes(alice, pair, 1, "k")) == ErrorCode::conflict);
  REQUIRE(deletes(alice, pair, 1, "d"));
  CHECK(deletes(alice, pair, 1, "d")->duplicate);
  CHECK(edits(alice, pair, 1, "1", "k")->duplicate);  // though it could not be done now
}

// ---- delete

TEST_CASE("One deletes his own message, an admin anyone's, nobody else") {
  Server server;
  const ConversationId group = server.group("lunch", {"owner", "alice", "bob"});
  Person owner(server, "owner"), alice(server, "alice"), bob(server, "bob"), admin(server, "admin");
  REQUIRE(owner.asks(AddMembers{.conversation = group, .members = {{"admin", Role::admin}}}));
  const Seq one = alice.says(group, "one").seq, two = alice.says(group, "two").seq,
            three = owner.says(group, "three").seq, four = alice.says(group, "four").seq;
  CHECK(code(deletes(bob, group, one)) == ErrorCode::forbidden);
  CHECK(code(deletes(alice, group, one)) == ErrorCode::ok);
  CHECK(code(deletes(admin, group, two)) == ErrorCode::ok);
  CHECK(code(deletes(admin, group, three)) == ErrorCode::ok);  // an owner's too
  CHECK(code(server.ask(Identity::system(), DeleteMessage{.conversation = group, .seq = four})) == ErrorCode::ok);
  for (const Seq seq : {one, two, three, four}) CHECK(message(server, "bob", group, seq).deleted);
}

TEST_CASE("In a direct conversation each deletes his own only") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");
  const ConversationId pair = alice.says(Direct{"bob"}, "hi").conversation;
  CHECK(code(deletes(bob, pair, 1)) == ErrorCode::forbidden);
  CHECK(code(deletes(alice, pair, 1)) == ErrorCode::ok);
}

TEST_CASE("Deleting what is deleted is accepted and changes nothing") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");
  const ConversationId pair = alice.says(Direct{"bob"}, "hi").conversation;
  auto first = deletes(alice, pair, 1);
  REQUIRE(first);
  bob.receives();
  auto second = deletes(alice, pair, 1);
  REQUIRE(second);
  CHECK(second->seq == 0);  // no event
  CHECK_FALSE(second->duplicate);
  CHECK(bob.receives().empty());
  CHECK(message(server, "bob", pair, 1).revision == 1);
}

TEST_CASE("The text of a deleted message is in no answer, no push and no row any more") {
  Server server;
  Person alice(server, "alice");
  Checkpoint before;
  {
    Person bob(server, "bob");
    server.advance(2s);
    bob.receives();
    before = bob.checkpoint();
  }
  const ConversationId pair = alice.says(Direct{"bob"}, "hello").conversation;
  auto sent = alice.asks(Send{.to = pair,
                              .content = {.text = "kompromat",
                                          .content_type = "text/kompromat",
                                          .data = bytes("kompromat"),
                                          .metadata = {{"kompromat", "kompromat"}}}});
  REQUIRE(sent);
  REQUIRE(edits(alice, pair, sent->seq, "still kompromat"));
  server.advance(2s);
  CHECK(stored(server, pair, "kompromat"));
  auto gone = deletes(alice, pair, sent->seq, "key");
  REQUIRE(gone);
  CHECK_FALSE(stored(server, pair, "kompromat"));

  const auto clean = [](const std::vector<EventPtr>& events) {
    for (const EventPtr& event : events) {
      const auto* posted = event->as<MessagePosted>();
      if (const auto* change = event->as<MessageChanged>()) {
        REQUIRE(change->now);
        posted = &*change->now;
      }
      REQUIRE(posted);
      if (posted->deleted) CHECK(posted->content == Content{});
      CHECK(posted->content.text.find("kompromat") == std::string::npos);
    }
  };
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    auto page = server.ask("bob", ReadHistory{.conversation = pair, .direction = direction});
    REQUIRE(page);
    CHECK(page->events.size() == 2);
    clean(page->events);
  }
  auto sync = server.ask("bob", Sync{.conversation = pair});
  REQUIRE(sync);
  CHECK(sync->events.size() == 4);
  clean(sync->events);
  auto list = server.ask("bob", ListConversations{});
  REQUIRE(list);
  REQUIRE(list->conversations.size() == 1);
  REQUIRE(list->conversations[0].last);
  clean({list->conversations[0].last});
  CHECK(list->conversations[0].unread == 1);

  Person bob(server, "bob", before);
  CHECK(bob.receives() == Lines{"hello", "(deleted)", "edited #2", "deleted #2"});
}

TEST_CASE("After a restart a deleted message is deleted and an edited one edited") {
  Server server;
  Person alice(server, "alice");
  const ConversationId pair = alice.says(Direct{"bob"}, "one").conversation;
  alice.says(pair, "two");
  REQUIRE(edits(alice, pair, 1, "one!"));
  REQUIRE(deletes(alice, pair, 2));
  server.restart();
  CHECK(history(server, "bob", pair) == Lines{"one!", "(deleted)"});
  CHECK(code(server.ask("alice", EditMessage{.conversation = pair, .seq = 1, .content = {.text = "one!!"}})) ==
        ErrorCode::ok);
  CHECK(message(server, "bob", pair, 1).revision == 2);
}

TEST_CASE("A failed edit leaves the message as it was, for everyone") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");
  const ConversationId pair = alice.says(Direct{"bob"}, "as it was").conversation;
  bob.receives();
  server.store->next({SharedStorage::Fate::refused});
  CHECK(code(edits(alice, pair, 1, "changed")) == ErrorCode::storage_unavailable);
  CHECK(bob.receives().empty());
  CHECK(message(server, "bob", pair, 1).content.text == "as it was");
  CHECK(code(edits(alice, pair, 1, "changed")) == ErrorCode::ok);
  CHECK(bob.receives() == Lines{"edited #1: changed"});
  CHECK(message(server, "bob", pair, 1).revision == 1);
}

// ---- content

TEST_CASE("Text, bytes, their type and metadata come out as they went in") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");
  Content content{.text = "grüße \xf0\x9f\x8e\x89",
                  .content_type = "image/webp",
                  .data = {},
                  .metadata = {{"", "empty"}, {"a", ""}, {"ключ", "значение"}}};
  for (int i = 0; i < 256; ++i) content.data.push_back(static_cast<std::byte>(i));
  auto sent = alice.asks(Send{.to = Direct{"bob"}, .content = content});
  REQUIRE(sent);
  const auto pushed = bob.takes();
  REQUIRE(pushed.size() == 1);
  REQUIRE(pushed[0].as<MessagePosted>());
  CHECK(pushed[0].as<MessagePosted>()->content == content);
  CHECK(pushed[0].event()->sender.view() == "alice");
  CHECK(pushed[0].event()->time == sent->time);
  CHECK(message(server, "bob", sent->conversation, 1).content == content);

  const Content only_bytes{.data = bytes("x")};
  REQUIRE(alice.asks(EditMessage{.conversation = sent->conversation, .seq = 1, .content = only_bytes}));
  CHECK(message(server, "bob", sent->conversation, 1).content == only_bytes);
}

TEST_CASE("The key of a message is shown to its sender only") {
  Server server;
  Person phone(server, "alice"), tablet(server, "alice"), bob(server, "bob");
  const IdempotencyKey key("phone", 7);
  const Accepted sent = phone.says(Direct{"bob"}, "hi", key);
  const auto at_tablet = tablet.takes(), at_bob = bob.takes();
  REQUIRE(at_tablet.size() == 1);
  REQUIRE(at_bob.size() == 1);
  CHECK(at_tablet[0].event()->key == key);
  CHECK(at_bob[0].event()->key.empty());
  CHECK(server.ask("alice", ReadHistory{.conversation = sent.conversation})->events[0]->key == key);
  CHECK(server.ask("bob", ReadHistory{.conversation = sent.conversation})->events[0]->key.empty());
  CHECK(server.ask("bob", Sync{.conversation = sent.conversation})->events[0]->key.empty());
  REQUIRE(edits(phone, sent.conversation, 1, "hi!", {"phone", 8}));
  const auto edited = tablet.takes(), edited_at_bob = bob.takes();
  REQUIRE(edited.size() == 1);
  REQUIRE(edited_at_bob.size() == 1);
  CHECK(edited[0].event()->key == IdempotencyKey("phone", 8));
  CHECK(edited_at_bob[0].event()->key.empty());
}

TEST_CASE("What the host says has no sender, and an NPC is whom the host names") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice"});
  Person alice(server, "alice");
  REQUIRE(server.ask(Identity::system(), Send{.to = group, .content = {.text = "maintenance at noon"}}));
  REQUIRE(server.ask(Identity::host("npc"), Send{.to = group, .content = {.text = "grr"}}));
  const auto pushed = alice.takes();
  REQUIRE(pushed.size() == 2);
  CHECK(pushed[0].event()->sender.empty());
  CHECK(pushed[1].event()->sender.view() == "npc");
  CHECK(code(edits(alice, group, pushed[0].event()->seq, "never")) == ErrorCode::forbidden);
}

// ---- ephemeral

TEST_CASE("Something ephemeral is seen by who is there, counted, and kept nowhere") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    EngineOptions options;
    options.shards = shards;
    Server server(std::move(options));
    const ConversationId group = server.group("lunch", {"alice", "bob", "carol", "dave"});
    Person phone(server, "alice"), tablet(server, "alice"), bob(server, "bob"), carol(server, "carol"),
        eve(server, "eve");
    auto shown = phone.asks(SendEphemeral{.to = group, .content = {.text = "wave"}});
    REQUIRE(shown);
    CHECK(shown->sessions == 3);  // not the one it came through; Dave is away
    CHECK(phone.receives().empty());
    CHECK(tablet.receives() == Lines{"~wave"});
    const auto at_bob = bob.takes();
    REQUIRE(at_bob.size() == 1);
    REQUIRE(at_bob[0].as<Ephemeral>());
    CHECK(at_bob[0].as<Ephemeral>()->sender.view() == "alice");
    CHECK(at_bob[0].as<Ephemeral>()->conversation == group);
    CHECK(carol.receives() == Lines{"~wave"});
    CHECK(eve.receives().empty());

    CHECK(server.ask("bob", Sync{.conversation = group})->head == 1);
    CHECK(history(server, "bob", group).size() == 1);
    CHECK_FALSE(stored(server, group, "wave"));
    Person dave(server, "dave");
    CHECK(dave.receives().empty());
  }
}

TEST_CASE("Something ephemeral for these members alone is seen by no others, and by no strangers") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob", "carol"});
  Person alice(server, "alice"), bob(server, "bob"), carol(server, "carol"), eve(server, "eve");
  auto shown = alice.asks(SendEphemeral{.to = group, .content = {.text = "psst"}, .only = {"eve", "carol", "carol"}});
  REQUIRE(shown);
  CHECK(shown->sessions == 1);
  CHECK(bob.receives().empty());
  CHECK(eve.receives().empty());
  CHECK(carol.receives() == Lines{"~psst"});
  CHECK(code(server.ask(Identity::system(), SendEphemeral{.to = group, .content = {.text = "all"}})) == ErrorCode::ok);
  CHECK(alice.receives() == Lines{"~all"});
}

TEST_CASE("What is ephemeral needs a member's role, and a conversation that is there") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob"), eve(server, "eve");
  REQUIRE(alice.asks(SetRole{.conversation = group, .user = "bob", .role = Role::reader}));
  const Content wave{.text = "wave"};
  CHECK(code(bob.asks(SendEphemeral{.to = group, .content = wave})) == ErrorCode::forbidden);
  CHECK(code(eve.asks(SendEphemeral{.to = group, .content = wave})) == ErrorCode::no_such_conversation);
  CHECK(code(alice.asks(SendEphemeral{.to = Direct{"bob"}, .content = wave})) == ErrorCode::no_such_conversation);
  alice.says(Direct{"bob"}, "hi");
  bob.receives();
  CHECK(code(alice.asks(SendEphemeral{.to = Direct{"bob"}, .content = wave})) == ErrorCode::ok);
  CHECK(bob.receives() == Lines{"~wave"});
  CHECK(code(alice.asks(SendEphemeral{.to = group, .content = {}})) == ErrorCode::invalid);
}

TEST_CASE("What is ephemeral is dropped where an outbox is half full, and what is stored is not") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob", "carol"});
  Person alice(server, "alice"), carol(server, "carol");
  Person slow(server, "bob", {}, 8 << 10);
  alice.says(group, std::string(5000, 'x'));
  auto shown = alice.asks(SendEphemeral{.to = group, .content = {.text = "wave"}});
  REQUIRE(shown);
  CHECK(shown->sessions == 1);  // Carol's
  alice.says(group, "still here");
  CHECK(slow.receives() == Lines{std::string(5000, 'x'), "still here"});
  CHECK(carol.receives() == Lines{std::string(5000, 'x'), "~wave", "still here"});
  shown = alice.asks(SendEphemeral{.to = group, .content = {.text = "again"}});
  REQUIRE(shown);
  CHECK(shown->sessions == 2);
  CHECK(slow.receives() == Lines{"~again"});
}

TEST_CASE("What was edited and then deleted in one commit is in no push") {
  Server server;
  Person bob(server, "bob"), alice(server, "alice");
  const ConversationId pair = alice.says(Direct{"bob"}, "first").conversation;
  bob.receives();
  alice.session().call(EditMessage{.conversation = pair, .seq = 1, .content = {.text = "unsayable"}});
  alice.session().call(DeleteMessage{.conversation = pair, .seq = 1});
  server.settle();
  const auto pushed = bob.takes();
  REQUIRE(pushed.size() == 2);
  for (const Push& push : pushed) {
    const auto* change = push.as<MessageChanged>();
    REQUIRE(change);
    REQUIRE(change->now);
    CHECK(change->now->deleted);
    CHECK(change->now->content == Content{});
    CHECK(change->now->revision == 2);
  }
  CHECK(pushed[0].as<MessageChanged>()->revision == 1);
  CHECK_FALSE(stored(server, pair, "unsayable"));
}
