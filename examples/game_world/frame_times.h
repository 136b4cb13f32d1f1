#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

// How long something took in each frame.
class FrameTimes {
 public:
  using Duration = std::chrono::nanoseconds;

  void add(Duration time) { times_.push_back(time), sorted_ = false; }

  // In microseconds; of 0.5 the median, of 1 the longest.
  double at(double share) {
    if (times_.empty()) return 0;
    if (!sorted_) std::sort(times_.begin(), times_.end()), sorted_ = true;
    const auto last = static_cast<double>(times_.size() - 1);
    return static_cast<double>(times_[static_cast<std::size_t>(share * last + 0.5)].count()) / 1000;
  }
  std::size_t count() const { return times_.size(); }
  std::size_t over(Duration bound) const {
    return static_cast<std::size_t>(std::count_if(times_.begin(), times_.end(), [&](Duration t) { return t > bound; }));
  }

 private:
  std::vector<Duration> times_{};
  bool sorted_ = false;
};
