#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <chatcore/chatcore.h>

#include "simulation/ledger.h"
#include "simulation/plan.h"
#include "simulation/random.h"

namespace simulation {

// The host's own table of members: the teams. Who is in which stands in the ledger, and what is asked is answered at
// once, late, or never, whichever the plan says.
class Teams {
 public:
  Teams(const Plan&, Ledger&);

  std::unique_ptr<Membership> table();  // for one life of the server
  // He comes, or goes; true: he is in it now.
  bool move(const std::string& team, const UserId&, TimePoint now);
  bool any_late() const { return !late_.empty(); }
  void answer_one(Random&);
  void be_quick() { quick_ = true; }  // from now on everything is answered at once

 private:
  friend class TeamTable;
  template <class T>
  void answer(Done<T>, T);

  const Plan& plan_;
  Ledger& ledger_;
  Random random_;
  bool quick_ = false;
  std::deque<Function<void()>> late_;
};

}  // namespace simulation
