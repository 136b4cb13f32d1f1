#include "simulation/run.h"

#include <algorithm>

#include "simulation/world.h"

namespace simulation {

Outcome run(const Plan& plan, const BrokenKind* kind, bool traces) {
  const std::unique_ptr<Broken> broken = kind ? kind->make() : nullptr;
  World world(plan, broken.get(), traces);
  world.run();
  return {world.truth.violation(), world.steps(), world.hash(), world.trace()};
}

Plan shrink(Plan plan, Promise promise, const BrokenKind* kind) {
  const auto still_fails = [&](const Plan& smaller) {
    const Outcome outcome = run(smaller, kind);
    return outcome.violation && outcome.violation->promise == promise;
  };
  for (std::size_t size = std::max<std::size_t>(plan.ops.size() / 2, 1);; size = size / 2) {
    for (std::size_t at = 0; at < plan.ops.size();) {
      Plan smaller = plan;
      const auto from = smaller.ops.begin() + static_cast<std::ptrdiff_t>(at);
      smaller.ops.erase(from, from + static_cast<std::ptrdiff_t>(std::min(size, plan.ops.size() - at)));
      if (still_fails(smaller)) {
        plan = std::move(smaller);
      } else {
        at += size;
      }
    }
    if (size <= 1) return plan;
  }
}

}  // namespace simulation
