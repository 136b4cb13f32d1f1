#include <algorithm>
#include <map>
#include <utility>

#include "core/inbox.h"
#include "core/reader.h"

// How the inbox entries lie in the store.

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {

constexpr PageLimit whole_pages{.rows = 500, .bytes = 1 << 20};

std::string partition_of(const UserId& user) { return "u:" + user.string(); }

}  // namespace

// Sorts the last activity first.
std::string order_key(const ConversationId& id, std::uint64_t age) {
  std::string key;
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(~age >> shift));
  return key.append(id.view());
}

Result<std::vector<ConversationId>> channels_of(Storage& storage, const UserId& user) {
  std::vector<ConversationId> channels;
  std::string after;
  do {
    auto page = storage.rows(partition_of(user), Table::channels, after, whole_pages);
    if (!page) return page.error();
    for (const Row& row : page->rows) {
      auto id = ConversationId::make(row.key);
      if (!id) return Error{ErrorCode::corruption, "a channel's row has no conversation id"};
      channels.push_back(*id);
    }
    after = std::move(page->next);
  } while (!after.empty());
  return channels;
}

Result<std::vector<ConversationId>> changed_since(Storage& storage, const UserId& user, std::uint64_t batch) {
  std::vector<ConversationId> changed;
  std::string after;
  do {
    auto page = storage.rows(partition_of(user), Table::inbox, after, whole_pages);
    if (!page) return page.error();
    for (const Row& row : page->rows) {
      auto entry = protocol::decode_row<protocol::InboxRow>(*row.value);
      if (!entry) return entry.error();
      auto id = ConversationId::make(row.key);
      if (!id) return Error{ErrorCode::corruption, "an inbox entry has no conversation id"};
      if (entry->batch > batch) changed.push_back(*id);
    }
    after = std::move(page->next);
  } while (!after.empty());
  return changed;
}

void merge(InboxEntry& known, const InboxEntry& newer) {
  known.row.head = std::max(known.row.head, newer.row.head);
  known.row.batch = std::max(known.row.batch, newer.row.batch);
  known.row.age = std::max(known.row.age, newer.row.age);
  // Where it has been a channel in between, its row there has to go.
  const bool was_channel = known.place == InboxEntry::Place::channel;
  const bool again = was_channel && newer.place == InboxEntry::Place::entry;
  if (newer.place != InboxEntry::Place::entry || was_channel) {
    known.place = again ? InboxEntry::Place::entry_again : newer.place;
  }
}

Result<OwnedChange> put_entries(Storage& storage, const UserId& user, const std::vector<InboxEntry>& entries) {
  OwnedChange change{.partition = partition_of(user)};
  auto head = storage.events(change.partition, Log::messages, 1, Direction::forward, {.rows = 1});
  if (!head) return head.error();
  change.expected_head = change.new_head = head->head;
  std::map<ConversationId, InboxEntry> newest;
  for (const InboxEntry& entry : entries) {
    const auto [known, is_first] = newest.try_emplace(entry.conversation, entry);
    if (!is_first) merge(known->second, entry);
  }
  for (auto& [id, entry] : newest) {
    auto old = storage.row(change.partition, Table::inbox, id.view());
    if (!old) return old.error();
    if (entry.place == InboxEntry::Place::channel) {
      change.rows.push_back({.table = Table::channels,
                             .key = id.string(),
                             .value = protocol::encode_row(protocol::NumberRow{entry.row.head})});
      if (!*old) continue;
      auto row = protocol::decode_row<protocol::InboxRow>(*(*old)->value);
      if (!row) return row.error();
      change.rows.push_back({.table = Table::inbox, .key = id.string()});
      change.rows.push_back({.table = Table::inbox_order, .key = order_key(id, row->age)});
      continue;
    }
    if (entry.place == InboxEntry::Place::entry_again) {
      change.rows.push_back({.table = Table::channels, .key = id.string()});
    }
    if (*old) {
      auto row = protocol::decode_row<protocol::InboxRow>(*(*old)->value);
      if (!row) return row.error();
      if (row->head >= entry.row.head && row->batch >= entry.row.batch) continue;
      change.rows.push_back({.table = Table::inbox_order, .key = order_key(id, row->age)});
      entry.row.head = std::max(entry.row.head, row->head);
      entry.row.age = std::max(entry.row.age, row->age);
    }
    change.rows.push_back({.table = Table::inbox, .key = id.string(), .value = protocol::encode_row(entry.row)});
    if (id.view().starts_with(own_log_mark)) continue;
    change.rows.push_back({.table = Table::inbox_order, .key = order_key(id, entry.row.age), .value = Bytes()});
  }
  return change;
}

Result<InboxPage> read_inbox(Storage& storage, const UserId& user, const std::string& after, std::uint32_t limit) {
  auto page = storage.rows(partition_of(user), Table::inbox_order, after, {.rows = limit, .bytes = 1 << 20});
  if (!page) return page.error();
  InboxPage inbox{.next = std::move(page->next)};
  for (const Row& row : page->rows) {
    auto id = ConversationId::make(std::string_view(row.key).substr(std::min<std::size_t>(8, row.key.size())));
    if (!id) return Error{ErrorCode::corruption, "a conversation list entry has no conversation id"};
    auto stored = storage.row(partition_of(user), Table::inbox, id->view());
    if (!stored) return stored.error();
    if (!*stored) continue;
    auto entry = protocol::decode_row<protocol::InboxRow>(*(*stored)->value);
    if (!entry) return entry.error();
    inbox.entries.push_back({*id, *entry});
  }
  return inbox;
}

Row number_row(std::string_view name, std::uint64_t number) {
  return {.table = Table::engine, .key = std::string(name), .value = protocol::encode_row(protocol::NumberRow{number})};
}

Result<std::uint64_t> read_number(Storage& storage, std::string_view name) {
  auto row = storage.row(engine_partition, Table::engine, name);
  if (!row) return row.error();
  if (!*row) return std::uint64_t{0};
  auto number = protocol::decode_row<protocol::NumberRow>(*(*row)->value);
  if (!number) return number.error();
  return number->number;
}

namespace {

// Where entries have to be written again from: the least that a shard of the last run noted.
Result<std::uint64_t> noted_to(Storage& storage, std::vector<Row>& rows) {
  auto page = storage.rows(engine_partition, Table::engine, "", whole_pages);
  if (!page) return page.error();
  std::optional<std::uint64_t> least;
  for (Row& row : page->rows) {
    if (!row.key.starts_with("inbox/")) continue;
    auto number = protocol::decode_row<protocol::NumberRow>(*row.value);
    if (!number) return number.error();
    least = std::min(least.value_or(number->number), number->number);
    rows.push_back({.table = Table::engine, .key = row.key});  // this run may have fewer shards
  }
  return least.value_or(0);
}

// A member's entry after a crash: what came after he left is not for him.
Status entry_of(Storage& storage, const std::string& partition, const ConversationId& id, const UserId& user,
                const protocol::MemberRow& member, InboxEntry entry,
                std::map<UserId, std::vector<InboxEntry>>& entries) {
  const Seq left = member.former && !member.intervals.empty() ? member.intervals.back().to : 0;
  if (left != 0 && left < entry.row.head) {  // as old as his leaving
    auto leaving = read_event(storage, partition, left);
    if (!leaving) return leaving.error();
    auto record = *leaving ? protocol::decode_record(**leaving) : Error{ErrorCode::corruption, "trimmed", {}};
    if (!record) return {};
    entry.row = {left, entry.row.batch, record->origin.age};
  }
  if (member.former && entry.place == InboxEntry::Place::channel) entry.place = InboxEntry::Place::entry_again;
  entry.conversation = id;
  entries[user].push_back(std::move(entry));
  return {};
}

Status entries_of(Storage& storage, const std::string& partition, Seq head, std::uint64_t after, std::uint64_t batch,
                  std::map<UserId, std::vector<InboxEntry>>& entries) {
  auto id = ConversationId::make(std::string_view(partition).substr(2));
  if (!id) return Error{ErrorCode::corruption, "the feed names a conversation without an id"};
  auto last = read_event(storage, partition, head);
  if (!last) return last.error();
  std::uint64_t age = 0;
  if (*last) {
    auto record = protocol::decode_record(**last);
    if (!record) return record.error();
    age = record->origin.age;
  }
  auto settings = storage.row(partition, Table::settings, settings_row);
  if (!settings) return settings.error();
  protocol::ConversationRow conversation;
  if (*settings) {
    auto row = protocol::decode_row<protocol::ConversationRow>(*(*settings)->value);
    if (!row) return row.error();
    conversation = std::move(*row);
  }
  using Place = InboxEntry::Place;
  InboxEntry entry{.row = {head, batch, age}};
  if (conversation.crossed != 0) entry.place = conversation.on_read ? Place::channel : Place::entry_again;
  if (conversation.on_read) {
    auto covered = covered_by(storage, partition, after, head);
    if (!covered) return covered.error();
    if (*covered >= conversation.crossed) {  // only who came or went since
      auto moved = members_moved(storage, partition, *covered, head);
      if (!moved) return moved.error();
      for (const Participant& each : *moved) {
        if (Status put = entry_of(storage, partition, *id, each.user, each.row, entry, entries); !put) return put;
      }
      return {};
    }
  }
  std::string next;
  do {
    auto page = storage.rows(partition, Table::members, next, whole_pages);
    if (!page) return page.error();
    for (const Row& row : page->rows) {
      auto user = UserId::make(row.key);
      auto member = protocol::decode_row<protocol::MemberRow>(*row.value);
      if (!user || !member) return Error{ErrorCode::corruption, "a member's row is damaged"};
      if (Status put = entry_of(storage, partition, *id, *user, *member, entry, entries); !put) return put;
    }
    next = std::move(page->next);
  } while (!next.empty());
  return {};
}

Status commit_all(Storage& storage, const std::vector<OwnedChange>& changes) {
  std::vector<Change> views;
  for (const OwnedChange& change : changes) {
    views.push_back({.partition = change.partition,
                     .expected_head = change.expected_head,
                     .new_head = change.new_head,
                     .rows = change.rows});
  }
  std::vector<Status> outcomes(views.size(), Status(ErrorCode::unknown_outcome, "the commit did not say"));
  storage.commit(views, outcomes);
  for (Status& outcome : outcomes) {
    if (!outcome) return outcome;
  }
  return {};
}

}  // namespace

Status recover_inbox(Storage& storage, std::uint64_t newest_batch, unsigned shards) {
  OwnedChange note{.partition = std::string(engine_partition)};
  auto from = noted_to(storage, note.rows);
  if (!from) return from.error();
  std::map<std::string, Seq> moved;  // conversations and their heads
  for (std::uint64_t after = *from; after < newest_batch;) {
    auto page = storage.feed(after, {.rows = 10'000, .bytes = 4 << 20});
    if (!page) return page.error();
    for (const auto& [partition, head] : page->moved) {
      if (partition.starts_with("c:")) moved[partition] = head;
    }
    if (!page->more || page->next <= after) break;
    after = page->next;
  }
  // What landed unnoticed may lie before checkpoints that were given out since: for one who comes back with them
  // everything found here counts as newer.
  const std::uint64_t batch = newest_batch + 1;
  std::map<UserId, std::vector<InboxEntry>> entries;
  for (const auto& [partition, head] : moved) {
    if (Status read = entries_of(storage, partition, head, *from, batch, entries); !read) return read;
  }
  std::vector<OwnedChange> changes;
  for (const auto& [user, list] : entries) {
    auto change = put_entries(storage, user, list);
    if (!change) return change.error();
    if (!change->rows.empty()) changes.push_back(std::move(*change));
    if (changes.size() < 1000) continue;
    if (Status committed = commit_all(storage, changes); !committed) return committed;
    changes.clear();
  }
  for (unsigned i = 0; i < shards; ++i) note.rows.push_back(number_row("inbox/" + std::to_string(i), newest_batch));
  changes.push_back(std::move(note));
  return commit_all(storage, changes);
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
