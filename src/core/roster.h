#pragma once

#include <memory>
#include <vector>

#include <chatcore/requests.h>

#include "core/core.h"
#include "protocol/rows.h"

namespace chatcore {
inline namespace v1 {
namespace core {

using Intervals = std::vector<protocol::Interval>;

// One who is a member, or was.
struct Participant {
  UserId user{};
  protocol::MemberRow row{};

  bool active() const { return !row.former; }
  bool sees(Seq) const;
};

// People of a conversation at one seq. Never changes: a change makes another one, so that who receives an event is
// settled when its seq is given out.
class Roster {
 public:
  enum class Reach { members, all };  // whom on() gives: without the former ones, or with them
  Roster(const Core&, std::vector<Participant> all, Reach = Reach::members);  // ascending by user

  const Participant* find(const UserId&) const;
  const std::vector<Participant>& all() const { return all_; }  // former members too
  std::uint32_t count() const { return count_; }                // of members
  std::uint32_t owners() const { return owners_; }
  // Those of them whose home is that shard.
  const std::vector<UserId>& on(unsigned shard) const { return by_shard_[shard]; }

 private:
  std::vector<Participant> all_;
  std::vector<std::vector<UserId>> by_shard_;
  std::uint32_t count_ = 0, owners_ = 0;
};
using RosterPtr = std::shared_ptr<const Roster>;

// A roster with some rows put in, or in place of others.
RosterPtr with(const Core&, const Roster&, const std::vector<Participant>& rows);

// Those who learn of a change of members: who was there, who comes, and who came and went meanwhile, after seq `since`.
RosterPtr audience_of(const Core&, const RosterPtr& before, const RosterPtr& after, Seq since);

// The seqs from `from` to `to` that `intervals` leave out, as gaps.
void add_gaps(const Intervals&, Seq from, Seq to, std::vector<Gap>& gaps);
bool sees(const Intervals&, Seq);
// The last seq that who sees these may know of: a former member's is where he left.
Seq last_visible(Seq head, const Intervals&);
// A new interval, from where the settings let a newcomer see; what it touches of older ones becomes one with it.
void open_interval(protocol::MemberRow&, const ConversationSettings&, Seq joins);
void close_interval(protocol::MemberRow&, Seq last);

}  // namespace core
}  // namespace v1
}  // namespace chatcore
