#include "support/answers.h"

// Who an event is for: settled when its seq is given out, also where many are committed together.

using namespace chat;
using Lines = std::vector<std::string>;

TEST_CASE("Of one commit each gets what was said while he was there, in order") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"});
  Person bob(server, "bob"), carol(server, "carol"), alice(server, "alice");
  const std::uint64_t before = server.store->commits;
  const auto says = [&](const char* what) { return begin(server, "alice", text(id, what)); };
  const auto one = says("one"), two = says("two");
  begin(server, "alice", AddMembers{.conversation = id, .members = {{"carol"}}});
  const auto three = says("three");
  begin(server, "alice", RemoveMembers{.conversation = id, .users = {"bob"}});
  const auto four = says("four"), five = says("five");
  server.settle();
  REQUIRE(five.code() == ErrorCode::ok);
  CHECK(server.store->commits == before + 1);
  CHECK(alice.receives() == Lines{"one", "two", "joined carol", "three", "left bob", "four", "five"});
  CHECK(bob.receives() == Lines{"one", "two", "joined carol", "three", "left bob"});
  CHECK(carol.receives() == Lines{"joined carol", "three", "left bob", "four", "five"});
}

TEST_CASE("Of one commit each of many members gets all, each once, in order") {
  constexpr int members = 60, messages = 50;  // more than are handed out in one step, either way
  Server server;
  std::vector<std::string> names{"alice"};
  for (int i = 1; i < members; ++i) names.push_back("m" + std::to_string(i));
  const ConversationId id = server.group("room", names);
  std::vector<Person> people;
  people.reserve(names.size());
  for (const std::string& name : names) people.emplace_back(server, name);
  const std::uint64_t before = server.store->commits;
  Lines said;
  for (int i = 0; i < messages; ++i) {
    said.push_back("message " + std::to_string(i));
    begin(server, "alice", text(id, said.back()));
  }
  server.settle();
  CHECK(server.store->commits == before + 1);
  for (Person& person : people) CHECK(person.receives() == said);
}
