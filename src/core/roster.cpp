#include "core/roster.h"

#include <algorithm>
#include <utility>

#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {

bool sees(const std::vector<protocol::Interval>& intervals, Seq seq) {
  return std::any_of(intervals.begin(), intervals.end(),
                     [&](const auto& i) { return i.from <= seq && (i.to == 0 || seq <= i.to); });
}

Seq last_visible(Seq head, const std::vector<protocol::Interval>& intervals) {
  if (intervals.empty()) return 0;
  return intervals.back().to == 0 ? head : std::min(head, intervals.back().to);
}

bool Membership::sees(Seq seq) const { return core::sees(row.intervals, seq); }

Roster::Roster(const Core& core, std::vector<Membership> all) : all_(std::move(all)), by_shard_(core.shards.size()) {
  for (const Membership& m : all_) {
    if (!m.active()) continue;
    ++count_;
    by_shard_[core.home(m.user).index()].push_back(m.user);
  }
}

const Membership* Roster::find(const UserId& user) const {
  const auto at =
      std::lower_bound(all_.begin(), all_.end(), user, [](const Membership& m, const UserId& u) { return m.user < u; });
  return at != all_.end() && at->user == user ? &*at : nullptr;
}

RosterPtr audience_of(const Core& core, const RosterPtr& before, const RosterPtr& after, Seq since) {
  if (!before || before == after) return after;
  std::vector<Membership> both = after->all();
  for (Membership& m : both) {
    const Membership* was = before->find(m.user);
    const bool left_since = !m.row.intervals.empty() && m.row.intervals.back().to > since;
    if ((was && was->active()) || left_since) m.row.former = false;
  }
  return std::make_shared<const Roster>(core, std::move(both));
}

void add_gaps(const std::vector<protocol::Interval>& intervals, Seq from, Seq to, std::vector<Gap>& gaps) {
  for (const auto& interval : intervals) {
    if (from > to) return;
    if (interval.to != 0 && interval.to < from) continue;
    if (interval.from > from) gaps.push_back({from, std::min(to, interval.from - 1), Gap::Why::not_visible});
    if (interval.to == 0) return;
    from = std::max(from, interval.to + 1);
  }
  if (from <= to) gaps.push_back({from, to, Gap::Why::not_visible});
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
