#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace chatcore {
inline namespace v1 {
namespace client {

// How long to wait before the next try: a time drawn from a range that doubles up to a limit. Drawn from all of the
// range, because clients that were cut at one moment must not come back at one moment.
class Backoff {
 public:
  using Milliseconds = std::chrono::milliseconds;

  Backoff(Milliseconds first, Milliseconds most)
      : first_(std::max(first, Milliseconds(1))), most_(std::max(most, first_)), range_(first_) {}

  Milliseconds next(std::uint64_t random) {
    const Milliseconds range = range_;
    range_ = range_ > most_ / 2 ? most_ : range_ * 2;
    return Milliseconds(static_cast<std::int64_t>(random % (static_cast<std::uint64_t>(range.count()) + 1)));
  }
  void reset() { range_ = first_; }

 private:
  Milliseconds first_, most_, range_;
};

}  // namespace client
}  // namespace v1
}  // namespace chatcore
