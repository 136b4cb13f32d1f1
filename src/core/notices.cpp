#include "core/notices.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace core {

void Notices::moved(const ConversationId& id, const Moved& moved) {
  const auto [at, is_new] = told_.try_emplace(id, Told{.now = moved});
  if (is_new) return;
  Moved& now = at->second.now;
  now.head = std::max(now.head, moved.head);
  now.spread = moved.spread;
  if (moved.asked_at != 0) now.asked_at = now.asked_at == 0 ? moved.asked_at : std::min(now.asked_at, moved.asked_at);
}

std::optional<Seq> Notices::withdraw(const ConversationId& id) {
  const auto told = told_.extract(id);
  return told ? std::optional(told.mapped().now.from) : std::nullopt;
}

void Notices::live(const ConversationId& id, Seq to) {
  const auto at = told_.find(id);
  if (at != told_.end() && at->second.now.head <= to) told_.erase(at);
}

Frame Notices::notice(const ConversationId& id) {
  Told& told = told_[id];
  told.told = told.now.head;
  told.notice = std::make_shared<const Bytes>(protocol::encode_head_moved({id, told.now.head, told.now.spread}));
  return told.notice;
}

void Notices::collapse(std::vector<Frame>& queue, std::size_t needed, std::size_t bound, std::uint64_t asked_at) {
  struct Conversation {
    std::size_t bytes = 0;
    Seq last = 0;
    bool goes = false, is_told = false;
  };
  std::unordered_map<std::string_view, Conversation> conversations;  // the names lie in the frames
  std::size_t bytes = 0;
  std::erase_if(queue,
                [](const Frame& frame) { return protocol::place_of(*frame).kind == protocol::PushKind::signal; });
  for (const Frame& frame : queue) {
    bytes += frame->size();
    const auto place = protocol::place_of(*frame);
    if (place.kind != protocol::PushKind::event) continue;
    Conversation& conversation = conversations[place.conversation];
    conversation.bytes += frame->size();
    conversation.last = place.seq;
  }
  if (bytes + needed <= bound) return;
  std::vector<Conversation*> largest;
  for (auto& [id, conversation] : conversations) largest.push_back(&conversation);
  std::sort(largest.begin(), largest.end(), [](const auto* a, const auto* b) { return a->bytes > b->bytes; });
  for (Conversation* conversation : largest) {
    if (bytes <= bound / 2 && bytes + needed <= bound) break;
    conversation->goes = true;
    bytes -= conversation->bytes;
  }
  std::vector<Frame> left;
  left.reserve(queue.size());
  for (Frame& frame : queue) {
    const auto place = protocol::place_of(*frame);
    if (place.kind == protocol::PushKind::event) {
      Conversation& conversation = conversations[place.conversation];
      if (conversation.goes) {
        if (std::exchange(conversation.is_told, true)) continue;
        const auto id = ConversationId::make(place.conversation);
        if (!id) continue;  // our own bytes
        moved(*id, {.from = place.seq - 1, .head = conversation.last, .asked_at = asked_at});
        left.push_back(notice(*id));
        continue;
      }
    }
    left.push_back(frame);
  }
  queue = std::move(left);  // only now: the names lie in the frames
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
