#include "features/signals.h"

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

struct Sum {
  core::Reply<Delivered> reply;
  std::size_t left = 0;
  std::uint32_t sessions = 0;
};

}  // namespace

void show(Shard& shard, const core::Conversation& conversation, const Signal& signal, Audience to,
          core::Reply<Delivered> reply) {
  const core::State& state = conversation.durable();
  const std::vector<UserId> users = audience(state, to.only);
  const Frame frame = std::make_shared<const Bytes>(protocol::encode_signal_push(signal));
  const auto& shards = shard.core().shards;
  auto sum = std::make_shared<Sum>(Sum{std::move(reply), shards.size(), 0});
  for (const auto& other : shards) {
    std::vector<UserId> here;
    for (const UserId& user : users) {
      if (&shard.core().home(user) == other.get()) here.push_back(user);
    }
    core::Hub::Shown shown{.frame = frame,
                           .conversation = conversation.id(),
                           .users = std::move(here),
                           .to_followers = state.on_read,
                           .all = to.only.empty(),
                           .but = to.but,
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

}  // namespace features
}  // namespace v1
}  // namespace chatcore
