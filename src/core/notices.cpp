#include "core/notices.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace core {

void Notices::moved(const ConversationId& id, Seq head, std::chrono::milliseconds spread) {
  Told& told = told_[id];
  told.head = std::max(told.head, head);
  told.spread = spread;
}

void Notices::live(const ConversationId& id, Seq to) {
  const auto at = told_.find(id);
  if (at != told_.end() && at->second.head <= to) told_.erase(at);
}

Frame Notices::notice(const ConversationId& id, Told& told) {
  told.told = told.head;
  told.notice = std::make_shared<const Bytes>(protocol::encode_head_moved({id, told.head, told.spread}));
  return told.notice;
}

void Notices::collapse(std::vector<Frame>& queue, std::size_t needed, std::size_t bound) {
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
    if (bytes <= bound / 2) break;
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
        moved(*id, conversation.last);
        left.push_back(notice(*id, told_[*id]));
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
