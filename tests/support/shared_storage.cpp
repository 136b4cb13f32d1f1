#include "support/shared_storage.h"

#include <algorithm>
#include <stdexcept>

namespace chat {

using namespace chatcore;

SharedStorage::SharedStorage() : inner_(make_memory_storage()) { (void)inner_->open(Durability::memory); }

class SharedHandle final : public Storage {
 public:
  explicit SharedHandle(SharedStorage& store) : store_(store) {}

  Result<StoreInfo> open(Durability) override {
    return StoreInfo{.format = 1,
                     .epoch = store_.epoch,
                     .durability = store_.durability,
                     .max_concurrency = 4,
                     .last_batch = store_.last_batch_};
  }
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    return store_.commit(changes, outcome);
  }
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    if (failing()) return failed();
    return store_.inner_->events(partition, log, start, direction, limit);
  }
  Result<std::optional<Row>> row(std::string_view partition, Table table, std::string_view key) override {
    if (failing()) return failed();
    return store_.inner_->row(partition, table, key);
  }
  Result<RowPage> rows(std::string_view partition, Table table, std::string_view after, PageLimit limit) override {
    if (failing()) return failed();
    return store_.inner_->rows(partition, table, after, limit);
  }
  Result<FeedPage> feed(std::uint64_t after, PageLimit limit) override {
    if (failing()) return failed();
    return store_.inner_->feed(after, limit);
  }

 private:
  bool failing() {
    std::lock_guard lock(store_.mutex_);
    ++store_.reads;
    return store_.reads_fail;
  }
  static Error failed() { return {ErrorCode::storage_unavailable, "told to fail", {}}; }
  SharedStorage& store_;
};

std::unique_ptr<Storage> SharedStorage::handle() { return std::make_unique<SharedHandle>(*this); }

CommitInfo SharedStorage::commit(std::span<const Change> changes, std::span<Status> outcome) {
  if (before_commit) before_commit();
  CommitInfo info;
  {
    std::lock_guard lock(mutex_);
    info = decide(changes, outcome);
  }
  if (after_commit) std::exchange(after_commit, {})();
  return info;
}

CommitInfo SharedStorage::decide(std::span<const Change> changes, std::span<Status> outcome) {
  ++commits;
  const auto all = [&](ErrorCode code) {
    for (Status& status : outcome) status = Error{code, "told to fail", {}};
    return CommitInfo{};
  };
  const bool conversations = std::any_of(changes.begin(), changes.end(), [](const Change& c) {
    return c.partition.starts_with("c:") && c.new_head > c.expected_head;
  });
  if (commits_fail) return all(ErrorCode::storage_unavailable);
  if (inbox_commits_fail && !conversations) return all(ErrorCode::storage_unavailable);
  Fate fate = Fate::done;
  if (conversations && !fates_.empty()) {
    fate = fates_.front();
    fates_.pop_front();
  }
  switch (fate) {
    case Fate::refused:
      return all(ErrorCode::storage_unavailable);
    case Fate::full:
      return all(ErrorCode::storage_full);
    case Fate::unknown_not_done:
      return all(ErrorCode::unknown_outcome);
    case Fate::throws:
      throw std::runtime_error("told to throw");
    case Fate::unknown_late:
      for (const Change& c : changes) {
        Late late{std::string(c.partition), c.expected_head, c.new_head, {}, {c.rows.begin(), c.rows.end()}};
        for (const StoredEvent& e : c.events) {
          late.events.push_back({{e.log, e.seq}, Bytes(e.bytes.begin(), e.bytes.end())});
        }
        late_.push_back(std::move(late));
      }
      return all(ErrorCode::unknown_outcome);
    case Fate::done:
    case Fate::unknown_done:
      break;
  }
  const CommitInfo info = inner_->commit(changes, outcome);
  last_batch_ = std::max(last_batch_, info.batch);
  if (fate != Fate::unknown_done) return info;
  for (Status& status : outcome) status = Error{ErrorCode::unknown_outcome, "told not to say", {}};
  return {};
}

std::size_t SharedStorage::land() {
  std::lock_guard lock(mutex_);
  std::size_t landed = 0;
  for (const Late& late : late_) {
    std::vector<StoredEvent> events;
    for (const auto& [place, bytes] : late.events) events.push_back({place.first, place.second, bytes});
    const Change change{.partition = late.partition,
                        .expected_head = late.expected_head,
                        .new_head = late.new_head,
                        .events = events,
                        .rows = late.rows};
    Status status(ErrorCode::unknown_outcome, "unset");
    const CommitInfo info = inner_->commit({&change, 1}, {&status, 1});
    last_batch_ = std::max(last_batch_, info.batch);
    if (status) ++landed;
  }
  late_.clear();
  return landed;
}

void SharedStorage::trim(const ConversationId& id, Seq to) {
  std::lock_guard lock(mutex_);
  const std::string partition = "c:" + id.string();
  const auto page = inner_->events(partition, Log::messages, 1, Direction::forward, {.rows = 1});
  const Seq head = page ? page->head : 0;
  const Change change{.partition = partition, .expected_head = head, .new_head = head, .trim_to = to};
  Status status(ErrorCode::unknown_outcome, "unset");
  const CommitInfo info = inner_->commit({&change, 1}, {&status, 1});
  last_batch_ = std::max(last_batch_, info.batch);
}

}  // namespace chat
