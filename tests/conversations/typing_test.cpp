#include <algorithm>
#include <map>
#include <memory>

#include "support/answers.h"
#include "support/host.h"
#include "support/narrow.h"
#include "support/wire.h"

using namespace chat;

// Who types: shown to the members who are here, once a tick, and stored nowhere.

namespace {

using Lines = std::vector<std::string>;

SetTyping types(Target to) { return {.to = to}; }
SetTyping stops(Target to) { return {.to = to, .typing = false}; }

template <class T>
std::string message(const Result<T>& answer) {
  return answer ? "" : answer.error().message;
}

Lines several(const char* word, int count) { return Lines(static_cast<std::size_t>(count), word); }

// The members of a team, as the host has them.
struct Team final : Membership {
  explicit Team(std::shared_ptr<std::vector<std::string>> who, bool lists) : team(std::move(who)), can_list(lists) {}
  bool owns(const ConversationId& id) const override { return id.view().starts_with("team:"); }
  void members(const ConversationId&, Done<std::vector<Member>> done) override {
    if (!can_list) return done(Error{ErrorCode::too_large, "too many", {}});
    std::vector<Member> list;
    for (const auto& name : *team) list.push_back({user(name), Role::member});
    done(std::move(list));
  }
  void role(const ConversationId&, const UserId& who, Done<std::optional<Role>> done) override {
    const bool in = std::count(team->begin(), team->end(), who.string()) > 0;
    done(in ? std::optional(Role::member) : std::nullopt);
  }
  void conversations(const UserId&, Done<std::vector<ConversationId>> done) override {
    done(std::vector<ConversationId>{conversation("team:red")});
  }
  std::shared_ptr<std::vector<std::string>> team;
  bool can_list;
};

}  // namespace

TEST_CASE(
    "The library's own limits: typing is said every 200 ms at most, holds for 3 s, and is for up to 100 members") {
  const Limits limits;
  CHECK(limits.live_tick == 200ms);
  CHECK(limits.typing == 3s);
  CHECK(limits.typing_members == 100);
}

TEST_CASE("Alice types, the others see it within a tick, and after three seconds nobody types") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    const ConversationId lunch = server.group("lunch", {"alice", "bob", "carol", "dave"});
    Person alice(server, "alice"), bob(server, "bob"), carol(server, "carol"), eve(server, "eve");
    REQUIRE(alice.asks(types(lunch)));
    CHECK(bob.receives().empty());
    server.advance(200ms);
    const auto at_bob = bob.takes();
    REQUIRE(at_bob.size() == 1);
    REQUIRE(at_bob[0].as<Typing>());
    CHECK(at_bob[0].as<Typing>()->conversation == lunch);
    CHECK(at_bob[0].as<Typing>()->users == std::vector<UserId>{"alice"});
    CHECK(carol.receives() == Lines{"typing: alice"});
    CHECK(eve.receives().empty());
    server.advance(2799ms);
    CHECK(bob.receives() == Lines{"typing: alice"});  // once more, half way
    server.advance(1ms);
    CHECK(bob.receives() == Lines{"typing: nobody"});
    server.advance(1min);
    CHECK(bob.receives().empty());
    CHECK(carol.receives() == Lines{"typing: alice", "typing: nobody"});
    CHECK(alice.receives().empty());
    CHECK(eve.receives().empty());
    CHECK(server.ask("bob", Sync{.conversation = lunch})->head == 1);  // nothing is stored
    Person dave(server, "dave");
    CHECK(dave.receives().empty());
  }
}

TEST_CASE("In a direct conversation the other one sees it") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");
  alice.says(Direct{"bob"}, "hi");
  bob.receives();
  REQUIRE(bob.asks(types(Direct{"alice"})));
  server.advance(200ms);
  CHECK(alice.receives() == Lines{"typing: bob"});
  CHECK(bob.receives().empty());
}

TEST_CASE("Typing ends at once where he says so") {
  Server server;
  const ConversationId lunch = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  REQUIRE(alice.asks(types(lunch)));
  server.advance(200ms);
  REQUIRE(alice.asks(stops(lunch)));
  server.advance(200ms);
  CHECK(bob.receives() == Lines{"typing: alice", "typing: nobody"});
  REQUIRE(alice.asks(stops(lunch)));  // he does not type
  server.advance(1s);
  CHECK(bob.receives().empty());
  REQUIRE(alice.asks(types(lunch)));
  REQUIRE(alice.asks(stops(lunch)));  // both within a tick: there is nothing to say
  server.advance(1s);
  CHECK(bob.receives().empty());
}

TEST_CASE("Typing ends with the message") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    const ConversationId lunch = server.group("lunch", {"alice", "bob", "carol"});
    Person alice(server, "alice"), bob(server, "bob"), carol(server, "carol");
    REQUIRE(alice.asks(types(lunch)));
    REQUIRE(carol.asks(types(lunch)));
    server.advance(200ms);
    CHECK(bob.receives() == Lines{"typing: alice, carol"});
    alice.says(lunch, "hi");
    server.advance(200ms);
    CHECK(bob.receives() == Lines{"hi", "typing: carol"});
    carol.says(lunch, "ho");
    server.advance(200ms);
    CHECK(bob.receives() == Lines{"ho", "typing: nobody"});
    REQUIRE(alice.asks(types(lunch)));
    alice.says(lunch, "quick");  // before anybody was told
    server.advance(1s);
    CHECK(bob.receives() == Lines{"quick"});
  }
}

TEST_CASE("A message that is refused ends nothing, nor does an edit") {
  EngineOptions options;
  options.policy = make_policy([](const Identity&, const RequestView& request) -> Decision {
    const auto* send = request.as<Send>();
    return {.code = send && send->content.text == "darn" ? ErrorCode::forbidden : ErrorCode::ok};
  });
  Server server(std::move(options));
  const ConversationId lunch = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  const Seq said = alice.says(lunch, "hi").seq;
  REQUIRE(alice.asks(types(lunch)));
  server.advance(200ms);
  CHECK_FALSE(alice.asks(text(lunch, "darn")));
  REQUIRE(alice.asks(EditMessage{.conversation = lunch, .seq = said, .content = {.text = "ho"}}));
  server.advance(200ms);
  CHECK(bob.receives() == Lines{"hi", "typing: alice", "edited #2: ho"});
}

TEST_CASE("Fifty who type are one frame a tick") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    std::vector<std::string> names{"reader"};
    for (int i = 0; i < 50; ++i) names.push_back("typist-" + std::to_string(100 + i));
    const ConversationId lunch = server.group("lunch", names);
    Person reader(server, "reader");
    Lines expected;
    for (int tick = 0; tick < 10; ++tick) {
      for (int i = 0; i < 5; ++i) REQUIRE(server.ask(names[static_cast<std::size_t>(1 + tick * 5 + i)], types(lunch)));
      server.advance(200ms);
      const auto came = reader.takes();
      REQUIRE(came.size() == 1);
      const auto& users = came[0].as<Typing>()->users;
      CHECK(users.size() == static_cast<std::size_t>(5 * (tick + 1)));
      CHECK(std::is_sorted(users.begin(), users.end()));
    }
    for (std::size_t i = 1; i < names.size(); ++i) REQUIRE(server.ask(names[i], text(lunch, "x")));
    server.advance(200ms);
    Lines came = reader.receives();
    CHECK(std::erase(came, "x") == 50);
    CHECK(came == Lines{"typing: nobody"});
  }
}

TEST_CASE("Repeats make no frames but two in three seconds, so that it goes on for who typed all the while") {
  Server server;
  const ConversationId lunch = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  for (int i = 0; i < 300; ++i) {  // a key each 100 ms
    REQUIRE(alice.asks(types(lunch)));
    server.advance(100ms);
  }
  const Lines lines = bob.receives();
  CHECK(std::count(lines.begin(), lines.end(), "typing: alice") == static_cast<std::ptrdiff_t>(lines.size()));
  CHECK(lines.size() >= 18);
  CHECK(lines.size() <= 20);
  server.advance(2900ms);
  CHECK(bob.receives() == several("typing: alice", 2));
  server.advance(200ms);
  CHECK(bob.receives() == Lines{"typing: nobody"});
}

TEST_CASE("What goes on and off within a tick is said once a tick at most") {
  Server server;
  const ConversationId lunch = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  std::size_t frames = 0;
  for (int i = 0; i < 100; ++i) {
    REQUIRE(alice.asks(i % 2 == 0 ? types(lunch) : stops(lunch)));
    server.advance(70ms);
    frames += bob.receives().size();
  }
  CHECK(frames <= 7000 / 200);
  CHECK(frames > 10);
}

TEST_CASE("The session that he says it through is told of others, and of him only with them") {
  Server server;
  const ConversationId lunch = server.group("lunch", {"alice", "bob"});
  Person phone(server, "alice"), tablet(server, "alice"), bob(server, "bob");
  REQUIRE(phone.asks(types(lunch)));
  server.advance(200ms);
  CHECK(tablet.receives() == Lines{"typing: alice"});
  CHECK(phone.receives().empty());
  REQUIRE(bob.asks(types(lunch)));
  server.advance(200ms);
  CHECK(phone.receives() == Lines{"typing: alice, bob"});
  REQUIRE(bob.asks(stops(lunch)));
  server.advance(200ms);
  CHECK(phone.receives() == Lines{"typing: alice"});  // or he would be thought to type still
  REQUIRE(phone.asks(stops(lunch)));
  server.advance(200ms);
  CHECK(phone.receives().empty());
  CHECK(tablet.receives() == Lines{"typing: alice, bob", "typing: alice", "typing: nobody"});
}

TEST_CASE("Who is removed, leaves or becomes a reader is shown no longer, and shows nothing") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    const ConversationId lunch = server.group("lunch", {"owner", "alice", "bob", "carol", "dave"});
    Person owner(server, "owner"), alice(server, "alice"), bob(server, "bob"), carol(server, "carol"),
        dave(server, "dave");
    for (Person* each : {&alice, &bob, &carol, &dave}) REQUIRE(each->asks(types(lunch)));
    REQUIRE(owner.asks(RemoveMembers{.conversation = lunch, .users = {"alice"}}));  // before the tick
    server.advance(200ms);
    CHECK(owner.receives() == Lines{"typing: bob, carol, dave"});
    CHECK(alice.receives() == Lines{"left alice"});
    REQUIRE(bob.asks(Leave{.conversation = lunch}));
    server.advance(200ms);
    CHECK(owner.receives() == Lines{"left bob", "typing: carol, dave"});
    REQUIRE(owner.asks(SetRole{.conversation = lunch, .user = "carol", .role = Role::reader}));
    server.advance(200ms);
    CHECK(owner.receives() == Lines{"typing: dave"});
    CHECK(alice.receives().empty());
    CHECK(code(alice.asks(types(lunch))) == ErrorCode::forbidden);
    server.advance(200ms);
    CHECK(owner.receives().empty());
  }
}

TEST_CASE("Where the host's table says who is in it, who has gone is neither shown nor shown anything") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    EngineOptions options = with_shards(shards);
    auto team = std::make_shared<std::vector<std::string>>(std::vector<std::string>{"alice", "bob", "carol"});
    options.membership = std::make_unique<Team>(team, true);
    Server server(std::move(options));
    const ConversationId red = conversation("team:red");
    Person alice(server, "alice"), bob(server, "bob"), carol(server, "carol"), eve(server, "eve");
    for (Person* each : {&alice, &bob, &carol, &eve}) each->receives();
    REQUIRE(alice.asks(types(red)));
    REQUIRE(bob.asks(types(red)));
    CHECK(code(eve.asks(types(red))) == ErrorCode::no_such_conversation);
    server.advance(200ms);
    CHECK(carol.receives() == Lines{"typing: alice, bob"});
    std::erase(*team, "alice");
    server.engine().membership_changed(user("alice"));
    alice.receives();
    server.advance(200ms);
    CHECK(carol.receives() == Lines{"typing: bob"});
    CHECK(alice.receives().empty());
  }
}

TEST_CASE("A table of the host's that does not list its members is too large to show who types") {
  EngineOptions options;
  auto team = std::make_shared<std::vector<std::string>>(std::vector<std::string>{"alice", "bob"});
  options.membership = std::make_unique<Team>(team, false);
  Server server(std::move(options));
  Person alice(server, "alice");
  CHECK(code(alice.asks(types(conversation("team:red")))) == ErrorCode::too_large);
}

TEST_CASE("Each error is the exact one") {
  Server server;
  const ConversationId lunch = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob"), eve(server, "eve");
  REQUIRE(alice.asks(SetRole{.conversation = lunch, .user = "bob", .role = Role::reader}));
  for (const bool typing : {true, false}) {
    CAPTURE(typing);
    const auto as = [&](Person& who, Target to) { return who.asks(SetTyping{.to = to, .typing = typing}); };
    CHECK(code(as(bob, lunch)) == ErrorCode::forbidden);
    CHECK(message(as(bob, lunch)) == "this needs the role member");
    const std::string stranger = "there is no such conversation, or you are not in it";
    CHECK(code(as(eve, lunch)) == ErrorCode::no_such_conversation);
    CHECK(message(as(eve, lunch)) == stranger);
    CHECK(message(as(eve, conversation("nowhere"))) == stranger);
    CHECK(code(as(alice, Direct{"bob"})) == ErrorCode::no_such_conversation);  // nothing was said yet
    CHECK(message(as(alice, Direct{"bob"})) == stranger);
    CHECK(message(as(alice, Target())) == "to: name a conversation");
    CHECK(message(as(alice, Direct{})) == "to: name a user");
    CHECK(code(as(alice, Direct{})) == ErrorCode::invalid);
    CHECK(code(server.ask(Identity::system(), SetTyping{.to = lunch, .typing = typing})) == ErrorCode::invalid);
  }
  REQUIRE(alice.asks(RemoveMembers{.conversation = lunch, .users = {"bob"}}));
  CHECK(code(bob.asks(types(lunch))) == ErrorCode::forbidden);
  CHECK(message(bob.asks(types(lunch))) == "you are no longer in this conversation");
  server.advance(1min);
  CHECK(server.engine().stats().conversations == 1);  // what strangers named is not kept
}

TEST_CASE("In large conversations it is not shown, whichever way they are fanned out") {
  for (const bool on_read : {false, true}) {
    CAPTURE(on_read);
    EngineOptions options;
    options.limits.typing_members = 5;
    if (on_read) options.limits.fan_out_on_read = 4, options.limits.fan_out_on_write = 3;
    Server server(std::move(options));
    const ConversationId lunch = server.group("lunch", {"alice", "bob", "m3", "m4", "m5"});
    Person alice(server, "alice"), bob(server, "bob"), eve(server, "eve");
    REQUIRE(alice.asks(types(lunch)));
    server.advance(200ms);
    CHECK(bob.receives() == Lines{"typing: alice"});
    REQUIRE(alice.asks(AddMembers{.conversation = lunch, .members = {{"m6", Role::member}}}));
    server.advance(3s);
    CHECK(bob.receives() == Lines{"joined m6"});
    CHECK(code(alice.asks(types(lunch))) == ErrorCode::too_large);
    CHECK(message(alice.asks(types(lunch))) == "to: typing is shown in conversations of up to 5 members");
    CHECK(code(eve.asks(types(lunch))) == ErrorCode::no_such_conversation);
    REQUIRE(alice.asks(RemoveMembers{.conversation = lunch, .users = {"m6"}}));
    REQUIRE(alice.asks(types(lunch)));
    server.advance(200ms);
    CHECK(bob.receives() == Lines{"left m6", "typing: alice"});
  }
}

TEST_CASE("It is dropped where an outbox is half full, and comes again by itself") {
  Server server;
  const ConversationId lunch = server.group("lunch", {"alice", "bob", "carol"});
  Person alice(server, "alice"), carol(server, "carol");
  Person slow(server, "bob", {}, 8 << 10);
  alice.says(lunch, std::string(5000, 'x'));
  REQUIRE(alice.asks(types(lunch)));
  server.advance(200ms);
  CHECK(carol.receives() == Lines{std::string(5000, 'x'), "typing: alice"});
  CHECK(slow.receives() == Lines{std::string(5000, 'x')});
  server.advance(1499ms);
  CHECK(slow.receives().empty());
  server.advance(101ms);
  CHECK(slow.receives() == Lines{"typing: alice"});
}

TEST_CASE("Signals that are queued go before an event does") {
  Server server(narrow());
  const ConversationId lunch = server.group("lunch", {"alice", "bob", "carol"});
  Person alice(server, "alice"), carol(server, "carol"), bob(server, "bob", {}, 32 << 10);
  for (int i = 0; i < 200; ++i) {
    REQUIRE(carol.asks(i % 2 == 0 ? types(lunch) : stops(lunch)));
    server.advance(200ms);
  }
  for (int i = 0; i < 30; ++i) alice.says(lunch, kilobyte(i));
  const Lines lines = bob.receives();
  CHECK(lines.size() == 30);
  CHECK(std::none_of(lines.begin(), lines.end(), [](const auto& l) { return l.starts_with("pull "); }));
}

TEST_CASE("A wall clock that jumps a day either way changes nothing") {
  for (const auto jump : {std::chrono::milliseconds(24h), -std::chrono::milliseconds(24h)}) {
    Server server;
    const ConversationId lunch = server.group("lunch", {"alice", "bob"});
    Person alice(server, "alice"), bob(server, "bob");
    REQUIRE(alice.asks(types(lunch)));
    server.clock().jump(jump);
    server.advance(200ms);
    CHECK(bob.receives() == Lines{"typing: alice"});
    server.clock().jump(jump);
    server.advance(2799ms);
    CHECK(bob.receives() == Lines{"typing: alice"});
    server.advance(1ms);
    CHECK(bob.receives() == Lines{"typing: nobody"});
  }
}

TEST_CASE("No policy is asked and no rate but the session's counts it") {
  int asked = 0;
  EngineOptions options;
  options.limits.messages_per_second = options.limits.message_burst = 1;
  options.limits.conversation_per_second = options.limits.conversation_burst = 1;
  options.limits.requests_per_second = 10;
  options.limits.request_burst = 20;
  options.policy = make_policy([&](const Identity&, const RequestView&) {
    ++asked;
    return Decision{};
  });
  Server server(std::move(options));
  const ConversationId lunch = server.group("lunch", {"alice", "bob"});
  asked = 0;
  Person alice(server, "alice");
  for (int i = 0; i < 19; ++i) REQUIRE(alice.asks(types(lunch)));
  CHECK(asked == 0);
  alice.says(lunch, "hi");  // the one message there is
  CHECK(asked == 1);
  CHECK(code(alice.asks(types(lunch))) == ErrorCode::rate_limited);
}

TEST_CASE("Nothing is kept where nobody types: as idle as before, and gone with a restart") {
  Server server;
  const ConversationId lunch = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  REQUIRE(alice.asks(types(lunch)));
  server.advance(4s);
  CHECK(bob.receives() == Lines{"typing: alice", "typing: alice", "typing: nobody"});
  server.settle();
  CHECK(server.engine().poll(0us).next > 200ms);  // no tick goes on
  REQUIRE(alice.asks(types(lunch)));
  alice.leaves(), bob.leaves();
  server.restart();
  Person again(server, "bob");
  server.advance(1s);
  CHECK(again.receives().empty());
}

TEST_CASE("No more are shown than may be members, whoever the host lets type") {
  EngineOptions options;
  options.limits.typing_members = 3;
  Server server(std::move(options));
  const ConversationId lunch = server.group("lunch", {"bob"});
  Person bob(server, "bob");
  for (int i = 0; i < 10; ++i) {
    REQUIRE(server.ask(Identity::host(user("npc-" + std::to_string(i))), types(lunch)));
  }
  server.advance(200ms);
  CHECK(bob.receives() == Lines{"typing: npc-0, npc-1, npc-2"});
}

TEST_CASE("Over the network: seen by the one, said at most once a second by the other, ended by the message") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    const ConversationId lunch = server.group("lunch", {"alice", "bob"});
    Guest alice(server, "alice"), bob(server, "bob");
    for (int key = 0; key < 10; ++key) {
      REQUIRE(alice.asks(types(lunch)));
      together(server, {&alice, &bob}, 50ms);
    }
    CHECK(bob.receives() == Lines{"typing: alice"});
    alice.says(lunch, "hi");
    together(server, {&alice, &bob}, 200ms);
    CHECK(bob.receives() == Lines{"hi", "typing: nobody"});
    REQUIRE(alice.asks(types(lunch)));  // within the second, and said all the same
    together(server, {&alice, &bob}, 200ms);
    CHECK(bob.receives() == Lines{"typing: alice"});
    together(server, {&alice, &bob}, 3s);
    CHECK(bob.receives() == Lines{"typing: alice", "typing: nobody"});
    CHECK(alice.receives().empty());
  }
}

TEST_CASE("What goes nowhere, or is no text, is invalid, and the connection lives") {
  Server server;
  server.group("lunch", {"alice", "bob"});
  Wire alice(server.engine());
  REQUIRE(alice.logs_in(server, "alice") == ErrorCode::ok);
  CHECK(alice.code(server, 19, "") == ErrorCode::invalid);
  CHECK(alice.code(server, 19, text(1, text(1, "\xc3\x28"))) == ErrorCode::invalid);
  CHECK(alice.code(server, 19, text(1, text(1, "lunch")) + number(2, ~std::uint64_t{0})) == ErrorCode::ok);
  CHECK(alice.code(server, 19, text(1, text(1, "lunch"))) == ErrorCode::ok);
  CHECK(alice.closed().empty());
}
