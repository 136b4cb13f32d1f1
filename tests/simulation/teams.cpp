#include "simulation/teams.h"

#include <algorithm>
#include <utility>

namespace simulation {

class TeamTable final : public Membership {
 public:
  explicit TeamTable(Teams& teams) : teams_(teams) {}

  bool owns(const ConversationId& id) const override { return id.view().starts_with("team:"); }
  void members(const ConversationId& id, Done<std::vector<Member>> done) override {
    const auto& all = teams_.plan_.teams;
    const auto team = std::find_if(all.begin(), all.end(), [&](const Team& t) { return t.id == id.view(); });
    if (team != all.end() && !team->lists) return done(Error{ErrorCode::too_large, "asked one by one", {}});
    std::vector<Member> members;
    for (const std::string& name : teams_.plan_.users) {
      const UserId user = *UserId::make(name);
      if (teams_.ledger_.is_in(id.string(), user)) members.push_back({user, Role::member});
    }
    teams_.answer(std::move(done), std::move(members));
  }
  void role(const ConversationId& id, const UserId& user, Done<std::optional<Role>> done) override {
    const bool is_in = teams_.ledger_.is_in(id.string(), user);
    teams_.answer(std::move(done), is_in ? std::optional(Role::member) : std::nullopt);
  }
  void conversations(const UserId& user, Done<std::vector<ConversationId>> done) override {
    std::vector<ConversationId> his;
    for (const Team& team : teams_.plan_.teams) {
      if (teams_.ledger_.is_in(team.id, user)) his.push_back(*ConversationId::make(team.id));
    }
    teams_.answer(std::move(done), std::move(his));
  }

 private:
  Teams& teams_;
};

Teams::Teams(const Plan& plan, Ledger& ledger) : plan_(plan), ledger_(ledger), random_(plan.seed + 9) {
  for (const Team& team : plan.teams) {
    auto& of = ledger_.teams[team.id];
    for (const unsigned user : team.members) of[*UserId::make(plan.users[user])].push_back({});
  }
}

std::unique_ptr<Membership> Teams::table() { return std::make_unique<TeamTable>(*this); }

bool Teams::move(const std::string& team, const UserId& user, TimePoint now) {
  auto& presences = ledger_.teams[team][user];
  if (ledger_.is_in(team, user)) return presences.back().to = now, false;
  return presences.push_back({.from = now}), true;
}

// The answer is of the moment when it was asked, however late it comes.
template <class T>
void Teams::answer(Done<T> done, T what) {
  if (quick_ || !random_.percent(plan_.table_slow)) return done(std::move(what));
  if (random_.percent(20)) return;  // dropped
  late_.push_back([done = std::move(done), what = std::move(what)]() mutable { done(std::move(what)); });
}

void Teams::answer_one(Random& random) {
  const auto at = late_.begin() + random.below(static_cast<unsigned>(late_.size()));
  auto answer = std::move(*at);
  late_.erase(at);
  answer();
}

}  // namespace simulation
