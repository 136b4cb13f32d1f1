#include <algorithm>

#include "core/ask_host.h"
#include "core/inbox.h"
#include "core/reader.h"
#include "core/store.h"
#include "features/common.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

constexpr std::uint32_t most_unread = 100;
constexpr unsigned most_pages = 16;  // that are looked through for one conversation
constexpr std::size_t preview_bytes = 512;

// A conversation of the caller's that has no entry in his list, or has one.
struct Place {
  ConversationId conversation{};
  std::uint64_t age = 0;  // of its last event, by which the list is sorted
  Seq cursor = 0;
};
struct Listed {
  std::vector<Place> places{};  // in the order of the list
  std::string next{};
};

Result<Seq> read_cursor(Storage& storage, const UserId& user, const ConversationId& id) {
  auto row = storage.row("u:" + user.string(), Table::marks, id.view());
  if (!row) return row.error();
  if (!*row) return Seq{0};
  auto number = protocol::decode_row<protocol::NumberRow>(*(*row)->value);
  if (!number) return number.error();
  return number->number;
}

// A page of the entries, and between them those that have none: they are many to few, and come sorted.
Result<Listed> read_list(Storage& storage, const UserId& user, const std::string& after, std::uint32_t limit,
                         const std::vector<Place>& others) {
  auto page = core::read_inbox(storage, user, after, limit);
  if (!page) return page.error();
  Listed listed{.next = std::move(page->next)};
  for (const auto& entry : page->entries) {
    const bool is_other = std::any_of(others.begin(), others.end(),
                                      [&](const Place& place) { return place.conversation == entry.conversation; });
    if (!is_other) listed.places.push_back({entry.conversation, entry.row.age});
  }
  const auto key = [](const Place& place) { return core::order_key(place.conversation, place.age); };
  for (const Place& place : others) {
    if (key(place) > after && (listed.next.empty() || key(place) <= listed.next)) listed.places.push_back(place);
  }
  std::sort(listed.places.begin(), listed.places.end(),
            [&](const Place& a, const Place& b) { return key(a) < key(b); });
  if (listed.places.size() > limit) {
    listed.places.resize(limit);
    listed.next = key(listed.places.back());
  }
  for (Place& place : listed.places) {
    auto cursor = read_cursor(storage, user, place.conversation);
    if (!cursor) return cursor.error();
    place.cursor = *cursor;
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
  conversation->read_as(who, [&shard, conversation, who, cursor,
                              reply = std::move(reply)](Result<core::Standing> standing) mutable {
    if (!standing) return reply(standing.error());
    ConversationEntry entry{.info = info_for(*conversation, who, *standing), .read = cursor};
    const Seq head = entry.info.head;
    core::ReadRange range{.start = head,
                          .direction = Direction::backward,
                          .head = head,
                          .limit = static_cast<std::uint32_t>(std::clamp<Seq>(head - std::min(head, cursor), 10, 110)),
                          .reader = who.user,
                          .intervals = std::move(standing->intervals)};
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
  gathering->page.next = std::move(listed.next);
  gathering->most_bytes = core::page_bytes(home.core().limits);
  gathering->left = listed.places.size();
  gathering->page.conversations.resize(gathering->left);
  gathering->kept.resize(gathering->left);
  for (const Place& place : listed.places) gathering->places.push_back(core::order_key(place.conversation, place.age));
  if (gathering->left == 0) return gathering->over();
  for (std::size_t i = 0; i < listed.places.size(); ++i) {
    const ConversationId id = listed.places[i].conversation;
    Shard& shard = home.core().home(id);
    shard.post([&shard, &home, id, who, cursor = listed.places[i].cursor, gathering, i] {
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

namespace {

// How old their last events are, of conversations that have no entries: asked on their shards.
void ages_of(Shard& home, std::vector<ConversationId> ids, core::Reply<std::vector<Place>> reply) {
  struct Ages {
    core::Reply<std::vector<Place>> reply{};
    std::vector<Place> places{};
    std::size_t left = 0;
  };
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  if (ids.empty()) return reply(std::vector<Place>());
  auto ages = std::make_shared<Ages>(Ages{std::move(reply), std::vector<Place>(ids.size()), ids.size()});
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ages->places[i].conversation = ids[i];
    Shard& shard = home.core().home(ids[i]);
    shard.post([&shard, &home, id = ids[i], ages, i] {
      auto conversation = shard.conversations().get(id);
      conversation->when_ready([&home, conversation, ages, i](Status ready) {
        home.post([ages, i, age = ready ? conversation->durable().age : 0] {
          ages->places[i].age = age;
          if (--ages->left == 0) ages->reply(std::move(ages->places));
        });
      });
    });
  }
}

void list(Shard& home, Call<ListConversations> call, std::vector<ConversationId> without_entries) {
  ages_of(home, std::move(without_entries), [&home, call = std::move(call)](Result<std::vector<Place>> others) mutable {
    if (!others) return call.reply(others.error());
    auto job = [user = call.by.who.user, after = call.request.after, limit = call.request.limit,
                others = std::move(*others)](Storage& storage) {
      return read_list(storage, user, after, limit, others);
    };
    home.core().store->read(home, std::move(job), [&home, call = std::move(call)](Result<Listed> listed) mutable {
      if (!listed) return call.reply(listed.error());
      gather(home, call.by.who, std::move(*listed), std::move(call.reply));
    });
  });
}

}  // namespace

// The entries lie behind the commits: they are written first, so that the list shows what was acknowledged. Channels,
// and what the host's table knows, are looked up where they are.
void list_conversations(Shard& home, Call<ListConversations> call) {
  // Where they can't be, on a full disk, it shows what is written.
  home.inbox().flush_then([&home, call = std::move(call)](Status) mutable {
    home.core().store->read(
        home, [user = call.by.who.user](Storage& storage) { return core::channels_of(storage, user); },
        [&home, call = std::move(call)](Result<std::vector<ConversationId>> channels) mutable {
          if (!channels) return call.reply(channels.error());
          Membership* const table = home.core().membership;
          if (!table) return list(home, std::move(call), std::move(*channels));
          const UserId user = call.by.who.user;
          Function<void(Result<std::vector<ConversationId>>)> both =
              [&home, call = std::move(call), channels = std::move(*channels)](const auto& hosted) mutable {
                if (!hosted) return call.reply(hosted.error());
                channels.insert(channels.end(), hosted->begin(), hosted->end());
                list(home, std::move(call), std::move(channels));
              };
          core::ask_host<std::vector<ConversationId>>(
              home, [&](auto done) { table->conversations(user, std::move(done)); }, std::move(both));
        });
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
