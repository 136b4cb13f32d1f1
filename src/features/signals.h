#pragma once

#include <vector>

#include "core/conversation.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace features {

struct Audience {
  std::vector<UserId> only{};  // ascending; empty: all members
  std::uint64_t but = 0;       // not this session
};
void show(core::Shard&, const core::Conversation&, const Signal&, Audience, core::Reply<Delivered>);

}  // namespace features
}  // namespace v1
}  // namespace chatcore
