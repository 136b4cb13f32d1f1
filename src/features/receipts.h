#pragma once

#include "core/core.h"

namespace chatcore {
inline namespace v1 {
namespace features {

// Someone has received or read more of a conversation. From any shard.
void move_receipt(core::Core&, const ConversationId&, Receipt);

}  // namespace features
}  // namespace v1
}  // namespace chatcore
