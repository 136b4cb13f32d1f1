#include <map>
#include <set>

#include "support/answers.h"

// In a conversation, seq is dense, starts at 1, and is acknowledged for one event only. Clocks order nothing.

using namespace chat;
using Lines = std::vector<std::string>;
using Fate = SharedStorage::Fate;

TEST_CASE("Whatever happens in a conversation takes the next seq, and what is refused takes none") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"});
  Seq seq = 1;
  const auto takes_the_next = [&](auto request, std::string_view who = "alice") {
    auto accepted = server.ask(who, std::move(request));
    REQUIRE_MESSAGE(accepted, accepted.error().message);
    CHECK(accepted->seq == ++seq);
  };
  const auto takes_none = [&](auto request, std::string_view who, ErrorCode why) {
    auto refused = server.ask(who, std::move(request));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == why);
  };
  takes_the_next(text(id, "one"));
  takes_none(text(id, "who am I?"), "mallory", ErrorCode::no_such_conversation);
  takes_the_next(text(id, "two"), "bob");
  takes_none(text(id, ""), "bob", ErrorCode::invalid);
  takes_none(text(id, std::string(20'000, 'x')), "bob", ErrorCode::too_large);
  takes_the_next(EditMessage{id, 2, {.text = "One"}});
  takes_none(EditMessage{id, 2, {.text = "One"}}, "bob", ErrorCode::forbidden);
  takes_none(EditMessage{id, 99, {.text = "One"}}, "bob", ErrorCode::no_such_message);
  takes_the_next(DeleteMessage{id, 3});
  takes_the_next(AddMembers{id, {{user("carol")}, {user("dave")}}});
  takes_none(AddMembers{id, {{user("erin")}}}, "carol", ErrorCode::forbidden);
  takes_the_next(SetRole{id, user("carol"), Role::admin});
  takes_the_next(ChangeSettings{id, {.title = "Tea"}}, "carol");
  takes_the_next(RemoveMembers{id, {user("dave")}}, "carol");
  takes_none(text(id, "let me in"), "dave", ErrorCode::forbidden);
  takes_the_next(Leave{id}, "bob");
  takes_the_next(text(id, "last"), "carol");

  const auto events = log_of(server, id);
  CHECK(events.size() == seq);
  check_dense(events);
  auto page = server.ask("alice", ReadHistory{.conversation = id, .direction = Direction::forward});
  CHECK(page->head == seq);
  CHECK(page->oldest == 1);
  CHECK(page->covers_from == 1);
  CHECK(page->covers_to == seq);
}

TEST_CASE("Many speak at once: every seq is acknowledged once, and each one's messages keep their order") {
  for (const unsigned shards : {1u, 2u, 4u}) {
    for (const Fate fate : {Fate::done, Fate::refused, Fate::unknown_done}) {
      CAPTURE(shards);
      CAPTURE(static_cast<int>(fate));
      Server server(with_shards(shards));
      std::vector<std::string> speakers;
      for (std::size_t i = 0; i < 8; ++i) speakers.push_back(numbered("speaker", i));
      const ConversationId id = server.group("room", speakers);
      server.store->next({Fate::done, fate});
      std::map<Seq, std::string> acknowledged;
      std::map<std::string, std::pair<std::string, Answer<Accepted>>> answers;
      for (std::size_t n = 0; n < 40; ++n) {
        for (const std::string& who : speakers) {
          const std::string words = who + numbered(" ", n);
          answers[words] = {who, begin(server, who, text(id, words, words))};
        }
        if (n % 3 == 0) one_item(server);
        if (n % 10 == 0) server.settle();
      }
      server.settle();
      for (const auto& [words, sent] : answers) {
        const auto accepted =
            sent.second.result() ? sent.second.result() : server.ask(sent.first, text(id, words, words));
        REQUIRE_MESSAGE(accepted, accepted.error().message);
        CHECK(acknowledged.emplace(accepted->seq, words).second);
      }
      const auto events = log_of(server, id);
      check_dense(events);
      REQUIRE(events.size() == 1 + answers.size());
      for (std::size_t i = 1; i < events.size(); ++i) CHECK(acknowledged.at(i + 1) == line(*events[i]));
      if (fate != Fate::done) continue;
      std::map<std::string, int> last;
      for (std::size_t i = 1; i < events.size(); ++i) {
        const std::string words = line(*events[i]), who = events[i]->sender.string();
        const int n = std::stoi(words.substr(who.size()));
        CHECK(n == (last.contains(who) ? last[who] + 1 : 0));
        last[who] = n;
      }
    }
  }
}

TEST_CASE("Each conversation counts for itself") {
  Server server(with_shards(4));
  std::vector<ConversationId> rooms;
  for (std::size_t i = 0; i < 10; ++i) rooms.push_back(server.group(numbered("room", i), {"alice"}));
  for (Seq n = 2; n < 7; ++n) {
    for (const ConversationId& room : rooms) CHECK(server.ask("alice", text(room, "hi"))->seq == n);
  }
}

TEST_CASE("A clock that jumps a day either way orders nothing") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"});
  Person bob(server, "bob");
  std::vector<Seq> seqs;
  Lines said;
  for (int i = 0; i < 12; ++i) {
    server.clock().jump(i % 3 == 0 ? 24h : -36h);
    said.push_back(numbered("m", static_cast<std::size_t>(i)));
    seqs.push_back(server.ask("alice", text(id, said.back()))->seq);
    if (i == 6) server.restart();
    if (i == 6) bob = Person(server, "bob");
    if (i == 6) server.settle();
  }
  for (std::size_t i = 0; i < seqs.size(); ++i) CHECK(seqs[i] == i + 2);
  auto lines = lines_of(log_of(server, id));
  lines.erase(lines.begin());
  CHECK(lines == said);
  CHECK(bob.receives() == Lines(said.begin() + 7, said.end()));
  // A key used a moment ago by the engine's time is remembered, whatever the wall says.
  const Accepted kept = *server.ask("alice", text(id, "kept", "k"));
  server.clock().jump(48h);
  CHECK(server.ask("alice", text(id, "kept", "k"))->seq == kept.seq);
}

TEST_CASE("The seqs of the next life follow on those of the last") {
  Server server;
  const ConversationId id = server.group("room", {"alice"});
  for (Seq n = 2; n < 30; ++n) {
    CHECK(server.ask("alice", text(id, "hi"))->seq == n);
    if (n % 3 == 0) server.restart();
    if (n % 3 == 1) server.crash();
  }
  check_dense(log_of(server, id));
}

TEST_CASE("A seq whose commit was refused is the next one's") {
  for (const Fate fate : {Fate::refused, Fate::full, Fate::unknown_not_done, Fate::throws}) {
    CAPTURE(static_cast<int>(fate));
    Server server;
    const ConversationId id = server.group("room", {"alice", "bob"});
    server.store->next({fate});
    CHECK_FALSE(server.ask("alice", text(id, "lost")));
    CHECK(server.ask("bob", text(id, "kept"))->seq == 2);
    CHECK(lines_of(log_of(server, id)).back() == "kept");
  }
}
