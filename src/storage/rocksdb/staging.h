#pragma once

#include <map>

#include <rocksdb/write_batch.h>

#include "database.h"
#include "encoding.h"
#include "partition_cache.h"

namespace chatcore {
inline namespace v1 {
namespace rocks {

// One commit while it is put together. Changes are added in order; each sees what those before it did, and one that
// is refused leaves no trace. Nothing is written until write().
class Staging {
 public:
  Staging(Database& database, PartitionCache& cache, Number next_number)
      : database_(database), cache_(cache), next_number_(next_number) {}

  Status add(const Change&);
  bool empty() const { return touched_.empty(); }
  Number next_number() const { return next_number_; }

  // The batch of everything added, for the batch number it gets.
  rocksdb::WriteBatch& finish(std::uint64_t batch);
  // Once it is written: the cache learns it.
  void remember();

 private:
  // What the commit makes of the stored runs so far: a new value, or nothing where a run is dropped.
  using RunId = std::pair<Number, Seq>;
  using Runs = std::map<RunId, std::optional<std::string>>;
  struct Undo {
    Log log{};
    RunId id{};
    std::optional<std::optional<std::string>> before{};  // empty: the commit had not touched it
  };

  Runs& runs(Log log) { return runs_[log == Log::messages ? 0 : 1]; }
  Result<PartitionRow> partition(std::string_view name);
  Result<std::optional<std::pair<Seq, std::string>>> find_run(Log, Number, Seq);
  void set_run(Log, RunId, std::optional<std::string> value);
  void roll_back();

  Status stage_log(const Change&, PartitionRow&);
  Status replace(Number, const StoredEvent&);
  void append(Number, Log, const Change&);
  Status trim(Number, Log, Seq oldest, Seq to);

  Database& database_;
  PartitionCache& cache_;
  Number next_number_;
  bool created_ = false;
  std::array<Runs, 2> runs_;
  std::vector<Undo> undo_;  // of the change being added
  std::map<std::string, PartitionRow, std::less<>> touched_;
  std::map<std::string, Seq, std::less<>> moved_;
  rocksdb::WriteBatch batch_;
};

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
