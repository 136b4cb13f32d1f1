#pragma once

#include <utility>

#include "core/conversation.h"

namespace chatcore {
inline namespace v1 {
namespace core {

template <class Then>
void Conversation::go_on(std::uint64_t generation, Attempt attempt, Apply apply, Then then) {
  const UserId sender = attempt.by.who.user;
  if (generation_ == generation && phase_ == Phase::ready) {
    then(*this, std::move(attempt), std::move(apply));
    const auto held = held_.find(sender);
    if (--held->second.waits > 0) return;
    auto behind = std::move(held->second.behind);
    held_.erase(held);
    for (auto& next : behind) next();
  } else {  // what it stood on may be old by now: from the start, and those behind it behind it
    auto behind = std::move(held_[sender].behind);
    held_.erase(sender);
    change(std::move(attempt), std::move(apply));
    for (auto& next : behind) next();
  }
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
