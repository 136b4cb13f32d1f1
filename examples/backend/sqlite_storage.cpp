#include "sqlite_storage.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <optional>
#include <random>
#include <vector>

#include "sqlite.h"
#include "sqlite_tables.h"

using namespace chatcore;

namespace backend {
namespace {

constexpr std::int64_t store_format = 1;
constexpr Seq most_seq = std::numeric_limits<std::int64_t>::max();

Error error_of(const SqliteError& error) {
  const bool damaged = error.code() == SQLITE_CORRUPT || error.code() == SQLITE_NOTADB;
  const ErrorCode code = damaged                       ? ErrorCode::corruption
                         : error.code() == SQLITE_FULL ? ErrorCode::storage_full
                                                       : ErrorCode::storage_unavailable;
  return {code, error.what()};
}

// A change has no outcome `corruption`: it was not done.
Error refusal_of(const SqliteError& error) {
  Error refusal = error_of(error);
  if (refusal.code == ErrorCode::corruption) refusal.code = ErrorCode::storage_unavailable;
  return refusal;
}

Error open_error_of(const SqliteError& error, const std::string& path) {
  switch (error.code()) {
    case SQLITE_BUSY:
      return {ErrorCode::in_use, path + " is locked by another process: end it, or name another database"};
    case SQLITE_NOTADB:
      return {ErrorCode::not_ours, path + " is no SQLite database, or its first page is damaged: name another file"};
    case SQLITE_ERROR:  // a table of one of our names has other columns
      return {ErrorCode::not_ours, path + " has chat_ tables that are not ours (" + error.what() + ")"};
    default:
      return error_of(error);
  }
}

std::string random_epoch() {
  static constexpr char digits[] = "0123456789abcdef";
  std::random_device random;
  std::string epoch;
  while (epoch.size() < 32) epoch.push_back(digits[random() & 15]);
  return epoch;
}

// Another one after each start of the machine; empty where the system does not say.
std::string boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

// Held as long as this lives, in this process too; the system lets go of it when the process dies.
class ProcessLock {
 public:
  explicit ProcessLock(const std::string& path) : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    error_ = file_ < 0 || flock(file_, LOCK_EX | LOCK_NB) != 0 ? errno : 0;
  }
  ~ProcessLock() {
    if (file_ >= 0) ::close(file_);
  }
  ProcessLock(const ProcessLock&) = delete;
  ProcessLock& operator=(const ProcessLock&) = delete;
  int error() const { return error_; }

 private:
  int file_, error_ = 0;
};

class SqliteStorage final : public Storage {
 public:
  explicit SqliteStorage(SqliteOptions options) : options_(std::move(options)) {}
  ~SqliteStorage() override;

  Result<StoreInfo> open(Durability wanted) override;
  CommitInfo commit(std::span<const Change>, std::span<Status> outcome) override;
  Result<EventPage> events(std::string_view, Log, Seq start, Direction, PageLimit) override;
  Result<std::optional<Row>> row(std::string_view, Table, std::string_view key) override;
  Result<RowPage> rows(std::string_view, Table, std::string_view after, PageLimit) override;
  Result<FeedPage> feed(std::uint64_t after, PageLimit) override;
  void cancel() override;

 private:
  Status open_store(Durability wanted);
  Status begin_life(Database&, Durability wanted);
  Status apply(const Change&, std::uint64_t batch);
  Status usable() const;
  template <class Read>
  auto reading(Read) -> decltype(std::declval<Read>()(std::declval<Reader&>()));

  SqliteOptions options_;
  std::atomic<bool> cancelled_ = false;
  std::optional<ProcessLock> lock_;
  std::optional<Writer> writer_;
  std::string epoch_;
  std::uint64_t last_batch_ = 0, feed_oldest_ = 1;

  std::mutex mutex_;  // of free_
  std::condition_variable freed_;
  std::vector<std::unique_ptr<Reader>> readers_;
  std::vector<Reader*> free_;
};

Result<StoreInfo> SqliteStorage::open(Durability wanted) {
  if (writer_) return {ErrorCode::invalid, "the store is open already"};
  if (Status opened = open_store(wanted); !opened) {
    lock_.reset();
    return opened.error();
  }
  return StoreInfo{store_format, epoch_, Durability::disk, static_cast<unsigned>(readers_.size()), last_batch_};
}

Status SqliteStorage::open_store(Durability wanted) try {
  lock_.emplace(options_.path + "-chat.lock");
  if (lock_->error() == EWOULDBLOCK) return {ErrorCode::in_use, options_.path + " is open in another storage"};
  if (lock_->error() != 0) return {ErrorCode::storage_unavailable, "cannot lock " + options_.path + "-chat.lock"};
  Database database(options_.path, &cancelled_);
  if (database.ask("PRAGMA journal_mode = WAL") != "wal") {
    return {ErrorCode::storage_unavailable, options_.path + " cannot have a write-ahead log: is it on a local disk?"};
  }
  database.run("PRAGMA synchronous = FULL");  // for what begin_life() notes, whatever is wanted
  if (Status ok = begin_life(database, wanted); !ok) return ok;
  if (wanted < Durability::disk) database.run("PRAGMA synchronous = NORMAL");
  free_.clear();
  readers_.clear();
  for (unsigned i = 0; i < std::max(options_.readers, 1u); ++i) {
    free_.push_back(readers_.emplace_back(std::make_unique<Reader>(options_.path, &cancelled_)).get());
  }
  writer_.emplace(std::move(database));
  return {};
} catch (const SqliteError& error) {
  return open_error_of(error, options_.path);
}

// Decides whether the store still holds everything that it acknowledged, and notes that it is in use.
Status SqliteStorage::begin_life(Database& database, Durability wanted) {
  Transaction transaction(database);
  database.run(schema);
  const std::string boot = boot_id();
  epoch_ = random_epoch();
  {
    Statement stored(database,
                     "SELECT format, epoch, boot_id, durability, clean, last_batch, feed_oldest FROM chat_store");
    if (Rows store = stored.query(); store.next()) {
      if (store.integer(0) > store_format) {
        return {ErrorCode::version_too_new, options_.path + " has format " + store.text(0) + ": use a later version"};
      }
      // What was not synced survives the process, not the machine.
      const bool machine_ended = boot.empty() || boot != store.text(2);
      const bool synced = store.integer(3) >= static_cast<int>(Durability::disk) || store.integer(4) != 0;
      if (!options_.restored && (synced || !machine_ended)) epoch_ = store.text(1);
      last_batch_ = static_cast<std::uint64_t>(store.integer(5));
      feed_oldest_ = static_cast<std::uint64_t>(store.integer(6));
    }
  }
  Statement(database, "INSERT OR REPLACE INTO chat_store VALUES(1, ?1, ?2, ?3, ?4, 0, ?5, ?6)")
      .run(store_format, epoch_, boot, static_cast<int>(wanted), last_batch_, feed_oldest_);
  transaction.commit();
  return {};
}

// The last write is synced, and with it everything before: a store that was closed has lost nothing.
SqliteStorage::~SqliteStorage() {
  if (!writer_) return;
  try {
    writer_->database.run("PRAGMA synchronous = FULL; UPDATE chat_store SET clean = 1");
  } catch (const SqliteError&) {  // then it counts as not closed
  }
}

CommitInfo SqliteStorage::commit(std::span<const Change> changes, std::span<Status> outcome) {
  const auto settle = [&](const Status& status) {  // what was not refused by itself
    for (Status& each : outcome) {
      if (!each && each.error().code == ErrorCode::unknown_outcome) each = status;
    }
  };
  if (Status ok = usable(); !ok) return settle(ok), CommitInfo{};
  const std::uint64_t batch = last_batch_ + 1, kept = std::max<std::uint64_t>(options_.feed_batches, 1);
  std::uint64_t feed_oldest = feed_oldest_;
  bool any = false, written = false;
  try {
    Transaction transaction(writer_->database);
    for (std::size_t i = 0; i < changes.size(); ++i) {
      if (Status ok = apply(changes[i], batch); ok) {
        any = true;
      } else {
        outcome[i] = std::move(ok);
      }
    }
    if (!any) return {};
    if (batch % 64 == 0 && batch > feed_oldest + kept) {
      feed_oldest = batch + 1 - kept;
      writer_->trim_feed.run(feed_oldest);
    }
    writer_->end_batch.run(batch, feed_oldest);
    // A full disk is met here, where nothing can have been done, and not in COMMIT, where that is not known.
    writer_->database.flush();
    written = true;
    last_batch_ = batch;  // a number is not given again, however this ends
    transaction.commit();
  } catch (const SqliteError& error) {
    // COMMIT that failed may stand in the log, whole, and come back if the process ends before the next one.
    settle(written ? Error{ErrorCode::unknown_outcome, error.what()} : refusal_of(error));
    return {written ? batch : 0};
  }
  feed_oldest_ = feed_oldest;
  settle({});
  return {batch};
}

Status SqliteStorage::apply(const Change& change, std::uint64_t batch) {
  Writer& w = *writer_;
  if (Status ok = check_change(change); !ok) return ok;
  if (change.new_head > most_seq) return {ErrorCode::invalid, "SQLite counts to 2^63 - 1"};
  std::int64_t id = 0;
  Seq head = 0, oldest = 1;
  if (Rows found = w.partition.query(blob(change.partition)); found.next()) {
    id = found.integer(0);
    head = static_cast<Seq>(found.integer(1));
    oldest = static_cast<Seq>(found.integer(2));
  }
  if (head != change.expected_head) return {ErrorCode::conflict, "the head is " + std::to_string(head)};
  for (const StoredEvent& event : change.events) {
    if (event.seq > head || event.seq < oldest) continue;
    if (!w.has_event.query(id, static_cast<int>(event.log), event.seq).next()) {
      return {ErrorCode::invalid, "there is no event " + std::to_string(event.seq) + " in this log to replace"};
    }
  }

  // From here on nothing refuses this change: what fails ends the transaction, so no savepoint is needed.
  const Seq new_oldest = std::max(oldest, std::min(change.trim_to, change.new_head) + 1);
  if (id == 0) {
    w.add_partition.run(blob(change.partition), change.new_head, new_oldest);
    id = w.database.last_insert();
  } else {
    w.move_partition.run(id, change.new_head, new_oldest);
  }
  for (const StoredEvent& event : change.events) {
    if (event.seq >= oldest) w.put_event.run(id, static_cast<int>(event.log), event.seq, event.bytes);
  }
  for (const Row& row : change.rows) {
    if (row.value) {
      w.put_row.run(id, static_cast<int>(row.table), blob(row.key), std::span<const std::byte>(*row.value));
    } else {
      w.erase_row.run(id, static_cast<int>(row.table), blob(row.key));
    }
  }
  if (new_oldest > oldest) {
    for (const Log log : {Log::messages, Log::changes}) w.trim_events.run(id, static_cast<int>(log), new_oldest);
  }
  if (change.new_head > head) w.put_feed.run(batch, id, change.new_head);
  return {};
}

Status SqliteStorage::usable() const {
  if (cancelled_) return {ErrorCode::storage_unavailable, "the store was told to stop"};
  if (!writer_) return {ErrorCode::storage_unavailable, "the store is not open"};
  return {};
}

template <class Read>
auto SqliteStorage::reading(Read read) -> decltype(std::declval<Read>()(std::declval<Reader&>())) {
  if (Status ok = usable(); !ok) return ok.error();
  std::unique_lock lock(mutex_);
  freed_.wait(lock, [&] { return cancelled_ || !free_.empty(); });
  if (free_.empty()) return usable().error();
  const auto give_back = [this](Reader* reader) {
    const std::lock_guard guard(mutex_);
    free_.push_back(reader);
    freed_.notify_one();
  };
  const std::unique_ptr<Reader, decltype(give_back)> reader(free_.back(), give_back);
  free_.pop_back();
  lock.unlock();
  try {
    return read(*reader);
  } catch (const SqliteError& error) {
    return error_of(error);
  }
}

Result<EventPage> SqliteStorage::events(std::string_view partition, Log log, Seq start, Direction direction,
                                        PageLimit limit) {
  return reading([&](Reader& reader) -> Result<EventPage> {
    EventPage page{.oldest = 1};
    PageRoom room(limit);
    Statement& statement = direction == Direction::forward ? reader.forward : reader.backward;
    for (Rows found = statement.query(blob(partition), static_cast<int>(log), start); found.next();) {
      page.head = static_cast<Seq>(found.integer(0));
      page.oldest = static_cast<Seq>(found.integer(1));
      if (found.is_null(2)) break;  // there is a partition, and no such event
      Bytes bytes = found.bytes(3);
      page.more = !room.take(bytes.size());
      if (page.more) break;
      page.events.emplace_back(static_cast<Seq>(found.integer(2)), std::move(bytes));
    }
    return page;
  });
}

Result<std::optional<Row>> SqliteStorage::row(std::string_view partition, Table table, std::string_view key) {
  return reading([&](Reader& reader) -> Result<std::optional<Row>> {
    Rows found = reader.row.query(blob(partition), static_cast<int>(table), blob(key));
    if (!found.next()) return std::optional<Row>();
    return std::optional(Row{.table = table, .key = std::string(key), .value = found.bytes(0)});
  });
}

Result<RowPage> SqliteStorage::rows(std::string_view partition, Table table, std::string_view after, PageLimit limit) {
  return reading([&](Reader& reader) -> Result<RowPage> {
    RowPage page;
    PageRoom room(limit);
    for (Rows found = reader.rows.query(blob(partition), static_cast<int>(table), blob(after)); found.next();) {
      Row row{.table = table, .key = found.text(0), .value = found.bytes(1)};
      if (!room.take(row.key.size() + row.value->size())) {
        page.next = page.rows.back().key;
        break;
      }
      page.rows.push_back(std::move(row));
    }
    return page;
  });
}

Result<FeedPage> SqliteStorage::feed(std::uint64_t after, PageLimit limit) {
  return reading([&](Reader& reader) -> Result<FeedPage> {
    FeedPage page{.next = after};
    PageRoom room(limit);
    std::uint64_t batch = after;  // the one being read; page.next is the last whole one
    std::size_t whole = 0;        // what page.moved holds of whole ones
    bool full = false;
    for (Rows found = reader.feed.query(after); found.next();) {
      page.oldest = static_cast<std::uint64_t>(found.integer(0));
      if (found.is_null(1)) break;  // nothing lies after `after`
      if (const auto of = static_cast<std::uint64_t>(found.integer(1)); of != batch) {
        page.next = std::exchange(batch, of);
        whole = page.moved.size();
        if ((page.more = full)) break;
      }
      std::string partition = found.text(2);
      full = !room.take(partition.size() + sizeof(Seq)) || full;
      if ((page.more = full && whole > 0)) break;  // a first batch is given whole, whatever its size
      page.moved.emplace_back(std::move(partition), static_cast<Seq>(found.integer(3)));
    }
    page.moved.resize(page.more ? whole : page.moved.size());
    if (!page.more) page.next = batch;
    return page;
  });
}

void SqliteStorage::cancel() {
  cancelled_ = true;
  if (writer_) writer_->database.interrupt();
  for (const auto& reader : readers_) reader->database.interrupt();
  const std::lock_guard lock(mutex_);
  freed_.notify_all();
}

}  // namespace

std::unique_ptr<Storage> make_sqlite_storage(SqliteOptions options) {
  return std::make_unique<SqliteStorage>(std::move(options));
}

}  // namespace backend
