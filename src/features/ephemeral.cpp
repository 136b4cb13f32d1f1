#include <algorithm>

#include "core/hub.h"
#include "features/common.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

Result<std::vector<UserId>> audience(const core::State& state, const Caller& by, const std::vector<UserId>& only) {
  if (!by.who.trusted) {
    const core::Membership* sender = state.exists ? state.roster->find(by.who.user) : nullptr;
    if (!sender) {
      return Error{ErrorCode::no_such_conversation, "there is no such conversation, or you are not in it", {}};
    }
    if (!sender->active() || sender->row.role < Role::member) {
      return Error{ErrorCode::forbidden, "this needs the role member", {}};
    }
  }
  if (!state.exists) return Error{ErrorCode::no_such_conversation, "there is no such conversation", {}};
  std::vector<UserId> users;
  for (const core::Membership& member : state.roster->all()) {
    if (!member.active()) continue;
    if (only.empty() || std::binary_search(only.begin(), only.end(), member.user)) users.push_back(member.user);
  }
  return users;
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

void send_ephemeral(Shard& shard, Call<SendEphemeral> call) {
  const ConversationId id = conversation_of(call.by, call.request.to);
  auto conversation = shard.conversations().get(id);
  conversation->when_ready([&shard, conversation, call = std::move(call)](Status ready) mutable {
    if (!ready) return call.reply(ready.error());
    auto users = audience(conversation->durable(), call.by, call.request.only);
    if (!users) return call.reply(users.error());
    const Frame frame = std::make_shared<const Bytes>(
        protocol::encode_signal_push(Ephemeral{conversation->id(), call.by.who.user, std::move(call.request.content)}));

    // Each shard shows it to those who live there; the sums come back here.
    struct Sum {
      core::Reply<Delivered> reply;
      std::size_t left = 0;
      std::uint32_t sessions = 0;
    };
    const auto& shards = shard.core().shards;
    auto sum = std::make_shared<Sum>(Sum{std::move(call.reply), shards.size(), 0});
    for (const auto& other : shards) {
      std::vector<UserId> here;
      for (const UserId& user : *users) {
        if (&shard.core().home(user) == other.get()) here.push_back(user);
      }
      other->post([&shard, &hub = other->hub(), frame, here = std::move(here), but = call.by.session, sum]() mutable {
        hub.show(frame, std::move(here), but, [&shard, sum](std::uint32_t sessions) {
          shard.post([sum, sessions] {
            sum->sessions += sessions;
            if (--sum->left == 0) sum->reply(Delivered{sum->sessions});
          });
        });
      });
    }
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
