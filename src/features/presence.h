#pragma once

#include "features/features.h"

namespace chatcore {
inline namespace v1 {
namespace features {

// To the sessions that watch this user; from his home shard.
void show_to_watchers(Shard& home_of_user, const UserId&, Signal);

}  // namespace features
}  // namespace v1
}  // namespace chatcore
