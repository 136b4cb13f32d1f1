#include "features/own_log.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

Status check_marks(const Caller& by, const ConversationId& id) {
  if (Status ok = check_user(by); !ok) return ok;
  return check_id(id, "conversation");
}

// Whoever may read a conversation marks it, in his own log.
template <class R, class Edit>
void edit_marks(Shard& shard, Call<R> call, Edit edit) {
  auto conversation = shard.conversations().get(call.request.conversation);
  const Identity who = call.by.who;
  conversation->read_as(who,
                        [&shard, conversation, edit, call = std::move(call)](Result<core::Standing> standing) mutable {
                          if (!standing) return call.reply(standing.error());
                          if (Status may = may_be_marked(*conversation); !may) return call.reply(may.error());
                          const UserId user = call.by.who.user;
                          Shard& own = shard.core().home(own_log_of(user));
                          own.post([&own, user, edit, call = std::move(call)]() mutable {
                            std::vector<ConversationId> named{call.request.conversation};
                            edit_own(
                                own, user, std::move(named), [edit](Own& of) { edit(of.marks.front()); },
                                [reply = std::move(call.reply)](Result<Own> now) mutable {
                                  now ? reply(std::move(now->marks.front())) : reply(now.error());
                                });
                          });
                        });
}

}  // namespace

Status may_be_marked(const core::Conversation& conversation) {
  if (conversation.durable().kind != ConversationKind::own) return {};
  return Error{ErrorCode::forbidden, "a user's own log holds marks, and has none", {}};
}

Status check_mute(Core&, const Caller& by, Mute& request) { return check_marks(by, request.conversation); }
void mute(Shard& shard, Call<Mute> call) {
  edit_marks(shard, std::move(call), [until = call.request.until](Marks& marks) { marks.muted_until = until; });
}

Status check_pin(Core&, const Caller& by, Pin& request) { return check_marks(by, request.conversation); }
void pin(Shard& shard, Call<Pin> call) {
  edit_marks(shard, std::move(call), [pinned = call.request.pinned](Marks& marks) { marks.pinned = pinned; });
}

Status check_archive(Core&, const Caller& by, Archive& request) { return check_marks(by, request.conversation); }
void archive(Shard& shard, Call<Archive> call) {
  edit_marks(shard, std::move(call), [archived = call.request.archived](Marks& marks) { marks.archived = archived; });
}

Status check_mark_unread(Core&, const Caller& by, MarkUnread& request) { return check_marks(by, request.conversation); }
void mark_unread(Shard& shard, Call<MarkUnread> call) {
  edit_marks(shard, std::move(call), [unread = call.request.unread](Marks& marks) { marks.unread = unread; });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
