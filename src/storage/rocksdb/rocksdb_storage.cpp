#include "rocksdb_storage.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <random>

#include "directory.h"
#include "reads.h"
#include "staging.h"

namespace chatcore {
inline namespace v1 {
namespace rocks {
namespace {

constexpr std::size_t cached_partitions = 1 << 17;

std::string random_epoch() {
  std::random_device random;
  char text[33];
  std::snprintf(text, sizeof text, "%08x%08x%08x%08x", random(), random(), random(), random());
  return text;
}

Error exception_error(const std::exception& error) {
  return {ErrorCode::storage_unavailable, std::string("the storage failed: ") + error.what()};
}

Error not_open() { return {ErrorCode::storage_unavailable, "the store is not open"}; }
Error cancelled() { return {ErrorCode::storage_unavailable, "the store was told to stop"}; }

}  // namespace

RocksdbStorage::RocksdbStorage(RocksdbOptions options, Knobs knobs)
    : options_(std::move(options)), knobs_(std::move(knobs)), cache_(cached_partitions) {}

RocksdbStorage::~RocksdbStorage() {
  try {
    // Synced, and with it everything before it: a clean store has lost nothing, whatever happens next.
    if (opened_ && database_->is_open() && !database_->impaired()) (void)write_identity(true);
    release();
  } catch (...) {  // the store then counts as not closed cleanly
  }
}

Result<StoreInfo> RocksdbStorage::open(Durability wanted) try {
  const std::unique_lock alone(access_);
  if (opened_) return {ErrorCode::invalid, "the store is open already"};
  if (Status ok = open_store(wanted); !ok) {
    release();
    return ok.error();
  }
  opened_ = true;
  return StoreInfo{store_format, identity_.epoch, Durability::disk, 8, last_batch_};
} catch (const std::exception& error) {
  release();
  return exception_error(error);
}

void RocksdbStorage::release() {
  database_.reset();
  threads_.reset();
}

Status RocksdbStorage::open_store(Durability wanted) {
  if (Status ok = claim_directory(options_.path); !ok) return ok;
  sync_ = wanted == Durability::disk;
  threads_ = std::make_unique<OwnThreads>(knobs_.env ? knobs_.env : rocksdb::Env::Default());
  database_ = std::make_unique<Database>(options_, threads_.get());
  if (Status ok = database_->open(); !ok) return ok;
  if (Status ok = load_counters(); !ok) return ok;
  return load_identity(wanted);
}

Status RocksdbStorage::load_counters() {
  const auto number = read_number(*database_, number_key);
  if (!number) return number.error();
  const auto batch = read_last_batch(*database_);
  if (!batch) return batch.error();
  const auto feed_oldest = read_number(*database_, feed_key);
  if (!feed_oldest) return feed_oldest.error();
  // The larger: a number that was given to a commit that failed is not given again.
  next_number_ = std::max({next_number_, *number, Number{1}});
  last_batch_ = std::max(last_batch_, *batch);
  feed_oldest_ = std::max<std::uint64_t>(*feed_oldest, 1);
  cache_.clear();
  return {};
}

// Decides whether the store still holds everything that it acknowledged, and notes that it is in use.
Status RocksdbStorage::load_identity(Durability wanted) {
  const auto stored = database_->get(Family::meta, slice(store_key));
  if (!stored) return stored.error();
  std::optional<StoreRow> before;
  if (*stored) {
    before = decode_store(**stored);
    if (!before) return damaged("the row of the store");
  }
  const std::string boot_id = knobs_.boot_id ? *knobs_.boot_id : read_boot_id();
  // Writes that were not synced survive the process, not the machine.
  const bool machine_ended = before && (boot_id.empty() || boot_id != before->boot_id);
  const bool suffix_lost = before && !before->clean && before->durability < Durability::disk && machine_ended;
  const bool keep = before && !suffix_lost && !options_.restored;
  identity_ = {keep ? before->epoch : random_epoch(), boot_id, wanted, false};
  return write_identity(false);
}

Status RocksdbStorage::write_identity(bool clean) {
  identity_.clean = clean;
  rocksdb::WriteBatch batch;
  batch.Put(database_->handle(Family::meta), slice(store_key), encode_store(identity_));
  if (const rocksdb::Status written = database_->write(batch, true); !written.ok()) return to_error(written);
  return {};
}

CommitInfo RocksdbStorage::commit(std::span<const Change> changes, std::span<Status> outcome) try {
  if (changes.empty()) return {};
  if (Status ok = recover(); !ok) {
    for (Status& each : outcome) each = ok;
    return {};
  }
  const std::shared_lock shared(access_);
  return commit_now(changes, outcome);
} catch (...) {
  cache_.clear();  // what was not set yet stays unknown_outcome
  return {};
}

CommitInfo RocksdbStorage::commit_now(std::span<const Change> changes, std::span<Status> outcome) {
  Staging staging(*database_, cache_, next_number_);
  std::vector<std::size_t> accepted;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (Status ok = staging.add(changes[i]); ok) {
      accepted.push_back(i);
    } else {
      outcome[i] = std::move(ok);
    }
  }
  if (accepted.empty()) return {};

  const std::uint64_t batch = ++last_batch_;
  next_number_ = staging.next_number();
  rocksdb::WriteBatch& write = staging.finish(batch);
  std::uint64_t feed_oldest = feed_oldest_;
  drop_old_feed(batch, write, feed_oldest);
  if (const rocksdb::Status written = database_->write(write, sync_); !written.ok()) {
    // It may stand in the log, whole, and come back if the process ends before the log is left behind.
    cache_.clear();
    last_failure_ = to_error(written);
    const Error unknown{ErrorCode::unknown_outcome, last_failure_.error().message};
    for (const std::size_t i : accepted) outcome[i] = unknown;
    return {batch};
  }
  feed_oldest_ = feed_oldest;
  staging.remember();
  for (const std::size_t i : accepted) outcome[i] = {};
  return {batch};
}

// Now and then, because RocksDB pays for each range it deletes.
void RocksdbStorage::drop_old_feed(std::uint64_t batch, rocksdb::WriteBatch& write, std::uint64_t& feed_oldest) {
  const std::uint64_t slack = options_.feed_batches / 8 + 8;
  if (batch - feed_oldest < options_.feed_batches + slack) return;
  const std::uint64_t oldest = batch + 1 - std::max<std::uint64_t>(options_.feed_batches, 1);
  write.DeleteRange(database_->handle(Family::feed), FeedKey(feed_oldest), FeedKey(oldest));
  write.Put(database_->handle(Family::meta), slice(feed_key), encode_number(feed_key, oldest));
  feed_oldest = oldest;
}

// Before each commit: brings RocksDB back to writing after an error, so that the host need not restart. What fails
// here has written nothing.
Status RocksdbStorage::recover() {
  if (cancelled_) return cancelled();
  if (!opened_) return not_open();
  if (!database_->impaired()) return {};
  const auto now = std::chrono::steady_clock::now();
  if (now < next_attempt_ && !last_failure_) return last_failure_;
  next_attempt_ = now + knobs_.between_attempts;
  last_failure_ = reopen();
  if (!last_failure_) {
    Error error = last_failure_.error();
    error.retry_after = knobs_.between_attempts;
    last_failure_ = std::move(error);
  }
  return last_failure_;
}

Status RocksdbStorage::reopen() {
  if (Status ok = database_->probe(); !ok) return ok;  // as long as it can't write, it stays open for reads
  const std::lock_guard hold(turnstile_);
  const std::unique_lock alone(access_);
  if (cancelled_) return cancelled();
  database_->close();
  if (Status ok = database_->open(); !ok) return ok;
  if (Status ok = load_counters(); !ok) {
    database_->close();
    return ok;
  }
  return {};
}

template <class Read>
auto RocksdbStorage::reading(Read read) -> decltype(std::declval<Read>()()) try {
  { const std::lock_guard pass(turnstile_); }
  const std::shared_lock shared(access_);
  if (cancelled_) return cancelled();
  if (!database_ || !database_->is_open()) return not_open();
  return read();
} catch (const std::exception& error) {
  return exception_error(error);
}

Result<EventPage> RocksdbStorage::events(std::string_view partition, Log log, Seq start, Direction direction,
                                         PageLimit limit) {
  return reading([&] { return read_events(*database_, partition, log, start, direction, limit); });
}

Result<std::optional<Row>> RocksdbStorage::row(std::string_view partition, Table table, std::string_view key) {
  return reading([&] { return read_row(*database_, partition, table, key); });
}

Result<RowPage> RocksdbStorage::rows(std::string_view partition, Table table, std::string_view after, PageLimit limit) {
  return reading([&] { return read_rows(*database_, partition, table, after, limit); });
}

Result<FeedPage> RocksdbStorage::feed(std::uint64_t after, PageLimit limit) {
  return reading([&] { return read_feed(*database_, after, limit); });
}

void RocksdbStorage::cancel() {
  cancelled_ = true;
  const std::shared_lock shared(access_, std::try_to_lock);  // not while it is being reopened: that looks itself
  if (shared && database_ && database_->is_open()) database_->cancel();
}

std::unique_ptr<Storage> make_storage(RocksdbOptions options, Knobs knobs) {
  return std::make_unique<RocksdbStorage>(std::move(options), std::move(knobs));
}

}  // namespace rocks

std::unique_ptr<Storage> make_rocksdb_storage(RocksdbOptions options) {
  return rocks::make_storage(std::move(options), {});
}

}  // namespace v1
}  // namespace chatcore
