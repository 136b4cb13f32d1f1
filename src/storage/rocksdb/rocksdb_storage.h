#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <shared_mutex>

#include "database.h"
#include "encoding.h"
#include "partition_cache.h"
#include "threads.h"

namespace chatcore {
inline namespace v1 {
namespace rocks {

// Row::expires is ignored: the engine deletes by itself what has expired, the hint only spares it the trouble.
//
// Threads: reads hold access_ shared, and so does commit(); open() and reopening the database hold it alone. Members
// from sync_ on belong to open() and commit(), of which one runs at a time.
class RocksdbStorage final : public Storage {
 public:
  RocksdbStorage(RocksdbOptions, Knobs);
  ~RocksdbStorage() override;

  Result<StoreInfo> open(Durability wanted) override;
  CommitInfo commit(std::span<const Change>, std::span<Status> outcome) override;
  Result<EventPage> events(std::string_view partition, Log, Seq start, Direction, PageLimit) override;
  Result<std::optional<Row>> row(std::string_view partition, Table, std::string_view key) override;
  Result<RowPage> rows(std::string_view partition, Table, std::string_view after, PageLimit) override;
  Result<FeedPage> feed(std::uint64_t after, PageLimit) override;
  void cancel() override;

 private:
  Status open_store(Durability wanted);
  void release();
  Status load_counters();
  Status load_identity(Durability wanted);
  Status write_identity(bool clean);
  Status recover();
  Status reopen();
  CommitInfo commit_now(std::span<const Change>, std::span<Status> outcome);
  void drop_old_feed(std::uint64_t batch, rocksdb::WriteBatch&, std::uint64_t& feed_oldest);
  template <class Read>
  auto reading(Read) -> decltype(std::declval<Read>()());

  const RocksdbOptions options_;
  const Knobs knobs_;
  std::mutex turnstile_;  // passed before access_ is taken, so that reads can't keep reopen() waiting for ever
  std::shared_mutex access_;
  std::unique_ptr<OwnThreads> threads_;  // the database's, ended after it
  std::unique_ptr<Database> database_;
  std::atomic<bool> cancelled_ = false;

  bool opened_ = false;
  bool sync_ = true;
  StoreRow identity_;
  Number next_number_ = 1;
  std::uint64_t last_batch_ = 0;
  std::uint64_t feed_oldest_ = 1;
  PartitionCache cache_;
  std::chrono::steady_clock::time_point next_attempt_{};  // to recover, after an error
  Status last_failure_;
};

// The factory with the knobs that tests need.
std::unique_ptr<Storage> make_storage(RocksdbOptions, Knobs);

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
