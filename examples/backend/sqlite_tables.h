#pragma once

#include <atomic>
#include <string>

#include "sqlite.h"

// The tables of the storage on SQLite, and every statement on them.
namespace backend {

// A partition has a number, so that its name is stored once. Rows lie in the order in which they are read.
inline constexpr const char* schema = R"sql(
  CREATE TABLE IF NOT EXISTS chat_store(
    id INTEGER PRIMARY KEY CHECK(id = 1), format INTEGER NOT NULL, epoch TEXT NOT NULL, boot_id TEXT NOT NULL,
    durability INTEGER NOT NULL, clean INTEGER NOT NULL, last_batch INTEGER NOT NULL, feed_oldest INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS chat_partitions(
    id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, head INTEGER NOT NULL, oldest INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS chat_events(
    partition INTEGER, log INTEGER, seq INTEGER, bytes BLOB NOT NULL, PRIMARY KEY(partition, log, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS chat_rows(
    partition INTEGER, kind INTEGER, key BLOB, value BLOB NOT NULL, PRIMARY KEY(partition, kind, key)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS chat_feed(
    batch INTEGER, partition INTEGER, head INTEGER NOT NULL, PRIMARY KEY(batch, partition)
  ) STRICT, WITHOUT ROWID;
)sql";

// The connection that commits.
struct Writer {
  explicit Writer(Database opened) : database(std::move(opened)) {}

  Database database;
  Statement partition{database, "SELECT id, head, oldest FROM chat_partitions WHERE name = ?1"};
  Statement has_event{database, "SELECT 1 FROM chat_events WHERE partition = ?1 AND log = ?2 AND seq = ?3"};
  Statement add_partition{database, "INSERT INTO chat_partitions(name, head, oldest) VALUES(?1, ?2, ?3)"};
  Statement move_partition{database, "UPDATE chat_partitions SET head = ?2, oldest = ?3 WHERE id = ?1"};
  Statement put_event{database,
                      "INSERT INTO chat_events VALUES(?1, ?2, ?3, ?4) "
                      "ON CONFLICT DO UPDATE SET bytes = excluded.bytes"};
  Statement trim_events{database, "DELETE FROM chat_events WHERE partition = ?1 AND log = ?2 AND seq < ?3"};
  Statement put_row{database,
                    "INSERT INTO chat_rows VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET value = excluded.value"};
  Statement erase_row{database, "DELETE FROM chat_rows WHERE partition = ?1 AND kind = ?2 AND key = ?3"};
  Statement put_feed{database,
                     "INSERT INTO chat_feed VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET head = excluded.head"};
  Statement trim_feed{database, "DELETE FROM chat_feed WHERE batch < ?1"};
  Statement end_batch{database, "UPDATE chat_store SET last_batch = ?1, feed_oldest = ?2"};
};

// A connection that reads. Each statement is a snapshot of its own: what a page says of its partition, and what it
// holds of it, are read by one.
struct Reader {
  Reader(const std::string& path, const std::atomic<bool>* give_up) : database(path, give_up) {
    database.run("PRAGMA query_only = ON");
  }

  Database database;
  Statement forward{database,
                    "SELECT p.head, p.oldest, e.seq, e.bytes FROM chat_partitions p LEFT JOIN chat_events e "
                    "ON e.partition = p.id AND e.log = ?2 AND e.seq >= ?3 WHERE p.name = ?1 ORDER BY e.seq"};
  Statement backward{database,
                     "SELECT p.head, p.oldest, e.seq, e.bytes FROM chat_partitions p LEFT JOIN chat_events e "
                     "ON e.partition = p.id AND e.log = ?2 AND e.seq <= ?3 WHERE p.name = ?1 ORDER BY e.seq DESC"};
  Statement row{database,
                "SELECT r.value FROM chat_partitions p JOIN chat_rows r "
                "ON r.partition = p.id AND r.kind = ?2 AND r.key = ?3 WHERE p.name = ?1"};
  Statement rows{database,
                 "SELECT r.key, r.value FROM chat_partitions p JOIN chat_rows r "
                 "ON r.partition = p.id AND r.kind = ?2 AND r.key > ?3 WHERE p.name = ?1 ORDER BY r.key"};
  Statement feed{database,
                 "SELECT IIF(EXISTS(SELECT 1 FROM chat_feed), s.feed_oldest, 0), f.batch, p.name, f.head "
                 "FROM chat_store s LEFT JOIN chat_feed f ON f.batch > ?1 LEFT JOIN chat_partitions p "
                 "ON p.id = f.partition WHERE s.id = 1 ORDER BY f.batch, f.partition"};
};

}  // namespace backend
