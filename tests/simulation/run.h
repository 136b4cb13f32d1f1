#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "simulation/broken.h"
#include "simulation/plan.h"
#include "simulation/truth.h"

namespace simulation {

struct Outcome {
  std::optional<Violation> violation{};
  std::uint64_t steps = 0, hash = 0;
  std::vector<std::string> trace{};
};

Outcome run(const Plan&, const BrokenKind* broken = nullptr, bool traces = false);

// The shortest plan that can be found by leaving things out, in which the same promise is broken.
Plan shrink(Plan, Promise, const BrokenKind* broken = nullptr);

}  // namespace simulation
