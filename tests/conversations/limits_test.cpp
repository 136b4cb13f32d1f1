#include "core/rate_limit.h"

#include "support/answers.h"
#include "support/host.h"
#include "support/wire.h"

// How fast a user may speak and a session may ask, on a clock that stands still.

using namespace chat;

namespace {

using Lines = std::vector<std::string>;

EngineOptions rates(unsigned messages, unsigned burst, unsigned requests = 0, unsigned request_burst = 0) {
  EngineOptions options;
  options.limits.messages_per_second = messages;
  options.limits.message_burst = burst;
  options.limits.requests_per_second = requests;
  options.limits.request_burst = request_burst;
  return options;
}

struct Tally {
  int taken = 0, limited = 0, other = 0;
  std::chrono::milliseconds longest{}, shortest = 1h;
  void operator()(const Result<Sent>& sent) {
    if (sent) {
      ++taken;
    } else if (sent.error().code == ErrorCode::rate_limited) {
      ++limited;
      longest = std::max(longest, sent.error().retry_after);
      shortest = std::min(shortest, sent.error().retry_after);
    } else {
      ++other;
    }
  }
};

void sends(Person& who, Target to, int count, Tally& tally) {
  for (int i = 0; i < count; ++i) who.session().call(text(to, "x"), [&tally](Result<Sent> sent) { tally(sent); });
}

}  // namespace

// ---- a user

TEST_CASE("The library's own limits: a burst of 40, then 20 messages a second a user; 100 requests a session") {
  const Limits limits;
  CHECK(limits.messages_per_second == 20);
  CHECK(limits.message_burst == 40);
  CHECK(limits.requests_per_second == 100);
  CHECK(limits.request_burst == 200);
}

TEST_CASE("A user has his burst at once, then what the rate gives, and is told when to come again") {
  Server server(rates(20, 40));
  Person alice(server, "alice"), bob(server, "bob");
  Tally tally;
  sends(alice, Direct{"bob"}, 50, tally);
  server.settle();
  CHECK(tally.taken == 40);
  CHECK(tally.limited == 10);
  CHECK(tally.shortest == 50ms);
  CHECK(tally.longest == 50ms);
  server.advance(49ms);
  sends(alice, Direct{"bob"}, 1, tally);
  server.settle();
  CHECK(tally.taken == 40);
  CHECK(tally.shortest == 1ms);
  server.advance(1ms);
  sends(alice, Direct{"bob"}, 2, tally);
  server.settle();
  CHECK(tally.taken == 41);
  CHECK(tally.other == 0);
  bob.says(Direct{"alice"}, "I am not she");
  server.advance(10s);  // full again, and no fuller
  tally = {};
  sends(alice, Direct{"bob"}, 50, tally);
  server.settle();
  CHECK(tally.taken == 40);
}

TEST_CASE("A sender at 50 times his limit is held to it within 5 %, over all his sessions, conversations and shards") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(rates(20, 40));
    Person one(server, "alice"), two(server, "alice"), bob(server, "bob");
    const ConversationId room = server.group("room", {"alice", "bob"});
    Tally tally;
    sends(one, room, 40, tally);
    server.settle();
    REQUIRE(tally.taken == 40);  // the burst is over
    tally = {};
    int bobs = 0;
    constexpr int seconds = 10;
    for (int ms = 0; ms < seconds * 1000; ms += 2) {
      server.advance(2ms);
      sends(ms % 4 == 0 ? one : two, ms % 8 < 4 ? Target(room) : Target(Direct{"carol"}), 2, tally);
      server.settle();
      if (ms % 100 == 0) bobs += server.ask("bob", text(room, "bob's")) ? 1 : 0;
      if (ms % 1000 == 0) (void)one.takes(), (void)two.takes(), (void)bob.takes();
    }
    CHECK(tally.taken >= seconds * 20 * 95 / 100);
    CHECK(tally.taken <= seconds * 20 * 105 / 100);
    CHECK(tally.taken + tally.limited == seconds * 1000);
    CHECK(bobs == seconds * 10);
  }
}

TEST_CASE("Who goes and comes back finds his bucket as he left it") {
  Server server(rates(1, 10));
  Tally tally;
  {
    Person alice(server, "alice");
    sends(alice, Direct{"bob"}, 10, tally);
    server.settle();
  }
  server.settle();
  for (int i = 0; i < 3; ++i) {
    Person again(server, "alice");
    sends(again, Direct{"bob"}, 5, tally);
    server.settle();
  }
  Guest device(server, "alice");
  CHECK(tally.taken == 10);
  server.advance(3s);
  Person later(server, "alice");
  sends(later, Direct{"bob"}, 5, tally);
  server.settle();
  CHECK(tally.taken == 13);
}

TEST_CASE("Requests that come before the session has begun are limited too") {
  Server server(rates(20, 4));
  Session session = server.engine().open_session({.identity = alice_is});
  Tally tally;
  for (int i = 0; i < 10; ++i) session.call(hi("bob"), [&tally](Result<Sent> sent) { tally(sent); });
  server.settle();
  CHECK(tally.taken == 4);
}

TEST_CASE("A repeat costs nothing, nor does what membership refuses, and a policy is not asked about the rest") {
  int asked = 0;
  EngineOptions options = rates(1, 3);
  options.policy = make_policy([&](const Identity&, const RequestView&) {
    ++asked;
    return Decision{};
  });
  Server server(std::move(options));
  server.group("closed", {"bob"});
  Person alice(server, "alice");
  CHECK(code(alice.asks(text(conversation("closed"), "x"))) == ErrorCode::no_such_conversation);
  alice.says(Direct{"bob"}, "one", "k1");
  for (int i = 0; i < 20; ++i) CHECK(alice.says(Direct{"bob"}, "one", "k1").duplicate);
  alice.says(Direct{"bob"}, "two");
  alice.says(Direct{"bob"}, "three");
  CHECK(code(alice.asks(text(Direct{"bob"}, "four", "k4"))) == ErrorCode::rate_limited);
  CHECK(asked == 3);
  CHECK(alice.says(Direct{"bob"}, "one", "k1").duplicate);  // the bucket is empty, the key known
}

TEST_CASE("What makes or shows something counts; what reads does not") {
  Server server(rates(1, 1));
  const ConversationId room = server.group("room", {"alice", "bob"}, {.open = true});
  const auto spent = [&](auto request) {
    Person fresh(server, "alice");
    server.advance(1s);
    (void)fresh.asks(std::move(request));
    const bool limited =
        code(fresh.asks(SendEphemeral{.to = room, .content = {.text = "x"}})) == ErrorCode::rate_limited;
    server.advance(1s);
    return limited;
  };
  CHECK(spent(text(room, "x")));
  CHECK(spent(SendEphemeral{.to = room, .content = {.text = "x"}}));
  CHECK(spent(EditMessage{room, 2, {.text = "y"}}));
  CHECK(spent(DeleteMessage{room, 2}));
  CHECK(spent(CreateConversation{}));
  CHECK(spent(ChangeSettings{room, {.title = "T", .open = true}}));
  CHECK(spent(AddMembers{room, {{"carol", Role::member}}}));
  CHECK(spent(RemoveMembers{room, {"carol"}}));
  CHECK(spent(SetRole{room, "bob", Role::admin}));
  CHECK(spent(Join{room}));
  CHECK_FALSE(spent(ReadHistory{room}));
  CHECK_FALSE(spent(Sync{room}));
  CHECK_FALSE(spent(MarkRead{room, 1}));
  CHECK_FALSE(spent(ListConversations{}));
  CHECK_FALSE(spent(GetConversation{room}));
  CHECK_FALSE(spent(ListMembers{room}));
  CHECK_FALSE(spent(Abandon{room, {"phone", 1}}));
}

TEST_CASE("The host is not limited: neither its calls nor its trusted sessions") {
  Server server(rates(1, 1, 1, 1));
  for (int i = 0; i < 50; ++i) REQUIRE(server.ask("alice", hi("bob")));
  Session npc = server.engine().open_session({.identity = Identity::host("npc")});
  int taken = 0;
  for (int i = 0; i < 50; ++i) npc.call(hi("bob"), [&](Result<Sent> sent) { taken += sent ? 1 : 0; });
  server.settle();
  CHECK(taken == 50);
}

TEST_CASE("0 a second is no limit") {
  Server server(rates(0, 0, 0, 0));
  Person alice(server, "alice");
  for (int i = 0; i < 500; ++i) alice.says(Direct{"bob"}, "x");
}

// ---- a session

TEST_CASE("A session in process is told when it asks too fast, of reads as well") {
  Server server(rates(0, 0, 100, 20));
  Person alice(server, "alice"), other(server, "alice");
  int answered = 0;
  std::optional<Error> refused;
  for (int i = 0; i < 30; ++i) {
    alice.session().call(ListConversations{}, [&](Result<ConversationsPage> page) {
      page ? void(++answered) : void(refused = page.error());
    });
  }
  server.settle();
  CHECK(answered == 20);
  REQUIRE(refused);
  CHECK(refused->code == ErrorCode::rate_limited);
  CHECK(refused->retry_after == 10ms);
  CHECK(other.asks(ListConversations{}));  // it is a session's, not a user's
  server.clock().advance(10ms);
  CHECK(alice.asks(ListConversations{}));
}

TEST_CASE("A connection that asks too fast is not read further: held to its rate, nothing refused, in order") {
  Server server(rates(0, 0, 100, 20));
  Wire alice(server.engine(), {.identity = alice_is});
  server.settle();
  REQUIRE(alice.logs_in(server, "alice") == ErrorCode::ok);
  (void)alice.hears();
  constexpr std::uint64_t count = 520;
  for (std::uint64_t call = 100; call < 100 + count; ++call) alice.says(frame(call, 18, ""));
  server.settle();
  CHECK(alice.paused());
  std::vector<std::uint64_t> answers;
  const auto listen = [&] {
    for (const Heard& heard : alice.hears()) {
      if (heard.call == 0) continue;
      CHECK_FALSE(heard.error);
      answers.push_back(heard.call);
    }
  };
  listen();
  CHECK(answers.size() == 20);
  server.advance(2s);
  listen();
  CHECK(answers.size() >= 20 + 190);
  CHECK(answers.size() <= 20 + 210);
  server.advance(3100ms);
  listen();
  REQUIRE(answers.size() == count);
  for (std::uint64_t i = 0; i < count; ++i) CHECK(answers[i] == 100 + i);
  CHECK_FALSE(alice.paused());
}

// ---- the client library

TEST_CASE("The client library comes again after retry_after: everything arrives, once, in order, with few refusals") {
  Server server(rates(20, 10));
  Person bob(server, "bob");
  Guest alice(server, "alice");
  std::vector<Answer<Sent>> answers;
  Lines said;
  for (int i = 0; i < 110; ++i) {
    said.push_back(std::to_string(i));
    answers.push_back(begin(alice, text(Direct{"bob"}, said.back())));
  }
  const auto start = server.clock().steady();
  Lines came;
  while (came.size() < said.size() && server.clock().steady() - start < 20s) {
    together(server, {&alice}, 50ms);
    for (std::string& line : bob.receives()) came.push_back(std::move(line));
  }
  CHECK(came == said);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(server.clock().steady() - start);
  CHECK(took >= 4900ms);  // (110 - 10) / 20
  CHECK(took <= 7500ms);
  for (std::size_t i = 0; i < answers.size(); ++i) CHECK(answers[i]->seq == i + 1);
  CHECK(server.engine().stats().refused < 250);
}

// ---- the bucket

TEST_CASE("A bucket gives a burst and then its rate, whatever the rhythm") {
  using namespace core;
  const SteadyTime start{1h};
  RateLimit limit(10, 5);
  CHECK(limit.time_to_fill() == 500ms);
  for (int i = 0; i < 5; ++i) CHECK_FALSE(limit.take(start));
  CHECK(limit.take(start) == 100ms);
  CHECK(limit.take(start) == 100ms);  // nothing was taken
  CHECK(limit.take(start + 99ms) == 1ms);
  CHECK_FALSE(limit.take(start + 100ms));
  CHECK(limit.take(start + 100ms) == 100ms);
  CHECK(limit.take(start + 50ms) == 150ms);  // of a thread that read the clock earlier
  for (int i = 0; i < 5; ++i) CHECK_FALSE(limit.take(start + 10s));
  CHECK(limit.take(start + 10s));
}

TEST_CASE("Threads share a bucket: together they get what it has") {
  core::RateLimit limit(1, 1000);
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) taken += limit.take(SteadyTime(1h)) ? 0 : 1;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(taken == 1000);
}

TEST_CASE("The buckets of users who have gone are kept until they are full, and not longer") {
  auto clock = std::make_shared<ManualClock>();
  auto limits = std::make_shared<core::UserLimits>(10, 20, clock);
  auto alice = limits->of("alice");
  CHECK(limits->of("alice").get() == alice.get());
  CHECK(limits->of("bob").get() != alice.get());
  CHECK(limits->kept() == 2);
  clock->advance(2s);
  CHECK(limits->kept() == 1);  // alice is still here
  for (int i = 0; i < 20; ++i) CHECK_FALSE(alice->take(clock->steady()));
  alice.reset();
  clock->advance(1s);
  alice = limits->of("alice");  // back, and away again: the time counts from then
  for (int i = 0; i < 10; ++i) CHECK_FALSE(alice->take(clock->steady()));
  CHECK(alice->take(clock->steady()));
  alice.reset();
  clock->advance(1s);
  CHECK(limits->kept() == 1);
  clock->advance(1s);
  CHECK(limits->kept() == 0);
  alice = limits->of("alice");
  limits.reset();  // what is held outlives it
  CHECK_FALSE(alice->take(clock->steady()));
}
