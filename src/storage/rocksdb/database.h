#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <rocksdb/db.h>

#include <chatcore/storage.h>

namespace chatcore {
inline namespace v1 {
namespace rocks {

// What tests replace. Empty: the real thing.
struct Knobs {
  std::optional<std::string> boot_id{};
  rocksdb::Env* env = nullptr;                      // the files; outlives the storage
  std::chrono::milliseconds between_attempts{250};  // to write again after an error: each may write a memtable
};

enum class Family : std::size_t { messages, changes, rows, feed, meta };
constexpr std::size_t family_count = 5;

inline Family family_of(Log log) { return log == Log::messages ? Family::messages : Family::changes; }

// RocksDB's status in our words: corruption, storage_full or storage_unavailable.
Error to_error(const rocksdb::Status&);
Error damaged(const std::string& what);  // our own checksum failed

// RocksDB in one directory: opened, closed, and brought back after an error. Knows nothing of partitions.
// Reads and write() may run at once; open, close and reopen may not run beside anything.
class Database {
 public:
  Database(const RocksdbOptions&, rocksdb::Env*);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Status open();
  void close();
  bool is_open() const { return db_ != nullptr; }

  Result<std::optional<std::string>> get(Family, const rocksdb::Slice& key, const rocksdb::ReadOptions& = {});
  std::unique_ptr<rocksdb::Iterator> iterate(Family, const rocksdb::ReadOptions& = {});
  rocksdb::ColumnFamilyHandle* handle(Family family) const { return families_[static_cast<std::size_t>(family)]; }
  rocksdb::DB& db() { return *db_; }

  // After an error the batch may stand in the write-ahead log all the same; nothing more is written until the
  // database was closed and opened again. Reads go on until then.
  rocksdb::Status write(rocksdb::WriteBatch&, bool sync);
  bool impaired() const { return !db_ || impaired_->load(); }
  // Whether the directory takes what opening again has to write: asked before closing what still answers reads.
  Status probe();

  void cancel();  // ends RocksDB's background work and waits for nothing

 private:
  std::string path_;
  rocksdb::Env* env_;
  std::shared_ptr<std::atomic<bool>> impaired_;  // shared with the listener
  rocksdb::Options options_;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors_;
  std::array<rocksdb::ColumnFamilyHandle*, family_count> families_{};
  std::unique_ptr<rocksdb::DB> db_;
};

// One moment of the database, for reads that belong together.
class Snapshot {
 public:
  explicit Snapshot(rocksdb::DB& db) : db_(db) { options.snapshot = db.GetSnapshot(); }
  ~Snapshot() { db_.ReleaseSnapshot(options.snapshot); }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  rocksdb::ReadOptions options{};

 private:
  rocksdb::DB& db_;
};

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
