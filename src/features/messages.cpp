#include "features/common.h"
#include "features/typing.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

// A message that he who asks can see, or null.
const MessagePosted* message_at(const core::Draft& draft) {
  if (!draft.target()) return nullptr;
  const auto* posted = draft.target()->event.as<MessagePosted>();
  if (!posted || draft.by().who.trusted) return posted;
  const protocol::MemberRow* member = draft.member(draft.by().who.user);
  return member && core::sees(member->intervals, draft.target()->event.seq) ? posted : nullptr;
}

Error no_such_message() {
  return {ErrorCode::no_such_message, "there is no message at that seq, or you can't see it", {}};
}

bool is_own(const core::Draft& draft) { return draft.target()->event.sender == draft.by().who.user; }

std::vector<core::Participant> pair_of(const UserId& a, const UserId& b) {
  const protocol::MemberRow row{.intervals = {{1, 0}}, .since = 1};
  if (a == b) return {{a, row}};
  return {{std::min(a, b), row}, {std::max(a, b), row}};
}

}  // namespace

Status check_send(Core& core, const Caller& by, Send& request) {
  if (Status ok = check_target(by, request.to, "to"); !ok) return ok;
  if (Status ok = check_key(request.key); !ok) return ok;
  return check_content(core.limits, request.content);
}

void send(Shard& shard, Call<Send> call) {
  const ConversationId id = conversation_of(call.by, call.request.to);
  const bool direct = call.request.to.direct() != nullptr;
  const UserId peer = direct ? call.request.to.direct()->peer : UserId{};
  auto attempt = attempt_of(shard, call, direct ? core::Attempt::From::anyone : core::Attempt::From::members);
  shard.conversations().get(id)->change(
      std::move(attempt),
      [&shard, content = std::move(call.request.content), direct, peer](core::Draft& draft) -> Status {
        auto said = content_of(draft, std::move(content));
        if (!said) return said.error();
        if (direct && !draft.state().exists) {
          draft.create(ConversationKind::direct, {}, pair_of(draft.by().who.user, peer));
        } else if (Status may = require(draft, Role::member); !may) {
          return may;
        }
        draft.message(MessagePosted{.content = std::move(*said)});
        types_no_more(shard, draft.id(), draft.by().who.user);
        return {};
      });
}

Status check_edit(Core& core, const Caller&, EditMessage& request) {
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  if (request.seq == 0) return Error{ErrorCode::invalid, "seq: begins at 1", {}};
  if (Status ok = check_key(request.key); !ok) return ok;
  return check_content(core.limits, request.content);
}

void edit(Shard& shard, Call<EditMessage> call) {
  auto attempt = attempt_of(shard, call);
  attempt.target = call.request.seq;
  shard.conversations()
      .get(call.request.conversation)
      ->change(std::move(attempt), [content = std::move(call.request.content)](core::Draft& draft) -> Status {
        if (Status may = require(draft, Role::member); !may) return may;
        const MessagePosted* posted = message_at(draft);
        if (!posted || posted->deleted) return no_such_message();
        if (!is_own(draft) && !draft.by().who.trusted) {
          return Error{ErrorCode::forbidden, "only its sender may edit a message", {}};
        }
        auto said = content_of(draft, std::move(content));
        if (!said) return said.error();
        draft.change(
            ChangeKind::edited,
            {.content = std::move(*said), .revision = posted->revision + 1, .changed = draft.core().clock->wall()});
        return {};
      });
}

Status check_delete(Core&, const Caller&, DeleteMessage& request) {
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  if (request.seq == 0) return Error{ErrorCode::invalid, "seq: begins at 1", {}};
  return check_key(request.key);
}

void remove_message(Shard& shard, Call<DeleteMessage> call) {
  auto attempt = attempt_of(shard, call);
  attempt.target = call.request.seq;
  shard.conversations().get(call.request.conversation)->change(std::move(attempt), [](core::Draft& draft) -> Status {
    const MessagePosted* posted = message_at(draft);
    if (!posted) return no_such_message();
    if (Status may = require(draft, is_own(draft) ? Role::member : Role::admin); !may) return may;
    if (posted->deleted) return {};
    draft.change(ChangeKind::deleted,
                 {.revision = posted->revision + 1, .deleted = true, .changed = draft.core().clock->wall()});
    return {};
  });
}

Status check_abandon(Core&, const Caller& by, Abandon& request) {
  if (Status ok = check_target(by, request.to, "to"); !ok) return ok;
  if (request.key.number == 0) return Error{ErrorCode::invalid, "key: only a numbered key can be abandoned", {}};
  return check_key(request.key);
}

void abandon(Shard& shard, Call<Abandon> call) {
  // One that is not in memory remembers no failure.
  if (auto known = shard.conversations().find(conversation_of(call.by, call.request.to))) {
    known->abandon(call.by.who.user, call.request.key);
  }
  call.reply(Nothing{});
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
