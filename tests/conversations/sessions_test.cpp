#include "support/answers.h"
#include "support/wire.h"

// Where a user is logged in.

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

std::vector<std::string> names_of(Person& who) {
  const auto page = who.asks(ListSessions{});
  REQUIRE(page);
  std::vector<std::string> names;
  for (const SessionInfo& info : page->sessions) names.push_back(info.session);
  return names;
}

}  // namespace

TEST_CASE("A user sees where he is logged in, since when, and which one he asks through") {
  Server server(with_shards(4));
  Session phone = server.engine().open_session({.identity = {.user = user("alice"), .device = "phone"}});
  server.advance(5s);
  const TimePoint later = server.clock().wall();
  Person desk(server, "alice"), bob(server, "bob");
  const auto page = desk.asks(ListSessions{});
  REQUIRE(page);
  REQUIRE(page->sessions.size() == 2);
  CHECK(page->sessions[0].device == DeviceId("phone"));
  CHECK_FALSE(page->sessions[0].mine);
  CHECK(page->sessions[0].since == later - 5s);
  CHECK(page->sessions[1].mine);
  CHECK(page->sessions[1].since == later);
  CHECK(page->sessions[1].peer_address.empty());
  CHECK(server.ask("carol", ListSessions{})->sessions.empty());
  CHECK(server.ask("alice", ListSessions{})->sessions.size() == 2);
  CHECK(server.ask(Identity::system(), ListSessions{}).error().code == ErrorCode::invalid);
}

TEST_CASE("A session that is ended gets nothing more: what is queued is dropped, and it is told why") {
  Server server(with_shards(2));
  Person phone(server, "alice"), desk(server, "alice"), bob(server, "bob");
  bob.says(Direct{user("alice")}, "before");
  const auto names = names_of(desk);
  REQUIRE(names.size() == 2);
  CHECK(desk.asks(EndSessions{{names[0], names[0], "4711", "nonsense", ""}})->sessions == 1);
  bob.says(Direct{user("alice")}, "after");
  CHECK(phone.receives() == Lines{"closed unauthenticated"});
  CHECK(desk.receives() == Lines{"before", "after"});
  CHECK(phone.asks(ListSessions{}).error().code == ErrorCode::stopped);
  CHECK(names_of(desk).size() == 1);
}

TEST_CASE("All others are ended at once, and nobody else's") {
  Server server(with_shards(4));
  std::vector<std::unique_ptr<Person>> others;
  for (int i = 0; i < 5; ++i) others.push_back(std::make_unique<Person>(server, "alice"));
  Wire wire(server.engine());
  REQUIRE(wire.logs_in(server, "alice") == ErrorCode::ok);
  Person desk(server, "alice"), bob(server, "bob");
  const auto of_bob = names_of(bob);
  CHECK(desk.asks(EndSessions{of_bob})->sessions == 0);
  CHECK(desk.asks(EndSessions{})->sessions == 6);
  server.settle();
  for (auto& other : others) CHECK(other->receives() == Lines{"closed unauthenticated"});
  const auto why = Wire::farewell(wire.hears());
  REQUIRE(why);
  CHECK(why->code == ErrorCode::unauthenticated);
  CHECK(names_of(desk).size() == 1);
  CHECK(names_of(bob).size() == 1);
  CHECK(desk.asks(EndSessions{})->sessions == 0);
  CHECK(server.ask("alice", EndSessions{})->sessions == 1);  // the host, for him: all
}

TEST_CASE("A session that resumes is ended in the middle of what it missed") {
  Server server;
  Checkpoint place;
  {
    Person phone(server, "alice");
    server.advance(2s);
    phone.takes();
    place = phone.checkpoint();
  }
  for (int i = 0; i < 50; ++i) REQUIRE(server.ask("bob", text(Direct{user("alice")}, "missed")));
  Session phone = server.engine().open_session({.identity = {.user = user("alice")}, .resume = place});
  for (int i = 0; i < 12; ++i) one_item(server);
  REQUIRE(server.ask("alice", EndSessions{})->sessions == 1);
  Lines lines;
  while (auto push = phone.take()) lines.push_back(line(*push));
  REQUIRE_FALSE(lines.empty());
  CHECK(lines.back() == "closed unauthenticated");
  CHECK(lines.size() == 1);
}

TEST_CASE("A session ends itself, and hears how many that were") {
  Server server;
  Person desk(server, "alice");
  const auto names = names_of(desk);
  CHECK(desk.asks(EndSessions{names})->sessions == 1);
  CHECK(desk.receives() == Lines{"closed unauthenticated"});
  CHECK(server.ask("alice", EndSessions{std::vector<std::string>(1001, "x")}).error().message ==
        "sessions: at most 1000");
}
