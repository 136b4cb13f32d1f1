#include <algorithm>

#include "support/chat.h"
#include "support/wire.h"

using namespace chat;

// How much the engine holds in memory, and what it does where that is as much as it may.

namespace {

EngineOptions bounded(std::size_t bytes, unsigned shards = 1) {
  EngineOptions options;
  options.memory_bytes = bytes;
  options.shards = shards;
  return options;
}

std::string kilobyte(int i) { return std::to_string(i) + ":" + std::string(1000, 'x'); }

}  // namespace

TEST_CASE("Everything is accounted for in bytes, and what goes is taken off again") {
  Server server;
  const auto before = server.engine().stats();
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  {
    Person alice(server, "alice"), bob(server, "bob");
    Wire wire(server.engine());
    REQUIRE(wire.logs_in(server, "alice") == ErrorCode::ok);
    for (int i = 0; i < 20; ++i) alice.says(group, kilobyte(i));
    REQUIRE(server.ask("bob", ReadHistory{.conversation = group}));
    const auto now = server.engine().stats();
    CHECK(now.outbox_bytes > 20'000);
    CHECK(now.page_bytes > 20'000);
    CHECK(now.session_bytes > before.session_bytes + 2048);
    CHECK(now.conversation_bytes > before.conversation_bytes);
    CHECK(now.memory_bytes ==
          now.outbox_bytes + now.inbound_bytes + now.page_bytes + now.session_bytes + now.conversation_bytes);
    alice.leaves(), bob.leaves();
    server.settle();
  }
  server.settle();
  const auto after = server.engine().stats();
  CHECK(after.session_bytes == before.session_bytes);
  CHECK(after.outbox_bytes == 0);
  CHECK(after.inbound_bytes == 0);
}

TEST_CASE("Caches and unused conversations go before anybody is refused") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Server server(bounded(2 << 20, shards));
    for (int i = 0; i < 2000; ++i) {
      const auto sent = server.ask(
          "alice", Send{.to = Direct{*UserId::make("peer-" + std::to_string(i))}, .content = {.text = kilobyte(i)}});
      REQUIRE(sent);
      REQUIRE(server.ask("alice", ReadHistory{.conversation = sent->conversation}));
      if (i % 20 == 0) server.advance(200ms);
      CHECK(server.engine().stats().memory_bytes <= (2u << 20));
    }
    CHECK(server.engine().stats().conversations < 1800);
    // What left memory is still there.
    const auto page = server.ask("peer-0", ListConversations{});
    REQUIRE(page);
    CHECK(page->conversations.size() == 1);
  }
}

TEST_CASE(
    "At the bound outboxes hold little, new sessions and calls are overloaded, and all is well when there is room") {
  Server server(bounded(1 << 20));
  std::vector<std::string> names{"alice"};
  for (int i = 0; i < 30; ++i) names.push_back("slow-" + std::to_string(i));
  const ConversationId group = server.group("lunch", names);
  {
    std::vector<std::unique_ptr<Person>> slow;
    for (std::size_t i = 1; i < names.size(); ++i) slow.push_back(std::make_unique<Person>(server, names[i]));
    server.settle();
    int refused = 0;
    for (int i = 0; i < 200; ++i) {
      auto sent = server.ask("alice", Send{.to = group, .content = {.text = kilobyte(i)}});
      if (!sent) {
        CHECK(sent.error().code == ErrorCode::overloaded);
        CHECK(sent.error().retry_after.count() > 0);
        ++refused;
      }
      CHECK(server.engine().stats().memory_bytes <= (1u << 20) + 200'000);  // a frame for each
    }
    CHECK(server.engine().stats().collapses > 0);
    CHECK(server.engine().stats().sessions == 30);  // nobody was thrown out
  }
  server.advance(2s);
  CHECK(server.engine().stats().memory_bytes < (1u << 20));
  CHECK(server.ask("alice", Send{.to = group, .content = {.text = "and on"}}));
  Person late(server, "slow-1");
  CHECK(late.receives().empty());
}

TEST_CASE("A session that would not fit is turned away with a reason, and those who are in stay") {
  Server server(bounded(1 << 20));
  std::vector<std::unique_ptr<Person>> people;
  std::optional<ErrorCode> why;
  for (int i = 0; i < 2000 && !why; ++i) {
    people.push_back(std::make_unique<Person>(server, "user-" + std::to_string(i)));
    for (const Push& push : people.back()->takes()) {
      if (const auto* closed = push.as<Closed>()) why = closed->why.code;
    }
  }
  CHECK(why == ErrorCode::overloaded);
  CHECK(people.size() > 300);
  CHECK(server.engine().stats().memory_bytes <= (1u << 20) + 4096);
  people.resize(people.size() / 2);
  server.settle();
  Person again(server, "again");
  CHECK(again.receives().empty());
}

TEST_CASE("A connection is not read further while memory is short, and keeps its order") {
  Server server(bounded(1 << 20));
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Wire alice(server.engine());
  REQUIRE(alice.logs_in(server, "alice") == ErrorCode::ok);
  {
    std::vector<std::unique_ptr<Person>> people;
    for (int i = 0; server.engine().stats().memory_bytes < (1u << 20); ++i) {
      REQUIRE(i < 5000);
      people.push_back(std::make_unique<Person>(server, "user-" + std::to_string(i)));
    }
    for (std::uint64_t n = 1; n <= 3; ++n) {
      const Send send{.to = group, .content = {.text = "n"}, .key = {"phone", n}};
      alice.says(protocol::encode_client_frame(100 + n, Send::id, protocol::encode(send)));
    }
    server.settle();
    for (const Heard& heard : alice.hears()) CHECK(heard.call == 0);  // no answer, and no refusal
  }
  server.advance(3s);
  std::vector<std::uint64_t> answered;
  for (const Heard& heard : alice.hears()) {
    if (heard.call == 0) continue;
    CHECK_FALSE(heard.error);
    answered.push_back(heard.call);
  }
  CHECK(answered == std::vector<std::uint64_t>{101, 102, 103});
}
