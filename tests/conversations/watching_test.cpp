#include "support/answers.h"
#include "support/wire.h"

// What presence is made of where it is hard: who stays unseen, what is under way, who may no longer watch.

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

std::string line(const Presence& presence) {
  constexpr const char* words[] = {"", "offline", "away", "online"};
  return presence.user.string() + " " + words[static_cast<std::size_t>(presence.state)];
}

Lines told(const std::vector<Push>& pushes) {
  Lines lines;
  for (const Push& push : pushes) {
    if (const auto* changed = push.as<PresenceChanged>()) {
      std::string all;
      for (const Presence& each : changed->users) all += (all.empty() ? "" : ", ") + line(each);
      lines.push_back(all);
    } else if (const auto* count = push.as<OnlineCount>()) {
      lines.push_back("online in " + count->conversation.string() + ": " + std::to_string(count->online));
    }
  }
  return lines;
}
Lines told(Person& who) { return told(who.takes()); }

Presence presence(Server& server, std::string_view who) {
  const auto page = server.ask("watcher", GetPresence{{user(who)}});
  REQUIRE_MESSAGE(page, page.error().message);
  return page->users.at(0);
}

struct Hides final : Policy {
  void decide(const Identity&, const RequestView&, Done<Decision> done) override { done(Decision{}); }
  bool shows_presence(const Identity&, const UserId& of) override { return of != user("hidden") || shown; }
  static inline bool shown = false;
};

// A host's table with one team, which has its list, or is too large for one.
struct Team final : Membership {
  struct Table {
    std::vector<std::string> members{};
    bool is_large = false;
  };
  explicit Team(std::shared_ptr<Table> t) : table(std::move(t)) {}
  bool owns(const ConversationId& id) const override { return id.view().starts_with("team"); }
  void members(const ConversationId&, Done<std::vector<Member>> done) override {
    std::vector<Member> list;
    for (const std::string& member : table->members) list.push_back({user(member), Role::member});
    done(std::move(list));
  }
  void role(const ConversationId&, const UserId& who, Done<std::optional<Role>> done) override {
    done(has(who) ? std::optional(Role::member) : std::nullopt);
  }
  void conversations(const UserId& who, Done<std::vector<ConversationId>> done) override {
    std::vector<ConversationId> list;
    if (has(who)) list.push_back(conversation("team"));
    done(std::move(list));
  }
  bool has(const UserId& who) const {
    return std::find(table->members.begin(), table->members.end(), who.string()) != table->members.end();
  }
  const std::shared_ptr<Table> table;
};

}  // namespace

TEST_CASE("Who stays unseen on another device has gone, after the grace, when the one that was seen went") {
  Server server(with_shards(4));
  Person watcher(server, "watcher"), hidden(server, "alice");
  REQUIRE(watcher.asks(WatchPresence{.users = {user("alice")}}));
  server.advance(1s);
  told(watcher);
  auto seen = std::make_unique<Person>(server, "alice");
  REQUIRE(hidden.asks(SetPresence{PresenceState::offline}));
  server.advance(60s);
  CHECK(told(watcher).empty());
  const TimePoint went = server.clock().wall();
  seen.reset();
  server.advance(4s);
  CHECK(told(watcher).empty());
  CHECK(presence(server, "alice").state == PresenceState::online);
  server.advance(2s);
  CHECK(told(watcher) == Lines{"alice offline"});
  CHECK(presence(server, "alice").last_seen == went);
  hidden.leaves();  // whom nobody saw
  server.advance(60s);
  CHECK(told(watcher).empty());
  CHECK(presence(server, "alice").last_seen == went);
  server.restart();
  CHECK(presence(server, "alice").last_seen == went);
}

TEST_CASE("Who says in the grace that he is unseen is so at once") {
  Server server;
  Person seen(server, "alice"), other(server, "alice");
  REQUIRE(other.asks(SetPresence{PresenceState::offline}));
  seen.leaves();
  server.settle();
  CHECK(presence(server, "alice").state == PresenceState::online);
  REQUIRE(other.asks(SetPresence{PresenceState::offline}));
  CHECK(presence(server, "alice").state == PresenceState::offline);
}

TEST_CASE("A watcher is told when someone went, which is not when the grace was over, whatever the clock does") {
  for (const std::chrono::milliseconds jump : {0ms, std::chrono::milliseconds(24h), std::chrono::milliseconds(-24h)}) {
    CAPTURE(jump.count());
    Server server(with_shards(4));
    Person watcher(server, "watcher"), alice(server, "alice");
    REQUIRE(watcher.asks(WatchPresence{.users = {user("alice")}}));
    server.advance(1s);
    told(watcher);
    const TimePoint went = server.clock().wall();
    alice.leaves();
    server.settle();
    server.clock().jump(jump);
    server.advance(6s);
    std::vector<Presence> last;
    for (const Push& push : watcher.takes()) {
      if (const auto* changed = push.as<PresenceChanged>()) last = changed->users;
    }
    CHECK(last == std::vector<Presence>{{user("alice"), PresenceState::offline, went}});
    CHECK(presence(server, "alice").last_seen == went);
  }
}

TEST_CASE("When someone was last seen is known at any moment while it is being written") {
  EngineOptions options;
  options.limits.presence_grace = 0ms;
  Server server(std::move(options));
  for (int items = 0; items < 20; ++items) {
    CAPTURE(items);
    auto alice = std::make_unique<Person>(server, "alice");
    server.advance(3s);
    const TimePoint went = server.clock().wall();
    alice.reset();
    server.settle();
    // Asked before the write begins, or while it is under way.
    const auto before = begin(server, "watcher", GetPresence{{user("alice")}});
    for (int i = 0; i < items / 2; ++i) (void)one_item(server);
    server.clock().advance(1s);
    for (int i = 0; i < items; ++i) (void)one_item(server);
    const auto meanwhile = begin(server, "watcher", GetPresence{{user("alice")}});
    server.settle();
    CHECK(before->users.at(0).last_seen == went);
    CHECK(meanwhile->users.at(0).last_seen == went);
  }
}

TEST_CASE("A thousand who go within a second are written in few commits") {
  EngineOptions options;
  options.limits.presence_grace = 0ms;
  Server server(std::move(options));
  std::vector<std::unique_ptr<Person>> people;
  for (std::size_t i = 0; i < 1000; ++i) people.push_back(std::make_unique<Person>(server, numbered("user", i)));
  server.advance(2s);
  const auto before = server.engine().stats().commits;
  people.clear();
  server.advance(3s);
  CHECK(server.engine().stats().commits - before < 40);
  server.crash();
  for (const char* who : {"user0", "user500", "user999"}) CHECK(presence(server, who).last_seen != TimePoint{});
}

TEST_CASE("Of two lists the later one counts, also where the earlier one waits for its conversations") {
  for (const unsigned shards : {1u, 4u}) {
    Server server(with_shards(shards));
    const ConversationId room = server.group("room", {"watcher", "alice"});
    server.restart();  // it has to be read
    Person watcher(server, "watcher"), alice(server, "alice");
    const auto first = begin(watcher, WatchPresence{.conversations = {room}});
    const auto second = begin(watcher, WatchPresence{.users = {user("bob")}});
    server.advance(1s);
    CHECK(first.code() == ErrorCode::ok);
    CHECK(second.code() == ErrorCode::ok);
    CHECK(told(watcher) == Lines{"bob offline"});
    REQUIRE(alice.asks(SetPresence{PresenceState::away}));
    server.advance(1s);
    CHECK(told(watcher).empty());
  }
}

TEST_CASE("A list that is refused leaves the one before it as it is") {
  Server server;
  const ConversationId room = server.group("room", {"alice"});
  Person watcher(server, "watcher"), alice(server, "alice");
  REQUIRE(watcher.asks(WatchPresence{.users = {user("alice")}}));
  CHECK_FALSE(watcher.asks(WatchPresence{.conversations = {room}}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"alice online"});
}

TEST_CASE("When one who is hidden comes and goes is hidden too, until he may be seen") {
  Hides::shown = false;
  Server server(with_shards(4), std::make_shared<SharedStorage>(), [] { return std::make_unique<Hides>(); });
  Person watcher(server, "watcher"), hidden(server, "hidden"), bob(server, "bob");
  REQUIRE(watcher.asks(WatchPresence{.users = {user("hidden"), user("bob")}}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"bob online, hidden offline"});
  REQUIRE(hidden.asks(SetPresence{PresenceState::away}));
  server.advance(1s);
  CHECK(told(watcher).empty());
  REQUIRE(hidden.asks(SetPresence{PresenceState::online}));
  REQUIRE(bob.asks(SetPresence{PresenceState::away}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"bob away"});
  Hides::shown = true;
  REQUIRE(hidden.asks(SetPresence{PresenceState::away}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"hidden away"});
  Hides::shown = false;
  REQUIRE(hidden.asks(SetPresence{PresenceState::online}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"hidden offline"});
}

TEST_CASE("A user whom two lists name is watched until neither does") {
  Server server(with_shards(4));
  const ConversationId room = server.group("room", {"watcher", "alice"}),
                       hall = server.group("hall", {"watcher", "bob"});
  REQUIRE(server.ask(Identity::system(), AddMembers{hall, {{"alice"}}}));
  Person watcher(server, "watcher"), alice(server, "alice");
  REQUIRE(watcher.asks(WatchPresence{.conversations = {room, hall, room}}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"alice online, bob offline, watcher online"});
  REQUIRE(server.ask(Identity::system(), RemoveMembers{room, {"alice"}}));
  server.advance(1s);
  REQUIRE(alice.asks(SetPresence{PresenceState::away}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"alice away"});
  REQUIRE(server.ask(Identity::system(), RemoveMembers{hall, {"alice"}}));
  server.advance(1s);
  REQUIRE(alice.asks(SetPresence{PresenceState::online}));
  server.advance(1s);
  CHECK(told(watcher).empty());
}

TEST_CASE("Who has left a conversation that is fanned out on read is not told its counts any more") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    EngineOptions options = with_shards(shards);
    options.limits.presence_members = 2;
    options.limits.fan_out_on_read = 4, options.limits.fan_out_on_write = 2;
    Server server(std::move(options));
    const ConversationId room = server.group("room", {"watcher", "stays", "a", "b", "c"});
    Person watcher(server, "watcher"), stays(server, "stays");
    REQUIRE(watcher.asks(WatchPresence{.conversations = {room}}));
    REQUIRE(stays.asks(WatchPresence{.conversations = {room}}));
    server.advance(1s);
    CHECK(told(watcher) == Lines{"online in room: 2"});
    CHECK(told(stays) == Lines{"online in room: 2"});
    REQUIRE(server.ask(Identity::system(), RemoveMembers{room, {"watcher"}}));
    server.advance(1s);
    told(watcher), told(stays);
    Person a(server, "a"), a2(server, "a");
    server.advance(1s);
    CHECK(told(watcher).empty());
    CHECK(told(stays) == Lines{"online in room: 2"});
  }
}

TEST_CASE("Whom the host's table no longer lists watches no longer, though nobody says anything") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    const auto table = std::make_shared<Team::Table>();
    table->members = {"alice", "bob", "watcher"};
    EngineOptions options = with_shards(shards);
    options.membership = std::make_unique<Team>(table);
    Server server(std::move(options));
    Person watcher(server, "watcher"), alice(server, "alice"), bob(server, "bob");
    alice.says(conversation("team"), "hi");
    REQUIRE(watcher.asks(WatchPresence{.conversations = {conversation("team")}}));
    server.advance(1s);
    CHECK(told(watcher) == Lines{"alice online, bob online, watcher online"});
    std::erase(table->members, "bob");
    server.engine().membership_changed(user("bob"));
    server.advance(1s);
    REQUIRE(bob.asks(SetPresence{PresenceState::away}));
    server.advance(1s);
    CHECK(told(watcher).empty());
    std::erase(table->members, "watcher");
    server.engine().membership_changed(conversation("team"));
    server.advance(1s);
    REQUIRE(alice.asks(SetPresence{PresenceState::away}));
    server.advance(1s);
    CHECK(told(watcher).empty());
  }
}

TEST_CASE("Presence that a changed table of the host's took out of an outbox is told again") {
  const auto table = std::make_shared<Team::Table>();
  table->members = {"alice", "watcher"};
  EngineOptions options;
  options.membership = std::make_unique<Team>(table);
  Server server(std::move(options));
  Person watcher(server, "watcher"), alice(server, "alice");
  REQUIRE(watcher.asks(WatchPresence{.users = {user("alice")}}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"alice online"});
  alice.says(conversation("team"), "it stands on the table");
  REQUIRE(alice.asks(SetPresence{PresenceState::away}));
  server.advance(1s);  // both wait in the outbox
  table->members.push_back("bob");
  server.engine().membership_changed(conversation("team"));
  Lines lines = told(watcher);
  server.advance(1s);
  for (std::string& each : told(watcher)) lines.push_back(each);
  CHECK(lines == Lines{"alice away"});
}

TEST_CASE("What a session watched is given back when it ends, or watches nothing") {
  Server server(with_shards(4));
  Person first(server, "watcher");
  const auto before = server.engine().stats();
  std::vector<UserId> many;
  for (std::size_t i = 0; i < 1000; ++i) many.push_back(user(numbered("user", i)));
  REQUIRE(first.asks(WatchPresence{.users = many}));
  server.advance(1s);
  CHECK(server.engine().stats().session_bytes > before.session_bytes + 100'000);
  CHECK(first.takes().size() == 2);  // 500 a frame
  REQUIRE(first.asks(WatchPresence{}));
  server.settle();
  CHECK(server.engine().stats().session_bytes == before.session_bytes);
  {
    Person second(server, "watcher");
    REQUIRE(second.asks(WatchPresence{.users = many}));
    server.settle();
  }
  server.settle();
  CHECK(server.engine().stats().session_bytes == before.session_bytes);
  CHECK(server.engine().stats().outbox_bytes == 0);
}

TEST_CASE("Who asks for much and takes nothing is not read further, and has every answer once he takes them") {
  Server server;
  Wire wire(server.engine());
  REQUIRE(wire.logs_in(server, "watcher") == ErrorCode::ok);
  std::string body;
  for (std::size_t i = 0; i < 1000; ++i) body += text(1, numbered(std::string(58, 'u'), 10'000 + i));
  wire.takes(0);
  for (std::uint64_t call = 1000; call < 1064; ++call) wire.says(frame(call, 21, body));
  server.settle();
  std::size_t answers = 0;
  for (int i = 0; i < 200; ++i) {
    wire.takes(1);
    server.settle();
    for (const Heard& heard : wire.hears()) answers += heard.call >= 1000 && !heard.error ? 1 : 0;
  }
  CHECK(answers == 64);
  CHECK(wire.closed().empty());
}

TEST_CASE("A connection that ends itself hears the answer first, and then why it ended") {
  Server server(with_shards(4));
  Wire wire(server.engine());
  REQUIRE(wire.logs_in(server, "alice") == ErrorCode::ok);
  const auto page = wire.asks(server, ListSessions{});
  REQUIRE(page);
  REQUIRE(page->sessions.size() == 1);
  CHECK(page->sessions[0].mine);
  CHECK(page->sessions[0].peer_address == "by hand");
  const auto ended = wire.asks(server, EndSessions{{page->sessions[0].session}});
  REQUIRE(ended);
  CHECK(ended->sessions == 1);
  server.advance(1s);
  CHECK(server.engine().stats().sessions == 0);
  CHECK(wire.closed().size() == 1);
}

TEST_CASE("Sessions are listed in the order in which they began, also over a clock that jumps back") {
  Server server;
  Session first = server.engine().open_session({.identity = {.user = user("alice"), .device = "first"}});
  server.settle();
  server.clock().jump(-24h);
  Session second = server.engine().open_session({.identity = {.user = user("alice"), .device = "second"}});
  server.settle();
  const auto page = server.ask("alice", ListSessions{});
  REQUIRE(page);
  REQUIRE(page->sessions.size() == 2);
  CHECK(page->sessions[0].device == DeviceId("first"));
  CHECK(page->sessions[1].device == DeviceId("second"));
}
