#include "database.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/table.h>

#include <algorithm>

namespace chatcore {
inline namespace v1 {
namespace rocks {
namespace {

constexpr std::array<const char*, family_count> family_names = {"messages", "changes", "rows", "feed", "meta"};

// Notes errors of flushes and compactions, so that the next commit is refused before it is written. RocksDB's own
// recovery is turned off, and its Resume() not used: it can wait for ever for a flush that nobody has scheduled, and
// can go on with a log that ends in half a batch. Closing and opening again is sure.
class ErrorListener final : public rocksdb::EventListener {
 public:
  explicit ErrorListener(std::shared_ptr<std::atomic<bool>> impaired) : impaired_(std::move(impaired)) {}

  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status*) override { impaired_->store(true); }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool* auto_recovery) override {
    *auto_recovery = false;
  }

 private:
  std::shared_ptr<std::atomic<bool>> impaired_;
};

// RocksDB's diary is for its developers, and flushing it would cost a thread more.
class Silence final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

rocksdb::Options make_options(const RocksdbOptions& wanted, rocksdb::Env* env) {
  rocksdb::Options options;
  options.env = env;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.info_log = std::make_shared<Silence>();
  options.max_background_jobs = 2;
  options.max_file_opening_threads = 1;
  options.max_open_files = 512;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.skip_stats_update_on_db_open = true;
  options.manifest_preallocation_size = 64 << 10;
  options.db_write_buffer_size = wanted.write_buffer_bytes;  // over all families
  options.write_buffer_size = std::max<std::uint64_t>(wanted.write_buffer_bytes / 2, 64 << 10);
  // The end of the log may be torn by a crash: what is before it counts.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(wanted.block_cache_bytes);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  const auto supported = rocksdb::GetSupportedCompressions();
  const bool lz4 = std::find(supported.begin(), supported.end(), rocksdb::kLZ4Compression) != supported.end();
  options.compression = lz4 ? rocksdb::kLZ4Compression : rocksdb::kNoCompression;
  // What is flushed is rewritten soon: only what comes to rest below is worth compressing.
  options.compression_per_level.assign(static_cast<std::size_t>(options.num_levels), options.compression);
  options.compression_per_level[0] = options.compression_per_level[1] = rocksdb::kNoCompression;
  return options;
}

}  // namespace

Error to_error(const rocksdb::Status& status) {
  const std::string text = status.ToString();
  if (status.IsCorruption()) {
    return {ErrorCode::corruption, "stored bytes are damaged, restore them from a backup: " + text};
  }
  if (status.IsNoSpace() || status.subcode() == rocksdb::Status::kSpaceLimit) {
    return {ErrorCode::storage_full, "no space is left for the data directory, make room: " + text};
  }
  return {ErrorCode::storage_unavailable, "the data directory does not answer as it should: " + text};
}

Error damaged(const std::string& what) {
  return {ErrorCode::corruption, what + " fails its checksum: restore the data directory from a backup"};
}

Database::Database(const RocksdbOptions& wanted, rocksdb::Env* env)
    : path_(wanted.path), env_(env), impaired_(std::make_shared<std::atomic<bool>>(false)) {
  options_ = make_options(wanted, env_);
  options_.listeners.push_back(std::make_shared<ErrorListener>(impaired_));
  descriptors_.emplace_back(rocksdb::kDefaultColumnFamilyName, options_);
  for (const char* name : family_names) descriptors_.emplace_back(name, options_);
}

Database::~Database() { close(); }

Status Database::open() {
  impaired_->store(false);
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened = rocksdb::DB::Open(options_, path_, descriptors_, &handles, &db);
  if (!opened.ok()) {
    const std::string text = opened.ToString();
    const bool locked = text.find("lock hold by current process") != std::string::npos ||
                        (text.find("While lock file") != std::string::npos && opened.IsIOError() &&
                         text.find("temporarily unavailable") != std::string::npos);
    if (locked)
      return {ErrorCode::in_use, path_ + " is open already: close the other engine, or name another directory"};
    return to_error(opened);
  }
  db_.reset(db);
  db_->DestroyColumnFamilyHandle(handles[0]);  // "default", which RocksDB insists on
  std::copy(handles.begin() + 1, handles.end(), families_.begin());
  return {};
}

void Database::close() {
  if (!db_) return;
  for (rocksdb::ColumnFamilyHandle* family : families_) db_->DestroyColumnFamilyHandle(family);
  db_->Close();
  db_.reset();
}

Result<std::optional<std::string>> Database::get(Family family, const rocksdb::Slice& key,
                                                 const rocksdb::ReadOptions& options) {
  std::string value;
  const rocksdb::Status status = db_->Get(options, handle(family), key, &value);
  if (status.IsNotFound()) return std::optional<std::string>();
  if (!status.ok()) return to_error(status);
  return std::optional(std::move(value));
}

std::unique_ptr<rocksdb::Iterator> Database::iterate(Family family, const rocksdb::ReadOptions& options) {
  return std::unique_ptr<rocksdb::Iterator>(db_->NewIterator(options, handle(family)));
}

rocksdb::Status Database::write(rocksdb::WriteBatch& batch, bool sync) {
  rocksdb::WriteOptions options;
  options.sync = sync;
  const rocksdb::Status status = db_->Write(options, &batch);
  if (!status.ok()) impaired_->store(true);
  return status;
}

// Opening again writes the memtables into table files.
Status Database::probe() {
  std::uint64_t needed = 1 << 20, free = 0, size = 0;
  for (rocksdb::ColumnFamilyHandle* family : families_) {
    if (db_ && db_->GetIntProperty(family, rocksdb::DB::Properties::kCurSizeAllMemTables, &size)) needed += size;
  }
  if (env_->GetFreeSpace(path_, &free).ok() && free < needed) {
    return to_error(rocksdb::Status::NoSpace(std::to_string(needed) + " bytes are needed"));
  }
  const std::string name = path_ + "/CHATCORE.probe";
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::Status status = env_->NewWritableFile(name, &file, rocksdb::EnvOptions());
  if (status.ok()) {
    status = file->Append(std::string(64 << 10, 'x'));
    if (status.ok()) status = file->Sync();
    file->Close().PermitUncheckedError();
    env_->DeleteFile(name).PermitUncheckedError();
  }
  if (!status.ok()) return to_error(status);
  return {};
}

void Database::cancel() {
  if (db_) rocksdb::CancelAllBackgroundWork(db_.get(), false);
}

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
