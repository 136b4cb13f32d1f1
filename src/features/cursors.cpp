#include "features/own_log.h"

namespace chatcore {
inline namespace v1 {
namespace features {

Status check_read(Core&, const Caller& by, MarkRead& request) {
  if (Status ok = check_user(by); !ok) return ok;
  return check_id(request.conversation, "conversation");
}

void mark_read(Shard& shard, Call<MarkRead> call) {
  auto conversation = shard.conversations().get(call.request.conversation);
  const Identity who = call.by.who;
  conversation->read_as(who, [&shard, conversation, call = std::move(call)](Result<core::Standing> standing) mutable {
    if (Status may = may_move_cursor(*conversation, standing, call.request.seq); !may) return call.reply(may.error());
    const UserId user = call.by.who.user;
    Shard& own = shard.core().home(own_log_of(user));
    own.post([&own, user, call = std::move(call)]() mutable {
      move_cursor(own, user, call.request.conversation, call.request.seq,
                  [reply = std::move(call.reply)](Result<Seq> cursor) mutable {
                    cursor ? reply(ReadCursor{*cursor}) : reply(cursor.error());
                  });
    });
  });
}

Status may_move_cursor(const core::Conversation& conversation, const Result<core::Standing>& standing, Seq seq) {
  if (!standing) return standing.error();
  if (Status may = may_be_marked(conversation); !may) return may;
  const Seq head = visible_head(conversation, standing->intervals);
  if (seq <= head) return {};
  return Error{ErrorCode::invalid, "seq: beyond the head, which is " + std::to_string(head), {}};
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
