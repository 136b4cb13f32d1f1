#include <map>

#include "support/answers.h"

// A commit fails, or nobody says what became of it, while more work waits behind it.

using namespace chat;
using Lines = std::vector<std::string>;
using Fate = SharedStorage::Fate;

namespace {

constexpr Fate all_fates[] = {Fate::refused,          Fate::full,         Fate::unknown_done,
                              Fate::unknown_not_done, Fate::unknown_late, Fate::throws};

ErrorCode error_of(Fate fate) {
  if (fate == Fate::refused) return ErrorCode::storage_unavailable;
  if (fate == Fate::full) return ErrorCode::storage_full;
  return ErrorCode::unknown_outcome;
}

const std::vector<std::string> speakers = {"alice", "bob", "carol"};

struct Said {
  std::string who;
  std::uint64_t number{};
  Send send{};
  Answer<Accepted> answer{};
};

Said say(Server& server, const ConversationId& to, const std::string& who, std::uint64_t number) {
  Said said{who, number, text(to, who + " " + std::to_string(number), {who + "'s phone", number})};
  said.answer = begin(server, who, said.send);
  return said;
}

// What a client does: sends it again until it is answered for good.
Accepted again_until_done(Server& server, const Said& said) {
  for (int i = 0; i < 10; ++i) {
    auto answer = server.ask(said.who, said.send);
    if (answer) return *answer;
    REQUIRE_MESSAGE(answer.error().retryable(), answer.error().message);
  }
  FAIL("never accepted");
  return {};
}

// Every text once, in each sender's order, where its acknowledgement says it is.
void check_log(Server& server, const ConversationId& id, const std::map<std::string, Seq>& acknowledged) {
  const auto events = log_of(server, id);
  check_dense(events);
  std::map<std::string, Seq> found;
  std::map<std::string, std::uint64_t> last;
  for (const EventPtr& event : events) {
    if (!event->as<MessagePosted>()) continue;
    CHECK(found.emplace(line(*event), event->seq).second);
    const std::string who = event->sender.string();
    const std::uint64_t number = std::stoull(line(*event).substr(who.size() + 1));
    CHECK(number == ++last[who]);
  }
  CHECK(found == acknowledged);
}

}  // namespace

TEST_CASE("Whatever becomes of a commit, what it held and what waited behind it lands once, in order") {
  for (const Fate fate : all_fates) {
    for (const bool lands_before_the_retries : {false, true}) {
      for (const unsigned shards : {1u, 4u}) {
        CAPTURE(static_cast<int>(fate));
        CAPTURE(lands_before_the_retries);
        CAPTURE(shards);
        Server server(with_shards(shards));
        const ConversationId id = server.group("room", {"alice", "bob", "carol", "erin"});
        Person erin(server, "erin");
        std::vector<Said> held, behind;
        for (const std::string& who : speakers) {
          for (std::uint64_t n : {1, 2}) held.push_back(say(server, id, who, n));
        }
        server.store->next({fate});
        in_next_commit(server, [&] {
          for (std::uint64_t n : {3, 4}) {
            for (const std::string& who : speakers) behind.push_back(say(server, id, who, n));
          }
        });
        server.settle();
        for (const Said& said : held) CHECK(said.answer.code() == error_of(fate));
        for (const Said& said : behind) {
          REQUIRE_FALSE(said.answer.result());
          CHECK(said.answer.result().error().retryable());
        }
        const bool landed = fate == Fate::unknown_done || (fate == Fate::unknown_late && lands_before_the_retries);
        if (fate == Fate::unknown_late && lands_before_the_retries) CHECK(server.store->land() == 1);
        CHECK(log_of(server, id).size() == (fate == Fate::unknown_done ? 7 : 1));  // nobody knows of the late one yet

        std::map<std::string, Seq> acknowledged;
        for (const auto* list : {&held, &behind}) {
          for (const Said& said : *list) {
            const Accepted accepted = again_until_done(server, said);
            CHECK(accepted.duplicate == (landed && said.number <= 2));
            acknowledged[said.send.content.text] = accepted.seq;
          }
        }
        if (fate == Fate::unknown_late && !lands_before_the_retries) CHECK(server.store->land() == 0);
        check_log(server, id, acknowledged);
        CHECK(log_of(server, id).size() == 13);

        CHECK(erin.receives().size() == 12);  // shown everything, also what landed unnoticed
        server.crash();
        check_log(server, id, acknowledged);
      }
    }
  }
}

TEST_CASE("Commit after commit fails, in every way, and each message lands once all the same") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    Server server;
    const ConversationId id = server.group("room", speakers);
    std::uint64_t random = seed;
    const auto pick = [&](std::uint64_t n) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      return (random >> 33) % n;
    };
    std::vector<Fate> fates;
    for (int i = 0; i < 12; ++i) fates.push_back(pick(3) == 0 ? Fate::done : all_fates[pick(6)]);
    server.store->next(fates);
    std::map<std::string, Seq> acknowledged;
    std::map<std::string, std::uint64_t> next;
    // Each has a window of three, sent in order, and sent again in order from the first that failed.
    for (int round = 0; round < 60; ++round) {
      std::vector<Said> window;
      for (const std::string& who : speakers) {
        for (std::uint64_t n = next[who] + 1; n <= std::min<std::uint64_t>(next[who] + 3, 8); ++n) {
          window.push_back(say(server, id, who, n));
          for (std::uint64_t items = pick(6); items > 0; --items) one_item(server);
        }
      }
      if (window.empty()) break;
      if (pick(2) == 0) server.store->land();
      server.settle();
      for (const Said& said : window) {
        if (!said.answer.result()) {
          REQUIRE(said.answer.result().error().retryable());
          continue;
        }
        acknowledged[said.send.content.text] = said.answer->seq;
        if (said.number == next[said.who] + 1) ++next[said.who];
      }
    }
    server.store->land();
    CHECK(acknowledged.size() == 24);
    check_log(server, id, acknowledged);
  }
}

TEST_CASE("A member whose adding failed is no member, and neither is he who spoke behind it") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"});
  Person carol(server, "carol"), bob(server, "bob");
  server.store->next({Fate::refused});
  Answer<Accepted> hello;
  const auto added = begin(server, "alice", AddMembers{id, {{user("carol")}}});
  in_next_commit(server, [&] { hello = begin(carol, text(id, "hello")); });
  server.settle();
  CHECK(added.code() == ErrorCode::storage_unavailable);
  REQUIRE_FALSE(hello.result());
  CHECK(hello.result().error().retryable());
  CHECK(carol.asks(text(id, "hello")).error().code == ErrorCode::no_such_conversation);
  CHECK(server.ask("alice", ListMembers{id})->total == 2);
  CHECK(carol.receives().empty());
  CHECK(bob.receives().empty());
  REQUIRE(server.ask("alice", AddMembers{id, {{user("carol")}}}));
  CHECK(carol.receives() == Lines{"joined carol"});
  CHECK(carol.says(id, "hello").seq == 3);
}

TEST_CASE("An edit whose commit fails changed nothing") {
  for (const Fate fate : all_fates) {
    CAPTURE(static_cast<int>(fate));
    Server server;
    const ConversationId id = server.group("room", {"alice", "bob"});
    Person bob(server, "bob");
    const Seq seq = server.ask("alice", text(id, "first"))->seq;
    CHECK(bob.receives() == Lines{"first"});
    server.store->next({fate});
    const EditMessage edit{id, seq, {.text = "second"}, "edit"};
    auto failed = server.ask("alice", edit);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == error_of(fate));
    const bool landed = fate == Fate::unknown_done;
    CHECK(line(*server.ask("bob", ReadHistory{.conversation = id})->events.front()) == (landed ? "second" : "first"));
    CHECK(bob.receives() == (landed ? Lines{"edited #2: second"} : Lines{}));
    auto done = server.ask("alice", edit);
    REQUIRE(done);
    CHECK(done->duplicate == landed);
    CHECK(done->seq == 3);
    server.store->land();
    if (!landed) CHECK(bob.receives() == Lines{"edited #2: second"});
    auto page = server.ask("bob", ReadHistory{.conversation = id});
    CHECK(page->events.front()->as<MessagePosted>()->revision == 1);
    CHECK(line(*page->events.front()) == "second");
  }
}

TEST_CASE("An edit and a deletion of the same message meet at any moment") {
  for (const bool fails : {false, true}) {
    for (std::size_t items = 0; items < 16; ++items) {
      CAPTURE(fails);
      CAPTURE(items);
      Server server;
      const ConversationId id = server.group("room", {"alice", "bob"});
      const Seq seq = server.ask("bob", text(id, "secret"))->seq;
      if (fails) server.store->next({Fate::refused});
      const auto edit = begin(server, "bob", EditMessage{id, seq, {.text = "secret too"}, "edit"});
      for (std::size_t i = 0; i < items; ++i) one_item(server);
      const auto deletion = begin(server, "alice", DeleteMessage{id, seq, "delete"});
      server.settle();
      if (!deletion.result()) {
        REQUIRE(deletion.result().error().retryable());
        REQUIRE(server.ask("alice", DeleteMessage{id, seq, "delete"}));
      }
      if (!edit.result() && edit.code() != ErrorCode::no_such_message) CHECK(edit.result().error().retryable());
      const auto events = log_of(server, id);
      check_dense(events);
      const auto* message = events[seq - 1]->as<MessagePosted>();
      REQUIRE(message);
      CHECK(message->deleted);
      CHECK(message->content == Content{});
      CHECK(message->revision == events.size() - 2);
      CHECK(lines_of(events).back() == "deleted #2");
      for (const EventPtr& event : events) CHECK(line(*event).find("secret") == std::string::npos);
    }
  }
}

TEST_CASE("Two edits at once: the later seq is what stays") {
  for (std::size_t items = 0; items < 16; ++items) {
    CAPTURE(items);
    Server server;
    const ConversationId id = server.group("room", {"alice", "bob"});
    const Seq seq = server.ask("alice", text(id, "draft"))->seq;
    const auto one = begin(server, "alice", EditMessage{id, seq, {.text = "one"}, "1"});
    for (std::size_t i = 0; i < items; ++i) one_item(server);
    const auto two = begin(server, Identity::host(user("alice")), EditMessage{id, seq, {.text = "two"}, "2"});
    server.settle();
    const auto events = log_of(server, id);
    CHECK(events.size() == 4);
    const auto* message = events[seq - 1]->as<MessagePosted>();
    CHECK(message->revision == 2);
    CHECK(message->content.text == (one->seq > two->seq ? "one" : "two"));
  }
}

TEST_CASE("What someone asked for first comes first, however reads and failures fall between") {
  for (std::size_t items = 0; items < 24; ++items) {
    CAPTURE(items);
    Server server;
    const ConversationId id = server.group("room", {"alice", "bob"});
    const Seq old = server.ask("bob", text(id, "old"))->seq;
    server.store->next({Fate::refused});
    const auto failing = begin(server, "alice", text(id, "failing"));
    Answer<Accepted> edit, first, second;
    in_next_commit(server, [&] {
      edit = begin(server, "bob", EditMessage{id, old, {.text = "new"}});  // has to read the old one first
      first = begin(server, "bob", text(id, "first"));
    });
    for (std::size_t i = 0; i < items; ++i) one_item(server);
    second = begin(server, "bob", text(id, "second"));
    server.settle();
    CHECK(failing.code() == ErrorCode::storage_unavailable);
    if (!edit.came()) continue;  // not that far
    if (edit.result() && first.result()) CHECK(edit->seq < first->seq);
    if (first.result() && second.result()) CHECK(first->seq < second->seq);
    if (edit.result() && second.result()) CHECK(edit->seq < second->seq);
  }
}

TEST_CASE("While reads fail the errors say so, and then all is well again") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"});
  Person alice(server, "alice");
  alice.says(id, "before");
  Checkpoint place;
  {
    Person bob(server, "bob");
    CHECK(bob.receives().empty());
    place = bob.checkpoint();
  }
  alice.says(id, "missed");
  server.advance(2s);
  server.restart();
  server.store->reads_fail = true;
  Person again(server, "alice");
  const auto code = [](const auto& answer) { return answer ? ErrorCode::ok : answer.error().code; };
  CHECK(code(again.asks(ReadHistory{.conversation = id})) == ErrorCode::storage_unavailable);
  CHECK(code(again.asks(Sync{.conversation = id})) == ErrorCode::storage_unavailable);
  CHECK(code(again.asks(ListConversations{})) == ErrorCode::storage_unavailable);
  CHECK(code(again.asks(GetConversation{.of = id})) == ErrorCode::storage_unavailable);
  CHECK(code(again.asks(text(id, "not now", IdempotencyKey("phone", 1)))) == ErrorCode::storage_unavailable);
  CHECK(code(again.asks(MarkRead{id, 1})) == ErrorCode::storage_unavailable);
  {
    Person bob(server, "bob", place);
    const Lines heard = bob.receives();
    CHECK(heard == Lines{"closed storage_unavailable"});  // rather than a hole
  }
  server.store->reads_fail = false;
  CHECK(again.says(id, "now", IdempotencyKey("phone", 1)).seq == 4);
  Person bob(server, "bob", place);
  CHECK(bob.receives() == Lines{"missed", "now"});
  CHECK(again.asks(ListConversations{})->conversations.size() == 1);
}

TEST_CASE("The storage is dead for a while: clients go on by themselves, and everything lands once") {
  for (const bool full : {false, true}) {
    CAPTURE(full);
    Server server;
    const ConversationId id = server.group("room", {"alice", "bob", "erin"});
    Guest alice(server, "alice"), bob(server, "bob"), erin(server, "erin");
    alice.says(id, "alice 1");
    CHECK(erin.receives() == Lines{"alice 1"});
    if (full) {
      server.store->next(std::vector<Fate>(12, Fate::full));
    } else {
      server.store->commits_fail = true;
    }
    std::vector<Answer<Accepted>> answers;
    std::map<std::string, Seq> acknowledged{{"alice 1", 2}};
    for (std::uint64_t n = 2; n <= 30; ++n) {
      answers.push_back(begin(alice, text(id, numbered("alice ", n))));
      answers.push_back(begin(bob, text(id, numbered("bob ", n - 1))));
      together(server, {&alice, &bob, &erin}, 20ms);
    }
    together(server, {&alice, &bob, &erin}, 2s);
    if (!full) {
      for (const auto& answer : answers) CHECK_FALSE(answer.came());
      CHECK(lines_of(log_of(server, id)).size() == 2);  // reads go on
      CHECK(alice.client().status().connected);
      server.store->commits_fail = false;
    }
    together(server, {&alice, &bob, &erin}, 30s);
    for (std::size_t i = 0; i < answers.size(); ++i) {
      REQUIRE(answers[i].came());
      acknowledged[(i % 2 == 0 ? numbered("alice ", i / 2 + 2) : numbered("bob ", i / 2 + 1))] = answers[i]->seq;
    }
    check_log(server, id, acknowledged);
    CHECK(erin.receives().size() == answers.size());
  }
}

TEST_CASE("A commit for many conversations fails for each of them, and each goes on by itself") {
  Server server(with_shards(2));
  std::vector<ConversationId> rooms;
  for (std::size_t i = 0; i < 20; ++i) rooms.push_back(server.group(numbered("room", i), {"alice", "bob"}));
  server.store->next({Fate::unknown_not_done, Fate::refused});
  std::vector<Answer<Accepted>> answers;
  for (const ConversationId& room : rooms) answers.push_back(begin(server, "alice", text(room, "alice 1", {"p", 1})));
  server.settle();
  for (std::size_t i = 0; i < rooms.size(); ++i) {
    if (!answers[i].result()) CHECK(answers[i].result().error().retryable());
    const Accepted done = again_until_done(server, {"alice", 1, text(rooms[i], "alice 1", {"p", 1})});
    CHECK(done.seq == 2);
    check_log(server, rooms[i], {{"alice 1", 2}});
  }
}
