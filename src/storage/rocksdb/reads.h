#pragma once

#include "database.h"
#include "encoding.h"

// What is read from the database: each function at one moment of it (a snapshot), none with a state of its own.
namespace chatcore {
inline namespace v1 {
namespace rocks {

// Number 0 where there is no such partition. `head` is the true one: from its row and its last events.
Result<PartitionRow> read_partition(Database&, std::string_view name, const rocksdb::ReadOptions& = {});

// A run as it is stored; empty where no run begins at or below `seq`.
struct StoredRun {
  Seq first{};
  std::string value{};
};
Result<std::optional<StoredRun>> read_run_at(Database&, Log, Number, Seq seq);

Result<EventPage> read_events(Database&, std::string_view partition, Log, Seq start, Direction, PageLimit);
Result<std::optional<Row>> read_row(Database&, std::string_view partition, Table, std::string_view key);
Result<RowPage> read_rows(Database&, std::string_view partition, Table, std::string_view after, PageLimit);
Result<FeedPage> read_feed(Database&, std::uint64_t after, PageLimit);

// One of the numbers in the meta family; 0 where it was never written.
Result<std::uint64_t> read_number(Database&, std::string_view key, const rocksdb::ReadOptions& = {});
// The newest batch that was written.
Result<std::uint64_t> read_last_batch(Database&);

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
