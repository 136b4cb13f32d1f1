#include <stdexcept>

#include "support/answers.h"
#include "support/host.h"

// How fast a conversation may go, over all who speak in it.

using namespace chat;

namespace {

using Lines = std::vector<std::string>;

EngineOptions a_second(unsigned rate, unsigned burst, unsigned shards = 1) {
  EngineOptions options;
  options.shards = shards;
  options.limits.conversation_per_second = rate;
  options.limits.conversation_burst = burst;
  return options;
}

// How many of so many messages are taken.
int taken(Person& who, Target to, int count) {
  int passed = 0;
  for (int i = 0; i < count; ++i) passed += who.asks(text(to, "x")) ? 1 : 0;
  return passed;
}

}  // namespace

TEST_CASE("It is off unless the host turns it on") {
  CHECK(Limits{}.conversation_per_second == 0);
  Server server;
  const ConversationId room = server.group("room", {"alice"});
  Person alice(server, "alice");
  CHECK(taken(alice, room, 300) == 300);
}

TEST_CASE("A conversation has its burst, over all who speak in it, then its rate; another one has its own") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(a_second(10, 20, shards));
    const ConversationId room = server.group("room", {"alice", "bob"}), hall = server.group("hall", {"alice", "bob"});
    Person alice(server, "alice"), bob(server, "bob");
    CHECK(taken(alice, room, 12) + taken(bob, room, 12) == 20);
    const auto refused = alice.asks(text(room, "x"));
    REQUIRE(code(refused) == ErrorCode::rate_limited);
    CHECK(refused.error().retry_after == 100ms);
    CHECK(refused.error().message ==
          "too many messages and changes in this conversation: come again after retry_after");
    CHECK(taken(alice, hall, 25) == 20);
    server.clock().advance(99ms);
    CHECK_FALSE(bob.asks(text(room, "x")));
    server.clock().advance(1ms);
    CHECK(bob.asks(text(room, "x")));
    CHECK_FALSE(alice.asks(text(room, "x")));
    server.advance(1min);  // full again, and no fuller
    CHECK(taken(alice, room, 25) == 20);
  }
}

TEST_CASE("A direct conversation has a bucket too, from its first message on") {
  Server server(a_second(1, 3));
  Person alice(server, "alice"), bob(server, "bob");
  CHECK(taken(alice, Direct{"bob"}, 2) + taken(bob, Direct{"alice"}, 2) == 3);
}

TEST_CASE("At 50 times its rate it is held to it within 5 %") {
  Server server(a_second(20, 40));
  const ConversationId room = server.group("room", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  REQUIRE(taken(alice, room, 50) == 40);
  int passed = 0;
  for (int ms = 0; ms < 10'000; ms += 2) {
    server.clock().advance(2ms);
    passed += taken(alice, room, 1) + taken(bob, room, 1);
    if (ms % 1000 == 0) (void)alice.takes(), (void)bob.takes();
  }
  CHECK(passed >= 190);
  CHECK(passed <= 210);
}

TEST_CASE("What makes or shows something in it counts; what reads, and who types, does not") {
  Server server(a_second(1, 1));
  const ConversationId room = server.group("room", {"alice", "bob"}, {.open = true});
  Person alice(server, "alice");
  const auto spent = [&](auto request) {
    server.advance(2s);
    (void)alice.asks(std::move(request));
    const bool limited =
        code(alice.asks(SendEphemeral{.to = room, .content = {.text = "x"}})) == ErrorCode::rate_limited;
    return limited;
  };
  CHECK(spent(text(room, "x")));
  CHECK(spent(SendEphemeral{.to = room, .content = {.text = "x"}}));
  CHECK(spent(EditMessage{room, 2, {.text = "y"}}));
  CHECK(spent(DeleteMessage{room, 2}));
  CHECK(spent(ChangeSettings{room, {.title = "T", .open = true}}));
  CHECK(spent(AddMembers{room, {{"carol", Role::member}}}));
  CHECK(spent(RemoveMembers{room, {"carol"}}));
  CHECK(spent(SetRole{room, "bob", Role::admin}));
  CHECK(spent(Join{room}));
  CHECK_FALSE(spent(ReadHistory{room}));
  CHECK_FALSE(spent(MarkRead{room, 1}));
  CHECK_FALSE(spent(GetConversation{room}));
  CHECK_FALSE(spent(ListMembers{room}));
  CHECK_FALSE(spent(SetTyping{room}));
  CHECK_FALSE(spent(text(conversation("elsewhere"), "x")));
}

TEST_CASE("A repeat that a key answers costs nothing, nor does a stranger, and no policy is asked about the rest") {
  int asked = 0;
  EngineOptions options = a_second(1, 3);
  options.policy = make_policy([&](const Identity&, const RequestView&) {
    ++asked;
    return Decision{};
  });
  Server server(std::move(options));
  const ConversationId room = server.group("room", {"alice"});
  asked = 0;
  Person alice(server, "alice"), eve(server, "eve");
  alice.says(room, "one", "k1");
  for (int i = 0; i < 20; ++i) CHECK(alice.says(room, "one", "k1").duplicate);
  for (int i = 0; i < 20; ++i) CHECK(code(eve.asks(text(room, "x"))) == ErrorCode::no_such_conversation);
  CHECK(taken(alice, room, 5) == 2);
  CHECK(asked == 3);
  CHECK(alice.says(room, "one", "k1").duplicate);  // the bucket is empty, the key known
}

TEST_CASE("One who is too fast himself takes nothing from the others") {
  EngineOptions options = a_second(1, 10);
  options.limits.messages_per_second = 1;
  options.limits.message_burst = 5;
  Server server(std::move(options));
  const ConversationId room = server.group("room", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  CHECK(taken(alice, room, 20) == 5);
  const auto refused = alice.asks(text(room, "x"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message == "too many messages and changes of this user: come again after retry_after");
  CHECK(taken(bob, room, 20) == 5);
}

TEST_CASE("The host is not held to it, and uses nothing up: neither its calls nor its trusted sessions") {
  Server server(a_second(1, 2));
  const ConversationId room = server.group("room", {"alice"});
  for (int i = 0; i < 20; ++i) REQUIRE(server.ask("alice", text(room, "x")));
  Session npc = server.engine().open_session({.identity = Identity::host("npc")});
  int passed = 0;
  for (int i = 0; i < 20; ++i) npc.call(text(room, "x"), [&](Result<Sent> sent) { passed += sent ? 1 : 0; });
  server.settle();
  CHECK(passed == 20);
  Person alice(server, "alice");
  CHECK(taken(alice, room, 5) == 2);
}

TEST_CASE("Who is exempt is the host's to say, for each conversation, and uses nothing up") {
  EngineOptions options = a_second(1, 2);
  std::vector<std::string> asked;
  options.exempt = [&](const Identity& who, const ConversationId& in) {
    asked.push_back(who.user.string() + " in " + in.string());
    return who.user == UserId("moderator") && in == ConversationId("room");
  };
  Server server(std::move(options));
  const ConversationId room = server.group("room", {"alice", "moderator"}), hall = server.group("hall", {"moderator"});
  asked.clear();
  Person alice(server, "alice"), moderator(server, "moderator"), eve(server, "eve");
  CHECK(taken(moderator, room, 10) == 10);
  CHECK(taken(alice, room, 1) == 1);
  CHECK(taken(moderator, hall, 10) == 2);
  CHECK(taken(alice, room, 10) == 1);
  REQUIRE(asked.size() == 31);
  CHECK(asked.front() == "moderator in room");
  CHECK(taken(eve, room, 1) == 0);
  CHECK(asked.size() == 31);  // about strangers nobody is asked
}

TEST_CASE("Where the host's function throws, nobody is exempt") {
  EngineOptions options = a_second(1, 2);
  options.exempt = [](const Identity&, const ConversationId&) -> bool { throw std::runtime_error("no moderators"); };
  Server server(std::move(options));
  const ConversationId room = server.group("room", {"alice"});
  Person alice(server, "alice");
  CHECK(taken(alice, room, 5) == 2);
  CHECK(server.engine().stats().callback_exceptions == 5);
}

TEST_CASE("A decision that is waited for costs one token, however often the attempt begins anew") {
  std::vector<Done<Decision>> open;
  EngineOptions options = a_second(1, 2);
  options.policy =
      make_policy([&](const Identity&, const RequestView&, Done<Decision> done) { open.push_back(std::move(done)); });
  Server server(std::move(options));
  const ConversationId room = server.group("room", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  auto one = begin(alice, text(room, "1")), other = begin(bob, text(room, "2"));
  server.settle();
  REQUIRE(open.size() == 2);
  for (auto& done : open) done(Decision{});
  server.settle();
  CHECK(one.code() == ErrorCode::ok);
  CHECK(other.code() == ErrorCode::ok);
  CHECK(code(alice.asks(text(room, "3"))) == ErrorCode::rate_limited);
}

TEST_CASE("A conversation that leaves memory gives no burst before its bucket is full") {
  Server server(a_second(1, 1800));  // half an hour to fill
  const ConversationId room = server.group("room", {"alice"}), other = server.group("other", {"alice"});
  Person alice(server, "alice");
  REQUIRE(taken(alice, room, 2000) == 1800);
  alice.says(other, "x");
  server.advance(15min);  // unused for long enough
  CHECK(server.engine().stats().conversations == 1);
  CHECK(taken(alice, room, 1800) == 900);
  server.advance(45min);
  CHECK(server.engine().stats().conversations == 0);
  CHECK(taken(alice, room, 2000) == 1800);
}

TEST_CASE("Nor one that goes as memory is short; those whose bucket is full go first") {
  EngineOptions options = a_second(1, 60);
  options.memory_bytes = 1 << 20;
  Server server(std::move(options));
  const ConversationId room = server.group("room", {"alice"});
  Person alice(server, "alice");
  REQUIRE(taken(alice, room, 70) == 60);
  for (int i = 0; i < 800; ++i) {
    (void)server.ask("bob", Send{.to = Direct{*UserId::make("peer-" + std::to_string(i))}, .content = {.text = "x"}});
    if (i % 40 == 0) server.advance(200ms);
  }
  server.advance(1s);
  CHECK(server.engine().stats().conversations < 700);
  const auto refused = taken(alice, room, 60);
  CHECK(refused <= 10);  // what the seconds that went by gave
}

TEST_CASE("A wall clock that jumps a day either way changes nothing") {
  Server server(a_second(1, 2));
  const ConversationId room = server.group("room", {"alice"});
  Person alice(server, "alice");
  CHECK(taken(alice, room, 5) == 2);
  server.clock().jump(24h);
  CHECK(taken(alice, room, 1) == 0);
  server.clock().jump(-48h);
  server.advance(1s);
  CHECK(taken(alice, room, 5) == 1);
}

TEST_CASE("The client library comes again after retry_after: everything arrives, once, in order") {
  Server server(a_second(20, 5));
  const ConversationId room = server.group("room", {"alice", "bob"});
  Person bob(server, "bob");
  Guest alice(server, "alice");
  std::vector<Answer<Sent>> answers;
  Lines said, came;
  for (int i = 0; i < 40; ++i) {
    said.push_back(std::to_string(i));
    answers.push_back(begin(alice, text(room, said.back())));
  }
  const auto start = server.clock().steady();
  while (came.size() < said.size() && server.clock().steady() - start < 20s) {
    together(server, {&alice}, 50ms);
    for (std::string& line : bob.receives()) came.push_back(std::move(line));
  }
  CHECK(came == said);
  CHECK(server.clock().steady() - start >= 1700ms);  // (40 - 5) / 20
  for (const auto& answer : answers) CHECK(answer.code() == ErrorCode::ok);
}
