#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>

#include <chatcore/testing.h>

#include "simulation/disk.h"
#include "simulation/run.h"

// The six promises under 1,000 seeds, and whether the simulation can fail: engines that are wrong in one way each.
// CHATCORE_SIMULATION_SEEDS: how many seeds instead, for builds that are slow.

using namespace simulation;

namespace {

std::uint64_t seeds() {
  const char* const given = std::getenv("CHATCORE_SIMULATION_SEEDS");
  return given ? std::strtoull(given, nullptr, 10) : 1000;
}

std::string found(const Outcome& outcome) {
  if (!outcome.violation) return "nothing";
  return std::string(name_of(outcome.violation->promise)) + ": " + outcome.violation->what;
}

// In how few seeds is it found, and is it found for what it is?
void catches(std::string_view name) {
  const auto& kinds = broken_kinds();
  const auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const BrokenKind& k) { return k.name == name; });
  REQUIRE(kind != kinds.end());
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    const Outcome outcome = run(make_plan(seed), &*kind);
    if (!outcome.violation) continue;
    CAPTURE(found(outcome));
    MESSAGE(kind->what << ": after " << seed << " seeds");
    CHECK(std::find(kind->breaks.begin(), kind->breaks.end(), outcome.violation->promise) != kind->breaks.end());
    return;
  }
  FAIL("not found in 1,000 seeds");
}

}  // namespace

TEST_CASE("The six promises hold, whatever the seed") {
  std::uint64_t steps = 0;
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed) {
    const Outcome outcome = run(make_plan(seed));
    steps += outcome.steps;
    CHECK_MESSAGE(!outcome.violation, "seed ", seed, ", ", found(outcome));
  }
  CHECK(steps > 1000 * seeds());  // something happened
}

TEST_CASE("A seed runs the same way each time, and another one does not") {
  for (const std::uint64_t seed : {2u, 7u, 19u, 44u}) {
    const Outcome first = run(make_plan(seed), nullptr, true), second = run(make_plan(seed), nullptr, true);
    CHECK(first.hash == second.hash);
    CHECK(first.steps == second.steps);
    CHECK(first.trace == second.trace);
    CHECK(first.hash != run(make_plan(seed + 1)).hash);
  }
}

TEST_CASE("A failing plan is cut down to a short one, in which the same promise is broken") {
  const auto& kinds = broken_kinds();
  const auto kind =
      std::find_if(kinds.begin(), kinds.end(), [](const BrokenKind& k) { return k.name == "checkpoint-too-early"; });
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    const Plan plan = make_plan(seed);
    if (plan.narrow) continue;  // where an outbox has to be filled first, much is needed
    const Outcome outcome = run(plan, &*kind);
    if (!outcome.violation) continue;
    const Plan small = shrink(plan, outcome.violation->promise, &*kind);
    CHECK(small.ops.size() <= std::min<std::size_t>(15, plan.ops.size()));
    const Outcome again = run(small, &*kind, true);
    REQUIRE(again.violation);
    CHECK(again.violation->promise == outcome.violation->promise);
    CHECK(again.trace.size() < 100);
    return;
  }
}

TEST_CASE("A disk on which nothing goes wrong is a storage as storage.h says") {
  std::unique_ptr<Disk> disk;
  const auto make = [&] {
    disk = std::make_unique<Disk>(Durability::disk, [](const std::string&) {});
    return disk->handle();
  };
  const auto reopen = [&] {
    disk->end_of_life();
    return disk->handle();
  };
  for (Check& check : storage_conformance(make, reopen)) {
    const Status kept = check.run();
    CHECK_MESSAGE(kept, check.name, ": ", kept.error().message);
  }
}

// ---- what the simulation finds

TEST_CASE("Promise 1 fails where a seq is given out again after an unknown commit") { catches("seq-reused"); }
TEST_CASE("Promise 1 fails where two conversations are swapped in one commit") { catches("two-swapped"); }
TEST_CASE("Promise 2 fails where an acknowledgement comes before its commit") { catches("acknowledges-early"); }
TEST_CASE("Promise 2 fails where a key is forgotten") { catches("forgets-a-key"); }
TEST_CASE("Promise 2 fails where the outcome of one change is taken for all") { catches("one-outcome-for-all"); }
TEST_CASE("Promise 2 fails where a read goes above the durable head") { catches("reads-too-far"); }
TEST_CASE("Promise 3 fails where an application is shown a message twice") { catches("shown-twice"); }
TEST_CASE("Promise 4 fails where a resume drops an event") { catches("resume-drops-one"); }
TEST_CASE("Promise 4 fails where a checkpoint is sent too early") { catches("checkpoint-too-early"); }
TEST_CASE("Promise 4 fails where a page is off by one") { catches("page-off-by-one"); }
TEST_CASE("Promise 4 fails where an inbox entry is not written again after a crash") { catches("inbox-not-recovered"); }
TEST_CASE("Promise 4 fails where a suffix is lost and nobody is told") { catches("epoch-stays"); }
TEST_CASE("Promise 4 fails where a session is said to be live again too early") { catches("live-on-session-shard"); }
TEST_CASE("Promise 4 fails where a notice is not renewed") { catches("notice-not-renewed"); }
TEST_CASE("Promise 4 fails where the event of a crossing is lost") { catches("crossing-event-lost"); }
TEST_CASE("Promise 5 fails where what was refused is written") { catches("refused-is-written"); }
TEST_CASE("It is found when an event goes to one who has left") { catches("shown-after-leaving"); }
TEST_CASE("It is found when a revoked login goes on") { catches("revokes-nothing"); }
TEST_CASE("It is found when a push leaves after the host's table has changed") {
  catches("push-after-membership-changed");
}
TEST_CASE("It is found when a policy is not asked") { catches("policy-ignored"); }
TEST_CASE("It is found when a deletion leaves its text") { catches("deleted-text-stays"); }
