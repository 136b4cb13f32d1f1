#include <doctest/doctest.h>

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <chatcore/testing.h>

#include "support/replies.h"

// The conformance suite of a membership: tables that are right pass it, and each that is wrong in one way fails the
// check that is named after it, and no other.

using namespace chatcore;
using namespace std::chrono_literals;

namespace {

using List = std::vector<Member>;
using Standing = std::optional<Role>;
using Places = std::vector<ConversationId>;

constexpr ConversationId red = "team:red", blue = "team:blue", crowd = "team:crowd", deserted = "team:none";
constexpr UserId alice = "alice", bob = "bob", carol = "carol", zoe = "zoe";

// The host's own table.
struct World {
  World() {
    teams[red] = {{alice, Role::owner}, {bob, Role::member}, {carol, Role::reader}};
    teams[blue] = {{bob, Role::admin}};
    for (const UserId& each : {alice, UserId("dave"), UserId("erin"), UserId("frank")})
      teams[crowd][each] = Role::member;
  }
  const std::map<UserId, Role>& team(const ConversationId& id) const {
    static const std::map<UserId, Role> nobody;
    const auto found = teams.find(id);
    return found == teams.end() ? nobody : found->second;
  }
  std::map<ConversationId, std::map<UserId, Role>> teams{};
};

// A membership that is as it should be, for one to be wrong in one way.
class Right : public Membership {
 public:
  explicit Right(std::shared_ptr<World> world) : world_(std::move(world)) {}

  bool owns(const ConversationId& id) const override { return id.view().starts_with("team:"); }
  void members(const ConversationId& id, Done<List> done) override { give(list(id), std::move(done)); }
  void role(const ConversationId& id, const UserId& user, Done<Standing> done) override {
    give(standing(id, user), std::move(done));
  }
  void conversations(const UserId& user, Done<Places> done) override { give(places(user), std::move(done)); }

 protected:
  virtual Result<List> list(const ConversationId& id) {
    List all;
    for (const auto& [user, role] : world_->team(id)) all.push_back({user, role});
    if (all.size() > 3) return Error{ErrorCode::too_large, "too many", {}};
    return all;
  }
  virtual Result<Standing> standing(const ConversationId& id, const UserId& user) {
    const auto& team = world_->team(id);
    const auto found = team.find(user);
    return found == team.end() ? Standing() : Standing(found->second);
  }
  virtual Result<Places> places(const UserId& user) {
    Places all;
    for (const auto& [id, team] : world_->teams) {
      if (team.contains(user)) all.push_back(id);
    }
    return all;
  }
  virtual void run(Function<void()> answer) { answer(); }

  const std::shared_ptr<World> world_;

 private:
  template <class T>
  void give(Result<T> answer, Function<void(Result<T>)> done) {
    run([answer = std::move(answer), done = std::move(done)]() mutable { done(answer); });
  }
};

// What waits for the host's loop.
struct Loop {
  void run() {
    std::unique_lock lock(mutex);
    while (!waiting.empty()) {
      Function<void()> answer = std::move(waiting.front());
      waiting.pop_front();
      lock.unlock();
      answer();
      lock.lock();
    }
  }
  std::mutex mutex;
  std::deque<Function<void()>> waiting;
};

using Make = Function<std::unique_ptr<Membership>(std::shared_ptr<World>)>;

MembershipTrial trial_of(Make make, std::shared_ptr<Loop> loop = {}) {
  const auto world = std::make_shared<std::shared_ptr<World>>();
  MembershipTrial trial{
      .make = [world, make = std::move(make)]() mutable { return make(*world = std::make_shared<World>()); },
      .conversation = red,
      .members = {{alice, Role::owner}, {bob, Role::member}, {carol, Role::reader}},
      .stranger = zoe,
      .foreign = "lunch",
      .deserted = deserted,
      .crowd = crowd,
      .remove = [world](const UserId& user) { (*world)->teams[red].erase(user); },
      .patience = 50ms};
  if (loop) trial.let = [loop] { loop->run(); };
  return trial;
}

std::string broken_promises(MembershipTrial trial) {
  std::string names;
  for (Check& check : membership_conformance(std::move(trial))) {
    if (const Status kept = check.run(); !kept) {
      CHECK_FALSE(kept.error().message.empty());
      names += (names.empty() ? "" : "; ") + check.name;
    }
  }
  return names;
}
template <class T>
std::unique_ptr<Membership> make(std::shared_ptr<World> world) {
  return std::make_unique<T>(std::move(world));
}

// ---- wrong ones

Error no() { return {ErrorCode::no_such_conversation, "no", {}}; }

struct OwnsAll : Right {
  using Right::Right;
  bool owns(const ConversationId&) const override { return true; }
};
struct OwnsNothingOnceListed : Right {
  using Right::Right;
  bool owns(const ConversationId& id) const override { return !listed_ && Right::owns(id); }
  Result<List> list(const ConversationId& id) override {
    listed_ = true;
    return Right::list(id);
  }
  std::atomic<bool> listed_{false};
};
struct IgnoresStrangers : Right {
  using Right::Right;
  void role(const ConversationId& id, const UserId& user, Done<Standing> done) override {
    if (user != zoe) Right::role(id, user, std::move(done));
  }
};
struct AnswersTwice : Right {
  using Right::Right;
  void run(Function<void()> answer) override { answer(), answer(); }
};
struct AnswersAgainAtItsEnd : Right {
  using Right::Right;
  ~AnswersAgainAtItsEnd() override {
    for (auto& answer : kept_) answer();
  }
  void run(Function<void()> answer) override {
    answer();
    std::lock_guard lock(mutex_);
    kept_.push_back(std::move(answer));
  }
  std::mutex mutex_;
  std::vector<Function<void()>> kept_;
};
struct AsksAndWaits : Right {
  using Right::Right;
  Result<Places> places(const UserId& user) override {
    if (user == carol && waits_-- > 0) chat::wait_for_no_reply(60ms);
    return Right::places(user);
  }
  std::atomic<int> waits_{3};
};
struct ThrowsAtStrangers : Right {
  using Right::Right;
  Result<Standing> standing(const ConversationId& id, const UserId& user) override {
    if (user == zoe) throw std::out_of_range("no such user");
    return Right::standing(id, user);
  }
};
template <class Change>
struct Lists : Right {
  using Right::Right;
  Result<List> list(const ConversationId& id) override {
    auto all = Right::list(id);
    if (all && id == red) Change()(*all);
    return all;
  }
};
struct WithoutTheLast {
  void operator()(List& list) const { list.pop_back(); }
};
struct WithOneTwice {
  void operator()(List& list) const { list.push_back(list.front()); }
};
struct WithOneTooMany {
  void operator()(List& list) const { list.push_back({"mallory", Role::member}); }
};
struct WithEqualRoles {
  void operator()(List& list) const {
    for (Member& each : list) each.role = Role::member;
  }
};
struct PromotesReaders : Right {
  using Right::Right;
  Result<Standing> standing(const ConversationId& id, const UserId& user) override {
    auto role = Right::standing(id, user);
    if (role && *role == Role::reader) role = Standing(Role::member);
    return role;
  }
};
struct LetsStrangersRead : Right {
  using Right::Right;
  Result<Standing> standing(const ConversationId& id, const UserId& user) override {
    return user == zoe ? Standing(Role::reader) : Right::standing(id, user);
  }
};
struct HasAnErrorForStrangers : Right {
  using Right::Right;
  Result<Standing> standing(const ConversationId& id, const UserId& user) override {
    if (user == zoe) return no();
    return Right::standing(id, user);
  }
};
struct ForgetsOnesTeam : Right {
  using Right::Right;
  Result<Places> places(const UserId& user) override {
    auto all = Right::places(user);
    if (user == bob) std::erase(*all, red);
    return all;
  }
};
struct FindsOnesTeamTwice : Right {
  using Right::Right;
  Result<Places> places(const UserId& user) override {
    auto all = Right::places(user);
    if (user == carol && !all->empty()) all->push_back(red);
    return all;
  }
};
struct PutsStrangersSomewhere : Right {
  using Right::Right;
  Result<Places> places(const UserId& user) override { return user == zoe ? Places{red} : Right::places(user); }
};
struct HasNoPlaceForStrangers : Right {
  using Right::Right;
  Result<Places> places(const UserId& user) override {
    if (user == zoe) return no();
    return Right::places(user);
  }
};
struct ListsAnothers : Right {
  using Right::Right;
  Result<Places> places(const UserId& user) override {
    auto all = Right::places(user);
    if (user == bob) all->push_back("lunch");
    return all;
  }
};
struct ListsWhereHeIsNot : Right {
  using Right::Right;
  Result<Places> places(const UserId& user) override {
    auto all = Right::places(user);
    if (user == carol) all->push_back(blue);
    return all;
  }
};
struct HasAnErrorForNobody : Right {
  using Right::Right;
  Result<List> list(const ConversationId& id) override {
    if (id == deserted) return no();
    return Right::list(id);
  }
};
struct HasAnErrorInNoTeam : Right {
  using Right::Right;
  Result<Standing> standing(const ConversationId& id, const UserId& user) override {
    if (id == deserted) return no();
    return Right::standing(id, user);
  }
};
struct ListsHalfACrowd : Right {
  using Right::Right;
  Result<List> list(const ConversationId& id) override {
    if (id == crowd) return List{{alice, Role::member}};
    return Right::list(id);
  }
};
struct KnowsNobodyInACrowd : Right {
  using Right::Right;
  Result<Standing> standing(const ConversationId& id, const UserId& user) override {
    return id == crowd ? Standing() : Right::standing(id, user);
  }
};
struct ForgetsTheCrowd : Right {
  using Right::Right;
  Result<Places> places(const UserId& user) override {
    auto all = Right::places(user);
    std::erase(*all, crowd);
    return all;
  }
};
struct TakesOneThread : Right {
  using Right::Right;
  Result<Standing> standing(const ConversationId& id, const UserId& user) override {
    if (std::this_thread::get_id() != owner_) return no();
    return Right::standing(id, user);
  }
  const std::thread::id owner_ = std::this_thread::get_id();
};
struct OwnsOnOneThread : Right {
  using Right::Right;
  bool owns(const ConversationId& id) const override { return std::this_thread::get_id() == owner_ && Right::owns(id); }
  const std::thread::id owner_ = std::this_thread::get_id();
};
struct KeepsAnswers : Right {
  using Right::Right;
  Result<Standing> standing(const ConversationId& id, const UserId& user) override {
    std::lock_guard lock(mutex_);
    return kept_.try_emplace({id, user}, *Right::standing(id, user)).first->second;
  }
  std::mutex mutex_;
  std::map<std::pair<ConversationId, UserId>, Standing> kept_;
};

struct Wrong {
  const char* what;
  std::unique_ptr<Membership> (*make)(std::shared_ptr<World>);
  const char* broken;
};
constexpr const char* lists_all = "the list has every member once, with his role, and nobody else";
const Wrong all_wrong[] = {
    {"owns everything", make<OwnsAll>, "it owns its conversations, and no others"},
    {"owns nothing once it was asked", make<OwnsNothingOnceListed>, "it owns the same ones each time"},
    {"says nothing of strangers", make<IgnoresStrangers>, "every question is answered"},
    {"answers twice", make<AnswersTwice>, "no question is answered twice"},
    {"answers again when it is destroyed", make<AnswersAgainAtItsEnd>, "no question is answered twice"},
    {"asks elsewhere, and waits", make<AsksAndWaits>, "no question blocks"},
    {"throws at strangers", make<ThrowsAtStrangers>, "nothing is thrown"},
    {"forgets one in the list", make<Lists<WithoutTheLast>>, lists_all},
    {"lists one twice", make<Lists<WithOneTwice>>, lists_all},
    {"lists one too many", make<Lists<WithOneTooMany>>, lists_all},
    {"knows no roles in the list", make<Lists<WithEqualRoles>>, lists_all},
    {"promotes readers", make<PromotesReaders>, "the role of a member is the one in the list"},
    {"lets strangers read", make<LetsStrangersRead>, "one who is not in it has no role, and that is no error"},
    {"has an error for strangers", make<HasAnErrorForStrangers>,
     "one who is not in it has no role, and that is no error"},
    {"forgets someone's team", make<ForgetsOnesTeam>, "a member finds it among his conversations, once"},
    {"finds someone's team twice", make<FindsOnesTeamTwice>, "a member finds it among his conversations, once"},
    {"puts strangers somewhere", make<PutsStrangersSomewhere>,
     "one who is in none has no conversations, and that is no error"},
    {"has an error for who is nowhere", make<HasNoPlaceForStrangers>,
     "one who is in none has no conversations, and that is no error"},
    {"lists another's conversation", make<ListsAnothers>, "where someone is said to be he has a role"},
    {"lists where one is not", make<ListsWhereHeIsNot>, "where someone is said to be he has a role"},
    {"has an error for nobody", make<HasAnErrorForNobody>, "one with nobody in it is empty, and that is no error"},
    {"has an error in no team", make<HasAnErrorInNoTeam>, "one with nobody in it is empty, and that is no error"},
    {"lists some of a crowd", make<ListsHalfACrowd>, "a crowd is not listed, and each one's role is known"},
    {"knows nobody in a crowd", make<KnowsNobodyInACrowd>, "a crowd is not listed, and each one's role is known"},
    {"forgets the crowd", make<ForgetsTheCrowd>, "a crowd is not listed, and each one's role is known"},
    {"knows the thread that made it only", make<TakesOneThread>, "several threads ask at once"},
    {"owns on one thread only", make<OwnsOnOneThread>, "several threads ask at once"},
    {"keeps what it said", make<KeepsAnswers>, "an answer is as the table is now"},
};

// Answers in the host's loop, all that was asked.
class Later : public Right {
 public:
  Later(std::shared_ptr<World> world, std::shared_ptr<Loop> loop) : Right(std::move(world)), loop_(std::move(loop)) {}
  void run(Function<void()> answer) override {
    std::lock_guard lock(loop_->mutex);
    loop_->waiting.push_back(std::move(answer));
  }
  const std::shared_ptr<Loop> loop_;
};
// Remembers one role that is asked for at a time.
struct HasOneSlot : Later {
  using Later::Later;
  void role(const ConversationId& id, const UserId& user, Done<Standing> done) override {
    if (user != last_) {
      std::lock_guard lock(loop_->mutex);
      loop_->waiting.clear();
    }
    last_ = user;
    Later::role(id, user, std::move(done));
  }
  UserId last_{};
};
// Remembers one who asks for each role.
struct HasOneSlotEach : Later {
  using Later::Later;
  void role(const ConversationId& id, const UserId& user, Done<Standing> done) override {
    (*slots_)[{id, user}] = std::move(done);
    run([slots = slots_, id, user, answer = standing(id, user)] {
      if (auto each = std::exchange((*slots)[{id, user}], {})) each(answer);
    });
  }
  using Slots = std::map<std::pair<ConversationId, UserId>, Done<Standing>>;
  const std::shared_ptr<Slots> slots_ = std::make_shared<Slots>();
};
struct GoesSlowly : Later {
  using Later::Later;
  ~GoesSlowly() override {
    std::unique_lock lock(loop_->mutex);
    if (loop_->waiting.empty()) return;
    lock.unlock();
    chat::wait_for_no_reply(1100ms);
  }
};
// Reads what it was asked when it has time.
struct ReadsLater : Later {
  using Later::Later;
  void role(const ConversationId& id, const UserId& user, Done<Standing> done) override {
    run([this, &id, &user, done = std::move(done)]() mutable { done(standing(id, user)); });
  }
};
template <class T>
MembershipTrial later() {
  const auto loop = std::make_shared<Loop>();
  return trial_of([loop](std::shared_ptr<World> world) { return std::make_unique<T>(std::move(world), loop); }, loop);
}

std::unique_ptr<Membership> functions(std::shared_ptr<World> world) {
  const auto list = [world](const ConversationId& id) {
    List all;
    for (const auto& [user, role] : world->team(id)) all.push_back({user, role});
    return all;
  };
  const auto places = [world](const UserId& user) {
    Places all;
    for (const auto& [id, team] : world->teams) {
      if (team.contains(user)) all.push_back(id);
    }
    return all;
  };
  return make_membership({.prefix = "team:", .members = list, .conversations = places, .too_large = 3});
}
std::unique_ptr<Membership> functions_with_roles(std::shared_ptr<World> world) {
  const auto places = [world](const UserId& user) { return user == alice ? Places{red} : Places{}; };
  const auto role = [world](const ConversationId& id, const UserId& user) {
    return id == red && world->team(red).contains(user) ? Standing(world->team(red).at(user)) : Standing();
  };
  const auto list = [world](const ConversationId&) { return List{{alice, world->team(red).at(alice)}}; };
  return make_membership({.prefix = "team:", .members = list, .conversations = places, .role = role});
}

}  // namespace

TEST_CASE("a membership that is wrong in one way fails the check that is named after it, and no other") {
  for (const Wrong& wrong : all_wrong) {
    SUBCASE(wrong.what) { CHECK(broken_promises(trial_of(wrong.make)) == wrong.broken); }
  }
  SUBCASE("remembers one question at a time") {
    CHECK(broken_promises(later<HasOneSlot>()) == "questions under way are kept apart");
  }
  SUBCASE("remembers one who asks at a time") {
    CHECK(broken_promises(later<HasOneSlotEach>()) == "a question may be asked again before it is answered");
  }
  SUBCASE("goes slowly") {
    CHECK(broken_promises(later<GoesSlowly>()) == "it can be destroyed while questions are open");
  }
}

TEST_CASE("a membership that reads the ids after the call fails that check") {
  // In the others they are gone by then, so only this one is run.
  for (Check& check : membership_conformance(later<ReadsLater>())) {
    if (check.name == "an id is read only during the call") CHECK_FALSE(check.run());
  }
}

TEST_CASE("a membership that is right passes, at once or in the host's loop") {
  CHECK(broken_promises(trial_of(make<Right>)) == "");
  CHECK(broken_promises(later<Later>()) == "");
}

TEST_CASE("the host's functions keep every promise of membership.h") {
  CHECK(broken_promises(trial_of(functions)) == "");
  MembershipTrial trial = trial_of(functions_with_roles);
  trial.members = {{alice, Role::owner}};
  trial.deserted = trial.crowd = {};
  trial.remove = {};
  CHECK(broken_promises(std::move(trial)) == "");
}

TEST_CASE("behind the wrapper that fails on order they do so as well, and where every answer comes late") {
  const auto faults = std::make_shared<MembershipFaults>();
  const auto wrapped = [=](std::shared_ptr<World> world) { return make_faulty_membership(functions(world), faults); };
  CHECK(broken_promises(trial_of(wrapped)) == "");
  CHECK(faults->spoiled() == 0);
  faults->some(1, {MembershipFault::late});
  MembershipTrial trial = trial_of(wrapped);
  trial.let = [=] { faults->release(); };
  CHECK(broken_promises(std::move(trial)) == "");
  CHECK(faults->spoiled() > 0);
}

TEST_CASE("what can't be checked is said by every check, and what is left out is not checked") {
  const auto nothing = [](std::shared_ptr<World>) { return std::unique_ptr<Membership>(); };
  std::size_t broken = 0;
  for (Check& check : membership_conformance(trial_of(nothing))) broken += check.run() ? 0 : 1;
  CHECK(broken == 20);
  CHECK(membership_conformance(MembershipTrial()).size() == 17);
  for (Check& check : membership_conformance(MembershipTrial())) CHECK_FALSE(check.run());
}
