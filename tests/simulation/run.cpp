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
  std::size_t before = 0;  // the last round of small sizes
  for (std::size_t size = std::max<std::size_t>(plan.ops.size() / 2, 1);;) {
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
    // A few at a time, again and again: what was needed by one may have been needed by nothing else.
    if (size > 1) {
      size = size < 6 ? size - 1 : size / 2;
      continue;
    }
    if (plan.ops.size() == before) return plan;
    before = plan.ops.size();
    size = 5;
  }
}

}  // namespace simulation
