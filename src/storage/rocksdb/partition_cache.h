#pragma once

#include <list>
#include <string>
#include <unordered_map>
#include <utility>

#include "encoding.h"

namespace chatcore {
inline namespace v1 {
namespace rocks {

// The partitions that were written last, so that a commit needs no read. Only commit() uses it: no lock.
class PartitionCache {
 public:
  explicit PartitionCache(std::size_t most) : most_(most) {}

  const PartitionRow* find(std::string_view name) {
    const auto found = index_.find(name);
    if (found == index_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return &found->second->second;
  }

  void put(std::string_view name, const PartitionRow& row) {
    if (find(name)) {
      order_.front().second = row;
      return;
    }
    order_.emplace_front(name, row);
    index_.emplace(order_.front().first, order_.begin());
    if (order_.size() <= most_) return;
    index_.erase(order_.back().first);
    order_.pop_back();
  }

  void clear() {
    index_.clear();
    order_.clear();
  }

 private:
  using Order = std::list<std::pair<std::string, PartitionRow>>;  // the last used first

  std::size_t most_;
  Order order_;
  std::unordered_map<std::string_view, Order::iterator> index_;  // its keys point into order_
};

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
