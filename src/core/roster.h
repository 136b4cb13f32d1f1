#pragma once

#include <memory>
#include <vector>

#include <chatcore/requests.h>

#include "core/core.h"
#include "protocol/rows.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// One who is a member, or was.
struct Membership {
  UserId user{};
  protocol::MemberRow row{};

  bool active() const { return !row.former; }
  bool sees(Seq) const;
};

// The members of a conversation at one seq. Never changes: a change makes another one, so that who receives an event is
// settled when its seq is given out.
class Roster {
 public:
  Roster(const Core&, std::vector<Membership> all);  // ascending by user

  const Membership* find(const UserId&) const;
  const std::vector<Membership>& all() const { return all_; }  // former members too
  std::uint32_t count() const { return count_; }               // of members
  // The members whose home is that shard.
  const std::vector<UserId>& on(unsigned shard) const { return by_shard_[shard]; }

 private:
  std::vector<Membership> all_;
  std::vector<std::vector<UserId>> by_shard_;
  std::uint32_t count_ = 0;
};
using RosterPtr = std::shared_ptr<const Roster>;

// Those who learn of a change of members: who was there, who comes, and who came and went meanwhile, after seq `since`.
RosterPtr audience_of(const Core&, const RosterPtr& before, const RosterPtr& after, Seq since);

// The seqs from `from` to `to` that `intervals` leave out, as gaps.
void add_gaps(const std::vector<protocol::Interval>& intervals, Seq from, Seq to, std::vector<Gap>& gaps);
bool sees(const std::vector<protocol::Interval>& intervals, Seq);
// The last seq that who sees these may know of: a former member's is where he left.
Seq last_visible(Seq head, const std::vector<protocol::Interval>& intervals);

}  // namespace core
}  // namespace v1
}  // namespace chatcore
