#include <doctest/doctest.h>

#include <chatcore/testing.h>

#include <fstream>
#include <thread>

#include "backend/faulty_vfs.h"
#include "backend/sqlite.h"
#include "backend/sqlite_storage.h"
#include "storage/child.h"
#include "storage/model.h"
#include "storage/scratch.h"

// What the example's storage on SQLite promises: the seam's promises by the conformance suite, and here what needs a
// full disk, a power cut, another process.

using namespace scratch;
using backend::Database;
using backend::make_sqlite_storage;

namespace {

ErrorCode open_error(Storage& storage, Durability wanted = Durability::disk) {
  const Result<StoreInfo> info = storage.open(wanted);
  return info ? ErrorCode::ok : info.error().code;
}

ErrorCode outcome(Storage& storage, const Step& step) {
  std::vector<StoredEvent> events;
  const Change change = step.as_change(events);
  Status outcome(ErrorCode::unknown_outcome, "not set");
  (void)storage.commit({&change, 1}, {&outcome, 1});
  return outcome ? ErrorCode::ok : outcome.error().code;
}

Seq head(Storage& storage, std::string_view partition) {
  return must(storage.events(partition, Log::messages, 1, Direction::forward, {}), "events()").head;
}

std::string epoch_of(const std::string& path, bool restored = false) {
  return must(make_sqlite_storage({.path = path, .restored = restored})->open(Durability::disk), "open()").epoch;
}

// A store that was used at a durability, and left to a killed process or closed.
void live(const std::string& path, Durability durability, bool killed) {
  Child child([&](auto ready) {
    auto storage = make_sqlite_storage({.path = path});
    if (!storage->open(durability)) return 1;
    const Seq before = head(*storage, "c:a");
    done(*storage, Step("c:a", before).message("m" + std::to_string(before + 1)));
    if (!killed) storage.reset();
    ready();
    if (killed) ::pause();
    return 0;
  });
  REQUIRE(child.wait_ready());
  child.kill();
}
// The machine was started anew since.
void reboot(const std::string& path) { Database(path).run("UPDATE chat_store SET boot_id = 'an earlier life'"); }

}  // namespace

TEST_CASE("the storage on SQLite keeps every promise of storage.h") {
  Directory directory;
  int made = 0;
  const auto open = [&] { return make_sqlite_storage({.path = directory / std::to_string(made)}); };
  const auto make = [&] {
    ++made;
    return open();
  };
  for (Check& check : storage_conformance(make, open)) {
    SUBCASE(check.name.c_str()) {
      const Status kept = check.run();
      CHECK_MESSAGE(kept, kept.error().message);
    }
  }
}

TEST_CASE("the storage on SQLite equals a simple model over random operations and reopenings") {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    CAPTURE(seed);
    Directory directory;
    Play play(
        seed, [&] { return make_sqlite_storage({.path = directory / "chat.db"}); }, Durability::process);
    for (int i = 1; i <= 300; ++i) {
      play.step();
      if (i % 50 == 0) {
        play.compare_feed();
        play.reopen();
      }
    }
  }
}

// ---- faults

TEST_CASE("a full disk is storage_full, changes nothing, leaves reads alone, and is over when it is over") {
  Directory directory;
  const std::string path = directory / "chat.db";
  {
    FaultyVfs disk;
    const auto storage = make_sqlite_storage({.path = path});
    REQUIRE(storage->open(Durability::disk));
    done(*storage, Step("c:a", 0).message("before").put(Table::keys, "k", "v"));
    disk.write_error = SQLITE_FULL;
    for (int i = 0; i < 3; ++i) {
      CHECK(outcome(*storage, Step("c:a", 1).message("lost").put(Table::keys, "k", "w")) == ErrorCode::storage_full);
      CHECK(outcome(*storage, Step("c:b", 0).message(std::string(100'000, 'x'))) == ErrorCode::storage_full);
      CHECK(messages(*storage, "c:a") == "1=before | 1..1");
      CHECK(rows(*storage, "c:a", Table::keys) == "k=v");
    }
    CHECK(outcome(*storage, Step("c:a", 7).message("x")) == ErrorCode::conflict);
    disk.write_error = SQLITE_OK;
    done(*storage, Step("c:a", 1).message("after"));
  }
  const auto storage = make_sqlite_storage({.path = path});
  REQUIRE(storage->open(Durability::disk));
  CHECK(messages(*storage, "c:a") == "1=before 2=after | 1..2");
  CHECK(messages(*storage, "c:b") == "| 1..0");
}

TEST_CASE("an I/O error before COMMIT did nothing; one inside it has an unknown outcome") {
  Directory directory;
  FaultyVfs disk;
  const auto storage = make_sqlite_storage({.path = directory / "chat.db"});
  REQUIRE(storage->open(Durability::disk));
  done(*storage, Step("c:a", 0).message("1"));
  disk.write_error = SQLITE_IOERR_WRITE;
  CHECK(outcome(*storage, Step("c:a", 1).message("x")) == ErrorCode::storage_unavailable);
  disk.write_error = SQLITE_OK;
  disk.sync_error = SQLITE_IOERR_FSYNC;
  const Committed unknown = commit(*storage, Step("c:a", 1).message("x"), Step("c:b", 3), Step("c:c", 0).head(1));
  CHECK(unknown.outcomes == "unknown conflict unknown");
  CHECK(outcome(*storage, Step("c:a", 7).message("x")) == ErrorCode::conflict);
  CHECK(messages(*storage, "c:a") == "1=1 | 1..1");  // not readable, as it is not durable
  disk.sync_error = SQLITE_OK;
  const std::uint64_t batch = done(*storage, Step("c:a", 1).message("2"));
  CHECK(messages(*storage, "c:a") == "1=1 2=2 | 1..2");
  CHECK(show(feed(*storage, batch - 1)) == "c:a=2");
  CHECK(batch > unknown.batch);
}

TEST_CASE("a commit whose outcome is unknown may come back, whole, when the process dies on it") {
  Directory directory;
  const std::string path = directory / "chat.db";
  Child child([&](auto ready) {
    FaultyVfs disk;
    const auto storage = make_sqlite_storage({.path = path});
    if (!storage->open(Durability::disk)) return 1;
    done(*storage, Step("c:a", 0).message("1"));
    disk.sync_error = SQLITE_IOERR_FSYNC;
    if (outcome(*storage, Step("c:a", 1).message("2").put(Table::keys, "k", "v")) != ErrorCode::unknown_outcome)
      return 2;
    ready();
    ::pause();
    return 0;
  });
  REQUIRE(child.wait_ready());
  child.kill();
  const auto storage = make_sqlite_storage({.path = path});
  REQUIRE(storage->open(Durability::disk));
  const std::string kept = messages(*storage, "c:a") + rows(*storage, "c:a", Table::keys);
  CHECK((kept == "1=1 2=2 | 1..2k=v" || kept == "1=1 | 1..1"));
}

TEST_CASE("a commit at `disk` is synced, one at `process` is not") {
  for (const Durability durability : {Durability::process, Durability::disk}) {
    Directory directory;
    FaultyVfs disk;
    const auto storage = make_sqlite_storage({.path = directory / "chat.db"});
    REQUIRE(storage->open(durability));
    for (Seq seq = 0; seq < 10; ++seq) {
      const int before = disk.syncs;
      done(*storage, Step("c:a", seq).message("m"), Step("c:b", seq).message("m"));
      CHECK(disk.syncs - before == (durability == Durability::disk ? 1 : 0));
    }
  }
}

TEST_CASE("a power cut takes nothing that was acknowledged at `disk`, and only a suffix at `process`") {
  for (const Durability durability : {Durability::process, Durability::disk}) {
    CAPTURE(static_cast<int>(durability));
    Directory directory;
    FaultyVfs disk;
    disk.synced = directory.path();
    const std::string path = directory / "live";
    std::filesystem::create_directories(path);
    std::string epoch;
    // What the platter has, once the machine has been started anew.
    const auto look_at_the_platter = [&](Seq acknowledged, bool closed) {
      Directory platter;
      for (const char* name : {"chat.db", "chat.db-wal"}) {
        if (std::filesystem::exists(directory / name)) {
          std::filesystem::copy_file(directory / name, platter / name);
        }
      }
      reboot(platter / "chat.db");
      const auto after = make_sqlite_storage({.path = platter / "chat.db"});
      const auto info = must(after->open(Durability::disk), "open()");
      const Seq kept = head(*after, "c:a");
      CHECK(kept <= acknowledged);
      if (durability == Durability::disk || closed) CHECK(kept == acknowledged);
      CHECK((info.epoch == epoch) == (durability == Durability::disk || closed));
      const auto page = must(after->events("c:a", Log::messages, 1, Direction::forward, no_limit), "events()");
      CHECK(page.events.size() == kept);
      if (kept > 0) CHECK(row(*after, "c:a", Table::keys, "head") == "head=" + std::to_string(kept));
    };
    std::optional<Database> host;  // as long as it is open, closing the storage writes no checkpoint
    {
      const auto storage = make_sqlite_storage({.path = path + "/chat.db"});
      epoch = must(storage->open(durability), "open()").epoch;
      for (Seq seq = 1; seq <= 120; ++seq) {
        done(*storage, Step("c:a", seq - 1)
                           .message("m" + std::to_string(seq) + std::string(20'000, ' '))
                           .put(Table::keys, "head", std::to_string(seq)));
        if (seq % 12 != 0) continue;
        if (!host) host.emplace(path + "/chat.db").run("SELECT COUNT(*) FROM chat_store");
        disk.synced.clear();  // not of what follows
        look_at_the_platter(seq, false);
        disk.synced = directory.path();
      }
    }
    disk.synced.clear();
    look_at_the_platter(120, true);
  }
}

// ---- epochs

TEST_CASE("the epoch changes where acknowledged writes may be gone, and only there") {
  struct Case {
    const char* what;
    Durability durability;
    bool killed, rebooted, changes;
  };
  for (const Case& each : {Case{"closed", Durability::process, false, false, false},
                           Case{"closed, then the machine ended", Durability::process, false, true, false},
                           Case{"killed below disk", Durability::process, true, false, false},
                           Case{"the machine ended below disk", Durability::process, true, true, true},
                           Case{"the machine ended with nothing promised", Durability::memory, true, true, true},
                           Case{"the machine ended at disk", Durability::disk, true, true, false}}) {
    CAPTURE(each.what);
    Directory directory;
    const std::string path = directory / "chat.db";
    const std::string first = epoch_of(path);
    live(path, each.durability, each.killed);
    if (each.rebooted) reboot(path);
    const std::string then = epoch_of(path);
    CHECK((then != first) == each.changes);
    CHECK(epoch_of(path) == then);
    CHECK(epoch_of(path, true) != then);
  }
}

// ---- others

TEST_CASE("a store is for one storage at a time, in this process and in others, and free when a process is killed") {
  Directory directory;
  const std::string path = directory / "chat.db";
  {
    const auto one = make_sqlite_storage({.path = path}), two = make_sqlite_storage({.path = path});
    REQUIRE(one->open(Durability::disk));
    CHECK(open_error(*two) == ErrorCode::in_use);
    CHECK(open_error(*one) == ErrorCode::invalid);
    done(*one, Step("c:a", 0).message("1"));
  }
  Child child([&](auto ready) {
    const auto storage = make_sqlite_storage({.path = path});
    if (!storage->open(Durability::disk)) return 1;
    ready();
    ::pause();
    return 0;
  });
  REQUIRE(child.wait_ready());
  const auto storage = make_sqlite_storage({.path = path});
  CHECK(open_error(*storage) == ErrorCode::in_use);
  child.kill();
  CHECK(open_error(*storage) == ErrorCode::ok);
  CHECK(messages(*storage, "c:a") == "1=1 | 1..1");
}

TEST_CASE("a commit waits for a transaction of the host's own, and cancel ends the wait") {
  Directory directory;
  const std::string path = directory / "chat.db";
  FaultyVfs disk;
  const auto storage = make_sqlite_storage({.path = path});
  REQUIRE(storage->open(Durability::process));
  Database host(path);
  const auto wait_until_it_waits = [&] {
    for (const int before = disk.busy; disk.busy < before + 3;) std::this_thread::yield();
  };
  host.run("CREATE TABLE orders(id INTEGER PRIMARY KEY); BEGIN IMMEDIATE; INSERT INTO orders VALUES(1)");
  std::atomic<bool> returned = false;
  ErrorCode waited{};
  std::thread commits([&] {
    waited = outcome(*storage, Step("c:a", 0).message("1"));
    returned = true;
  });
  wait_until_it_waits();
  CHECK(messages(*storage, "c:a") == "| 1..0");  // reads wait for nobody
  CHECK(!returned);
  host.run("COMMIT");
  commits.join();
  CHECK(waited == ErrorCode::ok);

  host.run("BEGIN IMMEDIATE; INSERT INTO orders VALUES(2)");
  const auto began = std::chrono::steady_clock::now();
  std::thread cancelled([&] { waited = outcome(*storage, Step("c:a", 1).message("2")); });
  wait_until_it_waits();
  storage->cancel();
  cancelled.join();
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(4));  // without cancel() it waits for 5 s
  CHECK(waited == ErrorCode::storage_unavailable);
  host.run("COMMIT");
  CHECK(host.ask("SELECT COUNT(*) FROM orders") == "2");
  CHECK(outcome(*storage, Step("c:a", 1).message("2")) == ErrorCode::storage_unavailable);
  CHECK(!storage->events("c:a", Log::messages, 1, Direction::forward, {}));
}

TEST_CASE("what is not ours, is later than we are, is locked or can't be reached is told apart") {
  Directory directory;
  const auto open = [&](const std::string& name) {
    return open_error(*make_sqlite_storage({.path = directory / name}));
  };
  std::ofstream(directory / "letter") << std::string(2000, 'x');
  CHECK(open("letter") == ErrorCode::not_ours);
  Database(directory / "other.db").run("CREATE TABLE chat_store(colour TEXT)");
  CHECK(open("other.db") == ErrorCode::not_ours);
  CHECK(open("no such directory/chat.db") == ErrorCode::storage_unavailable);

  Database host(directory / "chat.db");
  host.run("CREATE TABLE orders(id INTEGER PRIMARY KEY); INSERT INTO orders VALUES(1)");
  CHECK(open("chat.db") == ErrorCode::ok);  // beside what is there
  CHECK(host.ask("SELECT COUNT(*) FROM orders") == "1");
  host.run("UPDATE chat_store SET format = 2");
  CHECK(open("chat.db") == ErrorCode::version_too_new);
  host.run("UPDATE chat_store SET format = 1; BEGIN IMMEDIATE");
  const auto storage = make_sqlite_storage({.path = directory / "chat.db"});
  storage->cancel();  // so that it does not wait for its turn
  CHECK(open_error(*storage) == ErrorCode::in_use);
  host.run("ROLLBACK");
  CHECK(open("chat.db") == ErrorCode::ok);
}

TEST_CASE("damaged pages are corruption to a read, storage_unavailable to a commit") {
  Directory directory;
  const std::string path = directory / "chat.db";
  {
    const auto storage = make_sqlite_storage({.path = path});
    REQUIRE(storage->open(Durability::disk));
    for (Seq seq = 0; seq < 200; seq += 10) done(*storage, Step("c:a", seq).messages(10, std::string(300, 'm')));
  }
  std::string root, size;
  {
    Database database(path);
    database.run("PRAGMA wal_checkpoint(TRUNCATE)");
    root = database.ask("SELECT rootpage FROM sqlite_master WHERE name = 'chat_events'");
    size = database.ask("PRAGMA page_size");
  }
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp((std::stoll(root) - 1) * std::stoll(size));
  file << std::string(std::stoul(size), '\x7f');
  file.close();
  const auto storage = make_sqlite_storage({.path = path});
  REQUIRE(storage->open(Durability::disk));
  const auto page = storage->events("c:a", Log::messages, 1, Direction::forward, {});
  REQUIRE(!page);
  CHECK(page.error().code == ErrorCode::corruption);
  CHECK(outcome(*storage, Step("c:a", 200).message("x")) == ErrorCode::storage_unavailable);
  CHECK(rows(*storage, "c:a", Table::keys) == "");
}

TEST_CASE("the feed is bounded, and says from where it holds") {
  Directory directory;
  const std::string path = directory / "chat.db";
  std::uint64_t last = 0;
  for (int part = 0; part < 2; ++part) {
    const auto storage = make_sqlite_storage({.path = path, .feed_batches = 10});
    REQUIRE(storage->open(Durability::process));
    for (int i = 0; i < 150; ++i) last = done(*storage, Step("c:a", head(*storage, "c:a")).message("m"));
    const FeedPage page = feed(*storage, 0);
    CHECK(page.moved.size() >= 10);
    CHECK(page.moved.size() <= 10 + 64);
    CHECK(page.oldest == last - page.moved.size() + 1);
    CHECK(page.next == last);
  }
}

TEST_CASE("numbers beyond SQLite's are refused or as good as the largest") {
  Directory directory;
  const auto storage = make_sqlite_storage({.path = directory / "chat.db"});
  REQUIRE(storage->open(Durability::process));
  constexpr Seq most = std::numeric_limits<std::int64_t>::max();
  CHECK(outcome(*storage, Step("c:a", 0).head(most + 1)) == ErrorCode::invalid);
  CHECK(outcome(*storage, Step("c:a", 0).head(~Seq{0})) == ErrorCode::invalid);
  CHECK(outcome(*storage, Step("c:a", 0).head(most - 1).message("last")) == ErrorCode::ok);
  CHECK(head(*storage, "c:a") == most);
  CHECK(messages(*storage, "c:a", ~Seq{0}, Direction::backward) ==
        std::to_string(most) + "=last | 1.." + std::to_string(most));
  CHECK(outcome(*storage, Step("c:a", ~Seq{0}).message("x")) != ErrorCode::ok);
  CHECK(feed(*storage, ~std::uint64_t{0}).moved.empty());
}
