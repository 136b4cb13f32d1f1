#include "core/roster.h"

#include <algorithm>
#include <utility>

#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {

bool sees(const Intervals& intervals, Seq seq) {
  return std::any_of(intervals.begin(), intervals.end(),
                     [&](const auto& i) { return i.from <= seq && (i.to == 0 || seq <= i.to); });
}

Seq last_visible(Seq head, const Intervals& intervals) {
  if (intervals.empty()) return 0;
  return intervals.back().to == 0 ? head : std::min(head, intervals.back().to);
}

bool Participant::sees(Seq seq) const { return core::sees(row.intervals, seq); }

Roster::Roster(const Core& core, std::vector<Participant> all, Reach reach)
    : all_(std::move(all)), by_shard_(core.shards.size()) {
  for (const Participant& m : all_) {
    if (m.active()) ++count_, owners_ += m.row.role == Role::owner ? 1 : 0;
    if (m.active() || reach == Reach::all) by_shard_[core.home(m.user).index()].push_back(m.user);
  }
}

RosterPtr with(const Core& core, const Roster& roster, const std::vector<Participant>& rows) {
  std::vector<Participant> all = roster.all();
  for (const Participant& row : rows) {
    const auto at = std::lower_bound(all.begin(), all.end(), row.user,
                                     [](const Participant& p, const UserId& u) { return p.user < u; });
    if (at != all.end() && at->user == row.user) {
      at->row = row.row;
    } else {
      all.insert(at, row);
    }
  }
  return std::make_shared<const Roster>(core, std::move(all));
}

const Participant* Roster::find(const UserId& user) const {
  const auto at = std::lower_bound(all_.begin(), all_.end(), user,
                                   [](const Participant& m, const UserId& u) { return m.user < u; });
  return at != all_.end() && at->user == user ? &*at : nullptr;
}

RosterPtr audience_of(const Core& core, const RosterPtr& before, const RosterPtr& after, Seq since) {
  if (!before || before == after) return after;
  std::vector<Participant> both = after->all();
  for (Participant& m : both) {
    const Participant* was = before->find(m.user);
    const bool left_since = !m.row.intervals.empty() && m.row.intervals.back().to > since;
    if ((was && was->active()) || left_since) m.row.former = false;
  }
  return std::make_shared<const Roster>(core, std::move(both));
}

void open_interval(protocol::MemberRow& row, const ConversationSettings& settings, Seq joins) {
  constexpr std::size_t most_intervals = 64;  // who comes and goes more often no longer sees his oldest stay
  Seq from = joins;
  if (settings.newcomers_see == NewcomersSee::all) from = 1;
  if (settings.newcomers_see == NewcomersSee::last)
    from = joins > settings.newcomers_last ? joins - settings.newcomers_last : 1;
  while (!row.intervals.empty() && row.intervals.back().to + 1 >= from) {
    from = std::min(from, row.intervals.back().from);
    row.intervals.pop_back();
  }
  if (row.intervals.size() >= most_intervals) row.intervals.erase(row.intervals.begin());
  row.intervals.push_back({from, 0});
  row.former = false;
  row.since = joins;
}

void close_interval(protocol::MemberRow& row, Seq last) {
  row.former = true;
  if (row.intervals.empty()) return;
  row.intervals.back().to = last;
  if (row.intervals.back().from > last) row.intervals.pop_back();
}

void add_gaps(const Intervals& intervals, Seq from, Seq to, std::vector<Gap>& gaps) {
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
