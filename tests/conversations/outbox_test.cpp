#include <algorithm>
#include <set>

#include "support/narrow.h"
#include "support/wire.h"

using namespace chat;

namespace {

struct Seen {
  std::set<Seq> seqs{};
  std::optional<ErrorCode> closed{};

  void look(const Push& push) {
    if (push.event()) seqs.insert(push.event()->seq);
    if (const auto* c = push.as<Closed>()) closed = c->why.code;
  }
  bool all_up_to(Seq head) const { return seqs.size() == head && *seqs.begin() == 1 && *seqs.rbegin() == head; }
};

// He logs in over a wire, and goes.
Checkpoint place_of_bob(Server& server) {
  Checkpoint place;
  {
    Wire bob(server.engine());
    const auto in = bob.asks(server, protocol::Login{.token = "bob"});
    REQUIRE(in);
    place = in->checkpoint;
  }
  server.settle();
  return place;
}

}  // namespace

TEST_CASE("Someone who takes slowly while he resumes gets everything, however small his outbox") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  const ConversationId other = server.group("dinner", {"alice", "bob"});
  Person alice(server, "alice");
  Checkpoint place;
  {
    Person bob(server, "bob");
    server.advance(2s);
    bob.takes();
    alice.says(group, "2"), alice.says(other, "2");
    server.advance(2s);
    bob.takes();
    place = bob.checkpoint();
    REQUIRE_FALSE(place.empty());
  }
  for (int i = 3; i <= 150; ++i) alice.says(i % 2 ? group : other, kilobyte(i));
  const Seq head = server.ask("bob", GetConversation{.of = group})->head;
  const Seq head_other = server.ask("bob", GetConversation{.of = other})->head;
  for (const std::size_t outbox : {std::size_t{8} << 10, std::size_t{64} << 10, std::size_t{1} << 20}) {
    CAPTURE(outbox);
    Person bob(server, "bob", place, outbox);
    std::map<std::string, std::set<Seq>> seen;
    std::optional<ErrorCode> closed;
    for (int rounds = 0;
         rounds < 1000 && seen[group.string()].size() + seen[other.string()].size() < head + head_other - 4; ++rounds) {
      server.settle();
      CHECK(server.engine().stats().outbox_bytes <= outbox + 200);
      const auto push = bob.session().take();
      if (!push) continue;
      if (const Event* event = push->event()) CHECK(seen[event->conversation.string()].insert(event->seq).second);
      if (const auto* c = push->as<Closed>()) closed = c->why.code;
    }
    CHECK_FALSE(closed);
    CHECK(seen[group.string()].size() == head - 2);
    CHECK(seen[other.string()].size() == head_other - 2);
  }
  CHECK(server.engine().stats().closed_slow == 0);
}

TEST_CASE("What is larger than what is left of a small outbox collapses what waits there, and ends nobody") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"}),
                       other = server.group("dinner", {"alice", "bob"});
  Person alice(server, "alice");
  Checkpoint place;
  {
    Person bob(server, "bob");
    server.advance(2s);
    bob.takes();
    alice.says(group, "2");
    server.advance(2s);
    bob.takes();
    place = bob.checkpoint();
    REQUIRE_FALSE(place.empty());
  }
  alice.says(group, std::string(1600, 'x'));  // less than half of it, and more than fits beside the next
  alice.says(other, std::string(1850, 'x'));
  Person bob(server, "bob", place, 3500);
  server.settle();
  std::set<std::string> told;
  for (const Push& push : bob.takes()) {
    CHECK_FALSE(push.as<Closed>());
    if (push.event()) told.insert(push.event()->conversation.string());
    if (const auto* moved = push.as<HeadMoved>()) told.insert(moved->conversation.string());
  }
  CHECK(told.size() == 2);
  CHECK(server.engine().stats().closed_slow == 0);
}

TEST_CASE("What nobody took when a session went is no longer counted") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice");
  {
    Person bob(server, "bob");
    for (int i = 0; i < 20; ++i) alice.says(group, kilobyte(i));
    CHECK(server.engine().stats().outbox_bytes > 20'000);
    bob.leaves();
    server.settle();
  }
  alice.takes();
  CHECK(server.engine().stats().outbox_bytes == 0);
  CHECK(server.engine().stats().sessions == 1);
}

TEST_CASE("A connection resumes over a slow line without a hole") {
  for (const unsigned shards : {1u, 4u}) {
    Server server(narrow(shards));
    const ConversationId group = server.group("lunch", {"alice", "bob"});
    Person alice(server, "alice");
    const Checkpoint place = place_of_bob(server);
    for (int i = 2; i <= 100; ++i) alice.says(group, kilobyte(i));
    Wire bob(server.engine());
    server.settle();
    bob.takes(1);
    bob.says(protocol::encode_client_frame(1, RequestId::login,
                                           protocol::encode(protocol::Login{.token = "bob", .resume = place})));
    std::set<Seq> seen{1};
    std::optional<Error> closed;
    for (int rounds = 0; rounds < 1000 && seen.size() < 120; ++rounds) {
      server.settle();
      const auto heard = bob.hears();
      for (const Heard& h : heard) {
        if (h.push && h.push->event()) seen.insert(h.push->event()->seq);
      }
      if (auto why = Wire::farewell(heard)) closed = why;
      if (rounds < 20) alice.says(group, "live " + std::to_string(rounds));
      bob.takes(1);
    }
    CHECK_FALSE(closed);
    CHECK(seen.size() == 120);
    CHECK(*seen.rbegin() == 120);
    CHECK(server.engine().stats().closed_slow == 0);
  }
}

TEST_CASE("A connection goes on catching up also where it was not the peer who made room, but a collapse") {
  Server server(narrow());
  const ConversationId group = server.group("lunch", {"alice", "bob"}),
                       other = server.group("dinner", {"alice", "bob"});
  Person alice(server, "alice");
  const Checkpoint place = place_of_bob(server);
  const Seq last = 12;
  for (Seq i = 2; i <= last; ++i) alice.says(group, std::string(3900, 'x'));
  Wire bob(server.engine());
  server.settle();
  bob.takes(1);
  bob.says(protocol::encode_client_frame(1, RequestId::login,
                                         protocol::encode(protocol::Login{.token = "bob", .resume = place})));
  server.settle();  // he takes no more: half an outbox is read for him
  for (int i = 0; i < 13; ++i) alice.says(other, kilobyte(i));
  REQUIRE(server.engine().stats().collapses == 1);
  std::set<Seq> seen;
  Seq told = 1;
  for (int rounds = 0; rounds < 100; ++rounds) {
    bob.takes(100);
    server.settle();
    for (const Heard& heard : bob.hears()) {
      if (!heard.push) continue;
      if (heard.push->event() && heard.push->event()->conversation == group) seen.insert(heard.push->event()->seq);
      const auto* moved = heard.push->as<HeadMoved>();
      if (moved && moved->conversation == group) told = std::max(told, moved->head);
    }
  }
  for (Seq seq = told + 1; seq <= last; ++seq) CHECK_MESSAGE(seen.contains(seq), seq);
}

TEST_CASE("A connection whose outbox is half full is not read further until it takes") {
  Server server(narrow());
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice");
  for (int i = 0; i < 10; ++i) alice.says(group, kilobyte(i));
  Wire bob(server.engine());
  REQUIRE(bob.logs_in(server, "bob") == ErrorCode::ok);
  bob.takes(0);
  const Bytes body = protocol::encode(ReadHistory{.conversation = group, .limit = 5});
  for (std::uint64_t call = 100; call < 130; ++call) {
    bob.says(protocol::encode_client_frame(call, RequestId::read_history, body));
    server.settle();
  }
  CHECK(bob.paused());
  CHECK(server.engine().stats().closed_slow == 0);  // answers count, but he is not asked for more than he takes
  CHECK(server.engine().stats().outbox_bytes <= (32 << 10));
  bob.takes(SIZE_MAX);
  server.settle();
  std::uint64_t next = 100;
  for (const Heard& heard : bob.hears()) {
    if (heard.call == 0) continue;
    CHECK(heard.call == next++);
    CHECK_FALSE(heard.error);
  }
  CHECK(next == 130);
  CHECK_FALSE(bob.paused());
}

TEST_CASE("Answers that pile up while they are computed don't cut a connection that takes") {
  Server server(narrow());
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice");
  for (int i = 0; i < 12; ++i) alice.says(group, kilobyte(i));
  Wire bob(server.engine());
  REQUIRE(bob.logs_in(server, "bob") == ErrorCode::ok);
  const Bytes body = protocol::encode(ReadHistory{.conversation = group, .limit = 12});
  for (std::uint64_t call = 100; call < 160; ++call) {
    bob.says(protocol::encode_client_frame(call, RequestId::read_history, body));
  }
  server.settle();
  std::uint64_t answers = 0;
  const auto heard = bob.hears();
  for (const Heard& h : heard) answers += h.call != 0 ? 1 : 0;
  CHECK_FALSE(Wire::farewell(heard));
  CHECK(answers == 60);
  CHECK(server.engine().stats().closed_slow == 0);
}

TEST_CASE("A connection that throws or hangs up in the middle harms nobody, and leaves nothing behind") {
  Server server(narrow());
  const ConversationId group = server.group("lunch", {"alice", "bob", "carol", "dave"});
  Person alice(server, "alice"), dave(server, "dave");
  Wire bob(server.engine()), carol(server.engine());
  REQUIRE(bob.logs_in(server, "bob") == ErrorCode::ok);
  REQUIRE(carol.logs_in(server, "carol") == ErrorCode::ok);
  bob.throws(true);
  carol.hang_up();
  for (int i = 2; i <= 5; ++i) alice.says(group, "m");
  CHECK(dave.receives().size() == 4);
  server.advance(20s);
  CHECK(server.engine().stats().callback_exceptions > 0);
  bob.hang_up();
  alice.takes(), dave.takes();
  CHECK(server.engine().stats().connections == 0);
  CHECK(server.engine().stats().sessions == 2);
  CHECK(server.engine().stats().outbox_bytes == 0);
}

TEST_CASE("A burst that comes in one commit does not cut a connection that takes what it is sent") {
  for (const unsigned shards : {1u, 4u}) {
    Server server(narrow(shards));
    const ConversationId group = server.group("lunch", {"alice", "bob"});
    Wire bob(server.engine());
    REQUIRE(bob.logs_in(server, "bob") == ErrorCode::ok);
    for (int i = 0; i < 200; ++i) {
      server.engine().call(Identity{.user = "alice"}, Send{.to = group, .content = {.text = kilobyte(i)}});
    }
    server.settle();
    const auto heard = bob.hears();
    CHECK_FALSE(Wire::farewell(heard));
    CHECK(std::count_if(heard.begin(), heard.end(), [](const Heard& h) { return h.push && h.push->event(); }) == 200);
    CHECK(server.engine().stats().closed_slow == 0);
  }
}
