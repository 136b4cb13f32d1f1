#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "support/chat.h"
#include "support/wire.h"

using namespace chat;

// Who is in a conversation is the host's own table.

namespace {

using Lines = std::vector<std::string>;

// A game's teams: who is in which, as the game has it.
struct Teams {
  std::map<std::string, std::map<std::string, Role>> members{};
  std::size_t too_large = 0;
  bool throws = false;
  int asked = 0;
  int drops = 0;       // so many questions for someone's teams
  int role_drops = 0;  // or for his role
};

// Answers at once, or when the test says so.
class HostTable final : public Membership {
 public:
  explicit HostTable(std::shared_ptr<Teams> teams, std::vector<Function<void()>>* later = nullptr)
      : teams_(std::move(teams)), later_(later) {}

  bool owns(const ConversationId& id) const override { return id.view().starts_with("team:"); }
  void members(const ConversationId& id, Done<std::vector<Member>> done) override {
    ++teams_->asked;
    if (teams_->throws) throw std::runtime_error("the table is broken");
    answer([teams = teams_, id, done = std::move(done)]() mutable {
      const auto& team = teams->members[id.string()];
      if (teams->too_large != 0 && team.size() > teams->too_large) {
        return done(Error{ErrorCode::too_large, "too many", {}});
      }
      std::vector<Member> list;
      for (const auto& [name, role] : team) list.push_back({user(name), role});
      done(std::move(list));
    });
  }
  void role(const ConversationId& id, const UserId& who, Done<std::optional<Role>> done) override {
    ++teams_->asked;
    if (teams_->role_drops > 0) return void(--teams_->role_drops);
    answer([teams = teams_, id, who, done = std::move(done)]() mutable {
      const auto& team = teams->members[id.string()];
      const auto found = team.find(who.string());
      done(found == team.end() ? std::nullopt : std::optional(found->second));
    });
  }
  void conversations(const UserId& who, Done<std::vector<ConversationId>> done) override {
    if (teams_->drops > 0) return void(--teams_->drops);
    answer([teams = teams_, who, done = std::move(done)]() mutable {
      std::vector<ConversationId> list;
      for (const auto& [name, team] : teams->members) {
        if (team.contains(who.string())) list.push_back(conversation(name));
      }
      done(std::move(list));
    });
  }

 private:
  void answer(Function<void()> now) {
    if (later_) return later_->push_back(std::move(now));
    now();
  }
  std::shared_ptr<Teams> teams_;
  std::vector<Function<void()>>* later_;
};

struct Game {
  explicit Game(unsigned shards = 1, std::vector<Function<void()>>* later = nullptr, std::size_t too_large = 0)
      : teams(std::make_shared<Teams>()), server([&] {
          EngineOptions options;
          options.shards = shards;
          options.membership = std::make_unique<HostTable>(teams, later);
          return options;
        }()) {
    teams->too_large = too_large;
    for (const char* name : {"alice", "bob", "carol"}) teams->members["team:red"][name] = Role::member;
    for (const char* name : {"dave", "erin"}) teams->members["team:blue"][name] = Role::member;
  }
  void moves(const std::string& who, const std::string& from, const std::string& to) {
    teams->members[from].erase(who);
    if (!to.empty()) teams->members[to][who] = Role::member;
    server.engine().membership_changed(user(who));
  }

  std::shared_ptr<Teams> teams;
  Server server;
};

const ConversationId red = conversation("team:red"), blue = conversation("team:blue");

}  // namespace

TEST_CASE("A team of the host's is a conversation without being created, for its members alone") {
  for (const unsigned shards : {1u, 4u}) {
    for (const std::size_t too_large : {0u, 1u}) {
      CAPTURE(shards);
      CAPTURE(too_large);
      Game game(shards, nullptr, too_large);
      Person alice(game.server, "alice"), bob(game.server, "bob"), dave(game.server, "dave");
      game.server.settle();
      CHECK(alice.says(red, "go left").seq == 1);
      CHECK(bob.receives() == Lines{"go left"});
      CHECK(dave.receives().empty());
      auto spy = dave.asks(Send{.to = red, .content = {.text = "hehe"}});
      REQUIRE_FALSE(spy);
      CHECK(spy.error().code == ErrorCode::no_such_conversation);
      CHECK(dave.asks(ReadHistory{.conversation = red}).error().code == ErrorCode::no_such_conversation);
      const auto page = bob.asks(ReadHistory{.conversation = red});
      REQUIRE(page);
      CHECK(page->events.size() == 1);
    }
  }
}

TEST_CASE("From the return of membership_changed the next event obeys the new table, both ways") {
  for (const unsigned shards : {1u, 2u, 4u}) {
    for (const std::size_t too_large : {0u, 1u}) {
      CAPTURE(shards);
      CAPTURE(too_large);
      Game game(shards, nullptr, too_large);
      Person alice(game.server, "alice"), bob(game.server, "bob"), dave(game.server, "dave");
      game.server.settle();
      alice.says(red, "one");
      dave.says(blue, "uno");
      CHECK(bob.receives() == Lines{"one"});
      game.moves("bob", "team:red", "team:blue");
      game.server.engine().call(Identity{.user = "alice"}, Send{.to = red, .content = {.text = "bob is gone"}});
      game.server.engine().call(Identity{.user = "dave"}, Send{.to = blue, .content = {.text = "welcome bob"}});
      game.server.settle();
      CHECK(bob.receives() == Lines{"welcome bob"});
      auto no = bob.asks(Send{.to = red, .content = {.text = "still here?"}});
      REQUIRE_FALSE(no);
      CHECK(no.error().code == ErrorCode::forbidden);
      CHECK(bob.asks(Send{.to = blue, .content = {.text = "hi"}}));
      const auto list = game.server.ask("bob", ListConversations{});
      REQUIRE(list);
      std::set<std::string> current;
      for (const auto& entry : list->conversations) {
        if (!entry.info.former) current.insert(entry.info.conversation.string());
      }
      CHECK(current == std::set<std::string>{"team:blue"});
    }
  }
}

TEST_CASE("What waits in the outbox of a player who was moved does not leave it") {
  for (const unsigned shards : {1u, 4u}) {
    for (const std::size_t too_large : {0u, 1u}) {
      CAPTURE(shards);
      CAPTURE(too_large);
      Game game(shards, nullptr, too_large);
      Person alice(game.server, "alice"), bob(game.server, "bob");
      Wire carol(game.server.engine(), {.identity = Identity{.user = "carol"}});
      game.server.settle();
      REQUIRE(carol.asks(game.server, protocol::Login{}));
      game.server.settle();
      carol.hears();
      carol.takes(0);
      alice.says(red, "secret plan");
      game.server.settle();
      game.moves("bob", "team:red", "team:blue");
      game.moves("carol", "team:red", "");
      // Nothing of the team leaves as it was put there; what was said before he left he may read as what is past.
      const auto pushes = bob.session().take();
      CHECK_FALSE(pushes);
      carol.takes(SIZE_MAX);
      for (const Heard& heard : carol.hears()) CHECK_FALSE((heard.push && heard.push->event()));
      alice.says(red, "they are gone");
      game.server.settle();
      for (const auto& line : bob.receives()) CHECK(line == "secret plan");
      for (const Heard& heard : carol.hears()) {
        if (heard.push && heard.push->event()) CHECK(line(*heard.push) == "secret plan");
      }
    }
  }
}

TEST_CASE("What is taken back from a full outbox, as the table names its reader, comes again where he is still in it") {
  for (const unsigned shards : {1u, 4u}) {
    for (const std::size_t too_large : {0u, 1u}) {
      CAPTURE(shards);
      CAPTURE(too_large);
      Game game(shards, nullptr, too_large);
      Person alice(game.server, "alice"), bob(game.server, "bob", {}, 8 << 10);
      game.server.settle();
      Lines said;
      for (int i = 0; i < 6; ++i) alice.says(red, said.emplace_back(std::to_string(i) + std::string(1000, 'x')));
      game.server.engine().membership_changed(user("bob"));
      game.server.settle();  // his teams are looked up; more than half of his outbox is full
      Lines heard;
      for (int i = 0; i < 10; ++i) {
        game.server.advance(200ms);
        for (auto& line : bob.receives()) heard.push_back(std::move(line));
      }
      CHECK(heard == said);
      alice.says(red, "live");
      CHECK(bob.receives() == Lines{"live"});
    }
  }
}

TEST_CASE("Nor does a notice of his old team leave for a player who was moved; who stays is told again") {
  for (const bool quiet : {false, true}) {
    for (const std::size_t too_large : {0u, 1u}) {
      CAPTURE(quiet);
      CAPTURE(too_large);
      Game game(1, nullptr, too_large);
      if (quiet) {
        REQUIRE(game.server.ask(Identity::system(),
                                ChangeSettings{.conversation = red, .settings = {.notify_only = true}}));
      }
      Person alice(game.server, "alice"), bob(game.server, "bob", {}, 8 << 10);
      Wire carol(game.server.engine(), {.identity = Identity{.user = "carol"}});
      game.server.settle();
      REQUIRE(carol.asks(game.server, protocol::Login{}));
      game.server.settle();
      carol.hears(), bob.receives();
      carol.takes(0);
      for (int i = 0; i < 30; ++i) alice.says(red, std::string(1000, 'x'));
      game.moves("bob", "team:red", "team:blue");
      game.server.engine().membership_changed(user("carol"));
      for (const Push& push : bob.takes()) {
        CHECK_FALSE(push.event());
        CHECK_FALSE(push.as<HeadMoved>());
      }
      carol.takes(SIZE_MAX);
      game.server.advance(1s);
      Seq told = 0;
      for (const Heard& heard : carol.hears()) {
        if (heard.push && heard.push->as<HeadMoved>()) told = std::max(told, heard.push->as<HeadMoved>()->head);
        if (heard.push && heard.push->event()) told = std::max(told, heard.push->event()->seq);
      }
      CHECK(told == (quiet ? 31 : 30));
      alice.says(red, "again");
      for (const Push& push : bob.takes()) CHECK_FALSE((push.event() || push.as<HeadMoved>()));
    }
  }
}

TEST_CASE("Many who log in at once into a team that is not listed all get in") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Game game(shards, nullptr, 1);
    std::vector<std::unique_ptr<Session>> players;
    for (int i = 0; i < 3000; ++i) game.teams->members["team:red"]["player-" + std::to_string(i)] = Role::member;
    for (int i = 0; i < 3000; ++i) {
      players.push_back(std::make_unique<Session>(
          game.server.engine().open_session({.identity = {.user = user("player-" + std::to_string(i))}})));
    }
    game.server.settle();
    REQUIRE(game.server.ask("alice", Send{.to = red, .content = {.text = "all here?"}}));
    int heard = 0;
    for (auto& player : players) {
      const auto push = player->take();
      if (push && line(*push) == "all here?") ++heard;
    }
    CHECK(heard == 3000);
    CHECK(game.server.engine().stats().sessions == 3000);
    CHECK(game.teams->asked < 3100);
  }
}

TEST_CASE("A table that does not answer for a moment ends no session: who came is pushed to once it does") {
  for (const unsigned shards : {1u, 4u}) {
    Game game(shards, nullptr, 1);
    Person alice(game.server, "alice"), dave(game.server, "dave");
    game.server.settle();
    game.teams->role_drops = 1;
    game.moves("dave", "team:blue", "team:red");
    game.server.settle();
    CHECK(game.teams->role_drops == 0);
    CHECK(game.server.engine().stats().sessions == 2);
    for (int i = 0; i < 3; ++i) game.server.advance(1s);
    alice.says(red, "hello dave");
    CHECK(dave.receives() == Lines{"hello dave"});
  }
}

TEST_CASE("Who left keeps what he could see, also after a restart, and sees on from where he comes back") {
  auto teams = std::make_shared<Teams>();
  for (const char* name : {"alice", "bob"}) teams->members["team:red"][name] = Role::member;
  auto store = std::make_shared<SharedStorage>();
  const auto open = [&] {
    EngineOptions options;
    options.membership = std::make_unique<HostTable>(teams);
    return options;
  };
  {
    Server server(open(), store);
    Person alice(server, "alice");
    alice.says(red, "1"), alice.says(red, "2");
    teams->members["team:red"].erase("bob");
    server.engine().membership_changed(user("bob"));
    alice.says(red, "3");
    server.advance(2s);
    REQUIRE(server.engine().stop(1s));
  }
  Server server(open(), store);
  Person alice(server, "alice");
  alice.says(red, "4");
  const auto seen = [&] {
    Lines lines;
    const auto page = server.ask("bob", ReadHistory{.conversation = red, .direction = Direction::forward});
    REQUIRE(page);
    for (const EventPtr& event : page->events) lines.push_back(line(*event));
    return lines;
  };
  CHECK(seen() == Lines{"1", "2"});
  CHECK(server.ask("bob", GetConversation{.of = red})->former);
  teams->members["team:red"]["bob"] = Role::member;
  server.engine().membership_changed(user("bob"));
  alice.says(red, "5");
  CHECK(seen() == Lines{"1", "2", "5"});
}

TEST_CASE("Who was away finds what his teams said, also the one he came to meanwhile") {
  for (const unsigned shards : {1u, 4u}) {
    for (const std::size_t too_large : {0u, 1u}) {
      Game game(shards, nullptr, too_large);
      Person alice(game.server, "alice"), dave(game.server, "dave");
      Checkpoint place;
      {
        Person bob(game.server, "bob");
        game.server.settle();
        alice.says(red, "hi");
        for (int i = 0; i < 4; ++i) game.server.advance(500ms), bob.takes();
        place = bob.checkpoint();
        REQUIRE_FALSE(place.empty());
      }
      alice.says(red, "for bob");
      game.moves("bob", "team:red", "team:blue");
      alice.says(red, "not for bob");
      dave.says(blue, "for bob too");
      Person bob(game.server, "bob", place);
      auto lines = bob.receives();
      std::sort(lines.begin(), lines.end());
      CHECK(std::count(lines.begin(), lines.end(), "not for bob") == 0);
      CHECK(std::count(lines.begin(), lines.end(), "for bob too") == 1);
      dave.says(blue, "live");
      CHECK(bob.receives() == Lines{"live"});
    }
  }
}

TEST_CASE("Where a player is moved while he is caught up with, nothing more of the team leaves for him") {
  for (const unsigned shards : {1u, 2u}) {
    for (const std::size_t too_large : {0u, 1u}) {
      for (int items = 0; items < 80; ++items) {
        CAPTURE(shards);
        CAPTURE(too_large);
        CAPTURE(items);
        Game game(shards, nullptr, too_large);
        Person alice(game.server, "alice");
        Checkpoint place;
        {
          Person away(game.server, "bob");
          game.server.settle();
          place = away.checkpoint();
        }
        alice.says(red, "secret plan");
        Session bob(game.server.engine().open_session({.identity = {.user = user("bob")}, .resume = place}));
        for (int i = 0; i < items; ++i) game.server.engine().poll(0us);
        game.moves("bob", "team:red", "");
        game.server.settle();
        game.server.advance(2s);
        while (const auto push = bob.take()) CHECK_FALSE(push->event());
      }
    }
  }
}

TEST_CASE("Who has left a team that is not listed sees up to where he left, and from where he comes back") {
  for (const unsigned shards : {1u, 4u}) {
    for (const bool by_team : {false, true}) {
      CAPTURE(shards);
      CAPTURE(by_team);
      Game game(shards, nullptr, 1);
      Person alice(game.server, "alice"), bob(game.server, "bob");
      game.server.settle();
      const auto say = [&](std::string_view text) {
        game.server.engine().call(Identity{.user = "alice"}, Send{.to = red, .content = {.text = std::string(text)}});
      };
      const auto moves = [&](bool in) {
        in ? void(game.teams->members["team:red"]["bob"] = Role::member)
           : void(game.teams->members["team:red"].erase("bob"));
        by_team ? game.server.engine().membership_changed(red) : game.server.engine().membership_changed(user("bob"));
      };
      const auto seen = [&] {
        Lines lines;
        const auto page = game.server.ask("bob", ReadHistory{.conversation = red, .direction = Direction::forward});
        REQUIRE(page);
        for (const EventPtr& event : page->events) lines.push_back(line(*event));
        return lines;
      };
      alice.says(red, "one");
      CHECK(seen() == Lines{"one"});
      moves(false);
      say("without bob");
      game.server.settle();
      CHECK(seen() == Lines{"one"});
      moves(true);
      say("welcome back");
      game.server.settle();
      CHECK(seen() == Lines{"one", "welcome back"});
    }
  }
}

TEST_CASE("Who comes into a team while the host's table can't be asked is pushed to once it can") {
  for (const std::size_t too_large : {0u, 1u}) {
    CAPTURE(too_large);
    Game game(1, nullptr, too_large);
    Person alice(game.server, "alice"), dave(game.server, "dave");
    game.server.settle();
    alice.says(red, "one");
    game.teams->drops = 2;
    game.moves("dave", "team:blue", "team:red");
    game.server.settle();
    alice.says(red, "hello dave");
    for (int i = 0; i < 4; ++i) game.server.advance(1s);
    auto heard = dave.receives();  // at least once
    heard.erase(std::unique(heard.begin(), heard.end()), heard.end());
    CHECK(heard == Lines{"hello dave"});
    alice.says(red, "two");
    CHECK(dave.receives() == Lines{"two"});
  }
}

TEST_CASE("What was said in a team and landed unnoticed reaches those who are there") {
  for (const unsigned shards : {1u, 4u}) {
    for (const std::size_t too_large : {0u, 1u}) {
      CAPTURE(shards);
      CAPTURE(too_large);
      Game game(shards, nullptr, too_large);
      Person alice(game.server, "alice"), bob(game.server, "bob");
      game.server.settle();
      game.server.store->next({SharedStorage::Fate::unknown_done});
      CHECK_FALSE(alice.asks(Send{.to = red, .content = {.text = "lost and found"}, .key = "k"}));
      game.server.advance(2s);
      CHECK(bob.receives() == Lines{"lost and found"});
    }
  }
}

TEST_CASE("Members of a host's table are not changed by requests, and its ids can't be created") {
  Game game;
  CHECK(game.server.ask("alice", Leave{red}).error().code == ErrorCode::forbidden);
  CHECK(game.server.ask(Identity::system(), AddMembers{.conversation = red, .members = {{user("zoe")}}}).error().code ==
        ErrorCode::forbidden);
  CHECK(game.server.ask(Identity::system(), RemoveMembers{.conversation = red, .users = {user("bob")}}).error().code ==
        ErrorCode::forbidden);
  CHECK(game.server.ask(Identity::system(), CreateConversation{.conversation = red}).error().code ==
        ErrorCode::invalid);
  CHECK(game.server.ask("zoe", Join{red}).error().code == ErrorCode::no_such_conversation);
}

TEST_CASE("Answers that come late, or never, hold up only who needs them, and end in an error") {
  std::vector<Function<void()>> later;
  Game game(1, &later);
  const auto answer_all = [&] {
    for (int i = 0; i < 20; ++i) {
      game.server.settle();
      for (auto& each : std::exchange(later, {})) each();
    }
    game.server.settle();
  };
  std::optional<Result<Sent>> sent, other;
  game.server.engine().call(Identity{.user = "alice"}, Send{.to = red, .content = {.text = "wait"}},
                            [&](Result<Sent> s) { sent = std::move(s); });
  game.server.engine().call(Identity{.user = "alice"}, Send{.to = Direct{"zoe"}, .content = {.text = "hi"}},
                            [&](Result<Sent> s) { other = std::move(s); });
  game.server.settle();
  CHECK_FALSE(sent);
  REQUIRE(other);
  CHECK(*other);
  answer_all();
  REQUIRE(sent);
  CHECK(*sent);
  // Never.
  game.moves("bob", "team:red", "");
  sent.reset();
  game.server.engine().call(Identity{.user = "alice"}, Send{.to = red, .content = {.text = "never"}, .key = "k"},
                            [&](Result<Sent> s) { sent = std::move(s); });
  game.server.advance(4s);
  CHECK_FALSE(sent);
  game.server.advance(2s);
  REQUIRE(sent);
  REQUIRE_FALSE(*sent);
  CHECK(sent->error().code == ErrorCode::timeout);
  CHECK(sent->error().retryable());
  // Dropped.
  later.clear();
  sent.reset();
  game.server.engine().call(Identity{.user = "alice"}, Send{.to = red, .content = {.text = "never"}, .key = "k"},
                            [&](Result<Sent> s) { sent = std::move(s); });
  game.server.settle();
  later.clear();
  game.server.settle();
  REQUIRE(sent);
  CHECK(sent->error().code == ErrorCode::cancelled);
  // And all is well again.
  sent.reset();
  game.server.engine().call(Identity{.user = "alice"}, Send{.to = red, .content = {.text = "now"}, .key = "k"},
                            [&](Result<Sent> s) { sent = std::move(s); });
  answer_all();
  REQUIRE(sent);
  CHECK(*sent);
}

TEST_CASE("A table that throws is an error for who needs it, and for nobody else") {
  Game game;
  game.teams->throws = true;
  auto sent = game.server.ask("alice", Send{.to = red, .content = {.text = "hm"}});
  REQUIRE_FALSE(sent);
  CHECK(sent.error().code == ErrorCode::cancelled);
  CHECK(game.server.ask("alice", Send{.to = Direct{"bob"}, .content = {.text = "hi"}}));
  game.teams->throws = false;
  CHECK(game.server.ask("alice", Send{.to = red, .content = {.text = "ok"}}));
}

TEST_CASE("A team that grows past what is held in memory, and shrinks, goes on for those who are there") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Game game(shards, nullptr, 4);
    Person alice(game.server, "alice"), bob(game.server, "bob");
    game.server.settle();
    Lines expected;
    const auto say = [&](const std::string& text) {
      alice.says(red, text);
      expected.push_back(text);
    };
    say("few");
    for (int i = 0; i < 4; ++i)
      game.moves("extra-" + std::to_string(i), "", "team:red"), say("more " + std::to_string(i));
    Person extra(game.server, "extra-1");
    game.server.settle();
    say("many");
    CHECK(extra.receives() == Lines{"many"});
    for (int i = 0; i < 4; ++i)
      game.moves("extra-" + std::to_string(i), "team:red", ""), say("fewer " + std::to_string(i));
    game.server.engine().membership_changed(red);
    say("few again");
    CHECK(bob.receives() == expected);
    const auto left = extra.receives();
    CHECK(left.empty());  // he had not taken it when he was moved
  }
}

TEST_CASE("The table is asked once for many messages, and again only for who changed") {
  Game game;
  Person alice(game.server, "alice");
  game.server.settle();
  alice.says(red, "first");
  const int asked = game.teams->asked;
  for (int i = 0; i < 50; ++i) alice.says(red, "more");
  CHECK(game.teams->asked == asked);
  game.moves("dave", "team:blue", "team:red");
  alice.says(red, "hello dave");
  CHECK(game.teams->asked <= asked + 2);
}

TEST_CASE("Players switch teams while threads deliver, and nobody is shown what was said after he was moved") {
  auto teams = std::make_shared<Teams>();
  std::mutex guard;
  MembershipFunctions functions;
  functions.prefix = "team:";
  functions.members = [&](const ConversationId& id) {
    std::lock_guard lock(guard);
    std::vector<Member> list;
    for (const auto& [name, role] : teams->members[id.string()]) list.push_back({user(name), role});
    return list;
  };
  functions.conversations = [&](const UserId& who) {
    std::lock_guard lock(guard);
    std::vector<ConversationId> list;
    for (const auto& [name, team] : teams->members) {
      if (team.contains(who.string())) list.push_back(conversation(name));
    }
    return list;
  };
  teams->members["team:red"]["alice"] = teams->members["team:red"]["bob"] = Role::member;
  teams->members["team:blue"]["dave"] = Role::member;
  auto engine = Engine::open({.storage = make_memory_storage(),
                              .membership = make_membership(std::move(functions)),
                              .durability = Durability::memory,
                              .threads = 2,
                              .shards = 4});
  REQUIRE(engine);
  Session bob = engine->open_session({.identity = {.user = "bob"}});
  std::atomic<bool> over{false};
  std::thread talker([&] {
    for (int i = 0; !over; ++i) {
      (void)wait(*engine, {.user = "alice"}, Send{.to = red, .content = {.text = "r" + std::to_string(i)}});
    }
  });
  // What is taken after the return of membership_changed, and was sent after it, must not be there.
  int wrong = 0, rounds = 0;
  for (; rounds < 60; ++rounds) {
    {
      std::lock_guard lock(guard);
      teams->members["team:red"].erase("bob");
    }
    engine->membership_changed(user("bob"));
    const auto mark = wait(*engine, {.user = "alice"}, Send{.to = red, .content = {.text = "mark"}});
    REQUIRE(mark);
    const auto until = std::chrono::steady_clock::now() + 3ms;
    while (std::chrono::steady_clock::now() < until) {
      const auto push = bob.take();
      if (push && push->event() && push->event()->seq >= mark->seq) ++wrong;
    }
    {
      std::lock_guard lock(guard);
      teams->members["team:red"]["bob"] = Role::member;
    }
    engine->membership_changed(user("bob"));
    (void)wait(*engine, {.user = "alice"}, Send{.to = red, .content = {.text = "back"}});
    const auto back = std::chrono::steady_clock::now() + 3ms;
    while (std::chrono::steady_clock::now() < back) (void)bob.take();
  }
  over = true;
  talker.join();
  CHECK(wrong == 0);
  CHECK(engine->stop(2s));
}
