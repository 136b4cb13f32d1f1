#pragma once

#include <chatcore/storage.h>

#include <cstdint>
#include <memory>
#include <string>

namespace backend {

struct SqliteOptions {
  std::string path{};                    // the database; created where it is missing, its directory is not
  std::uint64_t feed_batches = 200'000;  // how many batches the feed holds at least
  unsigned readers = 4;                  // connections for reads, each with a cache of 2 MiB
  bool restored = false;                 // the database was restored from a backup: begin a new epoch
};

// A chatcore::Storage in tables beside those that the database has already: all of its names begin with chat_.
// One process at a time, by a lock file (PATH-chat.lock). Other connections may read and write the other tables; a
// commit waits for theirs up to 5 s, then it is storage_unavailable.
//
// Durability, as sqlite.org/pragma.html#pragma_synchronous has it for the write-ahead log: `disk` is synchronous=FULL,
// a sync each commit; `process` and `memory` are NORMAL: what a power cut takes is a suffix, and the epoch changes.
std::unique_ptr<chatcore::Storage> make_sqlite_storage(SqliteOptions);

}  // namespace backend
