#include "core/core.h"

#include <algorithm>
#include <functional>
#include <random>

#include "core/hints.h"
#include "core/shard.h"
#include "core/store.h"

namespace chatcore {
inline namespace v1 {
namespace core {

void EngineTime::start(Clock& clock, std::uint64_t persisted) {
  const auto wall = clock.wall().time_since_epoch().count();
  base_ = std::max<std::uint64_t>(persisted, wall > 0 ? static_cast<std::uint64_t>(wall) : 0);
  began_ = clock.steady();
}

std::uint64_t EngineTime::now(Clock& clock) const {
  const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(clock.steady() - began_).count();
  return base_ + static_cast<std::uint64_t>(std::max<std::int64_t>(passed, 0));
}

Core::Core() = default;
Core::~Core() = default;

Shard& Core::home(const ConversationId& id) const {
  return *shards[std::hash<std::string_view>{}(id.view()) % shards.size()];
}

Shard& Core::home(const UserId& id) const { return *shards[std::hash<std::string_view>{}(id.view()) % shards.size()]; }

std::uint64_t Core::random() {
  std::lock_guard lock(random_mutex_);
  if (random_source) {
    try {
      return random_source();
    } catch (...) {
      add(counters.callback_exceptions);
    }
  }
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

std::uint64_t Core::memory_used() const {
  constexpr auto relaxed = std::memory_order_relaxed;
  return counters.outbox_bytes.load(relaxed) + counters.inbound_bytes.load(relaxed) +
         counters.page_bytes.load(relaxed) + counters.session_bytes.load(relaxed) +
         counters.conversation_bytes.load(relaxed);
}

void Core::log(LogLevel level, std::string_view line) const {
  if (log_sink) guarded(*this, [&] { log_sink(level, line); });
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
