#include <algorithm>

#include "core/reader.h"
#include "core/store.h"
#include "features/places.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

constexpr std::uint32_t most_unread = 100;
constexpr unsigned most_pages = 16;  // that are looked through for one conversation
constexpr std::size_t preview_bytes = 512;

// What a list shows of a message: the beginning of its text.
EventPtr preview_of(Event event) {
  MessagePosted posted = *event.as<MessagePosted>();
  posted.content.data.clear();
  posted.content.metadata.clear();
  if (posted.content.text.size() > preview_bytes) {
    std::size_t end = preview_bytes;
    while (end > 0 && (static_cast<unsigned char>(posted.content.text[end]) & 0xc0) == 0x80) --end;
    posted.content.text.resize(end);
  }
  event.body = std::move(posted);
  return std::make_shared<const Event>(std::move(event));
}

Status count(const core::ReadPage& page, const UserId& reader, ConversationEntry& entry) {
  for (const auto& [seq, bytes] : page.events) {
    auto event = protocol::decode<Event>(bytes);
    if (!event) return event.error();
    if (entry.active == TimePoint{}) entry.active = event->time;
    const auto* posted = event->as<MessagePosted>();
    if (!posted) continue;
    if (seq > entry.read && !posted->deleted && event->sender != reader) {
      if (entry.unread == most_unread) {
        entry.unread_more = true;
        return {};
      }
      ++entry.unread;
    }
    if (!entry.last) entry.last = preview_of(std::move(*event));
  }
  return {};
}

// The preview and what is unread, from the recent tail: page by page, until both are known.
Result<ConversationEntry> read_summary(Storage& storage, const std::string& partition, core::ReadRange range,
                                       ConversationEntry entry) {
  for (unsigned pages = 0; pages < most_pages; ++pages) {
    auto page = core::read_messages(storage, partition, range);
    if (!page) return page.error();
    if (Status counted = count(*page, range.reader, entry); !counted) return counted.error();
    const bool all = entry.unread_more || page->covers_from <= entry.read + 1;
    if (!page->more || (all && entry.last)) return entry;
    if (pages + 1 == most_pages) entry.unread_more = !all;
    range.start = page->covers_from - 1;
    range.limit = most_unread + 10;
  }
  return entry;
}

}  // namespace

void summarize(Shard& shard, const ConversationId& id, const Identity& who, const Marks& marks,
               core::Reply<ConversationEntry> reply) {
  auto conversation = shard.conversations().get(id);
  conversation->read_as(who, [&shard, conversation, who, marks,
                              reply = std::move(reply)](Result<core::Standing> standing) mutable {
    if (!standing) return reply(standing.error());
    ConversationEntry entry{.info = info_for(*conversation, who, *standing), .read = marks.read, .marks = marks};
    const Seq head = entry.info.head;
    core::ReadRange range{
        .start = head,
        .direction = Direction::backward,
        .head = head,
        .limit = static_cast<std::uint32_t>(std::clamp<Seq>(head - std::min(head, marks.read), 10, 110)),
        .reader = who.user,
        .intervals = std::move(standing->intervals)};
    shard.core().store->read(
        shard,
        [partition = "c:" + conversation->id().string(), range = std::move(range), entry = std::move(entry)](
            Storage& storage) mutable { return read_summary(storage, partition, std::move(range), std::move(entry)); },
        [reply = std::move(reply)](Result<ConversationEntry> summed) mutable { reply(std::move(summed)); });
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
