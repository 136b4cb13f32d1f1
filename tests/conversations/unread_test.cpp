#include "support/answers.h"

// The total of what is unread: what the badge shows.

using namespace chat;

namespace {

// "3 in 2", and "+" where there is more.
std::string badge(Server& server, std::string_view who) {
  const auto total = server.ask(who, GetUnread{});
  REQUIRE_MESSAGE(total, total.error().message);
  return std::to_string(total->messages) + " in " + std::to_string(total->conversations) + (total->more ? "+" : "");
}

}  // namespace

TEST_CASE("The badge counts what others said since one last read, over all conversations") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    const ConversationId room = server.group("room", {"alice", "bob"}), den = server.group("den", {"alice", "bob"});
    CHECK(badge(server, "alice") == "0 in 0");
    for (int i = 0; i < 3; ++i) REQUIRE(server.ask("bob", text(room, "hi")));
    REQUIRE(server.ask("bob", text(den, "hi")));
    REQUIRE(server.ask("alice", text(den, "hi yourself")));
    const auto direct = server.ask("bob", text(Direct{"alice"}, "psst"));
    REQUIRE(direct);
    CHECK(badge(server, "alice") == "5 in 3");
    CHECK(badge(server, "bob") == "1 in 1");
    CHECK(badge(server, "carol") == "0 in 0");
    REQUIRE(server.ask("alice", MarkRead{room, 3}));
    CHECK(badge(server, "alice") == "3 in 3");
    REQUIRE(server.ask("bob", DeleteMessage{direct->conversation, 1}));
    CHECK(badge(server, "alice") == "2 in 2");
    server.restart();
    CHECK(badge(server, "alice") == "2 in 2");
  }
}

TEST_CASE("What is muted does not count, until its time is over; what is marked as unread does") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"}), den = server.group("den", {"alice", "bob"});
  REQUIRE(server.ask("bob", text(room, "hi")));
  REQUIRE(server.ask("alice", Mute{room, server.clock().wall() + 1h}));
  CHECK(badge(server, "alice") == "0 in 0");
  server.clock().jump(2h);
  CHECK(badge(server, "alice") == "1 in 1");
  REQUIRE(server.ask("alice", MarkRead{room, 2}));
  CHECK(badge(server, "alice") == "0 in 0");
  REQUIRE(server.ask("alice", MarkUnread{den}));
  CHECK(badge(server, "alice") == "0 in 1");
  REQUIRE(server.ask("alice", MarkRead{den, 1}));
  CHECK(badge(server, "alice") == "0 in 0");
}

TEST_CASE("Who joins late, leaves, or has a conversation grow beyond the threshold counts what he can see") {
  EngineOptions options;
  options.limits.fan_out_on_read = 4, options.limits.fan_out_on_write = 3;
  Server server(std::move(options));
  const ConversationId room = server.group("room", {"alice", "bob"}, {.newcomers_see = NewcomersSee::none});
  for (int i = 0; i < 5; ++i) REQUIRE(server.ask("alice", text(room, "before")));
  REQUIRE(server.ask("alice", AddMembers{room, {{"carol"}}}));
  REQUIRE(server.ask("alice", text(room, "after")));
  CHECK(badge(server, "carol") == "1 in 1");
  CHECK(badge(server, "bob") == "6 in 1");
  REQUIRE(server.ask("alice", AddMembers{room, {{"d"}, {"e"}}}));  // fanned out on read from here
  REQUIRE(server.ask("alice", text(room, "to many")));
  CHECK(badge(server, "carol") == "2 in 1");
  CHECK(badge(server, "e") == "1 in 1");
  REQUIRE(server.ask("carol", Leave{room}));
  REQUIRE(server.ask("alice", text(room, "without carol")));
  CHECK(badge(server, "carol") == "2 in 1");
  REQUIRE(server.ask("carol", MarkRead{room, 11}));
  CHECK(badge(server, "carol") == "0 in 0");
}

TEST_CASE("The badge has bounds: a hundred of a conversation, a thousand in all, two hundred conversations") {
  Server server(with_shards(2));
  const ConversationId loud = server.group("loud", {"alice", "bob"});
  for (int i = 0; i < 101; ++i) REQUIRE(server.ask("bob", text(loud, "hi")));
  CHECK(badge(server, "alice") == "100 in 1+");
  REQUIRE(server.ask("alice", MarkRead{loud, 2}));
  CHECK(badge(server, "alice") == "100 in 1");
  for (std::size_t i = 0; i < 210; ++i) {
    const ConversationId quiet = server.group(numbered("quiet", i), {"alice", "bob"});
    if (i % 2 == 0) REQUIRE(server.ask("bob", text(quiet, "hi")));
  }
  CHECK(badge(server, "alice").ends_with("+"));  // each has an event of its making that she has not read
}

TEST_CASE("The host itself has no badge") {
  Server server;
  CHECK(server.ask(Identity::system(), GetUnread{}).error().code == ErrorCode::invalid);
}

TEST_CASE("What the host's own table names is counted once") {
  EngineOptions options;
  options.membership = make_membership(
      {.prefix = "team:",
       .members =
           [](const ConversationId&) {
             return std::vector<Member>{{"alice"}, {"bob"}};
           },
       .conversations = [](const UserId&) { return std::vector<ConversationId>{conversation("team:red")}; }});
  Server server(std::move(options));
  for (int i = 0; i < 3; ++i) REQUIRE(server.ask("bob", text(conversation("team:red"), "hi")));
  REQUIRE(server.ask("bob", text(Direct{"alice"}, "hi")));
  CHECK(badge(server, "alice") == "4 in 2");
}
