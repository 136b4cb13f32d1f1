#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

// Latencies in nanoseconds, counted in buckets that are at most 1/64 wide: any number of samples in 32 KiB.
class Latency {
 public:
  void record(std::int64_t ns) {
    ++counts_[bucket(static_cast<std::uint64_t>(std::max<std::int64_t>(ns, 0)))];
    ++total_;
  }
  std::uint64_t count() const { return total_; }

  // The upper end of the bucket in which the `part`th (0 to 1) sample is, in milliseconds.
  double quantile_ms(double part) const {
    const auto rank = static_cast<std::uint64_t>(part * static_cast<double>(total_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > rank || (seen == total_ && total_ != 0)) return upper_end(i) / 1e6;
    }
    return 0;
  }

 private:
  static constexpr int fine = 6;  // bits below the leading one that tell buckets apart

  static std::size_t bucket(std::uint64_t ns) {
    const int width = static_cast<int>(std::bit_width(ns));
    if (width <= fine + 1) return ns;
    const int shift = width - fine - 1;
    return (static_cast<std::size_t>(shift) << fine) + (ns >> shift);
  }
  static double upper_end(std::size_t bucket) {
    if (bucket < std::size_t{2} << fine) return static_cast<double>(bucket);
    const std::size_t shift = (bucket >> fine) - 1;
    return static_cast<double>(((bucket & ((1 << fine) - 1)) + (1 << fine) + 1) << shift);
  }

  std::array<std::uint64_t, (64 - fine + 1) << fine> counts_{};
  std::uint64_t total_ = 0;
};
