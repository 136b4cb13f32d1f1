#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <map>

#include "storage/child.h"
#include "storage/rocksdb/directory.h"
#include "storage/rocksdb/rocksdb_storage.h"
#include "storage/scratch.h"

using namespace scratch;
namespace fs = std::filesystem;

namespace {

std::unique_ptr<Storage> store_at(const std::string& path, const std::string& boot_id = "boot 1",
                                  bool restored = false) {
  rocks::Knobs knobs;
  knobs.boot_id = boot_id;
  return rocks::make_storage({.path = path, .restored = restored}, knobs);
}

ErrorCode open_error(Storage& storage) {
  const Result<StoreInfo> info = storage.open(Durability::disk);
  return info ? ErrorCode::ok : info.error().code;
}

std::map<std::string, std::string> files_in(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    std::string& text = files[entry.path().string()];
    if (entry.is_directory()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    text = std::string(std::istreambuf_iterator<char>(in), {});
  }
  return files;
}

void write_file(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

// The epoch of a store after it was opened so, used, and left to a killed process or closed.
enum class End { closed, killed };
void live(const std::string& path, Durability durability, const std::string& boot_id, End end) {
  Child child([&](auto ready) {
    auto storage = store_at(path, boot_id);
    if (!storage->open(durability)) return 1;
    const Seq head = must(storage->events("c:a", Log::messages, 1, Direction::forward, {}), "events()").head;
    done(*storage, Step("c:a", head).message("m" + std::to_string(head + 1)));
    if (end == End::closed) storage.reset();
    ready();
    if (end == End::killed) ::pause();
    return 0;
  });
  REQUIRE(child.wait_ready());
}
std::string epoch_of(const std::string& path, const std::string& boot_id, bool restored = false) {
  return must(store_at(path, boot_id, restored)->open(Durability::disk), "open()").epoch;
}

long threads_now() { return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator()); }
long descriptors_now() { return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()); }

}  // namespace

TEST_CASE("a store that another process holds is in use, and has everything when that process is killed") {
  Directory directory;
  const std::string path = directory / "store";
  Child child([&](auto ready) {
    const auto storage = make_rocksdb_storage({.path = path});
    if (!storage->open(Durability::process)) return 1;
    done(*storage, Step("c:a", 0).messages(100).put(Table::keys, "k", "v"), Step("c:b", 0).change("c"));
    done(*storage, Step("c:a", 100).replace(Log::messages, 2, "new").trim(1));
    ready();
    ::pause();
    return 0;
  });
  REQUIRE(child.wait_ready());
  const auto storage = make_rocksdb_storage({.path = path});
  const Result<StoreInfo> held = storage->open(Durability::disk);
  REQUIRE(!held);
  CHECK(held.error().code == ErrorCode::in_use);
  CHECK(held.error().message.find(path) != std::string::npos);
  child.kill();
  const Result<StoreInfo> info = storage->open(Durability::disk);
  REQUIRE_MESSAGE(info, info.error().message);
  CHECK(info->last_batch == 2);
  CHECK(messages(*storage, "c:a", 1, Direction::forward, {.rows = 2}) == "2=new 3=m3 | 2..100");
  CHECK(row(*storage, "c:a", Table::keys, "k") == "k=v");
  CHECK(changes(*storage, "c:b") == "1=c | 1..1");
}

TEST_CASE("a store that this process holds is in use") {
  Directory directory;
  const auto first = store_at(directory / "store");
  REQUIRE(open_error(*first) == ErrorCode::ok);
  const auto second = store_at(directory / "store");
  CHECK(open_error(*second) == ErrorCode::in_use);
  CHECK(open_error(*first) == ErrorCode::invalid);
  CHECK(done(*first, Step("c:a", 0).message("x")) == 1);
}

TEST_CASE("a directory that holds something else is left untouched") {
  Directory directory;
  SUBCASE("a host's file") { write_file(directory / "notes.txt", "mine"); }
  SUBCASE("another program's RocksDB") {
    rocksdb::Options options;
    options.create_if_missing = true;
    rocksdb::DB* db = nullptr;
    REQUIRE(rocksdb::DB::Open(options, directory.path().string(), &db).ok());
    CHECK(db->Put({}, "key", "value").ok());
    delete db;
  }
  SUBCASE("an empty directory inside") { fs::create_directory(directory / "empty"); }
  const auto before = files_in(directory.path());
  CHECK(open_error(*store_at(directory.path().string())) == ErrorCode::not_ours);
  CHECK(files_in(directory.path()) == before);
}

TEST_CASE("a path that can hold no store is refused") {
  Directory directory;
  write_file(directory / "file", "mine");
  CHECK(open_error(*store_at(directory / "file")) == ErrorCode::not_ours);
  CHECK(open_error(*store_at("")) == ErrorCode::invalid);
  CHECK(open_error(*store_at("/proc/no/such")) == ErrorCode::storage_unavailable);
}

TEST_CASE("an empty directory, or one with missing parents, becomes a store") {
  Directory directory;
  CHECK(open_error(*store_at(directory.path().string())) == ErrorCode::ok);
  Directory other;
  CHECK(open_error(*store_at(other / "a/b/c")) == ErrorCode::ok);
}

TEST_CASE("a store of a newer format says which version it needs, and is left untouched") {
  Directory directory;
  const std::string path = directory / "store";
  REQUIRE(open_error(*store_at(path)) == ErrorCode::ok);
  write_file(path + "/CHATCORE", "chatcore store, format 7\n");
  const auto before = files_in(path);
  const Result<StoreInfo> info = store_at(path)->open(Durability::disk);
  REQUIRE(!info);
  CHECK(info.error().code == ErrorCode::version_too_new);
  CHECK(info.error().message.find("format 7") != std::string::npos);
  CHECK(files_in(path) == before);
}

TEST_CASE("a store that lost its marker's text or its root says corruption and begins no new one") {
  Directory directory;
  const std::string path = directory / "store";
  {
    const auto storage = store_at(path);
    REQUIRE(open_error(*storage) == ErrorCode::ok);
    done(*storage, Step("c:a", 0).message("x"));
  }
  SUBCASE("the marker") { write_file(path + "/CHATCORE", "chat"); }
  SUBCASE("the root") { fs::remove(path + "/CURRENT"); }
  CHECK(open_error(*store_at(path)) == ErrorCode::corruption);
}

TEST_CASE("the epoch changes when an acknowledged suffix may be gone, and only then") {
  Directory directory;
  const std::string path = directory / "store";
  const std::string first = epoch_of(path, "boot 1");
  CHECK(first.size() == 32);
  CHECK(epoch_of(path, "boot 2") == first);
  SUBCASE("a killed process keeps it, whatever the durability") {
    live(path, Durability::process, "boot 2", End::killed);
    CHECK(epoch_of(path, "boot 2") == first);
  }
  SUBCASE("a power cut keeps it at disk durability") {
    live(path, Durability::disk, "boot 2", End::killed);
    CHECK(epoch_of(path, "boot 3") == first);
  }
  SUBCASE("a power cut changes it below") {
    live(path, Durability::process, "boot 2", End::killed);
    const std::string second = epoch_of(path, "boot 3");
    CHECK(second != first);
    CHECK(epoch_of(path, "boot 4") == second);
  }
  SUBCASE("a reboot after a clean end keeps it below") {
    live(path, Durability::process, "boot 2", End::closed);
    CHECK(epoch_of(path, "boot 3") == first);
  }
  SUBCASE("a boot that can't be told counts as another") {
    live(path, Durability::process, "", End::killed);
    CHECK(epoch_of(path, "") != first);
  }
  SUBCASE("a restored backup changes it each time") {
    const std::string second = epoch_of(path, "boot 2", true);
    CHECK(second != first);
    CHECK(epoch_of(path, "boot 2", true) != second);
  }
}

TEST_CASE("this machine has a boot id") { CHECK(rocks::read_boot_id().size() == 36); }

TEST_CASE("the feed is kept bounded, and says where it begins") {
  Directory directory;
  RocksdbOptions options{.path = directory / "store", .feed_batches = 20};
  auto storage = make_rocksdb_storage(options);
  REQUIRE(storage->open(Durability::process));
  for (Seq head = 0; head < 100; ++head) done(*storage, Step("c:a", head).message("x"));
  for (int round = 0; round < 2; ++round) {
    const FeedPage page = feed(*storage, 0);
    CHECK(page.oldest > 1);
    CHECK(page.moved.size() >= 20);
    CHECK(page.moved.size() <= 20 + 20 / 8 + 8 + 1);
    CHECK(page.moved.front().second == page.oldest);  // here batch n moved the head to n
    CHECK(page.moved.back().second == 100);
    storage.reset();
    storage = make_rocksdb_storage(options);
    CHECK(must(storage->open(Durability::process), "open()").last_batch == 100);
  }
  // Many batches that move nothing push the last that did out of the feed: it still says so.
  for (int i = 0; i < 60; ++i) done(*storage, Step("c:a", 100).put(Table::keys, "k", "v"));
  const FeedPage page = feed(*storage, 0);
  CHECK(page.moved.empty());
  CHECK(page.oldest > 100);
}

TEST_CASE("a closed store leaves no thread and no descriptor behind") {
  Directory directory;
  const auto use = [&](int n) {
    const auto storage = make_rocksdb_storage({.path = directory / std::to_string(n), .write_buffer_bytes = 64 << 10});
    REQUIRE(storage->open(Durability::process));
    for (Seq head = 0; head < 20; ++head) done(*storage, Step("c:a", head).message(std::string(20'000, 'x')));
  };
  const long threads = threads_now(), descriptors = descriptors_now();
  for (int n = 0; n < 5; ++n) use(n);
  CHECK(threads_now() == threads);
  CHECK(descriptors_now() == descriptors);
}

TEST_CASE("two stores in one process are two") {
  Directory directory;
  const auto a = store_at(directory / "a"), b = store_at(directory / "b");
  REQUIRE(open_error(*a) == ErrorCode::ok);
  REQUIRE(open_error(*b) == ErrorCode::ok);
  done(*a, Step("c:a", 0).message("in a"));
  done(*b, Step("c:a", 0).message("in b"));
  CHECK(messages(*a, "c:a") == "1=in a | 1..1");
  CHECK(messages(*b, "c:a") == "1=in b | 1..1");
}

TEST_CASE("a cancelled store closes cleanly") {
  Directory directory;
  const std::string path = directory / "store";
  std::string epoch;
  {
    const auto storage = store_at(path, "boot 1");
    epoch = must(storage->open(Durability::process), "open()").epoch;
    done(*storage, Step("c:a", 0).message("x"));
    storage->cancel();
    CHECK(commit(*storage, Step("c:a", 1).message("y")).outcomes == "error 10");
    CHECK(!storage->row("c:a", Table::keys, "k"));
  }
  CHECK(epoch_of(path, "boot 2") == epoch);
  const auto storage = store_at(path);
  REQUIRE(open_error(*storage) == ErrorCode::ok);
  CHECK(messages(*storage, "c:a") == "1=x | 1..1");
}

TEST_CASE("a store that is not open refuses everything") {
  Directory directory;
  const auto storage = store_at(directory / "store");
  CHECK(commit(*storage, Step("c:a", 0).message("x")).outcomes == "error 10");
  CHECK(!storage->events("c:a", Log::messages, 1, Direction::forward, {}));
  CHECK(!storage->feed(0, {}));
  storage->cancel();
}
