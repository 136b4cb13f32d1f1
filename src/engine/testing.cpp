#include <chatcore/testing.h>

#include <algorithm>
#include <mutex>
#include <random>
#include <utility>

namespace chatcore {
inline namespace v1 {

struct ManualClock::State {
  std::mutex mutex;
  TimePoint wall;
  SteadyTime steady{std::chrono::hours(1)};
  std::chrono::microseconds cost{0};
};

ManualClock::ManualClock(TimePoint start) : state_(std::make_unique<State>()) { state_->wall = start; }
ManualClock::~ManualClock() = default;

TimePoint ManualClock::wall() {
  std::lock_guard lock(state_->mutex);
  return state_->wall;
}

SteadyTime ManualClock::steady() {
  std::lock_guard lock(state_->mutex);
  return state_->steady += state_->cost;
}

void ManualClock::advance(std::chrono::milliseconds time) {
  std::lock_guard lock(state_->mutex);
  state_->wall += time;
  state_->steady += time;
}

void ManualClock::jump(std::chrono::milliseconds time) {
  std::lock_guard lock(state_->mutex);
  state_->wall += time;
}

void ManualClock::cost_per_read(std::chrono::microseconds cost) {
  std::lock_guard lock(state_->mutex);
  state_->cost = cost;
}

struct TestEngine::State {
  std::shared_ptr<ManualClock> clock;
  std::optional<Engine> engine;
  Status status{};
};

TestEngine::TestEngine(std::unique_ptr<State> state) : state_(std::move(state)) {}
TestEngine::TestEngine(TestEngine&&) noexcept = default;
TestEngine& TestEngine::operator=(TestEngine&&) noexcept = default;
TestEngine::~TestEngine() = default;

TestEngine TestEngine::open(EngineOptions options, std::uint64_t seed) {
  auto state = std::make_unique<State>();
  // A clock of the test's own goes on where the last engine stopped.
  state->clock = std::dynamic_pointer_cast<ManualClock>(options.runtime.clock);
  if (!state->clock) state->clock = std::make_shared<ManualClock>();
  options.runtime.clock = state->clock;
  options.runtime.random = [random = std::mt19937_64(seed)]() mutable { return random(); };
  options.threads = 0;
  options.storage_threads = 0;
  if (!options.storage) {
    options.storage = make_memory_storage();
    options.durability = Durability::memory;
  }
  auto engine = Engine::open(std::move(options));
  if (engine) {
    state->engine.emplace(std::move(*engine));
  } else {
    state->status = engine.error();
  }
  return TestEngine(std::move(state));
}

const Status& TestEngine::status() const noexcept { return state_->status; }
Engine& TestEngine::engine() { return *state_->engine; }
ManualClock& TestEngine::clock() { return *state_->clock; }

void TestEngine::settle() {
  while (state_->engine->poll(std::chrono::seconds(1)).handled > 0) {
  }
}

void TestEngine::advance(std::chrono::milliseconds time) {
  settle();
  while (time.count() > 0) {
    const auto next = state_->engine->poll(std::chrono::microseconds(0)).next;
    const auto step = std::min(time, std::max(next, std::chrono::milliseconds(1)));
    state_->clock->advance(step);
    time -= step;
    settle();
  }
}

void TestEngine::cost_per_item(std::chrono::microseconds cost) { state_->clock->cost_per_read(cost); }

}  // namespace v1
}  // namespace chatcore
