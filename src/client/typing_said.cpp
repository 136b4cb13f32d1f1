#include "client/typing_said.h"

#include <algorithm>

namespace chatcore {
inline namespace v1 {
namespace client {
namespace {
constexpr std::chrono::seconds holds{1};
}

bool TypingSaid::is_repeat(const Call& call, SteadyTime now) {
  while (!said_.empty() && said_.front().at + holds <= now) said_.pop_front();
  const bool repeat = std::any_of(said_.begin(), said_.end(), [&](const Said& each) { return each.body == call.body; });
  if (repeat) return true;
  forget(call.to);
  said_.push_back({call.to, call.body, now});
  return false;
}

void TypingSaid::forget(const Bytes& to) {
  std::erase_if(said_, [&](const Said& each) { return each.to == to; });
}

}  // namespace client
}  // namespace v1
}  // namespace chatcore
