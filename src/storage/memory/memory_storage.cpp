#include <algorithm>
#include <array>
#include <cstdio>
#include <deque>
#include <map>
#include <mutex>
#include <random>

#include <chatcore/storage.h>

namespace chatcore {
inline namespace v1 {
namespace {

using EventMap = std::map<Seq, Bytes>;
using RowMap = std::map<std::pair<Table, std::string>, Bytes>;  // std::string compares as unsigned bytes

struct Partition {
  Seq head = 0;
  Seq oldest = 1;
  std::array<EventMap, 2> logs{};
  RowMap rows{};

  EventMap& log(Log which) { return logs[static_cast<std::size_t>(which) - 1]; }
};

struct FeedBatch {
  std::uint64_t number{};
  std::vector<std::pair<std::string, Seq>> moved{};
};

std::string random_epoch() {
  std::random_device random;
  char text[33];
  std::snprintf(text, sizeof text, "%08x%08x%08x%08x", random(), random(), random(), random());
  return text;
}

// Row::expires is ignored: the engine deletes by itself what has expired, the hint only spares it the trouble.
class MemoryStorage final : public Storage {
 public:
  Result<StoreInfo> open(Durability wanted) override {
    if (wanted != Durability::memory) {
      return {ErrorCode::invalid,
              "memory storage keeps nothing past its end: ask for Durability::memory, or use make_rocksdb_storage"};
    }
    return StoreInfo{1, epoch_, Durability::memory, 8, last_batch_};
  }

  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    const std::lock_guard lock(mutex_);
    bool done = false;
    std::map<std::string, Seq, std::less<>> moved;
    for (std::size_t i = 0; i < changes.size(); ++i) {
      outcome[i] = apply(changes[i]);
      if (!outcome[i]) continue;
      done = true;
      if (changes[i].new_head > changes[i].expected_head) {
        moved.insert_or_assign(std::string(changes[i].partition), changes[i].new_head);
      }
    }
    if (!done) return {};
    ++last_batch_;
    if (!moved.empty()) feed_.push_back({last_batch_, {moved.begin(), moved.end()}});
    if (feed_.size() > max_feed_batches) {
      feed_oldest_ = feed_.front().number + 1;
      feed_.pop_front();
    }
    return {last_batch_};
  }

  Result<EventPage> events(std::string_view name, Log which, Seq start, Direction direction, PageLimit limit) override {
    const std::lock_guard lock(mutex_);
    const auto found = partitions_.find(name);
    if (found == partitions_.end()) return EventPage{{}, 1, 0};
    Partition& partition = found->second;
    EventPage page{{}, partition.oldest, partition.head};
    PageRoom room(limit);
    const auto take = [&](const EventMap::value_type& event) {
      if (!room.take(event.second.size())) return false;
      page.events.push_back(event);
      return true;
    };
    const EventMap& log = partition.log(which);
    if (direction == Direction::forward) {
      for (auto it = log.lower_bound(start); it != log.end() && take(*it);) ++it;
    } else {
      for (auto it = log.upper_bound(start); it != log.begin() && take(*std::prev(it));) --it;
    }
    page.more = room.full();
    return page;
  }

  Result<std::optional<Row>> row(std::string_view name, Table table, std::string_view key) override {
    const std::lock_guard lock(mutex_);
    const auto partition = partitions_.find(name);
    if (partition == partitions_.end()) return std::optional<Row>();
    const auto found = partition->second.rows.find({table, std::string(key)});
    if (found == partition->second.rows.end()) return std::optional<Row>();
    return std::optional(Row{table, found->first.second, found->second});
  }

  Result<RowPage> rows(std::string_view name, Table table, std::string_view after, PageLimit limit) override {
    const std::lock_guard lock(mutex_);
    RowPage page;
    const auto partition = partitions_.find(name);
    if (partition == partitions_.end()) return page;
    PageRoom room(limit);
    const RowMap& rows = partition->second.rows;
    for (auto it = rows.upper_bound({table, std::string(after)}); it != rows.end() && it->first.first == table; ++it) {
      const auto& [key, value] = *it;
      if (!room.take(key.second.size() + value.size())) {
        page.next = page.rows.back().key;
        break;
      }
      page.rows.push_back({table, key.second, value});
    }
    return page;
  }

  Result<FeedPage> feed(std::uint64_t after, PageLimit limit) override {
    const std::lock_guard lock(mutex_);
    FeedPage page{{}, feed_.empty() ? 0 : feed_oldest_, after, false};
    PageRoom room(limit);
    auto it = std::upper_bound(feed_.begin(), feed_.end(), after,
                               [](std::uint64_t number, const FeedBatch& batch) { return number < batch.number; });
    // A batch is never divided, so the page may exceed the limit in the batch that reaches it.
    bool full = false;
    for (; it != feed_.end() && !full; ++it) {
      for (const auto& entry : it->moved) full |= !room.take(entry.first.size() + sizeof(Seq));
      if (full && !page.moved.empty()) break;
      page.moved.insert(page.moved.end(), it->moved.begin(), it->moved.end());
      page.next = it->number;
    }
    page.more = it != feed_.end();
    return page;
  }

 private:
  static constexpr std::size_t max_feed_batches = 100'000;

  Status apply(const Change& change) {
    if (Status ok = check_change(change); !ok) return ok;
    auto found = partitions_.find(change.partition);
    const Seq head = found == partitions_.end() ? 0 : found->second.head;
    if (head != change.expected_head) {
      return {ErrorCode::conflict, "the head is " + std::to_string(head) + ": read the partition again"};
    }
    if (found == partitions_.end()) found = partitions_.try_emplace(std::string(change.partition)).first;
    Partition& partition = found->second;
    // Everything that can refuse the change comes before the first thing that alters the partition.
    for (const StoredEvent& event : change.events) {
      if (event.seq <= head && event.seq >= partition.oldest && !partition.log(event.log).contains(event.seq)) {
        return {ErrorCode::invalid, "no event to replace at seq " + std::to_string(event.seq)};
      }
    }
    for (const StoredEvent& event : change.events) {
      if (event.seq >= partition.oldest) {
        partition.log(event.log)[event.seq].assign(event.bytes.begin(), event.bytes.end());
      }
    }
    for (const Row& row : change.rows) {
      if (row.value) {
        partition.rows.insert_or_assign({row.table, row.key}, *row.value);
      } else {
        partition.rows.erase({row.table, row.key});
      }
    }
    partition.head = change.new_head;
    partition.oldest = std::max(partition.oldest, std::min(change.trim_to, change.new_head) + 1);
    for (EventMap& log : partition.logs) log.erase(log.begin(), log.lower_bound(partition.oldest));
    return {};
  }

  const std::string epoch_ = random_epoch();
  std::mutex mutex_;  // over everything below; not shared: glibc would let reads starve a commit
  std::map<std::string, Partition, std::less<>> partitions_;
  std::deque<FeedBatch> feed_;
  std::uint64_t feed_oldest_ = 1;
  std::uint64_t last_batch_ = 0;
};

}  // namespace

std::unique_ptr<Storage> make_memory_storage() { return std::make_unique<MemoryStorage>(); }

}  // namespace v1
}  // namespace chatcore
