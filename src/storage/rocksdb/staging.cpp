#include "staging.h"

#include <algorithm>

#include "reads.h"

namespace chatcore {
inline namespace v1 {
namespace rocks {
namespace {

std::string_view to_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What a change is refused with when something it needs can't be read: nothing of it is done.
Error refused(const Error& error) {
  return {error.code == ErrorCode::storage_full ? error.code : ErrorCode::storage_unavailable, error.message};
}

}  // namespace

Status Staging::add(const Change& change) {
  if (Status ok = check_change(change); !ok) return ok;
  const Result<PartitionRow> known = partition(change.partition);
  if (!known) return refused(known.error());
  PartitionRow row = *known;
  if (row.head != change.expected_head) {
    return {ErrorCode::conflict, "the head is " + std::to_string(row.head) + ": read the partition again"};
  }
  const bool created = row.number == 0;
  if (created) row.number = next_number_;
  const Seq oldest = row.oldest;
  undo_.clear();
  if (Status ok = stage_log(change, row); !ok) {
    roll_back();
    return ok;
  }

  // From here on nothing can refuse the change.
  if (created) {
    ++next_number_;
    created_ = true;
  }
  for (const Row& each : change.rows) {
    const std::string key = row_key(row.number, each.table, each.key);
    if (each.value) {
      std::string value(to_text(*each.value));
      seal(slice(key), value);
      batch_.Put(database_.handle(Family::rows), slice(key), value);
    } else {
      batch_.Delete(database_.handle(Family::rows), slice(key));
    }
  }
  const bool head_is_an_event =
      row.head == change.expected_head ||
      std::any_of(change.events.begin(), change.events.end(), [&](const auto& event) { return event.seq == row.head; });
  if (created || row.oldest != oldest || !head_is_an_event) {
    batch_.Put(database_.handle(Family::meta), slice(partition_key(change.partition)),
               encode_partition(change.partition, row));
  }
  touched_.insert_or_assign(std::string(change.partition), row);
  if (change.new_head > change.expected_head) moved_.insert_or_assign(std::string(change.partition), row.head);
  return {};
}

Status Staging::stage_log(const Change& change, PartitionRow& row) {
  for (const StoredEvent& event : change.events) {
    if (event.seq > row.head || event.seq < row.oldest) continue;
    if (Status ok = replace(row.number, event); !ok) return ok;
  }
  append(row.number, Log::messages, change);
  append(row.number, Log::changes, change);
  row.head = change.new_head;
  const Seq trim_to = std::min(change.trim_to, row.head);
  if (trim_to < row.oldest) return {};
  for (const Log log : {Log::messages, Log::changes}) {
    if (Status ok = trim(row.number, log, row.oldest, trim_to); !ok) return ok;
  }
  row.oldest = trim_to + 1;
  return {};
}

Status Staging::replace(Number number, const StoredEvent& event) {
  const auto stored = find_run(event.log, number, event.seq);
  if (!stored) return refused(stored.error());
  const auto missing = [&] {
    return Status(ErrorCode::invalid, "no event to replace at seq " + std::to_string(event.seq));
  };
  if (!*stored) return missing();
  const auto& [first, value] = **stored;
  auto run = decode_run(RunKey(number, first), value);
  if (!run) return refused(damaged("a run of events"));
  const auto place = std::find_if(run->begin(), run->end(), [&](const auto& each) { return each.seq == event.seq; });
  if (place == run->end()) return missing();
  place->bytes = to_text(event.bytes);
  set_run(event.log, {number, first}, encode_run(number, run->data(), run->data() + run->size()));
  return {};
}

void Staging::append(Number number, Log log, const Change& change) {
  Run run;
  std::size_t bytes = 0;
  const auto flush = [&] {
    if (run.empty()) return;
    set_run(log, {number, run.front().seq}, encode_run(number, run.data(), run.data() + run.size()));
    run.clear();
    bytes = 0;
  };
  for (const StoredEvent& event : change.events) {
    if (event.log != log || event.seq <= change.expected_head) continue;
    if (run.size() >= max_run_events || bytes + event.bytes.size() > max_run_bytes) flush();
    run.push_back({event.seq, to_text(event.bytes)});
    bytes += event.bytes.size();
  }
  flush();
}

// Runs that begin below the oldest seq were dropped or rewritten by earlier trims, so the walk starts there.
Status Staging::trim(Number number, Log log, Seq oldest, Seq to) {
  const auto last = find_run(log, number, to);
  if (!last) return refused(last.error());
  if (!*last) return {};
  // The last run may reach beyond the trimmed part: what it keeps moves to a key of its own.
  const auto& [first, value] = **last;
  const auto run = decode_run(RunKey(number, first), value);
  if (!run) return refused(damaged("a run of events"));
  const auto kept = std::find_if(run->begin(), run->end(), [&](const auto& event) { return event.seq > to; });
  if (kept != run->end()) {
    const auto index = kept - run->begin();
    set_run(log, {number, kept->seq}, encode_run(number, run->data() + index, run->data() + run->size()));
  }
  std::vector<Seq> dropped;
  const auto& staged = runs(log);
  for (auto it = staged.lower_bound({number, oldest}); it != staged.end() && it->first <= RunId(number, to); ++it) {
    if (it->second) dropped.push_back(it->first.second);
  }
  const RunKey upper_key(number, to + 1);
  const Slice upper = upper_key;
  rocksdb::ReadOptions options;
  options.iterate_upper_bound = &upper;
  const auto it = database_.iterate(family_of(log), options);
  for (it->Seek(RunKey(number, oldest)); it->Valid(); it->Next()) dropped.push_back(get_fixed64(it->key().data() + 8));
  if (!it->status().ok()) return refused(to_error(it->status()));
  for (const Seq each : dropped) set_run(log, {number, each}, std::nullopt);
  return {};
}

Result<PartitionRow> Staging::partition(std::string_view name) {
  if (const auto found = touched_.find(name); found != touched_.end()) return found->second;
  if (const PartitionRow* row = cache_.find(name)) return *row;
  return read_partition(database_, name);
}

// The run that holds `seq`, or the last below it: staged or stored, whichever lies nearer.
Result<std::optional<std::pair<Seq, std::string>>> Staging::find_run(Log log, Number number, Seq seq) {
  using Found = std::optional<std::pair<Seq, std::string>>;
  const auto& staged = runs(log);
  Found nearest;
  for (auto it = staged.upper_bound({number, seq}); it != staged.begin();) {
    --it;
    if (it->first.first != number) break;
    if (!it->second) continue;
    nearest.emplace(it->first.second, *it->second);
    break;
  }
  for (;;) {
    auto stored = read_run_at(database_, log, number, seq);
    if (!stored) return stored.error();
    if (!*stored || (nearest && (*stored)->first <= nearest->first)) return nearest;
    if (!staged.contains({number, (*stored)->first})) return Found({(*stored)->first, std::move((*stored)->value)});
    if ((*stored)->first == 0) return nearest;
    seq = (*stored)->first - 1;  // dropped by this commit: look below it
  }
}

void Staging::set_run(Log log, RunId id, std::optional<std::string> value) {
  Runs& staged = runs(log);
  const auto [place, is_new] = staged.try_emplace(id);
  Undo undo{log, id, {}};
  if (!is_new) undo.before.emplace(std::move(place->second));
  undo_.push_back(std::move(undo));
  place->second = std::move(value);
}

void Staging::roll_back() {
  for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo) {
    if (undo->before) {
      runs(undo->log)[undo->id] = std::move(*undo->before);
    } else {
      runs(undo->log).erase(undo->id);
    }
  }
}

rocksdb::WriteBatch& Staging::finish(std::uint64_t batch) {
  for (const Log log : {Log::messages, Log::changes}) {
    rocksdb::ColumnFamilyHandle* family = database_.handle(family_of(log));
    for (const auto& [id, value] : runs(log)) {
      const RunKey key(id.first, id.second);
      if (value) {
        batch_.Put(family, key, *value);
      } else {
        batch_.Delete(family, key);
      }
    }
  }
  rocksdb::ColumnFamilyHandle* meta = database_.handle(Family::meta);
  if (created_) batch_.Put(meta, slice(number_key), encode_number(number_key, next_number_));
  if (moved_.empty()) {
    batch_.Put(meta, slice(batch_key), encode_number(batch_key, batch));
  } else {
    batch_.Put(database_.handle(Family::feed), FeedKey(batch), encode_feed(batch, {moved_.begin(), moved_.end()}));
  }
  return batch_;
}

void Staging::remember() {
  for (const auto& [name, row] : touched_) cache_.put(name, row);
}

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
