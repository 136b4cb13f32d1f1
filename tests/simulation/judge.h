#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <chatcore/chatcore.h>

#include "simulation/plan.h"
#include "simulation/random.h"

namespace simulation {

// What the policy makes of a message follows from the plan alone, so that the truth knows it too.
enum class Ruling { passes, late, never, refused, replaced };
Ruling ruling(const Plan&, const UserId&, const std::string& text);
std::string becomes(const Plan&, const UserId&, const std::string& text);  // what stands of it, if anything does

// The policy of all the lives of a server, and the decisions that it has not told yet.
class Judge {
 public:
  explicit Judge(const Plan& plan) : plan_(plan) {}
  std::unique_ptr<Policy> policy();
  bool any_late() const { return !late_.empty(); }
  void tell_one(Random&);             // one that is late, to whoever still listens
  void be_quick() { quick_ = true; }  // from now on nothing is late any more, nor left undecided

 private:
  void decide(const Identity&, const RequestView&, Done<Decision>);

  const Plan& plan_;
  bool quick_ = false;
  std::map<std::string, unsigned> asked_;
  std::deque<std::pair<Done<Decision>, Decision>> late_;
  std::deque<Done<Decision>> never_;
};

}  // namespace simulation
