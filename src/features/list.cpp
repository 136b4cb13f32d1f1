#include <algorithm>

#include "core/inbox.h"
#include "core/reader.h"
#include "features/common.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

constexpr std::uint32_t most_unread = 100;
constexpr unsigned most_pages = 16;  // that are looked through for one conversation
constexpr std::size_t preview_bytes = 512;

struct Listed {
  core::InboxPage page{};
  std::vector<Seq> cursors{};
};

Result<Listed> read_list(Storage& storage, const UserId& user, const std::string& after, std::uint32_t limit) {
  auto page = core::read_inbox(storage, user, after, limit);
  if (!page) return page.error();
  Listed listed{.page = std::move(*page)};
  for (const auto& entry : listed.page.entries) {
    auto row = storage.row("u:" + user.string(), Table::cursors, entry.conversation.view());
    if (!row) return row.error();
    Seq cursor = 0;
    if (*row) {
      auto number = protocol::decode_row<protocol::NumberRow>(*(*row)->value);
      if (!number) return number.error();
      cursor = number->number;
    }
    listed.cursors.push_back(cursor);
  }
  return listed;
}

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
Result<ConversationEntry> summarize(Storage& storage, const std::string& partition, core::ReadRange range,
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

// On the conversation's shard.
void summary(Shard& shard, const ConversationId& id, const Identity& who, Seq cursor,
             core::Reply<ConversationEntry> reply) {
  auto conversation = shard.conversations().get(id);
  conversation->when_ready([&shard, conversation, who, cursor, reply = std::move(reply)](Status ready) mutable {
    if (!ready) return reply(ready.error());
    auto info = info_for(*conversation, who);
    if (!info) return reply(info.error());
    auto visible = conversation->visible_to(who);
    ConversationEntry entry{.info = std::move(*info), .read = cursor};
    const Seq head = entry.info.head;
    core::ReadRange range{.start = head,
                          .direction = Direction::backward,
                          .head = head,
                          .limit = static_cast<std::uint32_t>(std::clamp<Seq>(head - std::min(head, cursor), 10, 110)),
                          .reader = who.user,
                          .intervals = std::move(*visible)};
    shard.core().store->read(
        shard,
        [partition = "c:" + conversation->id().string(), range = std::move(range), entry = std::move(entry)](
            Storage& storage) mutable { return summarize(storage, partition, std::move(range), std::move(entry)); },
        [reply = std::move(reply)](Result<ConversationEntry> summed) mutable { reply(std::move(summed)); });
  });
}

struct Gathering {
  core::Reply<ConversationsPage> reply{};
  ConversationsPage page{};
  std::vector<bool> kept{};
  std::vector<std::string> places{};  // in the list
  std::size_t left = 0;
  std::size_t most_bytes = 0;  // so that the page fits a frame
  Status failed{};

  void over() {
    if (!failed) return reply(failed.error());
    ConversationsPage shown{.next = std::move(page.next)};
    std::size_t size = 0;
    for (std::size_t i = 0; i < kept.size(); ++i) {
      if (!kept[i]) continue;
      size += protocol::encode(page.conversations[i]).size();
      if (size > most_bytes && !shown.conversations.empty()) {
        shown.next = places[i - 1];
        break;
      }
      shown.conversations.push_back(std::move(page.conversations[i]));
    }
    reply(std::move(shown));
  }
};

void gather(Shard& home, const Identity& who, Listed listed, core::Reply<ConversationsPage> reply) {
  auto gathering = std::make_shared<Gathering>();
  gathering->reply = std::move(reply);
  gathering->page.next = std::move(listed.page.next);
  gathering->most_bytes = core::page_bytes(home.core().limits);
  gathering->left = listed.page.entries.size();
  gathering->page.conversations.resize(gathering->left);
  gathering->kept.resize(gathering->left);
  for (const auto& entry : listed.page.entries) gathering->places.push_back(core::order_key(entry));
  if (gathering->left == 0) return gathering->over();
  for (std::size_t i = 0; i < listed.page.entries.size(); ++i) {
    const ConversationId id = listed.page.entries[i].conversation;
    Shard& shard = home.core().home(id);
    shard.post([&shard, &home, id, who, cursor = listed.cursors[i], gathering, i] {
      summary(shard, id, who, cursor, [&home, gathering, i](Result<ConversationEntry> entry) {
        home.post([gathering, i, entry = std::move(entry)]() mutable {
          if (entry) {
            gathering->page.conversations[i] = std::move(*entry);
            gathering->kept[i] = true;
          } else if (entry.error().code != ErrorCode::no_such_conversation &&
                     entry.error().code != ErrorCode::corruption) {  // one damaged one does not hide the others
            gathering->failed = entry.error();
          }
          if (--gathering->left == 0) gathering->over();
        });
      });
    });
  }
}

}  // namespace

Status check_list(Core& core, const Caller& by, ListConversations& request) {
  if (Status ok = check_user(by); !ok) return ok;
  if (request.after.size() > 256) return Error{ErrorCode::invalid, "after: not one of ours", {}};
  return check_limit(core.limits, request.limit);
}

// The entries lie behind the commits: they are written first, so that the list shows what was acknowledged.
void list_conversations(Shard& home, Call<ListConversations> call) {
  // Where they can't be, on a full disk, it shows what is written.
  home.inbox().flush_then([&home, call = std::move(call)](Status) mutable {
    auto job = [user = call.by.who.user, after = call.request.after, limit = call.request.limit](Storage& storage) {
      return read_list(storage, user, after, limit);
    };
    home.core().store->read(home, std::move(job), [&home, call = std::move(call)](Result<Listed> listed) mutable {
      if (!listed) return call.reply(listed.error());
      gather(home, call.by.who, std::move(*listed), std::move(call.reply));
    });
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
