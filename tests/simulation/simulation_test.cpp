#include <doctest/doctest.h>

#include "simulation/run.h"

using namespace simulation;

TEST_CASE("a seed runs the same way twice") {
  const Outcome first = run(make_plan(7)), second = run(make_plan(7));
  CHECK(first.hash == second.hash);
  CHECK(first.steps == second.steps);
}
