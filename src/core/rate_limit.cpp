#include "core/rate_limit.h"

#include <algorithm>
#include <limits>

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {

std::int64_t nanoseconds(SteadyTime time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

}  // namespace

RateLimit::RateLimit(unsigned per_second, unsigned burst)
    : every_(1'000'000'000 / per_second), burst_(burst), full_at_(std::numeric_limits<std::int64_t>::min()) {}

std::optional<std::chrono::nanoseconds> RateLimit::take(SteadyTime time) noexcept {
  const std::int64_t now = nanoseconds(time);
  for (std::int64_t full_at = full_at_.load(std::memory_order_relaxed);;) {
    const std::int64_t next = std::max(full_at, now) + every_;
    const std::int64_t over = next - now - every_ * burst_;
    if (over > 0) return std::chrono::nanoseconds(over);
    if (full_at_.compare_exchange_weak(full_at, next, std::memory_order_relaxed)) return {};
  }
}

bool RateLimit::is_full(SteadyTime now) const noexcept {
  return full_at_.load(std::memory_order_relaxed) <= nanoseconds(now);
}

Error rate_limited(std::string_view what, std::chrono::nanoseconds wait) {
  return {ErrorCode::rate_limited, "too many " + std::string(what) + ": come again after retry_after",
          std::chrono::ceil<std::chrono::milliseconds>(wait)};
}

std::shared_ptr<RateLimit> UserLimits::of(const UserId& user) {
  std::shared_ptr<RateLimit> limit;
  {
    std::lock_guard lock(mutex_);
    forget_full(clock_->steady());
    Kept& kept = users_[user];
    if (!kept.limit) kept.limit = std::make_shared<RateLimit>(per_second_, burst_);
    ++kept.holders;
    limit = kept.limit;
  }
  RateLimit* const held = limit.get();
  return {held, [self = shared_from_this(), limit = std::move(limit), user](RateLimit*) { self->release(user); }};
}

std::size_t UserLimits::kept() {
  std::lock_guard lock(mutex_);
  forget_full(clock_->steady());
  return users_.size();
}

void UserLimits::release(const UserId& user) {
  std::lock_guard lock(mutex_);
  const SteadyTime now = clock_->steady();
  Kept& kept = users_.at(user);
  if (--kept.holders == 0) {
    kept.full = now + kept.limit->time_to_fill();
    try {
      left_.emplace_back(kept.full, user);
    } catch (...) {  // out of memory: who comes back begins anew
      users_.erase(user);
    }
  }
  forget_full(now);
}

// One who came back and left again stands there twice: the later time counts.
void UserLimits::forget_full(SteadyTime now) {
  for (; !left_.empty() && left_.front().first <= now; left_.pop_front()) {
    const auto at = users_.find(left_.front().second);
    if (at != users_.end() && at->second.holders == 0 && at->second.full <= now) users_.erase(at);
  }
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
