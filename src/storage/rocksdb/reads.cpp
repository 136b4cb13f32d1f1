#include "reads.h"

#include <algorithm>
#include <cstring>

namespace chatcore {
inline namespace v1 {
namespace rocks {
namespace {

constexpr Seq max_seq = ~Seq{0};

using IteratorPtr = std::unique_ptr<rocksdb::Iterator>;

Bytes to_bytes(std::string_view text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(first, first + text.size());
}

// The runs of one log of one partition.
class RunIterator {
 public:
  RunIterator(Database& database, Log log, Number partition, rocksdb::ReadOptions options)
      : partition_(partition), lower_key_(partition, Seq{0}), upper_key_(partition + 1, Seq{0}) {
    lower_ = lower_key_;
    upper_ = upper_key_;
    options.iterate_lower_bound = &lower_;
    options.iterate_upper_bound = &upper_;
    it_ = database.iterate(family_of(log), options);
  }
  RunIterator(const RunIterator&) = delete;
  RunIterator& operator=(const RunIterator&) = delete;

  // The run that holds `seq`, or the last one below it; failing that, and `or_above`, the first one.
  void seek(Seq seq, bool or_above) {
    it_->SeekForPrev(RunKey(partition_, seq));
    if (or_above && !it_->Valid() && it_->status().ok()) it_->SeekToFirst();
  }
  void step(Direction direction) { direction == Direction::forward ? it_->Next() : it_->Prev(); }
  bool valid() const { return it_->Valid(); }
  Seq first() const { return get_fixed64(it_->key().data() + 8); }
  std::string value() const { return it_->value().ToString(); }
  Result<Run> run() const {
    if (auto run = decode_run(it_->key(), it_->value())) return std::move(*run);
    return damaged("a run of events");
  }
  Status status() const {
    if (!it_->status().ok()) return to_error(it_->status());
    return {};
  }

 private:
  Number partition_;
  RunKey lower_key_, upper_key_;
  Slice lower_, upper_;  // point into the keys
  IteratorPtr it_;
};

Result<Seq> last_seq(RunIterator& runs) {
  runs.seek(max_seq, false);
  if (!runs.valid()) {
    if (Status ok = runs.status(); !ok) return ok.error();
    return Seq{0};
  }
  const Result<Run> run = runs.run();
  if (!run) return run.error();
  return (*run).back().seq;
}

Result<PartitionRow> read_partition_row(Database& database, std::string_view name,
                                        const rocksdb::ReadOptions& options) {
  const auto stored = database.get(Family::meta, slice(partition_key(name)), options);
  if (!stored) return stored.error();
  if (!*stored) return PartitionRow{};
  if (const auto row = decode_partition(name, **stored)) return *row;
  return damaged("the row of a partition");
}

// Takes the events of a run into the page, from `start` on in the direction. False: the page is full.
bool take_run(const Run& run, Seq start, Direction direction, Seq oldest, PageRoom& room, EventPage& page) {
  const auto take = [&](const RunEvent& event) {
    if (!room.take(event.bytes.size())) return false;
    page.events.emplace_back(event.seq, to_bytes(event.bytes));
    return true;
  };
  const auto below = [](const RunEvent& event, Seq seq) { return event.seq < seq; };
  auto low = std::lower_bound(run.begin(), run.end(), oldest, below);
  if (direction == Direction::forward) {
    for (low = std::lower_bound(low, run.end(), start, below); low != run.end(); ++low) {
      if (!take(*low)) return false;
    }
  } else {
    auto high = start == max_seq ? run.end() : std::lower_bound(run.begin(), run.end(), start + 1, below);
    for (; high > low; --high) {
      if (!take(*std::prev(high))) return false;
    }
  }
  return true;
}

}  // namespace

Result<PartitionRow> read_partition(Database& database, std::string_view name, const rocksdb::ReadOptions& options) {
  Result<PartitionRow> row = read_partition_row(database, name, options);
  if (!row || row->number == 0) return row;
  for (const Log log : {Log::messages, Log::changes}) {
    RunIterator runs(database, log, row->number, options);
    const Result<Seq> last = last_seq(runs);
    if (!last) return last.error();
    row->head = std::max(row->head, *last);
  }
  return row;
}

Result<std::optional<StoredRun>> read_run_at(Database& database, Log log, Number partition, Seq seq) {
  RunIterator runs(database, log, partition, {});
  runs.seek(seq, false);
  if (runs.valid()) return std::optional(StoredRun{runs.first(), runs.value()});
  if (Status ok = runs.status(); !ok) return ok.error();
  return std::optional<StoredRun>();
}

Result<EventPage> read_events(Database& database, std::string_view name, Log log, Seq start, Direction direction,
                              PageLimit limit) {
  const Snapshot snapshot(database.db());
  const Result<PartitionRow> row = read_partition_row(database, name, snapshot.options);
  if (!row) return row.error();
  EventPage page{{}, (*row).oldest, (*row).head};
  if ((*row).number == 0) return page;

  RunIterator other(database, log == Log::messages ? Log::changes : Log::messages, (*row).number, snapshot.options);
  RunIterator runs(database, log, (*row).number, snapshot.options);
  for (RunIterator* each : {&other, &runs}) {
    const Result<Seq> last = last_seq(*each);
    if (!last) return last.error();
    page.head = std::max(page.head, *last);
  }

  PageRoom room(limit);
  for (runs.seek(start, direction == Direction::forward); runs.valid(); runs.step(direction)) {
    const Result<Run> run = runs.run();
    if (!run) return run.error();
    if (!take_run(*run, start, direction, page.oldest, room, page)) break;
  }
  if (Status ok = runs.status(); !ok) return ok.error();
  page.more = room.full();
  return page;
}

Result<std::optional<Row>> read_row(Database& database, std::string_view name, Table table, std::string_view key) {
  const Snapshot snapshot(database.db());
  const Result<PartitionRow> partition = read_partition_row(database, name, snapshot.options);
  if (!partition) return partition.error();
  if ((*partition).number == 0) return std::optional<Row>();
  const std::string stored_key = row_key((*partition).number, table, key);
  const auto stored = database.get(Family::rows, slice(stored_key), snapshot.options);
  if (!stored) return stored.error();
  if (!*stored) return std::optional<Row>();
  const auto value = unseal(slice(stored_key), **stored);
  if (!value) return damaged("a row");
  return std::optional(Row{table, std::string(key), to_bytes(*value)});
}

Result<RowPage> read_rows(Database& database, std::string_view name, Table table, std::string_view after,
                          PageLimit limit) {
  const Snapshot snapshot(database.db());
  const Result<PartitionRow> partition = read_partition_row(database, name, snapshot.options);
  if (!partition) return partition.error();
  RowPage page;
  if ((*partition).number == 0) return page;

  const std::string prefix = row_key((*partition).number, table, {});
  std::string end = prefix;
  ++end.back();  // no table has the number 255
  const Slice upper = slice(end);
  rocksdb::ReadOptions options = snapshot.options;
  options.iterate_upper_bound = &upper;
  const IteratorPtr it = database.iterate(Family::rows, options);
  std::string from = prefix + std::string(after);
  if (!after.empty()) from.push_back('\0');  // the smallest key above `after`
  PageRoom room(limit);
  for (it->Seek(from); it->Valid(); it->Next()) {
    const auto value = unseal(it->key(), it->value());
    if (!value) return damaged("a row");
    const std::string_view key = view(it->key()).substr(prefix.size());
    if (!room.take(key.size() + value->size())) {
      page.next = page.rows.back().key;
      break;
    }
    page.rows.push_back({table, std::string(key), to_bytes(*value)});
  }
  if (!it->status().ok()) return to_error(it->status());
  return page;
}

Result<FeedPage> read_feed(Database& database, std::uint64_t after, PageLimit limit) {
  const Snapshot snapshot(database.db());
  const Result<std::uint64_t> kept = read_number(database, feed_key, snapshot.options);
  if (!kept) return kept.error();
  const std::uint64_t oldest = std::max<std::uint64_t>(*kept, 1);  // batches without a line count as held

  FeedPage page{{}, 0, after, false};
  const IteratorPtr it = database.iterate(Family::feed, snapshot.options);
  PageRoom room(limit);
  bool full = false;
  for (it->Seek(FeedKey(std::max(oldest, after == ~std::uint64_t{0} ? after : after + 1))); it->Valid(); it->Next()) {
    const std::uint64_t batch = get_fixed64(it->key().data());
    if (full || batch <= after) break;
    auto moved = decode_feed(batch, it->value());
    if (!moved) return damaged("a batch of the feed");
    // A batch is never divided: one that does not fit waits, unless it is the first.
    for (const auto& [name, head] : *moved) full |= !room.take(name.size() + sizeof head);
    if (full && !page.moved.empty()) break;
    page.moved.insert(page.moved.end(), std::move_iterator(moved->begin()), std::move_iterator(moved->end()));
    page.next = batch;
  }
  page.more = it->Valid();
  if (*kept == 0 && page.moved.empty() && !page.more) it->SeekToFirst();  // nothing after `after`: nothing at all?
  if (*kept > 0 || !page.moved.empty() || it->Valid()) page.oldest = oldest;
  if (!it->status().ok()) return to_error(it->status());
  return page;
}

Result<std::uint64_t> read_number(Database& database, std::string_view key, const rocksdb::ReadOptions& options) {
  const auto stored = database.get(Family::meta, slice(key), options);
  if (!stored) return stored.error();
  if (!*stored) return std::uint64_t{0};
  if (const auto number = decode_number(key, **stored)) return *number;
  return damaged("a number of the store");
}

Result<std::uint64_t> read_last_batch(Database& database) {
  Result<std::uint64_t> batch = read_number(database, batch_key);
  if (!batch) return batch;
  const IteratorPtr it = database.iterate(Family::feed);
  it->SeekToLast();
  if (it->Valid()) batch = std::max(*batch, get_fixed64(it->key().data()));
  if (!it->status().ok()) return to_error(it->status());
  return batch;
}

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
