// A commit of one event each in so many conversations, through the seam.
#include <benchmark/benchmark.h>
#include <chatcore/chatcore.h>

#include <cstdlib>
#include <filesystem>

#ifdef CHATCORE_BENCH_SQLITE
#include "backend/sqlite_storage.h"
#endif

using namespace chatcore;

namespace {

void commit(benchmark::State& state, Storage& storage, Durability durability) {
  if (!storage.open(durability)) return state.SkipWithError("the storage does not open");
  const auto count = static_cast<std::size_t>(state.range(0));
  const Bytes bytes(200, std::byte{1});
  std::vector<std::string> names;
  for (std::size_t i = 0; i < 1'000; ++i) names.push_back("c:conversation-" + std::to_string(i));
  std::vector<Seq> heads(names.size());
  std::vector<StoredEvent> events(count);
  std::vector<Change> changes(count);
  std::vector<Status> outcome(count);
  std::size_t next = 0;
  for (auto _ : state) {
    for (std::size_t i = 0; i < count; ++i, next = (next + 1) % names.size()) {
      const Seq head = heads[next]++;
      events[i] = {.log = Log::messages, .seq = head + 1, .bytes = bytes};
      changes[i] = {.partition = names[next], .expected_head = head, .new_head = head + 1, .events = {&events[i], 1}};
      outcome[i] = Error{ErrorCode::unknown_outcome, ""};
    }
    storage.commit(changes, outcome);
    for (const Status& status : outcome) {
      if (!status) return state.SkipWithError("a change was refused");
    }
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * count));
}

void commit_memory(benchmark::State& state) { commit(state, *make_memory_storage(), Durability::memory); }
BENCHMARK(commit_memory)->Arg(1)->Arg(16)->Arg(256);

// In a directory of its own, which is on a disk.
void commit_on_disk(benchmark::State& state, std::unique_ptr<Storage> (*make)(std::string), Durability durability) {
  std::string path = (std::filesystem::current_path() / "chatcore-microbench-XXXXXX").string();
  if (!mkdtemp(path.data())) return state.SkipWithError("no directory");
  commit(state, *make(path + "/data"), durability);
  std::filesystem::remove_all(path);
}

#ifdef CHATCORE_BENCH_ROCKSDB
void commit_rocksdb(benchmark::State& state, Durability durability) {
  commit_on_disk(
      state, [](std::string path) { return make_rocksdb_storage({.path = std::move(path)}); }, durability);
}
BENCHMARK_CAPTURE(commit_rocksdb, process, Durability::process)->Arg(1)->Arg(16)->Arg(256)->UseRealTime();
BENCHMARK_CAPTURE(commit_rocksdb, disk, Durability::disk)->Arg(1)->Arg(16)->Arg(256)->UseRealTime();
#endif

#ifdef CHATCORE_BENCH_SQLITE
void commit_sqlite(benchmark::State& state, Durability durability) {
  commit_on_disk(
      state, [](std::string path) { return backend::make_sqlite_storage({.path = std::move(path)}); }, durability);
}
BENCHMARK_CAPTURE(commit_sqlite, process, Durability::process)->Arg(1)->Arg(16)->Arg(256)->UseRealTime();
BENCHMARK_CAPTURE(commit_sqlite, disk, Durability::disk)->Arg(1)->Arg(16)->Arg(256)->UseRealTime();
#endif

}  // namespace
