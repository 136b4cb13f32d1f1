#include "core/reader.h"

#include <algorithm>
#include <utility>

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {

constexpr PageLimit whole_pages{.rows = 256, .bytes = 1 << 20};

using Events = std::vector<std::pair<Seq, Bytes>>;

Result<std::vector<Row>> all_rows(Storage& storage, const std::string& partition, Table table) {
  std::vector<Row> rows;
  std::string after;
  do {
    auto page = storage.rows(partition, table, after, whole_pages);
    if (!page) return page.error();
    std::move(page->rows.begin(), page->rows.end(), std::back_inserter(rows));
    after = std::move(page->next);
  } while (!after.empty());
  return rows;
}

Status read_tail(Storage& storage, const std::string& partition, Log log, Seq above, std::uint64_t now,
                 LoadedConversation& to) {
  for (Seq start = to.head; start > above;) {
    auto page = storage.events(partition, log, start, Direction::backward, whole_pages);
    if (!page) return page.error();
    if (page->events.empty()) return {};
    for (auto& [seq, bytes] : page->events) {
      if (seq <= above) return {};
      auto record = protocol::decode_record(bytes);
      if (!record) return record.error();
      auto event = protocol::decode<Event>(record->event);
      if (!event) return event.error();
      const bool expired = record->origin.age + Keys::memory_ms <= now;
      to.tail.push_back({seq, event->sender, event->time, std::move(record->origin)});
      start = seq - 1;
      // Older ones would be in a block, were their keys still worth keeping.
      if (expired && to.tail.size() >= 1024) return {};
    }
  }
  return {};
}

Result<Participant> participant_of(const Row& row) {
  auto user = UserId::make(row.key);
  if (!user) return Error{ErrorCode::corruption, "a member's row has no user id"};
  auto member = protocol::decode_row<protocol::MemberRow>(*row.value);
  if (!member) return member.error();
  return Participant{*user, std::move(*member)};
}

}  // namespace

Result<std::vector<Participant>> read_members(Storage& storage, const std::string& partition) {
  auto rows = all_rows(storage, partition, Table::members);
  if (!rows) return rows.error();
  std::vector<Participant> all;
  all.reserve(rows->size());
  for (const Row& row : *rows) {
    auto member = participant_of(row);
    if (!member) return member.error();
    all.push_back(std::move(*member));
  }
  return all;
}

Result<MemberRows> read_members(Storage& storage, const std::string& partition, const std::vector<UserId>& users) {
  MemberRows found;
  for (const UserId& user : users) {
    auto row = storage.row(partition, Table::members, user.view());
    if (!row) return row.error();
    found.emplace_back(user, std::nullopt);
    if (!*row) continue;
    auto member = protocol::decode_row<protocol::MemberRow>(*(*row)->value);
    if (!member) return member.error();
    found.back().second = std::move(*member);
  }
  return found;
}

// Who came or went after a seq, as their rows are now.
Result<std::vector<Participant>> members_moved(Storage& storage, const std::string& partition, Seq after, Seq head) {
  std::vector<UserId> users;
  for (Seq start = after + 1; start <= head;) {
    auto page = storage.events(partition, Log::messages, start, Direction::forward, whole_pages);
    if (!page) return page.error();
    for (const auto& [seq, bytes] : page->events) {
      auto record = protocol::decode_record(bytes);
      if (!record) return record.error();
      auto event = protocol::decode<Event>(record->event);
      if (!event) return event.error();
      start = seq + 1;
      const auto* changed = event->as<MembersChanged>();
      if (!changed) continue;
      users.insert(users.end(), changed->joined.begin(), changed->joined.end());
      users.insert(users.end(), changed->left.begin(), changed->left.end());
    }
    if (!page->more) break;
  }
  std::sort(users.begin(), users.end());
  users.erase(std::unique(users.begin(), users.end()), users.end());
  auto rows = read_members(storage, partition, users);
  if (!rows) return rows.error();
  std::vector<Participant> moved;
  for (auto& [user, row] : *rows) {
    if (row) moved.push_back({user, std::move(*row)});
  }
  return moved;
}

Result<LoadedConversation> load_conversation(Storage& storage, const std::string& partition, std::uint64_t now,
                                             std::optional<Seq> known) {
  LoadedConversation loaded;
  auto head = storage.events(partition, Log::messages, 1, Direction::forward, {.rows = 1});
  if (!head) return head.error();
  loaded.head = head->head;
  loaded.oldest = head->oldest;
  auto settings = storage.row(partition, Table::settings, settings_row);
  if (!settings) return settings.error();
  loaded.exists = settings->has_value();
  if (!loaded.exists && loaded.head == 0) return loaded;
  if (loaded.exists) {
    auto conversation = protocol::decode_row<protocol::ConversationRow>(*(*settings)->value);
    if (!conversation) return conversation.error();
    loaded.conversation = std::move(*conversation);
  }
  if (!loaded.conversation.on_read) {
    auto members = read_members(storage, partition);
    if (!members) return members.error();
    loaded.members = std::move(*members);
  } else if (known && *known < loaded.head) {
    auto moved = members_moved(storage, partition, *known, loaded.head);
    if (!moved) return moved.error();
    loaded.members = std::move(*moved);
  }

  auto blocks = all_rows(storage, partition, Table::keys);
  if (!blocks) return blocks.error();
  Seq in_blocks = 0;
  for (const Row& row : *blocks) {
    auto block = protocol::decode_row<protocol::KeyBlockRow>(*row.value);
    if (!block) return block.error();
    for (const auto& mark : block->marks) in_blocks = std::max(in_blocks, mark.seq);
    if (block->newest_age + Keys::memory_ms > now) loaded.key_blocks.push_back(std::move(*block));
  }
  auto sources = storage.rows(partition, Table::sources, "", {.rows = 1});
  if (!sources) return sources.error();
  loaded.any_sources = !sources->rows.empty();

  for (const Log log : {Log::messages, Log::changes}) {
    if (Status read = read_tail(storage, partition, log, in_blocks, now, loaded); !read) return read.error();
  }
  std::sort(loaded.tail.begin(), loaded.tail.end(), [](const auto& a, const auto& b) { return a.seq < b.seq; });
  return loaded;
}

Result<std::optional<Bytes>> read_event(Storage& storage, const std::string& partition, Seq seq) {
  for (const Log log : {Log::messages, Log::changes}) {
    auto page = storage.events(partition, log, seq, Direction::forward, {.rows = 1});
    if (!page) return page.error();
    if (!page->events.empty() && page->events.front().first == seq) {
      return std::optional<Bytes>(std::move(page->events.front().second));
    }
  }
  return std::optional<Bytes>();
}

namespace {

// A change is shown with the present state of its target, to who may see that.
Status add_target(Storage& storage, const std::string& partition, StoredPage::Item& item) {
  auto event = protocol::decode<Event>(item.event);
  if (!event) return event.error();
  const auto* change = event->as<MessageChanged>();
  if (!change) return {};
  MessageChanged with = *change;
  item.target = with.target;
  auto page = storage.events(partition, Log::messages, with.target, Direction::forward, {.rows = 1});
  if (!page) return page.error();
  if (page->events.empty() || page->events.front().first != with.target) return {};
  auto target = protocol::decode_record(page->events.front().second);
  if (!target) return target.error();
  auto now = protocol::decode<Event>(target->event);
  if (!now) return now.error();
  if (const auto* posted = now->as<MessagePosted>()) with.now = *posted;
  event->body = std::move(with);
  item.blind = std::exchange(item.event, protocol::encode(*event));
  return {};
}

Result<StoredPage::Item> item_of(Seq seq, const Bytes& bytes) {
  auto record = protocol::decode_record(bytes);
  if (!record) return record.error();
  StoredPage::Item item{.seq = seq, .event = Bytes(record->event.begin(), record->event.end())};
  if (!record->origin.key.empty()) {
    if (auto sender = UserId::make(protocol::sender_in(record->event))) {
      item.sender = *sender;
      item.key = std::move(record->origin.key);
    }
  }
  return item;
}

void put(StoredPage& page, StoredPage::Item item) {
  page.bytes += sizeof item + item.event.size() + item.blind.size() + item.key.source.size();
  page.items.push_back(std::move(item));
}

PageLimit limit_of(const PageRange& range) { return {.rows = range.limit, .bytes = range.bytes}; }

Result<StoredPage> read_history(Storage& storage, const std::string& partition, const PageRange& range) {
  const bool forward = range.direction == Direction::forward;
  auto page = storage.events(partition, Log::messages, range.start, range.direction, limit_of(range));
  if (!page) return page.error();
  StoredPage read{.oldest = page->oldest, .head = range.head};
  Seq last = 0;
  for (auto& [seq, bytes] : page->events) {
    if (seq > range.head) {
      if (forward) break;
      continue;
    }
    last = seq;
    auto item = item_of(seq, bytes);
    if (!item) return item.error();
    put(read, std::move(*item));
  }
  // A page that its limit ended reaches to its last event; another one to the end of the log.
  if (forward) {
    read.covers_from = range.start;
    read.covers_to = page->more && last != 0 ? std::min(last, range.head) : range.head;
    read.more = read.covers_to < range.head;
  } else {
    read.covers_to = std::min(range.start, range.head);
    read.covers_from = page->more && last != 0 ? last : 1;
    read.more = read.covers_from > std::max<Seq>(page->oldest, 1);
  }
  return read;
}

Result<StoredPage> read_happened(Storage& storage, const std::string& partition, const PageRange& range) {
  StoredPage read{.covers_from = range.start, .covers_to = range.head, .head = range.head};
  Events merged;
  std::vector<Seq> changes;
  for (const Log log : {Log::messages, Log::changes}) {
    auto page = storage.events(partition, log, range.start, Direction::forward, limit_of(range));
    if (!page) return page.error();
    read.oldest = page->oldest;
    // What one log did not show because of its limit ends what both can show.
    if (page->more) read.covers_to = std::min(read.covers_to, page->events.back().first);
    for (auto& event : page->events) {
      if (log == Log::changes) changes.push_back(event.first);
      merged.push_back(std::move(event));
    }
  }
  std::sort(merged.begin(), merged.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::size_t size = 0;
  for (auto& [seq, bytes] : merged) {
    if (seq > read.covers_to) break;
    auto item = item_of(seq, bytes);
    if (!item) return item.error();
    if (std::binary_search(changes.begin(), changes.end(), seq)) {
      if (Status added = add_target(storage, partition, *item); !added) return added.error();
    }
    size += item->event.size();
    put(read, std::move(*item));
    if (read.items.size() >= range.limit || size >= range.bytes) {
      read.covers_to = seq;
      break;
    }
  }
  read.more = read.covers_to < range.head;
  return read;
}

}  // namespace

Result<StoredPagePtr> read_stored(Storage& storage, const std::string& partition, const PageRange& range) {
  auto page = (range.with_changes ? read_happened : read_history)(storage, partition, range);
  if (!page) return page.error();
  return std::make_shared<const StoredPage>(std::move(*page));
}

ReadPage shown_to(const ReadRange& range, const StoredPage& page) {
  ReadPage read{.covers_from = page.covers_from,
                .covers_to = std::min(page.covers_to, range.head),
                .oldest = page.oldest,
                .more = page.more};
  if (range.direction == Direction::forward) read.more = read.covers_to < range.head;
  for (const StoredPage::Item& item : page.items) {
    if (item.seq > range.head || !sees(range.intervals, item.seq)) continue;
    const Bytes& event =
        item.target != 0 && !item.blind.empty() && !sees(range.intervals, item.target) ? item.blind : item.event;
    const bool is_his = !item.key.empty() && item.sender == range.reader;
    read.events.emplace_back(item.seq, is_his ? protocol::with_key(event, item.key) : event);
  }
  return read;
}

Result<ReadPage> read_messages(Storage& storage, const std::string& partition, const ReadRange& range) {
  auto page = read_stored(storage, partition,
                          {.start = range.start,
                           .direction = range.direction,
                           .head = range.head,
                           .limit = range.limit,
                           .bytes = range.bytes});
  if (!page) return page.error();
  return shown_to(range, **page);
}

Result<Seq> covered_by(Storage& storage, const std::string& partition, std::uint64_t batch, Seq head) {
  // Of the messages with floor <= batch the last one counts; floors ascend with seq, so that halving finds it.
  Seq low = 0, high = head, covered = 0;
  while (low < high) {
    const Seq middle = low + (high - low + 1) / 2;
    auto page = storage.events(partition, Log::messages, middle, Direction::backward, {.rows = 1});
    if (!page) return page.error();
    if (page->events.empty()) {
      low = middle;  // nothing up to there
      continue;
    }
    const auto& [seq, bytes] = page->events.front();
    if (seq <= low && low != 0) {
      low = middle;  // a stretch of changes: its message is known to be covered
      continue;
    }
    auto record = protocol::decode_record(bytes);
    if (!record) return record.error();
    if (record->origin.floor <= batch) {
      covered = std::max(covered, record->origin.base);
      low = middle;
    } else {
      high = seq - 1;
    }
  }
  return covered;
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
