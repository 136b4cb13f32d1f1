#include <map>
#include <optional>
#include <set>

#include "support/chat.h"

// The host's own table of members, where it fails on order.

using namespace chat;

namespace {

using Fault = MembershipFault;
using Lines = std::vector<std::string>;

const ConversationId red = conversation("team:red");

std::unique_ptr<Membership> team() {
  return make_membership({
      .prefix = "team:",
      .members =
          [](const ConversationId&) {
            return std::vector<Member>{{"alice", Role::owner}, {"bob"}, {"carol"}};
          },
      .conversations =
          [](const UserId& user) {
            return user == UserId("dave") ? std::vector<ConversationId>() : std::vector<ConversationId>{red};
          },
  });
}

// A team whose table goes wrong, on an engine that waits a second for it.
struct Game {
  explicit Game(std::uint64_t seed = 1) : faults(std::make_shared<MembershipFaults>(seed)) {
    EngineOptions options;
    options.membership = make_faulty_membership(team(), faults);
    options.membership_deadline = 1s;
    options.limits = without_rates();
    test.emplace(TestEngine::open(std::move(options)));
    REQUIRE(test->status());
  }
  Session enters(std::string_view name) { return test->engine().open_session({.identity = {.user = user(name)}}); }
  // Once: with the outcome, or without one.
  std::optional<Result<Sent>> tries(std::string_view name, std::string text) {
    auto answer = std::make_shared<std::optional<Result<Sent>>>();
    test->engine().call({.user = user(name)}, Send{.to = red, .content = {.text = text}, .key = text},
                        [answer](Result<Sent> sent) { answer->emplace(std::move(sent)); });
    for (int i = 0; i < 30 && !*answer; ++i) {
      test->advance(100ms);
      faults->release();
    }
    return *answer;
  }
  void says(std::string_view name, const std::string& text) {
    for (int i = 0; i < 100; ++i) {
      const auto sent = tries(name, text);
      REQUIRE(sent);
      if (*sent) return;
      CHECK(sent->error().retryable());
    }
    FAIL("a hundred tries were not enough");
  }
  // What is new for whom, by seq.
  void hears(Session& whose, std::multimap<Seq, std::string>& into) {
    while (auto push = whose.take()) {
      if (push->event() && push->as<MessagePosted>()) into.emplace(push->event()->seq, line(*push));
    }
  }

  std::shared_ptr<MembershipFaults> faults;
  std::optional<TestEngine> test{};
};

std::string outcome(const std::optional<Result<Sent>>& sent) {
  if (!sent) return "no answer";
  return *sent ? "sent" : std::string(name(sent->error().code));
}

}  // namespace

TEST_CASE("a question to the host's table fails on order") {
  const auto faults = std::make_shared<MembershipFaults>();
  auto table = make_faulty_membership(team(), faults);
  Lines answers;
  const auto ask = [&] {
    answers.clear();
    table->role(red, "bob", [&](Result<std::optional<Role>> role) {
      answers.push_back(!role ? std::string(name(role.error().code)) : *role ? "a role" : "none");
    });
    return answers;
  };
  faults->next(
      {Fault::none, Fault::fails, Fault::twice, Fault::late, Fault::late, Fault::never, Fault::dropped, Fault::throws});
  CHECK(ask() == Lines{"a role"});
  CHECK(ask() == Lines{"overloaded"});
  CHECK(ask() == Lines{"a role", "none"});
  CHECK(ask() == Lines{});
  CHECK(ask() == Lines{});
  CHECK(faults->waiting() == 2);
  CHECK(faults->release() == 2);
  CHECK(answers == Lines{"a role", "a role"});
  CHECK(faults->release() == 0);
  CHECK(ask() == Lines{});
  CHECK(ask() == Lines{});
  CHECK_THROWS(ask());
  CHECK(ask() == Lines{"a role"});
  CHECK(faults->asked() == 9);
  CHECK(faults->spoiled() == 7);
  CHECK(table->owns(red));
  CHECK(faults->asked() == 9);
}

TEST_CASE("a share of the questions fails by chance, the same for the same seed, and each of the faults it is given") {
  const auto play = [](std::uint64_t seed) {
    const auto faults = std::make_shared<MembershipFaults>(seed);
    auto table = make_faulty_membership(team(), faults);
    faults->some(0.25, {Fault::fails, Fault::dropped});
    std::string all;
    for (int i = 0; i < 1000; ++i) {
      char what = 'd';
      table->members(red, [&](Result<std::vector<Member>> list) { what = list ? '.' : 'f'; });
      all += what;
    }
    CHECK(faults->spoiled() == 1000 - std::count(all.begin(), all.end(), '.'));
    faults->some(0, {});
    table->members(red, [&](Result<std::vector<Member>> list) { CHECK(list); });
    return all;
  };
  const std::string one = play(1);
  CHECK(one == play(1));
  CHECK(one != play(2));
  const auto count = [&](char what) { return std::count(one.begin(), one.end(), what); };
  CHECK(count('f') + count('d') > 200);
  CHECK(count('f') + count('d') < 300);
  CHECK(count('f') > 80);
  CHECK(count('d') > 80);
}

TEST_CASE("whatever the table does, who needs the answer is told once, and a retry can help") {
  const auto alice_says = [](Fault fault) {
    Game game;
    game.faults->next({fault});
    return outcome(game.tries("alice", "hi"));
  };
  CHECK(alice_says(Fault::none) == "sent");
  CHECK(alice_says(Fault::late) == "sent");
  CHECK(alice_says(Fault::twice) == "sent");
  CHECK(alice_says(Fault::fails) == "overloaded");
  CHECK(alice_says(Fault::dropped) == "cancelled");
  CHECK(alice_says(Fault::throws) == "cancelled");
  CHECK(alice_says(Fault::never) == "timeout");
}

TEST_CASE("whatever half of the questions suffer, each message comes once, in order, and to members only") {
  for (const std::uint64_t seed : {1, 2, 3}) {
    CAPTURE(seed);
    Game game(seed);
    game.faults->some(0.5, {Fault::fails, Fault::late, Fault::twice, Fault::never, Fault::dropped, Fault::throws});
    Session bob = game.enters("bob"), dave = game.enters("dave");
    std::multimap<Seq, std::string> heard, overheard;
    Lines said;
    for (int i = 0; i < 40; ++i) {
      game.test->engine().membership_changed(red);  // so that it is asked anew
      game.says(i % 2 ? "alice" : "carol", said.emplace_back("m" + std::to_string(i)));
      game.hears(bob, heard);
    }
    CHECK(game.faults->spoiled() > 20);
    game.faults->some(0, {});
    game.faults->release();
    for (int i = 0; i < 100; ++i) game.test->advance(100ms);  // what is looked for again is found now
    game.hears(bob, heard);
    game.hears(dave, overheard);
    Lines lines;
    for (const auto& [seq, text] : heard) lines.push_back(text);
    CHECK(lines == said);
    CHECK(overheard.empty());
  }
}
