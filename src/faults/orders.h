#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <utility>
#include <vector>

namespace chatcore {
inline namespace v1 {
namespace detail {

// Which fault the next call suffers: what was ordered, then what chance has. Not safe from several threads.
template <class Fault>
class Orders {
 public:
  explicit Orders(std::uint64_t seed) : random_(seed) {}

  void next(std::vector<Fault> faults) { ordered_.assign(faults.begin(), faults.end()); }
  void some(double share, std::vector<Fault> faults) {
    share_ = share;
    by_chance_ = std::move(faults);
  }
  Fault draw() {
    ++calls_;
    Fault fault = Fault::none;
    if (!ordered_.empty()) {
      fault = ordered_.front();
      ordered_.pop_front();
    } else if (!by_chance_.empty() && std::generate_canonical<double, 53>(random_) < share_) {
      fault = by_chance_[random_() % by_chance_.size()];
    }
    if (fault != Fault::none) ++spoiled_;
    return fault;
  }
  std::size_t calls() const { return calls_; }
  std::size_t spoiled() const { return spoiled_; }

 private:
  std::mt19937_64 random_;
  std::deque<Fault> ordered_{};
  std::vector<Fault> by_chance_{};
  double share_ = 0;
  std::size_t calls_ = 0, spoiled_ = 0;
};

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
