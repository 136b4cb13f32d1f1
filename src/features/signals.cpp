#include "features/signals.h"

#include <algorithm>
#include <utility>

#include "core/hub.h"
#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

// Of those who are meant, who live on a shard. Where there is no roster, the hub knows who follows.
std::vector<UserId> living_on(const Shard& shard, const core::State& state, const std::vector<UserId>& only) {
  if (state.roster && only.empty()) return state.roster->on(shard.index());
  std::vector<UserId> users;
  for (const UserId& user : only) {
    if (&shard.core().home(user) != &shard || (!users.empty() && users.back() == user)) continue;
    const core::Participant* member = state.roster ? state.roster->find(user) : nullptr;
    if (!state.roster || (member && member->active())) users.push_back(user);
  }
  return users;
}

// Each shard shows it to those who live there; the sums come back here.
struct Sum {
  core::Reply<Delivered> reply;
  std::size_t left = 0;
  std::uint32_t sessions = 0;
};

}  // namespace

void show(Shard& shard, const core::Conversation& conversation, const Signal& signal, const Audience& audience,
          core::Reply<Delivered> reply) {
  const core::State& state = conversation.durable();
  const Frame frame = std::make_shared<const Bytes>(protocol::encode_signal_push(signal));
  const auto& shards = shard.core().shards;
  const auto sum = reply ? std::make_shared<Sum>(Sum{std::move(reply), shards.size(), 0}) : nullptr;
  for (const auto& other : shards) {
    core::Hub::Shown shown{.frame = frame,
                           .conversation = conversation.id(),
                           .users = living_on(*other, state, audience.only),
                           .to_followers = state.on_read,
                           .all = audience.only.empty(),
                           .but = audience.but,
                           .asked_at = conversation.asked_at()};
    const bool concerned = !shown.users.empty() || (shown.to_followers && shown.all);
    if (!concerned && !sum) continue;
    other->post([&shard, &hub = other->hub(), shown = std::move(shown), sum]() mutable {
      hub.show(std::move(shown), [&shard, sum](std::uint32_t sessions) {
        if (!sum) return;
        shard.post([sum, sessions] {
          sum->sessions += sessions;
          if (--sum->left == 0) sum->reply(Delivered{sum->sessions});
        });
      });
    });
  }
}

void if_he_speaks(core::Conversation& conversation, const Identity& who, Function<void(Status)> then) {
  conversation.read_as(who, [&conversation, then = std::move(then)](Result<core::Standing> standing) mutable {
    if (!standing) return then(standing.error());
    if (conversation.durable().kind == ConversationKind::own) {
      return then(Error{ErrorCode::forbidden, "a user's own log holds what he marks, and nothing else", {}});
    }
    if (!standing->active) return then(Error{ErrorCode::forbidden, "you are no longer in this conversation", {}});
    if (standing->role < Role::member) return then(Error{ErrorCode::forbidden, "this needs the role member", {}});
    then(Status());
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
