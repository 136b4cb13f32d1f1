#pragma once

#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace features {

// What he typed is said: his typing ends with it. On the conversation's home shard.
void types_no_more(core::Shard&, const ConversationId&, const UserId&);

}  // namespace features
}  // namespace v1
}  // namespace chatcore
