#include <chrono>
#include <cstdio>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "simulation/run.h"

// chatcore-simulation: runs seeds, or shows one.

namespace {

using namespace simulation;

const BrokenKind* kind_of(const std::string& name) {
  for (const BrokenKind& kind : broken_kinds()) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

void print(const Outcome& outcome) {
  if (!outcome.violation) return;
  std::printf("broken: %s\n  %s\n", std::string(name_of(outcome.violation->promise)).c_str(),
              outcome.violation->what.c_str());
}

int show(std::uint64_t seed, const BrokenKind* broken, bool whole) {
  Plan plan = make_plan(seed);
  Outcome outcome = run(plan, broken, true);
  std::printf("seed %llu: %llu steps, hash %016llx\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(outcome.steps), static_cast<unsigned long long>(outcome.hash));
  if (outcome.violation && !whole) {
    const std::size_t all = plan.ops.size();
    plan = shrink(std::move(plan), outcome.violation->promise, broken);
    outcome = run(plan, broken, true);
    std::printf("%zu of %zu operations are enough:\n", plan.ops.size(), all);
  }
  for (const std::string& line : outcome.trace) std::printf("%s\n", line.c_str());
  print(outcome);
  return outcome.violation ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Runs chatcore, its clients, network and disk in one thread from a seed, and checks the six promises.");
  std::uint64_t count = 1000, from = 1, seed = 0;
  bool json = false, trace = false, whole = false, stop = false;
  std::string broken_name;
  std::vector<std::string> names;
  for (const BrokenKind& kind : broken_kinds()) names.emplace_back(kind.name);
  app.add_option("--seeds", count, "How many");
  app.add_option("--from", from, "The first");
  app.add_flag("--json", json, "One JSON object instead of text");
  app.add_flag("--stop", stop, "At the first seed that fails");
  auto* one = app.add_option("--seed", seed, "This one only");
  app.add_flag("--trace", trace, "With --seed: what happens; of a seed that fails, the least that still fails");
  app.add_flag("--whole", whole, "With --trace: all of it");
  app.add_option("--broken", broken_name, "An engine that is wrong in this way")->check(CLI::IsMember(names));
  CLI11_PARSE(app, argc, argv);
  const BrokenKind* broken = kind_of(broken_name);
  if (*one) {
    if (trace) return show(seed, broken, whole);
    from = seed;
    count = 1;
  }

  const auto began = std::chrono::steady_clock::now();
  std::uint64_t steps = 0, failures = 0, ran = 0;
  std::optional<std::uint64_t> first;
  for (std::uint64_t s = from; s < from + count && !(stop && first); ++s, ++ran) {
    const Outcome outcome = run(make_plan(s), broken);
    steps += outcome.steps;
    if (!outcome.violation) continue;
    ++failures;
    if (!first) first = s;
    if (!json) std::printf("seed %llu, ", static_cast<unsigned long long>(s)), print(outcome);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  if (json) {
    nlohmann::ordered_json result{{"seeds", ran}, {"steps", steps}, {"failures", failures}};
    result["first_failing_seed"] = first ? nlohmann::ordered_json(*first) : nlohmann::ordered_json();
    result["seconds"] = seconds;
    std::printf("%s\n", result.dump().c_str());
  } else {
    std::printf("%llu seeds, %llu steps, %llu failures, %.1f s\n", static_cast<unsigned long long>(ran),
                static_cast<unsigned long long>(steps), static_cast<unsigned long long>(failures), seconds);
  }
  return failures == 0 ? 0 : 1;
}
