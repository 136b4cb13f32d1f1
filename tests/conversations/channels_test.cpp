#include <algorithm>
#include <set>

#include "support/chat.h"
#include "support/wire.h"

using namespace chat;

// Conversations with more members than are held in memory: fanned out on read.

namespace {

using Lines = std::vector<std::string>;
using Fate = SharedStorage::Fate;

// Crossing at few members, so that a test can.
EngineOptions small_groups(unsigned shards = 1) {
  EngineOptions options;
  options.shards = shards;
  options.limits.fan_out_on_read = 8;
  options.limits.fan_out_on_write = 6;
  return options;
}

std::string reader(int i) { return "reader-" + std::to_string(100 + i); }

ConversationId channel(Server& server, std::string_view id, int readers, ConversationSettings settings = {}) {
  CreateConversation create{.conversation = conversation(id),
                            .settings = std::move(settings),
                            .members = {{user("editor"), Role::owner}},
                            .kind = ConversationKind::channel};
  REQUIRE(server.ask(Identity::system(), create));
  for (int i = 0; i < readers; ++i) {
    AddMembers add{.conversation = conversation(id), .members = {{user(reader(i)), Role::reader}}};
    REQUIRE(server.ask(Identity::system(), add));
  }
  return conversation(id);
}

void join(Server& server, const ConversationId& id, const std::string& who) {
  REQUIRE(server.ask(Identity::system(), AddMembers{.conversation = id, .members = {{user(who), Role::reader}}}));
}
void remove(Server& server, const ConversationId& id, const std::string& who) {
  REQUIRE(server.ask(Identity::system(), RemoveMembers{.conversation = id, .users = {user(who)}}));
}

std::size_t rows(Server& server, std::string_view who, Table table) {
  return server.store->inner().rows("u:" + std::string(who), table, "", {.rows = 1000})->rows.size();
}

Lines only(const Lines& lines, std::string_view prefix) {
  Lines some;
  std::copy_if(lines.begin(), lines.end(), std::back_inserter(some),
               [&](const auto& l) { return l.starts_with(prefix); });
  return some;
}

}  // namespace

TEST_CASE("A channel has no bound on its members, and those who are there get each message at once") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(small_groups(shards));
    const ConversationId id = channel(server, "news", 40, {.title = "News", .open = true});
    Person editor(server, "editor"), first(server, reader(0)), last(server, reader(39));
    server.settle();
    const Accepted said = editor.says(id, "extra");
    CHECK(first.receives() == Lines{"extra"});
    CHECK(last.receives() == Lines{"extra"});
    CHECK(editor.receives().empty());  // his acknowledgement is the delivery
    const auto info = server.ask(reader(5), GetConversation{.of = id});
    REQUIRE(info);
    CHECK(info->kind == ConversationKind::channel);
    CHECK(info->members == 41);
    CHECK(info->head == said.seq);
    CHECK(info->role == Role::reader);
    auto no = server.ask(reader(5), Send{.to = id, .content = {.text = "me too"}});
    REQUIRE_FALSE(no);
    CHECK(no.error().code == ErrorCode::forbidden);
    auto stranger = server.ask("nobody", ReadHistory{.conversation = id});
    REQUIRE_FALSE(stranger);
    CHECK(stranger.error().code == ErrorCode::no_such_conversation);
  }
}

TEST_CASE("Nothing is written for the members of a channel when somebody speaks") {
  Server server(small_groups());
  const ConversationId id = channel(server, "news", 40);
  server.advance(3s);
  CHECK(rows(server, reader(7), Table::channels) == 1);
  CHECK(rows(server, reader(7), Table::inbox) == 0);
  const auto before = server.engine().stats();
  for (int i = 0; i < 10; ++i) {
    REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = "n"}}));
    server.advance(1500ms);
  }
  CHECK(server.engine().stats().commits - before.commits <= 25);  // a message each, and the engine's own notes
  CHECK(rows(server, reader(7), Table::inbox) == 0);
}

TEST_CASE("Who joins a channel reads, sees it from then on, and who leaves keeps what he saw") {
  for (const unsigned shards : {1u, 4u}) {
    Server server(small_groups(shards));
    const ConversationId id = channel(server, "news", 20, {.newcomers_see = NewcomersSee::none, .open = true});
    Person editor(server, "editor"), zoe(server, "zoe");
    editor.says(id, "before");
    REQUIRE(zoe.asks(Join{id}));
    const Seq joined = server.ask("zoe", GetConversation{.of = id})->head;
    editor.says(id, "during");
    CHECK(zoe.receives() == Lines{"during"});
    REQUIRE(zoe.asks(Leave{id}));
    editor.says(id, "after");
    CHECK(zoe.receives().empty());
    const auto page = server.ask("zoe", ReadHistory{.conversation = id});
    REQUIRE(page);
    CHECK(page->events.size() == 3);  // joined, during, left
    CHECK(page->events.back()->seq == joined);
    auto info = server.ask("zoe", GetConversation{.of = id});
    REQUIRE(info);
    CHECK(info->former);
    server.advance(3s);
    CHECK(rows(server, "zoe", Table::channels) == 0);
    REQUIRE(zoe.asks(Join{id}));
    editor.says(id, "again");
    CHECK(zoe.receives() == Lines{"again"});
  }
}

TEST_CASE("A group that grows past the bound, and shrinks again, loses nobody and repeats nothing") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(small_groups(shards));
    const ConversationId id = server.group("crowd", {"editor", reader(0), reader(1), reader(2)});
    Person editor(server, "editor"), here(server, reader(0));
    here.receives();
    Lines expected, heard;
    const auto say = [&](const std::string& text) {
      editor.says(id, text);
      expected.push_back(text);
      for (const auto& line : here.receives()) heard.push_back(line);
    };
    say("small");
    for (int i = 3; i < 12; ++i) {
      join(server, id, reader(i));
      say("grows " + std::to_string(i));
    }
    for (int i = 11; i >= 3; --i) {
      remove(server, id, reader(i));
      say("shrinks " + std::to_string(i));
    }
    for (int i = 3; i < 12; ++i) join(server, id, reader(i));
    say("large again");
    Lines said;
    for (const auto& line : heard) {
      if (!line.starts_with("joined") && !line.starts_with("left")) said.push_back(line);
    }
    CHECK(said == expected);
    CHECK(only(heard, "joined").size() == 18);
    CHECK(only(heard, "left").size() == 9);
    const auto list = server.ask(reader(0), ListConversations{});
    REQUIRE(list);
    REQUIRE(list->conversations.size() == 1);
    CHECK(list->conversations[0].info.members == 13);
    CHECK(list->conversations[0].last->as<MessagePosted>()->content.text == "large again");
  }
}

TEST_CASE("Who was away while a conversation crossed, either way, comes back to everything") {
  for (const bool crash : {false, true}) {
    for (const unsigned shards : {1u, 4u}) {
      for (const int stage : {0, 1, 2, 3, 4}) {
        CAPTURE(crash);
        CAPTURE(shards);
        CAPTURE(stage);
        Server server(small_groups(shards));
        const ConversationId id = server.group("crowd", {"editor", reader(0), reader(1), reader(2)});
        Checkpoint place;
        const auto leaves = [&] {
          Person bob(server, reader(0));
          server.settle();
          REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = "bye"}}));
          for (int i = 0; i < 4; ++i) server.advance(500ms), bob.takes();
          place = bob.checkpoint();
          REQUIRE_FALSE(place.empty());
        };
        int texts = 0;
        const auto say = [&] {
          REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = "text " + std::to_string(texts)}}));
          ++texts;
        };
        if (stage == 0) leaves(), texts = 0;
        say();
        for (int i = 3; i < 12; ++i) join(server, id, reader(i));
        if (stage == 1) leaves(), texts = 0;
        say();
        if (stage == 2) leaves(), texts = 0;
        for (int i = 11; i >= 3; --i) remove(server, id, reader(i));
        say();
        if (stage == 3) leaves(), texts = 0;
        for (int i = 3; i < 12; ++i) join(server, id, reader(i));
        if (stage == 4) leaves(), texts = 0;
        say();
        crash ? server.crash() : server.restart();
        Person bob(server, reader(0), place);
        server.settle();
        CHECK(only(bob.receives(), "text ").size() == static_cast<std::size_t>(texts));
        REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = "live"}}));
        CHECK(bob.receives() == Lines{"live"});
      }
    }
  }
}

TEST_CASE("A conversation that crosses while someone catches up with it is whole for him") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    Server server(small_groups(1 + seed % 4));
    const ConversationId id = server.group("crowd", {"editor", reader(0), reader(1)});
    std::uint64_t state = seed;
    const auto random = [&state] {
      return state = state * 6364136223846793005ULL + 1442695040888963407ULL, state >> 33;
    };
    std::set<Seq> seen;
    Seq first = 0;
    Checkpoint place;
    std::optional<Person> bob(std::in_place, server, reader(0));
    const auto take = [&] {
      for (const Push& push : bob->takes()) {
        if (push.event()) seen.insert(push.event()->seq);
      }
      if (!bob->checkpoint().empty()) place = bob->checkpoint();
    };
    server.settle();
    first = server.ask("editor", GetConversation{.of = id})->head;
    int members = 3;
    for (int i = 0; i < 120; ++i) {
      switch (random() % 5) {
        case 0:
          if (members < 14) join(server, id, reader(members++ - 1));
          break;
        case 1:
          if (members > 3) remove(server, id, reader(--members - 1));
          break;
        case 2:
          server.engine().call(Identity{.user = "editor"}, Send{.to = id, .content = {.text = "t"}});
          if (random() % 2 == 0) server.settle();
          break;
        case 3:
          take();
          bob.emplace(server, reader(0), place.empty() ? std::nullopt : std::optional(place));
          if (place.empty()) first = std::max(first, server.ask("editor", GetConversation{.of = id})->head);
          break;
        case 4:
          server.advance(300ms);
          take();
          break;
      }
    }
    for (int i = 0; i < 5; ++i) server.advance(1s), take();
    const Seq head = server.ask("editor", GetConversation{.of = id})->head;
    for (Seq seq = first + 1; seq <= head; ++seq) {
      if (seen.contains(seq)) continue;
      CAPTURE(seq);
      FAIL_CHECK("missing");
    }
  }
}

TEST_CASE("Owners of a large conversation are counted: the last one can't go before he names another") {
  Server server(small_groups());
  const ConversationId id = channel(server, "news", 20);
  auto leave = server.ask("editor", Leave{id});
  REQUIRE_FALSE(leave);
  CHECK(leave.error().code == ErrorCode::forbidden);
  auto demote = server.ask("editor", SetRole{.conversation = id, .user = user("editor"), .role = Role::admin});
  REQUIRE_FALSE(demote);
  CHECK(demote.error().code == ErrorCode::forbidden);
  REQUIRE(server.ask("editor", SetRole{.conversation = id, .user = user(reader(3)), .role = Role::owner}));
  server.restart();
  REQUIRE(server.ask("editor", Leave{id}));
  CHECK(server.ask(reader(3), GetConversation{.of = id})->role == Role::owner);
  CHECK(server.ask(reader(3), GetConversation{.of = id})->members == 20);
}

TEST_CASE("The members of a channel are listed page by page") {
  Server server(small_groups(2));
  const ConversationId id = channel(server, "news", 25);
  remove(server, id, reader(4));
  std::set<std::string> names;
  UserId after{};
  int pages = 0;
  do {
    const auto page = server.ask(reader(0), ListMembers{.conversation = id, .after = after, .limit = 7});
    REQUIRE(page);
    CHECK(page->members.size() <= 7);
    CHECK(page->total == 25);
    for (const Member& member : page->members) CHECK(names.insert(member.user.string()).second);
    after = page->next;
    ++pages;
  } while (!after.empty());
  CHECK(names.size() == 25);
  CHECK(pages == 4);
  CHECK_FALSE(names.contains(reader(4)));
}

TEST_CASE("A channel that is set to notify only tells that there is something, and a pull brings it") {
  for (const unsigned shards : {1u, 4u}) {
    Server server(small_groups(shards));
    const ConversationId id = channel(server, "news", 20, {.notify_only = true});
    Person bob(server, reader(0));
    server.settle();
    const Seq seq = server.ask("editor", Send{.to = id, .content = {.text = "one"}})->seq;
    CHECK(bob.receives() == Lines{"pull " + std::to_string(seq)});
    const auto page = bob.asks(Sync{.conversation = id, .after = seq - 1});
    REQUIRE(page);
    REQUIRE(page->events.size() == 1);
    CHECK(page->live_from == 0);
    CHECK_FALSE(page->more);
    REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = "two"}}));
    CHECK(bob.receives() == Lines{"pull " + std::to_string(seq + 1)});  // renewed
    // Nobody takes: one notice waits, and then the newest.
    for (int i = 0; i < 5; ++i) REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = "more"}}));
    const auto lines = bob.receives();
    CHECK(lines.size() <= 2);
    server.settle();
    Lines all = lines;
    for (const auto& line : bob.receives()) all.push_back(line);
    CHECK(all.back() == "pull " + std::to_string(seq + 6));
  }
}

TEST_CASE("A notice to many carries a spread, so that they don't all read at once") {
  EngineOptions options;
  options.limits.fan_out_on_read = 8, options.limits.fan_out_on_write = 6;
  Server server(std::move(options));
  const ConversationId id = channel(server, "news", 150, {.notify_only = true});
  std::vector<std::unique_ptr<Person>> people;
  for (int i = 0; i < 150; ++i) people.push_back(std::make_unique<Person>(server, reader(i)));
  server.settle();
  REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = "one"}}));
  for (auto& person : people) {
    const auto pushes = person->takes();
    REQUIRE(pushes.size() == 1);
    REQUIRE(pushes[0].as<HeadMoved>());
    CHECK(pushes[0].as<HeadMoved>()->spread == 15ms);
  }
}

TEST_CASE("All who ask for a page at once are served by one read of the storage") {
  Server server(small_groups());
  const ConversationId id = channel(server, "news", 50);
  for (int i = 0; i < 60; ++i) REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = std::to_string(i)}}));
  for (int i = 0; i < 50; ++i) REQUIRE(server.ask(reader(i), GetConversation{.of = id}));  // known by now
  const auto before = server.store->reads;
  int answers = 0;
  for (int i = 0; i < 50; ++i) {
    server.engine().call(Identity{.user = user(reader(i))}, ReadHistory{.conversation = id, .limit = 20},
                         [&](Result<HistoryPage> page) {
                           REQUIRE(page);
                           CHECK(page->events.size() == 20);
                           ++answers;
                         });
  }
  server.settle();
  CHECK(answers == 50);
  CHECK(server.store->reads - before <= 2);
}

TEST_CASE("A page that was kept never shows what has been edited or deleted since") {
  Server server(small_groups());
  const ConversationId id = channel(server, "news", 20);
  const Seq seq = server.ask("editor", Send{.to = id, .content = {.text = "wrong"}})->seq;
  const auto text_of = [&] {
    const auto page =
        server.ask(reader(1), ReadHistory{.conversation = id, .start = seq, .limit = 1});  // the same page
    REQUIRE(page);
    const auto* posted = page->events.front()->as<MessagePosted>();
    return posted->deleted ? std::string("(deleted)") : posted->content.text;
  };
  CHECK(text_of() == "wrong");
  REQUIRE(server.ask("editor", EditMessage{.conversation = id, .seq = seq, .content = {.text = "right"}}));
  CHECK(text_of() == "right");
  REQUIRE(server.ask("editor", DeleteMessage{.conversation = id, .seq = seq}));
  CHECK(text_of() == "(deleted)");
}

TEST_CASE("The key of a message is in no page but its sender's, kept or not") {
  Server server(small_groups());
  const ConversationId id = channel(server, "news", 20);
  REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = "one"}, .key = "secret"}));
  for (int round = 0; round < 2; ++round) {
    const auto mine = server.ask("editor", ReadHistory{.conversation = id, .limit = 1});
    const auto theirs = server.ask(reader(1), ReadHistory{.conversation = id, .limit = 1});
    REQUIRE(mine);
    REQUIRE(theirs);
    CHECK(mine->events[0]->key.source == "secret");
    CHECK(theirs->events[0]->key.empty());
  }
}

TEST_CASE("Channels stand in the list where their last message puts them, on whichever page") {
  for (const unsigned shards : {1u, 3u}) {
    Server server(small_groups(shards));
    std::vector<ConversationId> ids;
    for (int i = 0; i < 3; ++i) {
      ids.push_back(channel(server, "c" + std::to_string(i), 12));
      ids.push_back(server.group("g" + std::to_string(i), {"editor", reader(0)}));
    }
    std::vector<std::string> expected;
    for (const ConversationId& id : ids) {
      server.advance(1s);
      REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = "in " + id.string()}}));
      expected.insert(expected.begin(), id.string());
    }
    server.advance(2s);
    for (const std::uint32_t limit : {1u, 2u, 4u, 50u}) {
      std::vector<std::string> listed;
      std::string after;
      do {
        const auto page = server.ask(reader(0), ListConversations{.after = after, .limit = limit});
        REQUIRE(page);
        for (const auto& entry : page->conversations) listed.push_back(entry.info.conversation.string());
        after = page->next;
      } while (!after.empty());
      CHECK(listed == expected);
    }
  }
}

TEST_CASE("What a damaged commit left unnoticed in a channel is told to those who follow") {
  Server server(small_groups());
  const ConversationId id = channel(server, "news", 20);
  Person bob(server, reader(0)), zoe(server, "zoe");
  server.settle();
  server.store->next({Fate::unknown_done});
  REQUIRE_FALSE(server.ask("editor", Send{.to = id, .content = {.text = "unnoticed"}}));
  CHECK(bob.receives() == Lines{"unnoticed"});
  server.store->next({Fate::unknown_done});
  REQUIRE_FALSE(
      server.ask(Identity::system(), AddMembers{.conversation = id, .members = {{user("zoe"), Role::reader}}}));
  server.settle();
  zoe.receives();
  REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = "hello zoe"}}));
  CHECK(zoe.receives() == Lines{"hello zoe"});
}

TEST_CASE("A login whose channels can't be read goes on without them, and finds them later") {
  Server server(small_groups());
  const ConversationId id = channel(server, "news", 20);
  server.restart();
  server.store->reads_fail = true;
  Person bob(server, reader(0));
  server.settle();
  CHECK(bob.receives().empty());
  server.store->reads_fail = false;
  REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = "while he could not see"}}));
  server.advance(3s);
  CHECK(bob.receives() == Lines{"while he could not see"});
  REQUIRE(server.ask("editor", Send{.to = id, .content = {.text = "live"}}));
  CHECK(bob.receives() == Lines{"live"});
}

TEST_CASE("Something ephemeral reaches those who follow a channel") {
  for (const unsigned shards : {1u, 4u}) {
    Server server(small_groups(shards));
    const ConversationId id = channel(server, "news", 20);
    Person bob(server, reader(0)), carol(server, reader(1)), stranger(server, "nobody");
    server.settle();
    const auto shown = server.ask("editor", SendEphemeral{.to = id, .content = {.text = "psst"}});
    REQUIRE(shown);
    CHECK(shown->sessions == 2);
    CHECK(bob.receives() == Lines{"~psst"});
    carol.receives();
    const auto some = server.ask(
        "editor", SendEphemeral{.to = id, .content = {.text = "you"}, .only = {user(reader(1)), user("nobody")}});
    REQUIRE(some);
    CHECK(some->sessions == 1);
    CHECK(carol.receives() == Lines{"~you"});
    CHECK(stranger.receives().empty());
  }
}

TEST_CASE("Who comes by a crossing that landed unnoticed is pushed to, and finds it in his list") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(small_groups(shards));
    const ConversationId id = channel(server, "news", 7);
    Person editor(server, "editor"), last(server, reader(7)), first(server, reader(0));
    server.settle();
    server.store->next({Fate::unknown_done});
    const AddMembers add{.conversation = id, .members = {{user(reader(7)), Role::reader}}, .key = "k"};
    REQUIRE_FALSE(server.ask(Identity::system(), add));
    server.advance(2s);
    editor.says(id, "welcome");
    CHECK(only(last.receives(), "welcome") == Lines{"welcome"});
    CHECK(only(first.receives(), "welcome") == Lines{"welcome"});
    server.advance(2s);
    CHECK(rows(server, reader(7), Table::channels) == 1);
    CHECK(rows(server, reader(7), Table::inbox) == 0);
  }
}
