#pragma once

#include <deque>
#include <string>
#include <unordered_map>
#include <utility>

#include "core/core.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// Jobs that wait for the store in the middle, one after the other for each name: a row is read, and written again,
// without another job on the same row in between.
class InOrder {
 public:
  // `job` runs now, or when those of that name before it are over. It calls what it is given when it is over, later.
  void run(const std::string& name, Function<void(Task over)> job) {
    auto& queue = queues_[name];
    queue.push_back(std::move(job));
    if (queue.size() == 1) start(name);
  }

  bool is_busy(const std::string& name) const { return queues_.contains(name); }

  void clear() { std::exchange(queues_, {}).clear(); }  // drops what waits

 private:
  void start(const std::string& name) {
    queues_[name].front()([this, name] {
      const auto at = queues_.find(name);
      if (at == queues_.end()) return;  // dropped
      at->second.pop_front();
      at->second.empty() ? static_cast<void>(queues_.erase(at)) : start(name);
    });
  }
  std::unordered_map<std::string, std::deque<Function<void(Task)>>> queues_;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
