#include <algorithm>
#include <functional>
#include <thread>
#include <vector>

#include "conformance/check.h"

namespace chatcore {
inline namespace v1 {
namespace {

using namespace conformance;

using List = std::vector<Member>;
using Standing = std::optional<Role>;
using Places = std::vector<ConversationId>;

std::string text_of(const Standing& role) { return role ? std::to_string(static_cast<int>(*role)) : "none"; }
std::string text_of(std::vector<std::string> lines) {  // in any order
  std::sort(lines.begin(), lines.end());
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : ", ") + line;
  return text;
}
std::string text_of(const List& list) {
  std::vector<std::string> lines;
  for (const Member& each : list) lines.push_back(each.user.string() + ":" + text_of(each.role));
  return text_of(std::move(lines));
}
std::string text_of(const Places& places) {
  std::vector<std::string> lines;
  for (const ConversationId& each : places) lines.push_back(each.string());
  return text_of(std::move(lines));
}
template <class T>
std::string text_of(const Question<T>& question) {
  const auto answer = question.answer();
  if (!answer) return "no answer";
  return *answer ? text_of(**answer) : "the error " + std::string(name(answer->error().code));
}

class MembershipBench {
 public:
  explicit MembershipBench(MembershipTrial given) : trial(std::move(given)) {}

  std::unique_ptr<Membership> fresh() {
    expect(trial.make && !trial.members.empty() && !trial.conversation.empty() && !trial.stranger.empty(),
           "the suite was not told what to ask: a conversation, its members and a stranger are needed");
    auto table = trial.make();
    expect(table != nullptr, "the suite was given a function that makes no membership");
    return table;
  }
  const UserId& someone() const { return trial.members.front().user; }

  Question<List> ask_members(Membership& table, ConversationId of) {
    return Question<List>::ask([&](Done<List> done) { table.members(of, std::move(done)); });
  }
  Question<Standing> ask_role(Membership& table, ConversationId in, UserId of) {
    return Question<Standing>::ask([&](Done<Standing> done) { table.role(in, of, std::move(done)); });
  }
  Question<Places> ask_places(Membership& table, UserId of) {
    return Question<Places>::ask([&](Done<Places> done) { table.conversations(of, std::move(done)); });
  }
  template <class T>
  Question<T> wait(Question<T> question) {
    wait_until(trial.let, trial.patience, [&] { return question.came() || question.threw; });
    return question;
  }

  // What a table is asked: `use` is given a name, and a way to ask it.
  template <class Use>
  void each_question(Use use) {
    const auto members = [&](const char* what, const ConversationId& of) {
      use(what, [this, of](Membership& table) { return ask_members(table, of); });
    };
    const auto role = [&](const char* what, const ConversationId& in, const UserId& of) {
      use(what, [this, in, of](Membership& table) { return ask_role(table, in, of); });
    };
    const auto places = [&](const char* what, const UserId& of) {
      use(what, [this, of](Membership& table) { return ask_places(table, of); });
    };
    members("members() of the conversation", trial.conversation);
    for (const Member& each : trial.members) role("role() of a member", trial.conversation, each.user);
    role("role() of a stranger", trial.conversation, trial.stranger);
    for (const Member& each : trial.members) places("conversations() of a member", each.user);
    places("conversations() of a stranger", trial.stranger);
    if (!trial.deserted.empty()) {
      members("members() of a deserted conversation", trial.deserted);
      role("role() in a deserted conversation", trial.deserted, someone());
    }
    if (!trial.crowd.empty()) {
      members("members() of a crowd", trial.crowd);
      role("role() in a crowd", trial.crowd, someone());
    }
  }

  MembershipTrial trial;
};

// The answer, or nothing where it has not come: that has its own check.
template <class T>
std::optional<T> answer_of(const Question<T>& question, const std::string& what) {
  const auto answer = question.answer();
  if (!answer) return {};
  if (!*answer) throw Failure(what + " is an error: " + answer->error().message);
  return **answer;
}

void owns_its_own(MembershipBench& bench) {
  const auto table = bench.fresh();
  const MembershipTrial& trial = bench.trial;
  for (const ConversationId& each : {trial.conversation, trial.deserted, trial.crowd}) {
    if (!each.empty()) expect(table->owns(each), "owns(" + each.string() + ") is false");
  }
  if (!trial.foreign.empty()) expect(!table->owns(trial.foreign), "owns(" + trial.foreign.string() + ") is true");
}

void owns_the_same(MembershipBench& bench) {
  const auto table = bench.fresh();
  const MembershipTrial& trial = bench.trial;
  const auto owned = [&] {
    std::string text;
    for (const ConversationId& each : {trial.conversation, trial.foreign, trial.deserted, trial.crowd}) {
      if (!each.empty()) text += (table->owns(each) ? " owns " : " does not own ") + each.string();
    }
    return text;
  };
  const std::string at_first = owned();
  bench.each_question([&](const std::string& what, auto ask) {
    bench.wait(ask(*table));
    expect_same(owned(), at_first, "owns(), after " + what);
  });
}

void answers_each(MembershipBench& bench) {
  const auto table = bench.fresh();
  bench.each_question([&](const std::string& what, auto ask) {
    const auto question = bench.wait(ask(*table));
    expect(question.came() || question.threw, what + ": no answer within the patience given");
  });
}

void answers_once(MembershipBench& bench) {
  std::vector<std::function<void()>> counts;
  {
    const auto table = bench.fresh();
    bench.each_question([&](const std::string& what, auto ask) {
      counts.push_back([what, question = bench.wait(ask(*table))] {
        const unsigned count = question.answers->count();
        expect(count <= 1, what + ": is answered " + std::to_string(count) + " times");
      });
    });
    grace(bench.trial.let);
  }
  for (const auto& count : counts) count();
}

void does_not_block(MembershipBench& bench) {
  constexpr auto most = std::chrono::milliseconds(50);  // everyone on that engine thread waits meanwhile
  const auto table = bench.fresh();
  bench.each_question([&](const std::string& what, auto ask) {
    auto least = steady_clock::duration::max();
    for (int i = 0; i < 3 && least > most; ++i) {  // a machine may be busy once
      const auto question = ask(*table);
      least = std::min(least, question.took);
      bench.wait(question);
    }
    expect(least <= most, what + " takes longer than 50 ms: answer later");
  });
}

void throws_nothing(MembershipBench& bench) {
  const auto table = bench.fresh();
  bench.each_question(
      [&](const std::string& what, auto ask) { expect(!bench.wait(ask(*table)).threw, what + " throws"); });
}

void lists_everyone(MembershipBench& bench) {
  const auto table = bench.fresh();
  const auto list = answer_of(bench.wait(bench.ask_members(*table, bench.trial.conversation)), "members()");
  if (list) expect_same(text_of(*list), text_of(bench.trial.members), "the members, and the numbers of their roles");
}

void gives_roles(MembershipBench& bench) {
  const auto table = bench.fresh();
  for (const Member& each : bench.trial.members) {
    const auto role = answer_of(bench.wait(bench.ask_role(*table, bench.trial.conversation, each.user)),
                                "role() of " + each.user.string());
    if (role) expect_same(text_of(*role), text_of(each.role), "the number of the role of " + each.user.string());
  }
}

void gives_strangers_no_role(MembershipBench& bench) {
  const auto table = bench.fresh();
  const auto role = answer_of(bench.wait(bench.ask_role(*table, bench.trial.conversation, bench.trial.stranger)),
                              "role() of one who is not in it");
  if (role) expect_same(text_of(*role), "none", "the role of " + bench.trial.stranger.string());
}

void finds_it_among_his(MembershipBench& bench) {
  const auto table = bench.fresh();
  for (const Member& each : bench.trial.members) {
    const std::string whose = "conversations() of " + each.user.string();
    const auto places = answer_of(bench.wait(bench.ask_places(*table, each.user)), whose);
    if (!places) continue;
    const auto times = std::count(places->begin(), places->end(), bench.trial.conversation);
    expect(times == 1, whose + " has " + bench.trial.conversation.string() + " " + std::to_string(times) + " times");
  }
}

void finds_strangers_nowhere(MembershipBench& bench) {
  const auto table = bench.fresh();
  const auto places =
      answer_of(bench.wait(bench.ask_places(*table, bench.trial.stranger)), "conversations() of one who is in none");
  if (places) expect_same(text_of(*places), "", "the conversations of " + bench.trial.stranger.string());
}

void lists_its_own(MembershipBench& bench) {
  const auto table = bench.fresh();
  for (const Member& each : bench.trial.members) {
    const auto places = bench.wait(bench.ask_places(*table, each.user)).answer();
    if (!places || !*places) continue;
    for (const ConversationId& place : **places) {
      if (place == bench.trial.conversation || place == bench.trial.crowd) continue;
      expect(table->owns(place), "conversations() has " + place.string() + ", which owns() says is not of this table");
      const auto role = bench.wait(bench.ask_role(*table, place, each.user)).answer();
      expect(!role || !*role || **role,
             each.user.string() + " is said to be in " + place.string() + ", without a role");
    }
  }
}

void leaves_it_empty(MembershipBench& bench) {
  const auto table = bench.fresh();
  const ConversationId& id = bench.trial.deserted;
  const auto list = answer_of(bench.wait(bench.ask_members(*table, id)), "members() where there are none");
  if (list) expect_same(text_of(*list), "", "the members of " + id.string());
  const auto role = answer_of(bench.wait(bench.ask_role(*table, id, bench.someone())), "role() where there is nobody");
  if (role) expect_same(text_of(*role), "none", "a role in " + id.string());
}

void does_not_list_a_crowd(MembershipBench& bench) {
  const auto table = bench.fresh();
  const ConversationId& id = bench.trial.crowd;
  const auto list = bench.wait(bench.ask_members(*table, id));
  if (list.came()) expect_same(text_of(list), "the error too_large", "members() of " + id.string());
  const auto role = answer_of(bench.wait(bench.ask_role(*table, id, bench.someone())), "role() in a crowd");
  if (role) expect(role->has_value(), "role() knows nobody in " + id.string());
  const auto places = bench.wait(bench.ask_places(*table, bench.someone())).answer();
  if (!places || !*places) return;
  expect(std::count((*places)->begin(), (*places)->end(), id) == 1,
         "conversations() does not have " + id.string() + " once");
}

// Everything that a table is asked, one after the other, or all under way at once.
std::string all_answers(MembershipBench& bench, Membership& table, bool at_once) {
  std::vector<std::function<std::string()>> texts;
  bench.each_question([&](const std::string& what, auto ask) {
    const auto question = ask(table);
    if (!at_once) bench.wait(question);
    texts.push_back([&bench, what, question] { return what + " " + text_of(bench.wait(question)) + "; "; });
  });
  std::string all;
  for (const auto& text : texts) all += text();
  return all;
}

bool keeps_apart(MembershipBench& bench) {
  const auto table = bench.fresh();
  const std::string alone = all_answers(bench, *table, false);
  return all_answers(bench, *table, true) == alone;
}

void keeps_questions_apart(MembershipBench& bench) {
  expect(keeps_apart(bench), "a question gets another's answer, or none, where several are under way");
}

bool answers_again(MembershipBench& bench) {
  const auto table = bench.fresh();
  bool all_same = true;
  bench.each_question([&](const std::string&, auto ask) {
    const auto first = ask(*table), second = ask(*table), third = ask(*table);
    const std::string text = text_of(bench.wait(first));
    all_same = all_same && text_of(bench.wait(second)) == text && text_of(bench.wait(third)) == text;
  });
  return all_same;
}

void takes_a_question_again(MembershipBench& bench) {
  expect(answers_again(bench),
         "a question gets another answer, or none, where it was asked before and is not answered");
}

// Only where one thread for itself is answered as it should be: what is wrong with that has its own checks.
void takes_threads(MembershipBench& bench) {
  if (!keeps_apart(bench) || !answers_again(bench)) return;
  const auto table = bench.fresh();
  const auto owned = [&] {
    return table->owns(bench.trial.conversation) && (bench.trial.foreign.empty() || !table->owns(bench.trial.foreign));
  };
  const std::string alone = all_answers(bench, *table, false);
  const bool owns = owned();
  constexpr int threads = 4, rounds = 20;
  std::vector<std::vector<std::function<std::string()>>> texts(threads);
  std::vector<int> wrong(threads, 0);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) {
        bench.each_question([&](const std::string& what, auto ask) {
          texts[t].push_back(
              [&bench, what, question = ask(*table)] { return what + " " + text_of(bench.wait(question)) + "; "; });
        });
        if (owned() != owns) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : all) thread.join();
  std::string expected, got;
  for (int i = 0; i < rounds; ++i) expected += alone;
  for (int t = 0; t < threads; ++t) {
    got.clear();
    for (const auto& text : texts[t]) got += text();
    expect(wrong[t] == 0, "owns() says something else where four threads ask at once");
    expect(got == expected, "a question gets another answer, or none, where four threads ask at once");
  }
}

// The ids stay where they are, but name others once the calls are over.
void forgets_the_ids(MembershipBench& bench) {
  const auto table = bench.fresh();
  const MembershipTrial& trial = bench.trial;
  ConversationId where = trial.conversation;
  UserId who = bench.someone();
  const auto answers = [&](auto afterwards) {
    const auto role = Question<Standing>::ask([&](Done<Standing> done) { table->role(where, who, std::move(done)); });
    const auto places = Question<Places>::ask([&](Done<Places> done) { table->conversations(who, std::move(done)); });
    const auto list = Question<List>::ask([&](Done<List> done) { table->members(where, std::move(done)); });
    afterwards();
    return text_of(bench.wait(role)) + "; " + text_of(bench.wait(places)) + "; " + text_of(bench.wait(list));
  };
  const std::string wanted = answers([] {});
  const std::string got = answers([&] {
    where = trial.foreign.empty() ? ConversationId("conformance-elsewhere") : trial.foreign;
    who = trial.stranger;
  });
  expect(got == wanted, "an id was read after the call had returned, when it may be gone");
}

void knows_who_left(MembershipBench& bench) {
  const auto table = bench.fresh();
  List left = bench.trial.members;
  const UserId gone = left.back().user;
  left.pop_back();
  const std::string before = all_answers(bench, *table, false);  // so that a table which keeps answers has them
  const bool owned = table->owns(bench.trial.conversation);
  bench.trial.remove(gone);
  const std::string who = gone.string() + ", who has left,";
  const auto list = bench.wait(bench.ask_members(*table, bench.trial.conversation)).answer();
  const auto role = bench.wait(bench.ask_role(*table, bench.trial.conversation, gone)).answer();
  const auto places = bench.wait(bench.ask_places(*table, gone)).answer();
  const auto is_him = [&](const Member& each) { return each.user == gone; };
  if (list && *list) expect(std::none_of((*list)->begin(), (*list)->end(), is_him), who + " is among the members");
  if (role && *role) expect(!**role, who + " has a role");
  if (places && *places) {
    expect(std::count((*places)->begin(), (*places)->end(), bench.trial.conversation) == 0,
           who + " finds it among his conversations");
  }
  expect(table->owns(bench.trial.conversation) == owned, "owns() says something else once one has left");
}

void goes_with_open_questions(MembershipBench& bench) {
  auto table = bench.fresh();
  bench.each_question([&](const std::string&, auto ask) { (void)ask(*table); });
  const auto began = steady_clock::now();
  table.reset();
  expect(steady_clock::now() - began <= std::chrono::seconds(1),
         "its destructor took more than a second: the engine's host waits for it");
  grace(bench.trial.let);
}

struct Named {
  const char* name;
  void (*check)(MembershipBench&);
};

constexpr Named all_checks[] = {
    {"it owns its conversations, and no others", owns_its_own},
    {"it owns the same ones each time", owns_the_same},
    {"every question is answered", answers_each},
    {"no question is answered twice", answers_once},
    {"no question blocks", does_not_block},
    {"nothing is thrown", throws_nothing},
    {"the list has every member once, with his role, and nobody else", lists_everyone},
    {"the role of a member is the one in the list", gives_roles},
    {"one who is not in it has no role, and that is no error", gives_strangers_no_role},
    {"a member finds it among his conversations, once", finds_it_among_his},
    {"one who is in none has no conversations, and that is no error", finds_strangers_nowhere},
    {"where someone is said to be he has a role", lists_its_own},
    {"questions under way are kept apart", keeps_questions_apart},
    {"a question may be asked again before it is answered", takes_a_question_again},
    {"several threads ask at once", takes_threads},
    {"an id is read only during the call", forgets_the_ids},
    {"it can be destroyed while questions are open", goes_with_open_questions},
};
constexpr Named of_deserted = {"one with nobody in it is empty, and that is no error", leaves_it_empty};
constexpr Named of_crowd = {"a crowd is not listed, and each one's role is known", does_not_list_a_crowd};
constexpr Named of_removed = {"an answer is as the table is now", knows_who_left};

}  // namespace

std::vector<Check> membership_conformance(MembershipTrial trial) {
  const auto bench = std::make_shared<MembershipBench>(std::move(trial));
  std::vector<Check> checks;
  const auto add = [&](const Named& each) {
    checks.push_back(make_check(each.name, [bench, check = each.check] { check(*bench); }));
  };
  for (const Named& each : all_checks) add(each);
  if (!bench->trial.deserted.empty()) add(of_deserted);
  if (!bench->trial.crowd.empty()) add(of_crowd);
  if (bench->trial.remove) add(of_removed);
  return checks;
}

}  // namespace v1
}  // namespace chatcore
