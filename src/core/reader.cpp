#include "core/reader.h"

#include <algorithm>

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

// An encoded event as `reader` may see it.
Bytes shown(const protocol::Record& record, const UserId& reader) {
  const bool is_his = !reader.empty() && protocol::sender_in(record.event) == reader.view();
  if (!is_his || record.origin.key.empty()) return Bytes(record.event.begin(), record.event.end());
  return protocol::with_key(record.event, record.origin.key);
}

// A change is shown with the present state of its target, where the reader may see that.
Result<Bytes> shown_change(Storage& storage, const std::string& partition, const protocol::Record& record,
                           const ReadRange& range) {
  auto event = protocol::decode<Event>(record.event);
  if (!event) return event.error();
  if (const auto* change = event->as<MessageChanged>()) {
    MessageChanged with = *change;
    if (sees(range.intervals, with.target)) {
      auto page = storage.events(partition, Log::messages, with.target, Direction::forward, {.rows = 1});
      if (!page) return page.error();
      if (!page->events.empty() && page->events.front().first == with.target) {
        auto target = protocol::decode_record(page->events.front().second);
        if (!target) return target.error();
        auto now = protocol::decode<Event>(target->event);
        if (!now) return now.error();
        if (const auto* posted = now->as<MessagePosted>()) with.now = *posted;
      }
    }
    event->body = std::move(with);
  }
  if (event->sender == range.reader && !range.reader.empty()) event->key = record.origin.key;
  return protocol::encode(*event);
}

PageLimit limit_of(const ReadRange& range) { return {.rows = range.limit, .bytes = range.bytes}; }

}  // namespace

Result<LoadedConversation> load_conversation(Storage& storage, const std::string& partition, std::uint64_t now) {
  LoadedConversation loaded;
  auto head = storage.events(partition, Log::messages, 1, Direction::forward, {.rows = 1});
  if (!head) return head.error();
  loaded.head = head->head;
  loaded.oldest = head->oldest;
  auto settings = storage.row(partition, Table::settings, settings_row);
  if (!settings) return settings.error();
  if (!*settings) return loaded;
  loaded.exists = true;
  auto conversation = protocol::decode_row<protocol::ConversationRow>(*(*settings)->value);
  if (!conversation) return conversation.error();
  loaded.conversation = std::move(*conversation);

  auto members = all_rows(storage, partition, Table::members);
  if (!members) return members.error();
  for (const Row& row : *members) {
    auto user = UserId::make(row.key);
    if (!user) return Error{ErrorCode::corruption, "a member's row has no user id"};
    auto member = protocol::decode_row<protocol::MemberRow>(*row.value);
    if (!member) return member.error();
    loaded.members.push_back({*user, std::move(*member)});
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

Result<ReadPage> read_messages(Storage& storage, const std::string& partition, const ReadRange& range) {
  const bool forward = range.direction == Direction::forward;
  auto page = storage.events(partition, Log::messages, range.start, range.direction, limit_of(range));
  if (!page) return page.error();
  ReadPage read;
  read.oldest = page->oldest;
  Seq last = 0;
  for (auto& [seq, bytes] : page->events) {
    if (seq > range.head) {
      if (forward) break;
      continue;
    }
    last = seq;
    auto record = protocol::decode_record(bytes);
    if (!record) return record.error();
    if (sees(range.intervals, seq)) read.events.emplace_back(seq, shown(*record, range.reader));
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

Result<ReadPage> read_all(Storage& storage, const std::string& partition, const ReadRange& range) {
  ReadPage read;
  read.covers_from = range.start;
  read.covers_to = range.head;
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
    auto record = protocol::decode_record(bytes);
    if (!record) return record.error();
    if (sees(range.intervals, seq)) {
      if (std::binary_search(changes.begin(), changes.end(), seq)) {
        auto change = shown_change(storage, partition, *record, range);
        if (!change) return change.error();
        read.events.emplace_back(seq, std::move(*change));
      } else {
        read.events.emplace_back(seq, shown(*record, range.reader));
      }
      size += read.events.back().second.size();
    }
    if (read.events.size() >= range.limit || size >= range.bytes) {
      read.covers_to = seq;
      break;
    }
  }
  read.more = read.covers_to < range.head;
  return read;
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
