#pragma once

#include <vector>

#include "core/shard.h"
#include "features/common.h"

namespace chatcore {
inline namespace v1 {
namespace features {

// A user's conversations: where they are found, and what is told of one.

// Runs once what he marked, and what was published to him, is written, or could not be (on a full disk). On his shard.
void when_written(Shard& home, const UserId&, core::Task then);

// Those of which there are no inbox entries: channels, and what the host's table knows. On his shard.
void places_without_entries(Shard& home, const UserId&, core::Reply<std::vector<ConversationId>> reply);

// What a list shows of a conversation. On that one's shard.
void summarize(Shard&, const ConversationId&, const Identity&, const Marks&, core::Reply<ConversationEntry> reply);

}  // namespace features
}  // namespace v1
}  // namespace chatcore
