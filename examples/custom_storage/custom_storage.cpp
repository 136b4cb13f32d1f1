// A storage of one's own: a wrapper around another one, which counts what the engine commits. A storage on the
// database you already have looks the same, with your statements in the place of `inner_`.
#include <chatcore/chatcore.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>

using namespace chatcore;

// Kept outside, because the engine owns the storage. Storage is called from storage threads; here, with
// threads = 0, that is the thread which polls, so plain numbers do.
struct Counts {
  int commits = 0, changes = 0, events = 0, rows = 0;
  std::size_t bytes = 0;
};

class CountingStorage final : public Storage {
 public:
  CountingStorage(std::unique_ptr<Storage> inner, std::shared_ptr<Counts> counts)
      : inner_(std::move(inner)), counts_(std::move(counts)) {}

  Result<StoreInfo> open(Durability wanted) override { return inner_->open(wanted); }

  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    ++counts_->commits;
    for (const Change& change : changes) {
      ++counts_->changes;
      counts_->events += static_cast<int>(change.events.size());
      counts_->rows += static_cast<int>(change.rows.size());
      for (const StoredEvent& event : change.events) counts_->bytes += event.bytes.size();
    }
    return inner_->commit(changes, outcome);
  }

  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction way, PageLimit limit) override {
    return inner_->events(partition, log, start, way, limit);
  }
  Result<std::optional<Row>> row(std::string_view partition, Table table, std::string_view key) override {
    return inner_->row(partition, table, key);
  }
  Result<RowPage> rows(std::string_view partition, Table table, std::string_view after, PageLimit limit) override {
    return inner_->rows(partition, table, after, limit);
  }
  Result<FeedPage> feed(std::uint64_t after, PageLimit limit) override { return inner_->feed(after, limit); }
  void cancel() override { inner_->cancel(); }

 private:
  std::unique_ptr<Storage> inner_;
  std::shared_ptr<Counts> counts_;
};

struct Line {
  UserId from, to;
  const char* text;
};

int main() {
  auto counts = std::make_shared<Counts>();
  auto engine = Engine::open({.storage = std::make_unique<CountingStorage>(make_memory_storage(), counts),
                              .durability = Durability::memory,
                              .threads = 0});
  if (!engine) return std::puts(engine.error().message.c_str()), 1;

  const Line talk[] = {{"alice", "bob", "Have you eaten?"},
                       {"bob", "alice", "Not yet."},
                       {"alice", "bob", "Noodles at one?"},
                       {"bob", "alice", "Noodles at one."}};
  for (const Line& line : talk) {
    auto sent = wait(*engine, {.user = line.from}, Send{.to = Direct{line.to}, .content = {.text = line.text}});
    if (!sent) return std::puts(sent.error().message.c_str()), 1;
    std::printf("#%d %s: %s\n", static_cast<int>(sent->seq), line.from.string().c_str(), line.text);
  }
  if (Status stopped = engine->stop(std::chrono::seconds(1)); !stopped) {
    return std::puts(stopped.error().message.c_str()), 1;
  }
  std::printf("commits %d, changes %d, events %d, rows %d, bytes %zu\n", counts->commits, counts->changes,
              counts->events, counts->rows, counts->bytes);
  return counts->events >= 4 ? 0 : 1;
}
