#include <algorithm>

#include "core/inbox.h"
#include "core/reader.h"
#include "core/store.h"
#include "features/own_log.h"
#include "features/places.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

// A conversation of the caller's that has no entry in his list, or has one.
struct Place {
  ConversationId conversation{};
  std::uint64_t age = 0;  // of its last event, by which the list is sorted
  Marks marks{};
};
struct Listed {
  std::vector<Place> places{};  // in the order of the list
  std::string next{};
};

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
  std::vector<ConversationId> ids;
  for (const Place& place : listed.places) ids.push_back(place.conversation);
  auto own = read_own(storage, user, ids);
  if (!own) return own.error();
  for (std::size_t i = 0; i < ids.size(); ++i) listed.places[i].marks = std::move(own->marks[i]);
  return listed;
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
    shard.post([&shard, &home, id, who, marks = listed.places[i].marks, gathering, i] {
      summarize(shard, id, who, marks, [&home, gathering, i](Result<ConversationEntry> entry) {
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

// What lies behind the commits is written first, so that the list shows what was acknowledged. Channels, and what the
// host's table knows, are looked up where they are.
void list_conversations(Shard& home, Call<ListConversations> call) {
  const UserId user = call.by.who.user;
  when_written(home, user, [&home, user, call = std::move(call)]() mutable {
    places_without_entries(home, user,
                           [&home, call = std::move(call)](Result<std::vector<ConversationId>> others) mutable {
                             others ? list(home, std::move(call), std::move(*others)) : call.reply(others.error());
                           });
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
