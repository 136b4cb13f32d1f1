#include "support/answers.h"

// What a repeat is, and what is none.

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

// Alice and Bob have a group, which Alice owns.
struct Club {
  explicit Club(EngineOptions options = {}) : server(std::move(options)), id(server.group("club", {"alice", "bob"})) {}

  template <Request R>
  Accepted asks(std::string_view who, R request) {
    auto answer = server.ask(who, std::move(request));
    REQUIRE_MESSAGE(answer, answer.error().message);
    return *answer;
  }
  template <Request R>
  ErrorCode refused(std::string_view who, R request) {
    auto answer = server.ask(who, std::move(request));
    return answer ? ErrorCode::ok : answer.error().code;
  }
  // n messages of Bob's, each with a key of its own.
  void chatter(std::size_t n) {
    for (std::size_t done = 0; done < n;) {
      std::vector<Answer<Accepted>> answers;
      for (; answers.size() < 500 && done < n; ++done) {
        answers.push_back(begin(server, "bob", text(id, "blah", numbered("chatter", ++said))));
      }
      server.settle();
      for (const auto& answer : answers) REQUIRE(answer.code() == ErrorCode::ok);
    }
  }

  Server server;
  ConversationId id;
  std::size_t said = 0;
};

}  // namespace

TEST_CASE("A retry gets the first answer again, and is not shown again") {
  Club club;
  Person bob(club.server, "bob");
  const Accepted first = club.asks("alice", text(club.id, "hi", "k"));
  CHECK_FALSE(first.duplicate);
  club.server.advance(1s);
  const Accepted again = club.asks("alice", text(club.id, "hi", "k"));
  CHECK(again.duplicate);
  CHECK(again.seq == first.seq);
  CHECK(again.time == first.time);
  CHECK(again.durability == first.durability);
  CHECK(bob.receives() == Lines{"hi"});
}

TEST_CASE("A retry while the first attempt is under way joins it: both learn the same seq together") {
  for (const IdempotencyKey& key : {IdempotencyKey("free"), IdempotencyKey("phone", 1)}) {
    Club club;
    const auto first = begin(club.server, "alice", text(club.id, "hi", key));
    const auto second = begin(club.server, "alice", text(club.id, "hi", key));
    Answer<Accepted> third;
    club.server.store->before_commit = [&] {  // in the middle of the commit
      if (!third.came())
        club.server.engine().call(Identity{.user = user("alice")}, text(club.id, "hi", key), third.take());
      CHECK_FALSE(first.came());
      CHECK_FALSE(second.came());
      club.server.store->before_commit = {};
    };
    club.server.settle();
    CHECK(first->seq == 2);
    CHECK_FALSE(first->duplicate);
    for (const auto& repeat : {second, third}) {
      CHECK(repeat->seq == 2);
      CHECK(repeat->duplicate);
    }
    CHECK(log_of(club.server, club.id).size() == 2);
  }
}

TEST_CASE("A retry of an attempt that then fails fails with it") {
  Club club;
  club.server.store->next({SharedStorage::Fate::refused});
  const auto first = begin(club.server, "alice", text(club.id, "hi", "k"));
  const auto second = begin(club.server, "alice", text(club.id, "hi", "k"));
  club.server.settle();
  CHECK(first.code() == ErrorCode::storage_unavailable);
  CHECK(second.code() == ErrorCode::storage_unavailable);
  CHECK_FALSE(club.asks("alice", text(club.id, "hi", "k")).duplicate);
  CHECK(lines_of(log_of(club.server, club.id)).back() == "hi");
}

TEST_CASE("The key stays with its message when the message is edited, deleted, or its sender kicked") {
  for (const bool restarted : {false, true}) {
    CAPTURE(restarted);
    Club club;
    const Accepted sent = club.asks("bob", text(club.id, "hi", "k"));
    const auto again = [&] {
      if (restarted) club.server.restart();
      const Accepted answer = club.asks("bob", text(club.id, "hi", "k"));
      CHECK(answer.duplicate);
      CHECK(answer.seq == sent.seq);
      CHECK(answer.time == sent.time);
    };
    const Accepted edited = club.asks("bob", EditMessage{club.id, sent.seq, {.text = "hello"}, "edit"});
    again();
    const Accepted twice = club.asks("bob", EditMessage{club.id, sent.seq, {.text = "hello"}, "edit"});
    CHECK(twice.seq == edited.seq);
    CHECK(twice.duplicate);
    const Accepted deleted = club.asks("alice", DeleteMessage{club.id, sent.seq, "delete"});
    again();
    CHECK(club.asks("alice", DeleteMessage{club.id, sent.seq, "delete"}).seq == deleted.seq);
    CHECK(club.asks("bob", EditMessage{club.id, sent.seq, {.text = "hello"}, "edit"}).seq == edited.seq);
    club.asks("alice", RemoveMembers{club.id, {user("bob")}, "kick"});
    again();
    CHECK(club.refused("bob", text(club.id, "hi", "another")) == ErrorCode::forbidden);
    CHECK(club.refused("bob", text(club.id, "not the same", "k")) == ErrorCode::conflict);
  }
}

TEST_CASE("The same key for another request is a conflict, and changes nothing") {
  Club club;
  const Accepted sent = club.asks("alice", text(club.id, "hi", "k"));
  CHECK(club.refused("alice", text(club.id, "ho", "k")) == ErrorCode::conflict);
  CHECK(club.refused("alice", EditMessage{club.id, sent.seq, {.text = "hi"}, "k"}) == ErrorCode::conflict);
  CHECK(club.refused("alice", Leave{club.id, "k"}) == ErrorCode::conflict);
  CHECK(club.asks("alice", text(club.id, "hi", "k")).seq == sent.seq);
  CHECK(log_of(club.server, club.id).size() == 2);
}

TEST_CASE("Another sender's key is another key, and so is one of another conversation") {
  Club club;
  const ConversationId other = club.server.group("other", {"alice", "bob"});
  CHECK(club.asks("alice", text(club.id, "hi", IdempotencyKey("k", 7))).seq == 2);
  CHECK(club.asks("bob", text(club.id, "hi", IdempotencyKey("k", 7))).seq == 3);
  CHECK(club.asks("bob", text(club.id, "hi", IdempotencyKey("k", 8))).seq == 4);
  CHECK(club.asks("alice", text(club.id, "hi", "k")).seq == 5);
  CHECK(club.asks("alice", text(other, "hi", IdempotencyKey("k", 7))).seq == 2);
  CHECK(club.asks("alice", text(other, "hi", "k")).seq == 3);
}

TEST_CASE("Without a key nothing is a repeat") {
  Club club;
  CHECK(club.asks("alice", text(club.id, "hi")).seq == 2);
  CHECK(club.asks("alice", text(club.id, "hi")).seq == 3);
  CHECK(club.refused("alice", text(club.id, "hi", IdempotencyKey("", 5))) == ErrorCode::invalid);
}

TEST_CASE("A key is shown to its sender's sessions and to nobody else") {
  Club club;
  Person phone(club.server, "alice"), laptop(club.server, "alice"), bob(club.server, "bob");
  const IdempotencyKey key("phone", 1), edit_key("phone", 2);
  const Accepted sent = phone.says(club.id, "hi", key);
  REQUIRE(phone.asks(EditMessage{club.id, sent.seq, {.text = "hello"}, edit_key}));
  const auto keys = [](const std::vector<Push>& pushes) {
    std::vector<IdempotencyKey> seen;
    for (const Push& push : pushes) seen.push_back(push.event() ? push.event()->key : IdempotencyKey("no event"));
    return seen;
  };
  using Keys = std::vector<IdempotencyKey>;
  CHECK(keys(laptop.takes()) == Keys{key, edit_key});
  CHECK(keys(bob.takes()) == Keys{{}, {}});

  const auto keys_read = [&](std::string_view who) {
    std::vector<IdempotencyKey> seen;
    for (const EventPtr& event : log_of(club.server, club.id, Identity{.user = user(who)})) seen.push_back(event->key);
    auto page = club.server.ask(who, ReadHistory{.conversation = club.id});
    REQUIRE(page);
    for (const EventPtr& event : page->events) seen.push_back(event->key);
    return seen;
  };
  CHECK(keys_read("alice") == Keys{{}, key, edit_key, key, {}});
  CHECK(keys_read("bob") == Keys{{}, {}, {}, {}, {}});
}

TEST_CASE("Creating with the same key makes one group") {
  for (const bool at_once : {true, false}) {
    Server server;
    const CreateConversation create{.settings = {.title = "Tea"}, .members = {{user("bob")}}, .key = "tea"};
    Accepted first, second;
    if (at_once) {
      const auto one = begin(server, "alice", create), two = begin(server, "alice", create);
      server.settle();
      first = *one, second = *two;
    } else {
      first = *server.ask("alice", create);
      server.crash();
      second = *server.ask("alice", create);
    }
    CHECK(second.duplicate);
    CHECK(second.conversation == first.conversation);
    CHECK(second.seq == 1);
    CreateConversation another = create;
    another.settings.title = "Coffee";
    auto conflict = server.ask("alice", another);
    REQUIRE_FALSE(conflict);
    CHECK(conflict.error().code == ErrorCode::conflict);
    auto bobs = server.ask("bob", create);  // his own key
    REQUIRE(bobs);
    CHECK(bobs->conversation != first.conversation);
    auto list = server.ask("alice", ListConversations{});
    REQUIRE(list);
    CHECK(list->conversations.size() == 1);
  }
}

TEST_CASE("At 23 hours, behind a restart and 10,000 messages, a retry still gets its first answer") {
  for (const bool restarted : {false, true}) {
    CAPTURE(restarted);
    Club club;
    const Accepted free = club.asks("alice", text(club.id, "hi", "free"));
    const Accepted number = club.asks("alice", text(club.id, "ho", IdempotencyKey("phone", 1)));
    club.chatter(10'000);
    const Seq head = 3 + 10'000;
    if (restarted) club.server.restart();
    club.server.advance(23h);
    for (int twice = 0; twice < 2; ++twice) {
      const Accepted free_again = club.asks("alice", text(club.id, "hi", "free"));
      CHECK(free_again.duplicate);
      CHECK(free_again.seq == free.seq);
      CHECK(free_again.time == free.time);
      const Accepted number_again = club.asks("alice", text(club.id, "ho", IdempotencyKey("phone", 1)));
      CHECK(number_again.duplicate);
      CHECK(number_again.seq == number.seq);
      CHECK(club.refused("alice", text(club.id, "other", "free")) == ErrorCode::conflict);
    }
    for (const std::size_t n : {1u, 128u, 129u, 5'000u, 9'999u, 10'000u}) {  // none of the others is forgotten either
      CHECK(club.asks("bob", text(club.id, "blah", numbered("chatter", n))).seq == 3 + n);
    }
    CHECK(club.asks("alice", text(club.id, "new", IdempotencyKey("phone", 2))).seq == head + 1);
  }
}

TEST_CASE("At 25 hours a number has expired and a free string is new again") {
  for (const bool restarted : {false, true}) {
    CAPTURE(restarted);
    Club club;
    club.asks("alice", text(club.id, "hi", "free"));
    club.asks("alice", text(club.id, "ho", IdempotencyKey("phone", 1)));
    club.chatter(10'000);
    const Seq head = 3 + 10'000;
    if (restarted) club.server.restart();
    club.server.advance(25h);
    if (restarted) club.server.restart();
    CHECK(club.refused("alice", text(club.id, "ho", IdempotencyKey("phone", 1))) == ErrorCode::key_expired);
    const Accepted fresh = club.asks("alice", text(club.id, "hi", "free"));
    CHECK_FALSE(fresh.duplicate);
    CHECK(fresh.seq == head + 1);
    CHECK(club.asks("alice", text(club.id, "hi", "free")).seq == head + 1);  // and remembered from now on
    CHECK(club.asks("alice", text(club.id, "new", IdempotencyKey("phone", 2))).seq == head + 2);
  }
}

TEST_CASE("An expired number stays expired where the storage failed when it was asked about") {
  Club club;
  club.asks("alice", text(club.id, "ho", IdempotencyKey("phone", 1)));
  club.asks("alice", text(club.id, "hi", IdempotencyKey("phone", 2)));
  club.chatter(10'000);
  club.server.advance(25h);
  club.server.restart();
  club.server.store->reads_fail = true;
  CHECK(club.refused("alice", text(club.id, "ho", IdempotencyKey("phone", 1))) == ErrorCode::storage_unavailable);
  club.server.store->reads_fail = false;
  CHECK(club.refused("alice", text(club.id, "ho", IdempotencyKey("phone", 1))) == ErrorCode::key_expired);
  CHECK_FALSE(club.asks("alice", text(club.id, "on", IdempotencyKey("phone", 3))).duplicate);
}

TEST_CASE("A free string is new again after a day, among keys that are not") {
  Club club;
  club.asks("alice", text(club.id, "hi", "free"));
  club.server.advance(10h);
  club.chatter(600);  // "free" now lies with younger ones
  for (const bool restarted : {false, true}) {
    if (restarted) club.server.restart();
    club.server.advance(restarted ? 7h : 13h);  // 23 h, then 30 h
    const Accepted again = club.asks("alice", text(club.id, "hi", "free"));
    CHECK(again.duplicate == !restarted);
  }
}

TEST_CASE("A free string used again a day later does not hide the keys that were used in between") {
  Club club;
  club.asks("alice", text(club.id, "hi", "free"));
  club.server.advance(25h);
  club.chatter(200);
  const Accepted again = club.asks("alice", text(club.id, "hi", "free"));
  CHECK_FALSE(again.duplicate);
  club.chatter(100);
  for (const bool restarted : {false, true}) {
    CAPTURE(restarted);
    if (restarted) club.server.restart();
    for (const std::size_t n : {1u, 127u, 128u, 150u, 199u, 200u}) {
      CAPTURE(n);
      const Accepted repeat = club.asks("bob", text(club.id, "blah", numbered("chatter", n)));
      CHECK(repeat.duplicate);
      CHECK(repeat.seq == 2 + n);
    }
    CHECK(club.asks("alice", text(club.id, "hi", "free")).seq == again.seq);
  }
}

TEST_CASE("A free string used again a day later is known as it was used last, behind hundreds of others") {
  Club club;
  club.asks("alice", text(club.id, "hi", "free"));
  club.server.advance(23h);
  club.chatter(400);  // what lies with the first use is younger
  club.server.advance(2h);
  const Accepted again = club.asks("alice", text(club.id, "hi", "free"));
  CHECK_FALSE(again.duplicate);
  club.chatter(800);
  const Accepted repeat = club.asks("alice", text(club.id, "hi", "free"));
  CHECK(repeat.duplicate);
  CHECK(repeat.seq == again.seq);
}

TEST_CASE("Messages without keys do not push out the keys before them") {
  Club club;
  const Accepted sent = club.asks("alice", text(club.id, "hi", "free"));
  const Accepted number = club.asks("alice", text(club.id, "hi", IdempotencyKey("phone", 3)));
  for (int i = 0; i < 30; ++i) {
    for (int j = 0; j < 100; ++j) begin(club.server, "bob", text(club.id, "blah"));
    club.server.settle();
  }
  for (const bool restarted : {false, true}) {
    CAPTURE(restarted);
    if (restarted) club.server.restart();
    CHECK(club.asks("alice", text(club.id, "hi", "free")).seq == sent.seq);
    CHECK(club.asks("alice", text(club.id, "hi", IdempotencyKey("phone", 3))).seq == number.seq);
    CHECK(club.refused("alice", text(club.id, "hi", IdempotencyKey("phone", 2))) == ErrorCode::key_expired);
  }
}

TEST_CASE("Thousands of messages in one commit keep all their keys over a crash") {
  Club club;
  constexpr std::size_t count = 3'000;
  for (std::size_t n = 1; n <= count; ++n) begin(club.server, "bob", text(club.id, "blah", numbered("k", n)));
  club.server.settle();
  club.server.crash();
  for (const std::size_t n : {std::size_t{1}, count / 2, count}) {
    CAPTURE(n);
    CHECK(club.asks("bob", text(club.id, "blah", numbered("k", n))).seq == 1 + n);
  }
  CHECK(log_of(club.server, club.id).size() == 1 + count);
}

TEST_CASE("A smaller number that was never used has expired; a larger one is new") {
  for (const bool restarted : {false, true}) {
    CAPTURE(restarted);
    Club club;
    club.asks("alice", text(club.id, "five", IdempotencyKey("phone", 5)));
    if (restarted) club.server.restart();
    CHECK(club.refused("alice", text(club.id, "four", IdempotencyKey("phone", 4))) == ErrorCode::key_expired);
    CHECK(club.asks("alice", text(club.id, "seven", IdempotencyKey("phone", 7))).seq == 3);
    CHECK(club.refused("alice", text(club.id, "six", IdempotencyKey("phone", 6))) == ErrorCode::key_expired);
    CHECK(club.asks("alice", text(club.id, "one", IdempotencyKey("laptop", 1))).seq == 4);
    CHECK(club.asks("bob", text(club.id, "four", IdempotencyKey("phone", 4))).seq == 5);
    CHECK(log_of(club.server, club.id).size() == 5);
  }
}

namespace {

// Numbers 1 to 3 of Alice's phone fail together.
void three_fail(Club& club) {
  club.server.store->next({SharedStorage::Fate::refused});
  std::vector<Answer<Accepted>> answers;
  for (std::uint64_t n : {1, 2, 3}) {
    answers.push_back(begin(club.server, "alice", text(club.id, numbered("m", n), IdempotencyKey("phone", n))));
  }
  club.server.settle();
  for (const auto& answer : answers) REQUIRE(answer.code() == ErrorCode::storage_unavailable);
}

}  // namespace

TEST_CASE("While a number has failed and not come again, larger ones of its source wait for it") {
  Club club;
  three_fail(club);
  const auto number = [&](std::uint64_t n) {
    return club.refused("alice", text(club.id, numbered("m", n), IdempotencyKey("phone", n)));
  };
  CHECK(number(2) == ErrorCode::earlier_failed);
  CHECK(number(4) == ErrorCode::earlier_failed);
  CHECK(is_retryable(ErrorCode::earlier_failed));
  // Others go on.
  CHECK(club.asks("alice", text(club.id, "laptop", IdempotencyKey("laptop", 9))).seq == 2);
  CHECK(club.asks("alice", text(club.id, "free", "free")).seq == 3);
  CHECK(club.asks("bob", text(club.id, "bob", IdempotencyKey("phone", 9))).seq == 4);
  // As the client library does it: again, in order.
  CHECK(number(1) == ErrorCode::ok);
  CHECK(number(2) == ErrorCode::ok);
  CHECK(number(3) == ErrorCode::ok);
  CHECK(number(4) == ErrorCode::ok);
  CHECK(lines_of(log_of(club.server, club.id)) ==
        Lines{"joined alice, joined bob, role4 alice", "laptop", "free", "bob", "m1", "m2", "m3", "m4"});
}

TEST_CASE("Each of several that failed has to come again before larger ones may pass") {
  Club club;
  three_fail(club);
  const auto number = [&](std::uint64_t n) {
    return club.refused("alice", text(club.id, numbered("m", n), IdempotencyKey("phone", n)));
  };
  CHECK(number(1) == ErrorCode::ok);
  CHECK(number(3) == ErrorCode::earlier_failed);  // 2 has not come again
  CHECK(number(4) == ErrorCode::earlier_failed);
  CHECK(number(2) == ErrorCode::ok);
  CHECK(number(4) == ErrorCode::earlier_failed);
  CHECK(number(3) == ErrorCode::ok);
  CHECK(number(4) == ErrorCode::ok);
}

TEST_CASE("What is abandoned is waited for no longer") {
  Club club;
  three_fail(club);
  const auto number = [&](std::uint64_t n) {
    return club.refused("alice", text(club.id, numbered("m", n), IdempotencyKey("phone", n)));
  };
  const auto abandon = [&](std::uint64_t n) {
    REQUIRE(club.server.ask("alice", Abandon{.to = club.id, .key = {"phone", n}}));
  };
  REQUIRE(club.server.ask("bob", Abandon{.to = club.id, .key = {"phone", 1}}));  // not his
  CHECK(number(4) == ErrorCode::earlier_failed);
  for (std::uint64_t n : {1, 2, 3}) abandon(n);
  CHECK(number(4) == ErrorCode::ok);
  CHECK(number(3) == ErrorCode::key_expired);
  auto free = club.server.ask("alice", Abandon{.to = club.id, .key = "free"});
  REQUIRE_FALSE(free);
  CHECK(free.error().code == ErrorCode::invalid);
}

TEST_CASE("A number that failed has come again also where there is then nothing to do") {
  Club club;
  club.asks("alice", ChangeSettings{club.id, {.open = true}});
  club.server.store->next({SharedStorage::Fate::refused});
  CHECK(club.refused("carol", Join{club.id, {"phone", 1}}) == ErrorCode::storage_unavailable);
  club.asks("alice", AddMembers{club.id, {{user("carol")}}});
  CHECK(club.refused("carol", Join{club.id, {"phone", 1}}) == ErrorCode::ok);
  CHECK(club.refused("carol", text(club.id, "I am in", IdempotencyKey("phone", 2))) == ErrorCode::ok);
}

TEST_CASE("A number that failed has come again also where it is then refused for good") {
  Club club;
  const Accepted sent = club.asks("alice", text(club.id, "hi"));
  club.server.store->next({SharedStorage::Fate::refused});
  const EditMessage edit{club.id, sent.seq, {.text = "ho"}, {"phone", 1}};
  CHECK(club.refused("alice", edit) == ErrorCode::storage_unavailable);
  club.asks("alice", DeleteMessage{club.id, sent.seq});
  CHECK(club.refused("alice", edit) == ErrorCode::no_such_message);
  CHECK(club.refused("alice", text(club.id, "well then", IdempotencyKey("phone", 2))) == ErrorCode::ok);
}

TEST_CASE("A number that failed has come again also where it turns out to be a repeat") {
  Club club;
  const Accepted sent = club.asks("alice", text(club.id, "m1", IdempotencyKey("phone", 1)));
  club.chatter(600);  // its key has left memory
  club.server.store->reads_fail = true;
  CHECK(club.refused("alice", text(club.id, "m1", IdempotencyKey("phone", 1))) == ErrorCode::storage_unavailable);
  club.server.store->reads_fail = false;
  CHECK(club.asks("alice", text(club.id, "m1", IdempotencyKey("phone", 1))).seq == sent.seq);
  CHECK(club.refused("alice", text(club.id, "m2", IdempotencyKey("phone", 2))) == ErrorCode::ok);
}
