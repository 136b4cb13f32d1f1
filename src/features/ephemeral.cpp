#include <algorithm>

#include "features/signals.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

void show_if_member(Shard& shard, std::shared_ptr<core::Conversation> conversation, Call<SendEphemeral> call) {
  const Identity who = call.by.who;
  core::Conversation& at = *conversation;
  if_he_speaks(
      at, who, [&shard, conversation = std::move(conversation), call = std::move(call)](Status speaks) mutable {
        if (!speaks) return call.reply(speaks.error());
        const Audience audience{.only = std::move(call.request.only), .but = call.by.session};
        show(shard, *conversation, Ephemeral{conversation->id(), call.by.who.user, std::move(call.request.content)},
             audience, std::move(call.reply));
      });
}

}  // namespace

Status check_ephemeral(Core& core, const Caller& by, SendEphemeral& request) {
  if (Status ok = check_target(by, request.to, "to"); !ok) return ok;
  if (request.only.size() > core.limits.group_members) {
    return Error{ErrorCode::invalid, "only: at most " + std::to_string(core.limits.group_members), {}};
  }
  std::sort(request.only.begin(), request.only.end());
  if (!request.only.empty() && request.only.front().empty()) {
    return Error{ErrorCode::invalid, "only: a user id is empty", {}};
  }
  return check_content(core.limits, request.content);
}

// Asked for like a change, so that it keeps its sender's order, and passes what a change passes; it leaves nothing to
// write. Who shows and sees it is what is durable: a change under way may yet fail.
void send_ephemeral(Shard& shard, Call<SendEphemeral> call) {
  auto conversation = shard.conversations().get(conversation_of(call.by, call.request.to));
  core::Attempt attempt{.by = call.by, .asks = shown_to_policy(shard.core(), call)};
  // Answered here where it is refused, and by show() where it passes: whoever takes it first.
  const auto reply = std::make_shared<core::Reply<Delivered>>(std::move(call.reply));
  attempt.reply = [reply](Result<Accepted> refused) {
    if (!refused) (*reply)(refused.error());
  };
  core::Conversation& at = *conversation;
  at.change(std::move(attempt),
            [&shard, conversation = std::move(conversation), reply,
             call = std::move(call)](core::Draft& draft) mutable -> Status {
              auto content = content_of(draft, std::move(call.request.content));
              if (!content) return content.error();
              call.request.content = std::move(*content);
              call.reply = std::move(*reply);
              shard.post([&shard, conversation, call = std::move(call)]() mutable {
                show_if_member(shard, conversation, std::move(call));
              });
              return {};
            });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
