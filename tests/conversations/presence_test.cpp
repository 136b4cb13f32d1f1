#include "support/answers.h"
#include "support/wire.h"

// Who is here.

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

std::string line(const Presence& presence) {
  constexpr const char* words[] = {"", "offline", "away", "online"};
  return presence.user.string() + " " + words[static_cast<std::size_t>(presence.state)];
}

// What a session was told of presence: "alice online, bob away", "online in big: 120". A frame a line.
Lines told(Person& who) {
  Lines lines;
  for (const Push& push : who.takes()) {
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

std::string here(Server& server, std::string_view who, const std::string& asks = "watcher") {
  const auto page = server.ask(asks, GetPresence{{user(who)}});
  REQUIRE_MESSAGE(page, page.error().message);
  return line(page->users.at(0));
}

TimePoint last_seen(Server& server, std::string_view who) {
  const auto page = server.ask("watcher", GetPresence{{user(who)}});
  REQUIRE(page);
  return page->users.at(0).last_seen;
}

EngineOptions on_four_shards() { return with_shards(4); }

struct Hides final : Policy {
  void decide(const Identity&, const RequestView&, Done<Decision> done) override { done(Decision{}); }
  bool shows_presence(const Identity& to, const UserId& of) override {
    if (of == user("thrower")) throw std::runtime_error("nobody asked");
    return !(of == user("hidden") && to.user != user("friend"));
  }
};

}  // namespace

TEST_CASE("A user is here while one of his sessions is, as the most present of them") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    CHECK(here(server, "alice") == "alice offline");
    Person phone(server, "alice"), desk(server, "alice");
    CHECK(here(server, "alice") == "alice online");
    REQUIRE(phone.asks(SetPresence{PresenceState::away}));
    CHECK(here(server, "alice") == "alice online");
    REQUIRE(desk.asks(SetPresence{PresenceState::away}));
    CHECK(here(server, "alice") == "alice away");
    REQUIRE(phone.asks(SetPresence{PresenceState::online}));
    phone.leaves();
    server.settle();
    CHECK(here(server, "alice") == "alice away");
    REQUIRE(desk.asks(SetPresence{PresenceState::offline}));
    CHECK(here(server, "alice") == "alice offline");  // here, but unseen
    REQUIRE(desk.asks(SetPresence{}));
    CHECK(here(server, "alice") == "alice online");
  }
}

TEST_CASE("Who comes back within the grace was never away; who does not was last seen when he went") {
  Server server(on_four_shards());
  Person watcher(server, "watcher");
  REQUIRE(watcher.asks(WatchPresence{.users = {user("alice")}}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"alice offline"});
  auto alice = std::make_unique<Person>(server, "alice");
  server.advance(1s);
  CHECK(told(watcher) == Lines{"alice online"});
  alice.reset();
  server.advance(4900ms);
  CHECK(here(server, "alice") == "alice online");
  alice = std::make_unique<Person>(server, "alice");
  server.advance(10s);
  CHECK(told(watcher).empty());
  const TimePoint went = server.clock().wall();
  alice.reset();
  server.advance(4999ms);
  CHECK(here(server, "alice") == "alice online");
  server.advance(2s);
  CHECK(told(watcher) == Lines{"alice offline"});
  CHECK(last_seen(server, "alice") == went);
  server.restart();
  CHECK(last_seen(server, "alice") == went);
  server.crash();
  CHECK(last_seen(server, "alice") == went);
  CHECK(last_seen(server, "never") == TimePoint{});
}

TEST_CASE("Who is here when the server stops was last seen then") {
  Server server;
  Person alice(server, "alice");
  server.advance(10s);
  const TimePoint now = server.clock().wall();
  server.restart();
  server.advance(10s);
  CHECK(last_seen(server, "alice") == now);
}

TEST_CASE("A clock that jumps a day either way sends nobody away, and keeps nobody") {
  for (const std::chrono::milliseconds jump : {std::chrono::milliseconds(24h), std::chrono::milliseconds(-24h)}) {
    CAPTURE(jump.count());
    Server server(on_four_shards());
    Person watcher(server, "watcher");
    auto alice = std::make_unique<Person>(server, "alice");
    REQUIRE(watcher.asks(WatchPresence{.users = {user("alice")}}));
    server.advance(1s);
    CHECK(told(watcher) == Lines{"alice online"});
    server.clock().jump(jump);
    server.advance(10s);
    CHECK(told(watcher).empty());
    alice.reset();
    server.clock().jump(jump);
    server.advance(4s);
    CHECK(told(watcher).empty());
    server.advance(2s);
    CHECK(told(watcher) == Lines{"alice offline"});
  }
}

TEST_CASE("A connection that died is away after its time to live and the grace") {
  Server server;
  Wire alice(server.engine());
  REQUIRE(alice.logs_in(server, "alice") == ErrorCode::ok);
  CHECK(here(server, "alice") == "alice online");
  server.advance(64s);
  CHECK(here(server, "alice") == "alice online");
  server.advance(3s);
  CHECK(here(server, "alice") == "alice offline");
}

TEST_CASE("However many come and go, a watcher is told once a tick, and the newest") {
  Server server(on_four_shards());
  Person watcher(server, "watcher");
  std::vector<UserId> users;
  for (std::size_t i = 0; i < 50; ++i) users.push_back(user(numbered("user", i)));
  REQUIRE(watcher.asks(WatchPresence{.users = users}));
  server.advance(1s);
  told(watcher);
  std::vector<std::unique_ptr<Person>> people;
  for (std::size_t i = 0; i < 50; ++i) people.push_back(std::make_unique<Person>(server, numbered("user", i)));
  for (int round = 0; round < 5; ++round) {
    for (auto& person : people) REQUIRE(person->asks(SetPresence{PresenceState::away}));
    for (auto& person : people) REQUIRE(person->asks(SetPresence{PresenceState::online}));
  }
  REQUIRE(people[0]->asks(SetPresence{PresenceState::away}));
  server.advance(199ms);
  server.advance(2ms);
  const Lines lines = told(watcher);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].starts_with("user0 away, user1 online, user10 online"));
  server.advance(10s);
  CHECK(told(watcher).empty());
}

TEST_CASE("Who watches a conversation is told of its members, of those who come, and no longer of those who go") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    const ConversationId room = server.group("room", {"watcher", "alice"});
    Person watcher(server, "watcher"), alice(server, "alice"), bob(server, "bob");
    REQUIRE(watcher.asks(WatchPresence{.conversations = {room}}));
    server.advance(1s);
    CHECK(told(watcher) == Lines{"alice online, watcher online"});
    REQUIRE(watcher.asks(AddMembers{room, {{"bob"}, {"carol"}}}));
    server.advance(1s);
    CHECK(told(watcher) == Lines{"bob online, carol offline"});
    REQUIRE(watcher.asks(RemoveMembers{room, {"bob"}}));
    server.advance(1s);
    REQUIRE(bob.asks(SetPresence{PresenceState::away}));
    REQUIRE(alice.asks(SetPresence{PresenceState::away}));
    server.advance(1s);
    CHECK(told(watcher) == Lines{"alice away"});
    REQUIRE(server.ask(Identity::system(), RemoveMembers{room, {"watcher"}}));
    server.advance(1s);
    REQUIRE(alice.asks(SetPresence{PresenceState::online}));
    server.advance(1s);
    CHECK(told(watcher).empty());
  }
}

TEST_CASE("Of a large conversation there are counts only, each user once, fanned out either way") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    EngineOptions options = with_shards(shards);
    options.limits.presence_members = 3;
    options.limits.fan_out_on_read = 6, options.limits.fan_out_on_write = 5;
    Server server(std::move(options));
    const ConversationId room = server.group("room", {"watcher", "a", "b", "c"});
    Person watcher(server, "watcher"), a(server, "a"), a2(server, "a"), b(server, "b");
    REQUIRE(watcher.asks(WatchPresence{.conversations = {room}}));
    server.advance(1s);
    CHECK(told(watcher) == Lines{"online in room: 3"});
    REQUIRE(b.asks(SetPresence{PresenceState::offline}));
    server.advance(1s);
    CHECK(told(watcher) == Lines{"online in room: 2"});
    server.advance(10s);
    CHECK(told(watcher).empty());
    REQUIRE(watcher.asks(AddMembers{room, {{"d"}, {"e"}, {"f"}}}));  // on read from here
    Person d(server, "d");
    server.advance(2s);
    CHECK(told(watcher).back() == "online in room: 3");
    a.leaves();
    server.advance(10s);
    CHECK(told(watcher).empty());
    a2.leaves();
    server.advance(10s);
    CHECK(told(watcher) == Lines{"online in room: 2"});
    REQUIRE(watcher.asks(RemoveMembers{room, {"c", "d", "e", "f"}}));  // and small again
    server.advance(2s);
    CHECK(told(watcher).back() == "a offline, b offline, watcher online");
  }
}

TEST_CASE("A small conversation that grows is counted from then on, and its members are watched no longer") {
  EngineOptions options;
  options.limits.presence_members = 3;
  Server server(std::move(options));
  const ConversationId room = server.group("room", {"watcher", "a", "b"});
  Person watcher(server, "watcher"), a(server, "a");
  REQUIRE(watcher.asks(WatchPresence{.conversations = {room}}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"a online, b offline, watcher online"});
  REQUIRE(watcher.asks(AddMembers{room, {{"c"}}}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"online in room: 2"});
  REQUIRE(a.asks(SetPresence{PresenceState::away}));
  server.advance(1s);
  CHECK(told(watcher).empty());  // he still is here
}

TEST_CASE("A watcher without room is told the newest of all once it has some") {
  Server server(on_four_shards());
  Person watcher(server, "watcher", {}, 4000);
  Person alice(server, "alice"), bob(server, "bob");
  REQUIRE(watcher.asks(WatchPresence{.users = {user("alice"), user("bob")}}));
  server.advance(1s);
  told(watcher);
  for (int i = 0; i < 3; ++i) bob.says(Direct{user("watcher")}, std::string(900, 'x'));
  for (int i = 0; i < 5; ++i) {
    REQUIRE(alice.asks(SetPresence{i % 2 == 0 ? PresenceState::away : PresenceState::online}));
    server.advance(1s);
  }
  CHECK(watcher.takes().size() == 3);  // the messages
  server.advance(1s);
  CHECK(told(watcher) == Lines{"alice away"});
}

TEST_CASE("What a full outbox threw away is told again") {
  Server server;
  Person watcher(server, "watcher", {}, 4000);
  Person alice(server, "alice"), bob(server, "bob");
  REQUIRE(watcher.asks(WatchPresence{.users = {user("alice"), user("bob")}}));
  server.advance(1s);
  told(watcher);
  REQUIRE(alice.asks(SetPresence{PresenceState::away}));
  server.advance(1s);  // it is in the outbox now, and nobody takes it
  for (int i = 0; i < 8; ++i) bob.says(Direct{user("watcher")}, std::string(900, 'x'));
  server.advance(1s);
  Lines lines = told(watcher);
  server.advance(2s);
  for (std::string& each : told(watcher)) lines.push_back(each);
  REQUIRE_FALSE(lines.empty());
  CHECK(lines.back() == "alice away, bob online");
}

TEST_CASE("A new list takes the place of the old one, and an empty one ends it") {
  Server server(on_four_shards());
  Person watcher(server, "watcher"), alice(server, "alice"), bob(server, "bob");
  REQUIRE(watcher.asks(WatchPresence{.users = {user("alice"), user("alice")}}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"alice online"});
  REQUIRE(watcher.asks(WatchPresence{.users = {user("bob")}}));
  server.advance(1s);
  CHECK(told(watcher) == Lines{"bob online"});
  REQUIRE(alice.asks(SetPresence{PresenceState::away}));
  server.advance(1s);
  CHECK(told(watcher).empty());
  REQUIRE(watcher.asks(WatchPresence{}));
  REQUIRE(bob.asks(SetPresence{PresenceState::away}));
  server.advance(1s);
  CHECK(told(watcher).empty());
}

TEST_CASE("Whom the policy hides is offline to whoever it says, not to himself, nor to the host") {
  Server server(on_four_shards(), std::make_shared<SharedStorage>(), [] { return std::make_unique<Hides>(); });
  Person hidden(server, "hidden"), thrower(server, "thrower"), watcher(server, "watcher"), ally(server, "friend");
  for (Person* who : {&watcher, &ally, &hidden}) {
    REQUIRE(who->asks(WatchPresence{.users = {user("hidden"), user("thrower")}}));
  }
  server.advance(1s);
  CHECK(told(watcher) == Lines{"hidden offline, thrower offline"});
  CHECK(told(ally) == Lines{"hidden online, thrower offline"});
  CHECK(told(hidden) == Lines{"hidden online, thrower offline"});
  CHECK(here(server, "hidden") == "hidden offline");
  CHECK(here(server, "hidden", "friend") == "hidden online");
  CHECK(line(server.ask(Identity::system(), GetPresence{{user("hidden")}})->users.at(0)) == "hidden online");
}

TEST_CASE("What can't be: too many, nobody, no session, a conversation that is not his") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"});
  Person alice(server, "alice"), carol(server, "carol");
  const auto said = [](const auto& answer) {
    return answer ? "ok" : std::string(name(answer.error().code)) + ": " + answer.error().message;
  };
  const std::vector<UserId> many(1001, user("alice")), most(1000, user("alice"));
  CHECK(said(alice.asks(GetPresence{many})) == "too_large: users: at most 1000");
  CHECK(said(alice.asks(WatchPresence{.users = many})) == "too_large: users: at most 1000");
  CHECK(said(alice.asks(WatchPresence{.users = most})) == "ok");
  CHECK(alice.asks(GetPresence{most})->users.size() == 1000);
  CHECK(said(alice.asks(GetPresence{{UserId{}}})) == "invalid: users: a user id is empty");
  CHECK(said(alice.asks(WatchPresence{.conversations = std::vector<ConversationId>(101, room)})) ==
        "too_large: conversations: at most 100");
  CHECK(said(server.ask("alice", SetPresence{})) == "invalid: this is of a session: ask through one");
  CHECK(said(server.ask("alice", WatchPresence{})) == "invalid: this is of a session: ask through one");
  CHECK(carol.asks(WatchPresence{.conversations = {room}}).error().code == ErrorCode::no_such_conversation);
  REQUIRE(server.ask("alice", RemoveMembers{room, {"bob"}}));
  Person bob(server, "bob");
  CHECK(said(bob.asks(WatchPresence{.conversations = {room}})) == "forbidden: you are no longer in this conversation");
  Wire wire(server.engine());
  REQUIRE(wire.logs_in(server, "alice") == ErrorCode::ok);
  CHECK(wire.code(server, 20, number(1, 4)) == ErrorCode::invalid);
}
