#include <algorithm>
#include <set>

#include "core/inbox.h"
#include "core/store.h"
#include "features/own_log.h"
#include "features/places.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

constexpr std::uint32_t most_messages = 1000;
constexpr std::uint32_t most_looked_at = 200;  // conversations that have something new
constexpr std::uint32_t entries_a_page = 200;

// A count that goes through the entries page by page, and looks at those conversations only where something is new.
struct Count : std::enable_shared_from_this<Count> {
  struct Found {
    std::vector<Marks> places{};
    std::string next{};
  };

  Count(Shard& h, Call<GetUnread> c) : home(h), call(std::move(c)) {}

  void page(std::string after) {
    const TimePoint now = home.core().clock->wall();
    home.core().store->read(
        home,
        [user = call.by.who.user, after = std::move(after), others = others, now](Storage& storage) {
          return find(storage, user, after, others, now);
        },
        [self = shared_from_this()](Result<Found> found) {
          found ? self->look_at(std::move(*found)) : self->call.reply(found.error());
        });
  }

  static Result<Found> find(Storage& storage, const UserId& user, const std::string& after,
                            const std::set<ConversationId>& others, TimePoint now) {
    auto entries = core::read_inbox(storage, user, after, entries_a_page);
    if (!entries) return entries.error();
    std::vector<ConversationId> ids;
    std::erase_if(entries->entries, [&](const auto& entry) { return others.contains(entry.conversation); });
    for (const auto& entry : entries->entries) ids.push_back(entry.conversation);
    if (after.empty()) ids.insert(ids.end(), others.begin(), others.end());
    auto own = read_own(storage, user, ids);
    if (!own) return own.error();
    Found found{.next = std::move(entries->next)};
    for (std::size_t i = 0; i < ids.size(); ++i) {
      Marks& marks = own->marks[i];
      const bool is_new = i >= entries->entries.size() || entries->entries[i].row.head > marks.read || marks.unread;
      if (is_new && marks.muted_until <= now) found.places.push_back(std::move(marks));
    }
    return found;
  }

  void look_at(Found found) {
    if (found.places.size() > most_looked_at - looked_at) {
      found.places.resize(most_looked_at - looked_at);
      found.next.clear();
      total.more = true;
    }
    looked_at += static_cast<std::uint32_t>(found.places.size());
    next = std::move(found.next);
    left = found.places.size() + 1;
    for (const Marks& marks : found.places) {
      Shard& shard = home.core().home(marks.conversation);
      shard.post([self = shared_from_this(), &shard, marks] {
        summarize(shard, marks.conversation, self->call.by.who, marks, [self](Result<ConversationEntry> entry) {
          self->home.post([self, entry = std::move(entry)] { self->add(entry); });
        });
      });
    }
    over();
  }

  void add(const Result<ConversationEntry>& entry) {
    if (entry) {
      if (entry->unread > 0 || entry->marks.unread) ++total.conversations;
      total.messages += entry->unread;
      if (entry->unread_more) total.more = true;
    } else if (entry.error().code != ErrorCode::no_such_conversation && entry.error().code != ErrorCode::corruption) {
      failed = entry.error();  // one damaged one does not hide the others
    }
    over();
  }

  void over() {
    if (--left > 0) return;
    if (!failed) return call.reply(failed.error());
    if (total.messages > most_messages) {
      total.messages = most_messages;
      total.more = true;
    }
    if (total.messages == most_messages && !next.empty()) total.more = true;
    if (next.empty() || total.messages == most_messages) return call.reply(std::move(total));
    page(std::move(next));
  }

  Shard& home;
  Call<GetUnread> call;
  std::set<ConversationId> others{};  // counted with the first page, whether they have entries or not
  UnreadTotal total{};
  std::string next{};
  std::uint32_t looked_at = 0;
  std::size_t left = 0;
  Status failed{};
};

}  // namespace

Status check_unread(Core&, const Caller& by, GetUnread&) { return check_user(by); }

void get_unread(Shard& home, Call<GetUnread> call) {
  const UserId user = call.by.who.user;
  auto count = std::make_shared<Count>(home, std::move(call));
  when_written(home, user, [count, user] {
    places_without_entries(count->home, user, [count](Result<std::vector<ConversationId>> others) {
      if (!others) return count->call.reply(others.error());
      count->others.insert(others->begin(), others->end());
      count->page({});
    });
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
