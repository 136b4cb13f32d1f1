#include <algorithm>
#include <utility>
#include <vector>

#include "core/conversation.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {

namespace {
constexpr std::uint64_t unused_ms = 10 * 60'000;  // then a conversation leaves memory
constexpr std::chrono::milliseconds empty_for{1000};
}  // namespace

std::shared_ptr<Conversation> Conversations::get(const ConversationId& id) {
  auto& conversation = conversations_[id];
  if (!conversation) {
    conversation = std::make_shared<Conversation>(shard_, id);
    add(shard_.core().counters.conversations);
  }
  return conversation;
}

std::shared_ptr<Conversation> Conversations::find(const ConversationId& id) {
  const auto at = conversations_.find(id);
  return at == conversations_.end() ? nullptr : at->second;
}

void Conversations::give_up_undecided() {
  std::vector<std::shared_ptr<Conversation>> all;  // an answer may bring a request, which makes another one
  for (const auto& [id, conversation] : conversations_) all.push_back(conversation);
  for (const auto& conversation : all) conversation->give_up_undecided();
}

void Conversations::clear() {
  for (auto& [id, conversation] : conversations_) conversation->clear();
  conversations_.clear();
}

void Conversations::forget_soon(const ConversationId& id) {
  empty_.push_back(id);
  if (empty_.size() > 1) return;
  shard_.after(empty_for, [this] {
    for (const ConversationId& each : std::exchange(empty_, {})) {
      const auto at = conversations_.find(each);
      if (at == conversations_.end() || !at->second->empty()) continue;
      conversations_.erase(at);
      sub(shard_.core().counters.conversations);
    }
  });
}

void Conversations::hinted(const ConversationId& id, Seq before, Seq head) {
  const auto known = find(id);
  // One that is not in memory may have members here all the same.
  if (known || shard_.core().counters.sessions != 0) (known ? known : get(id))->hinted(before, head);
}

void Conversations::relieve() {
  std::vector<std::pair<std::uint64_t, ConversationId>> idle;
  for (const auto& [id, conversation] : conversations_) {
    if (conversation->forgettable() && conversation.use_count() == 1) idle.emplace_back(conversation->last_used(), id);
  }
  std::sort(idle.begin(), idle.end());
  for (const auto& [used, id] : idle) {
    if (!shard_.core().is_tight()) return;
    conversations_.erase(id);
    sub(shard_.core().counters.conversations);
  }
}

void Conversations::sweep() {
  const std::uint64_t now = shard_.core().now();
  const auto gone = std::erase_if(conversations_, [&](const auto& entry) {
    return entry.second->last_used() + unused_ms < now && entry.second->rested();
  });
  sub(shard_.core().counters.conversations, gone);
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
