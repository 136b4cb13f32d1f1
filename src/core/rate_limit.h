#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include <chatcore/ids.h>
#include <chatcore/options.h>

namespace chatcore {
inline namespace v1 {
namespace core {

// A token bucket kept as one number: when it will be full again. The generic cell rate algorithm in its virtual
// scheduling form (ITU-T Recommendation I.371, annex A). Any thread.
class RateLimit {
 public:
  RateLimit(unsigned per_second, unsigned burst);

  // Takes one token. Where there is none: after how long there is one again, and nothing is taken.
  std::optional<std::chrono::nanoseconds> take(SteadyTime now) noexcept;
  bool is_full(SteadyTime now) const noexcept;  // a new one would give no more
  // After so long it is full, whatever was taken before.
  std::chrono::nanoseconds time_to_fill() const noexcept { return std::chrono::nanoseconds(every_ * burst_); }

 private:
  const std::int64_t every_, burst_;  // ns a token; tokens
  std::atomic<std::int64_t> full_at_;
};

// The answer of one who has to wait.
Error rate_limited(std::string_view what, std::chrono::nanoseconds wait);

// What each user may send, over all his sessions: who comes back at once finds his bucket as he left it.
class UserLimits : public std::enable_shared_from_this<UserLimits> {
 public:
  UserLimits(unsigned per_second, unsigned burst, std::shared_ptr<Clock> clock)
      : per_second_(per_second), burst_(burst), clock_(std::move(clock)) {}

  // His bucket, for a session; kept while anyone holds what this gives, and then until it is full. Any thread.
  std::shared_ptr<RateLimit> of(const UserId&);
  std::size_t kept();  // buckets

 private:
  struct Kept {
    std::shared_ptr<RateLimit> limit{};
    std::size_t holders = 0;
    SteadyTime full{};
  };
  void release(const UserId&);
  void forget_full(SteadyTime now);  // with the lock

  const unsigned per_second_, burst_;
  const std::shared_ptr<Clock> clock_;
  std::mutex mutex_;  // guards what follows
  std::unordered_map<UserId, Kept> users_;
  std::deque<std::pair<SteadyTime, UserId>> left_;  // by when their buckets are full
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
