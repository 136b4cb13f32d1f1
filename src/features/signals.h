#pragma once

#include <cstdint>
#include <vector>

#include "features/common.h"

// Signals: what is shown to the members who are here, and stored nowhere.

namespace chatcore {
inline namespace v1 {
namespace features {

struct Audience {
  std::vector<UserId> only{};  // ascending, members or not: of these the members; empty: all members
  std::uint64_t but = 0;       // not this session
};

// To their sessions that have room. `reply` is told how many those are; without one nobody counts.
void show(Shard&, const core::Conversation&, const Signal&, const Audience&, core::Reply<Delivered> reply);

// Runs `then` when it is known whether he may speak in it now, maybe inside this call: a member whose role is at least
// `member`. `durable()` is valid inside. Whoever asks holds the conversation until then.
void if_he_speaks(core::Conversation&, const Identity&, Function<void(Status)> then);

}  // namespace features
}  // namespace v1
}  // namespace chatcore
