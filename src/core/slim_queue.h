#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace chatcore {
inline namespace v1 {
namespace core {

// A queue whose items lie side by side, and that owns no memory while it is empty: most sessions are silent most of
// the time, and what they cost then is what counts.
template <class T>
class SlimQueue {
 public:
  bool empty() const noexcept { return first_ == items_.size(); }
  std::size_t size() const noexcept { return items_.size() - first_; }
  std::span<const T> all() const noexcept { return std::span(items_).subspan(first_); }
  T& front() { return items_[first_]; }
  std::size_t held() const noexcept { return items_.capacity(); }  // items there is memory for

  void push(T item) {
    if (items_.capacity() == 0) items_.reserve(at_first);
    if (first_ > items_.size() / 2 && items_.size() == items_.capacity()) {
      items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
    }
    items_.push_back(std::move(item));
  }
  void pop(std::size_t count = 1) {
    for (; count != 0; --count) items_[first_++] = T();
    if (empty()) clear();
  }
  // Everything, for whoever looks through it and puts back what stays.
  std::vector<T> take_all() {
    items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(std::exchange(first_, 0)));
    return std::exchange(items_, {});
  }
  void clear() {
    std::vector<T>().swap(items_);
    first_ = 0;
  }

 private:
  static constexpr std::size_t at_first = 16;
  std::vector<T> items_;
  std::size_t first_ = 0;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
