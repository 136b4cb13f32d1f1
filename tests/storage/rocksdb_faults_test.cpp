#include <doctest/doctest.h>

#include <rocksdb/file_system.h>

#include <atomic>
#include <functional>
#include <map>

#include "storage/child.h"
#include "storage/rocksdb/rocksdb_storage.h"
#include "storage/scratch.h"

// Files that fail: the store says so, acknowledges nothing that it does not hold, and writes again when they do.

using namespace scratch;

namespace {

// When an operation on a file that is being written fails.
struct Faults {
  std::atomic<long> until{-1};    // so many operations from now; below 0: not at all
  std::atomic<bool> lasts{true};  // that one and all after it, or that one alone
  std::atomic<bool> space{true};  // no space, or an I/O error

  rocksdb::IOStatus next() {
    const long left = until.load();
    if (left < 0) return rocksdb::IOStatus::OK();
    if (left > 0) {
      until = left - 1;
      return rocksdb::IOStatus::OK();
    }
    if (!lasts) until = -1;
    return space ? rocksdb::IOStatus::NoSpace("made up") : rocksdb::IOStatus::IOError("made up");
  }
};

class FaultyFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultyFile(std::unique_ptr<rocksdb::FSWritableFile>&& file, Faults& faults)
      : FSWritableFileOwnerWrapper(std::move(file)), faults_(faults) {}

  using FSWritableFileOwnerWrapper::Append;
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* context) override {
    if (rocksdb::IOStatus status = faults_.next(); !status.ok()) {
      // As a full disk does: a part of it is written.
      const rocksdb::Slice part(data.data(), data.size() / 2);
      FSWritableFileOwnerWrapper::Append(part, options, context).PermitUncheckedError();
      return status;
    }
    return FSWritableFileOwnerWrapper::Append(data, options, context);
  }
  // No power is cut here: a real sync would only take its time.
  rocksdb::IOStatus Sync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return faults_.next(); }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return faults_.next(); }

 private:
  Faults& faults_;
};

class UnsyncedDirectory final : public rocksdb::FSDirectory {
 public:
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus Close(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();
  }
};

class FaultyFiles final : public rocksdb::FileSystemWrapper {
 public:
  explicit FaultyFiles(Faults& faults) : FileSystemWrapper(rocksdb::FileSystem::Default()), faults_(faults) {}

  const char* Name() const override { return "FaultyFiles"; }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* context) override {
    if (rocksdb::IOStatus status = faults_.next(); !status.ok()) return status;
    const rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(name, options, file, context);
    if (status.ok()) *file = std::make_unique<FaultyFile>(std::move(*file), faults_);
    return status;
  }
  rocksdb::IOStatus NewDirectory(const std::string&, const rocksdb::IOOptions&,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory, rocksdb::IODebugContext*) override {
    *directory = std::make_unique<UnsyncedDirectory>();
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* context) override {
    if (rocksdb::IOStatus status = faults_.next(); !status.ok()) return status;
    return FileSystemWrapper::RenameFile(from, to, options, context);
  }

 private:
  Faults& faults_;
};

class FaultyStore {
 public:
  explicit FaultyStore(const std::string& path, std::uint64_t write_buffer_bytes = 64 << 20)
      : env_(rocksdb::NewCompositeEnv(std::make_shared<FaultyFiles>(faults))) {
    rocks::Knobs knobs;
    knobs.env = env_.get();
    knobs.between_attempts = std::chrono::milliseconds(0);
    storage = rocks::make_storage({.path = path, .write_buffer_bytes = write_buffer_bytes}, knobs);
  }
  ~FaultyStore() { storage.reset(); }
  Storage* operator->() { return storage.get(); }
  Storage& operator*() { return *storage; }

  Faults faults;

 private:
  std::unique_ptr<rocksdb::Env> env_;

 public:
  std::unique_ptr<Storage> storage;
};

Status commit_one(Storage& storage, const Step& step) {
  std::vector<StoredEvent> stored;
  const Change change = step.as_change(stored);
  Status outcome(ErrorCode::unknown_outcome, "not set");
  storage.commit({&change, 1}, {&outcome, 1});
  return outcome;
}

// What a writer knows: the head, and for each seq the text that was acknowledged, or those that may stand there.
struct Writer {
  Seq head = 0;
  std::map<Seq, std::string> acknowledged;
  std::map<Seq, std::vector<std::string>> possible;
  int attempts = 0;

  Status write(Storage& storage) {
    const std::string text = "attempt " + std::to_string(++attempts);
    const Status outcome = commit_one(storage, Step("c:a", head).message(text));
    if (outcome) {
      acknowledged[++head] = text;
    } else if (outcome.error().code == ErrorCode::unknown_outcome) {
      possible[head + 1].push_back(text);
    }
    if (!outcome) reload(storage);
    return outcome;
  }
  // As the engine does after anything but done.
  void reload(Storage& storage) {
    const auto page = storage.events("c:a", Log::messages, head + 1, Direction::forward, no_limit);
    if (!page) return;
    for (const auto& [seq, bytes] : page->events) acknowledged[seq] = to_text(bytes);
    head = page->head;
  }
  // Empty: the store holds just what was acknowledged, and beyond it at most what may be.
  std::string compare(Storage& storage) const {
    const auto page = storage.events("c:a", Log::messages, 1, Direction::forward, no_limit);
    if (!page) return "can't be read: " + page.error().message;
    if (page->head < head || page->events.size() != page->head) return "lost: " + show(*page);
    for (const auto& [seq, bytes] : page->events) {
      const std::string text = to_text(bytes);
      if (const auto known = acknowledged.find(seq); known != acknowledged.end()) {
        if (known->second != text) return "another text at " + std::to_string(seq);
        continue;
      }
      const auto may = possible.find(seq);
      if (may == possible.end()) return "never written: " + text;
      if (std::find(may->second.begin(), may->second.end(), text) == may->second.end()) return "refused: " + text;
    }
    return {};
  }
};

}  // namespace

TEST_CASE("a full disk refuses writes, answers reads, and takes writes again without a restart") {
  for (const bool used_before : {true, false}) {
    CAPTURE(used_before);
    Directory directory;
    FaultyStore store(directory / "store");
    REQUIRE(store->open(Durability::disk));
    Writer writer;
    if (used_before) REQUIRE(writer.write(*store));
    for (int round = 0; round < 3; ++round) {
      store.faults.until = 0;
      const Status first = writer.write(*store);
      REQUIRE(!first);
      CHECK(first.error().code == ErrorCode::unknown_outcome);  // RocksDB can't say how much of it is in the log
      for (int i = 0; i < 5; ++i) {
        const Status next = writer.write(*store);
        REQUIRE(!next);
        CHECK(next.error().code == ErrorCode::storage_full);
        CHECK(writer.compare(*store) == "");
      }
      store.faults.until = -1;
      const Status again = writer.write(*store);
      CHECK_MESSAGE(again, again.error().message);
      CHECK(writer.compare(*store) == "");
    }
    store.storage.reset();
    const auto reopened = make_rocksdb_storage({.path = directory / "store"});
    REQUIRE(reopened->open(Durability::disk));
    CHECK(writer.compare(*reopened) == "");
  }
}

TEST_CASE("an I/O error refuses writes until it clears, and then the store opens itself again") {
  Directory directory;
  FaultyStore store(directory / "store");
  REQUIRE(store->open(Durability::disk));
  store.faults.space = false;
  Writer writer;
  for (int round = 0; round < 3; ++round) {
    REQUIRE(writer.write(*store));
    store.faults.until = round;
    while (writer.write(*store)) {
    }
    for (int i = 0; i < 5; ++i) {
      const Status next = writer.write(*store);
      REQUIRE(!next);
      CHECK(next.error().code == ErrorCode::storage_unavailable);
      CHECK(writer.compare(*store) == "");
    }
    store.faults.until = -1;
    Status again = writer.write(*store);
    if (!again && again.error().code == ErrorCode::conflict) again = writer.write(*store);  // the unknown one came back
    CHECK_MESSAGE(again, again.error().message);
    CHECK(writer.compare(*store) == "");
  }
}

// Each in a process of its own, as an assertion of Debian's RocksDB would end it.
TEST_CASE("whichever file operation fails, nothing acknowledged is lost and writes come back") {
  Directory directory;
  int died = 0;
  for (long n = 0; n < 24; ++n) {
    for (const bool space : {true, false}) {
      for (const bool lasts : {true, false}) {
        const std::string path = directory / "store";
        std::filesystem::remove_all(path);
        Child child([&](auto) {
          Writer writer;
          {
            FaultyStore store(path, 64 << 10);
            store.faults.space = space;
            store.faults.lasts = lasts;
            if (!store->open(Durability::disk)) return 1;
            store.faults.until = n;
            for (int i = 0; i < 24; ++i) {  // fills memtables, so that flushes and logs' ends are met too
              (void)commit_one(*store,
                               Step("c:big", 0).put(Table::keys, std::to_string(i % 3), std::string(9000, 'x')));
              (void)writer.write(*store);
              if (!writer.compare(*store).empty() && !lasts) return 2;
            }
            store.faults.until = -1;
            int failures = 0;
            while (!writer.write(*store)) {
              if (++failures > 5) return 3;
            }
            if (!writer.compare(*store).empty()) return 4;
          }
          FaultyStore again(path);
          if (!again->open(Durability::disk)) return 5;
          return writer.compare(*again).empty() ? 0 : 6;
        });
        CAPTURE(n);
        CAPTURE(space);
        CAPTURE(lasts);
        const int code = child.join();
        if (code == -SIGABRT) {
          ++died;
        } else {
          CHECK(code == 0);
        }
      }
    }
  }
  MESSAGE("ended by an assertion of RocksDB: ", died, " of 96");
}
