#include <algorithm>

#include "core/hub.h"
#include "features/common.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

std::vector<UserId> audience(const core::State& state, const std::vector<UserId>& only) {
  if (!state.roster) return only;
  std::vector<UserId> users;
  for (const core::Participant& member : state.roster->all()) {
    if (!member.active()) continue;
    if (only.empty() || std::binary_search(only.begin(), only.end(), member.user)) users.push_back(member.user);
  }
  return users;
}

// Each shard shows it to those who live there; the sums come back here.
struct Sum {
  core::Reply<Delivered> reply;
  std::size_t left = 0;
  std::uint32_t sessions = 0;
};

void show(Shard& shard, const core::Conversation& conversation, Call<SendEphemeral> call) {
  const ConversationId id = conversation.id();
  const core::State& state = conversation.durable();
  const bool to_followers = state.on_read;
  const std::vector<UserId> users = audience(state, call.request.only);
  const Frame frame = std::make_shared<const Bytes>(
      protocol::encode_signal_push(Ephemeral{id, call.by.who.user, std::move(call.request.content)}));
  const auto& shards = shard.core().shards;
  auto sum = std::make_shared<Sum>(Sum{std::move(call.reply), shards.size(), 0});
  for (const auto& other : shards) {
    std::vector<UserId> here;
    for (const UserId& user : users) {
      if (&shard.core().home(user) == other.get()) here.push_back(user);
    }
    core::Hub::Shown shown{.frame = frame,
                           .conversation = id,
                           .users = std::move(here),
                           .to_followers = to_followers,
                           .all = call.request.only.empty(),
                           .but = call.by.session,
                           .asked_at = conversation.asked_at()};
    other->post([&shard, &hub = other->hub(), shown = std::move(shown), sum]() mutable {
      hub.show(std::move(shown), [&shard, sum](std::uint32_t sessions) {
        shard.post([sum, sessions] {
          sum->sessions += sessions;
          if (--sum->left == 0) sum->reply(Delivered{sum->sessions});
        });
      });
    });
  }
}

void show_if_member(Shard& shard, std::shared_ptr<core::Conversation> conversation, Call<SendEphemeral> call) {
  const Identity who = call.by.who;
  core::Conversation& at = *conversation;
  at.read_as(who, [&shard, conversation = std::move(conversation),
                   call = std::move(call)](Result<core::Standing> standing) mutable {
    if (!standing) return call.reply(standing.error());
    if (!standing->active || standing->role < Role::member) {
      return call.reply(Error{ErrorCode::forbidden, "this needs the role member", {}});
    }
    show(shard, *conversation, std::move(call));
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
