#pragma once

#include <vector>

#include "core/shard.h"
#include "features/common.h"

namespace chatcore {
inline namespace v1 {
namespace features {

// A user's own log (requests/own.h): a conversation of kind `own` whose only member he is. Its events are OwnChanged;
// its rows are his marks as they are now. All of this on the shard of the log, `own` below.
ConversationId own_log_of(const UserId&);

struct Own {
  std::vector<Marks> marks{};
  bool hides_receipts = false;
};

// Lets `edit` change his marks of these conversations, given in that order, and his settings. What changed is written
// as one event, together with the read cursors that wait to be; then `reply` has it. An `edit` that is not there writes
// what waits.
void edit_own(Shard& own, const UserId&, std::vector<ConversationId>, Function<void(Own&)> edit,
              core::Reply<Own> reply);

// Moves his read cursor, and takes the mark `unread` off. `reply` has the cursor at once; it is written, and told to
// his sessions and to the conversation, now or a second after the last time.
void move_cursor(Shard& own, const UserId&, const ConversationId&, Seq, core::Reply<Seq> reply);

// Blocking: as it is stored.
Result<Own> read_own(Storage&, const UserId&, const std::vector<ConversationId>&);

}  // namespace features
}  // namespace v1
}  // namespace chatcore
