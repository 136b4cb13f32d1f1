#include <doctest/doctest.h>

#include <algorithm>
#include <list>
#include <thread>

#include <chatcore/testing.h>

#include "storage/scratch.h"

// Storages that are wrong in one way each: the suite has to notice, and say by name what is broken.

using namespace scratch;

namespace {

// Memory storage behind a wall through which a subclass lets one thing pass wrongly.
class Wrapper : public Storage {
 public:
  Result<StoreInfo> open(Durability wanted) override { return inner->open(wanted); }
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    std::vector<Change> altered(changes.begin(), changes.end());
    for (Change& change : altered) alter(change);
    const CommitInfo info = inner->commit(altered, outcome);
    kept_.clear();
    return info;
  }
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    return inner->events(partition, log, start, direction, limit);
  }
  Result<std::optional<Row>> row(std::string_view partition, Table table, std::string_view key) override {
    return inner->row(partition, table, key);
  }
  Result<RowPage> rows(std::string_view partition, Table table, std::string_view after, PageLimit limit) override {
    return inner->rows(partition, table, after, limit);
  }
  Result<FeedPage> feed(std::uint64_t after, PageLimit limit) override { return inner->feed(after, limit); }

 protected:
  virtual void alter(Change&) {}

  // Leaves in a change what `keep` says.
  void filter_events(Change& change, auto keep) {
    auto& list = kept_.emplace_back();
    std::copy_if(change.events.begin(), change.events.end(), std::back_inserter(list.events), keep);
    change.events = list.events;
  }
  void filter_rows(Change& change, auto keep) {
    auto& list = kept_.emplace_back();
    std::copy_if(change.rows.begin(), change.rows.end(), std::back_inserter(list.rows), keep);
    change.rows = list.rows;
  }

  const std::unique_ptr<Storage> inner = make_memory_storage();

 private:
  struct Kept {
    std::vector<StoredEvent> events;
    std::vector<Row> rows;
  };
  std::list<Kept> kept_;
};

struct NamesNoEpoch : Wrapper {
  Result<StoreInfo> open(Durability wanted) override {
    Result<StoreInfo> info = inner->open(wanted);
    if (info) info->epoch.clear();
    return info;
  }
};
struct FailsOnUnknownPartition : Wrapper {
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    auto page = inner->events(partition, log, start, direction, limit);
    if (page && page->head == 0) return {ErrorCode::storage_unavailable, "no such partition"};
    return page;
  }
};
struct TearsChange : Wrapper {
  void alter(Change& change) override {
    if (change.trim_to > 0) filter_rows(change, [](const Row&) { return false; });
  }
};
struct AcceptsConflict : Wrapper {
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    const CommitInfo info = inner->commit(changes, outcome);
    for (Status& each : outcome) each = {};
    return info;
  }
};
struct LeavesOutWhatBreaksRules : Wrapper {
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    const CommitInfo info = inner->commit(changes, outcome);
    for (Status& each : outcome) {
      if (!each && each.error().code == ErrorCode::invalid) each = {};
    }
    return info;
  }
};
struct KeepsRowsOfRefused : Wrapper {
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    const CommitInfo info = inner->commit(changes, outcome);
    for (std::size_t i = 0; i < changes.size(); ++i) {
      if (outcome[i]) continue;
      const Seq head = inner->events(changes[i].partition, Log::messages, 1, Direction::forward, {})->head;
      const Change again{changes[i].partition, head, head, {}, changes[i].rows};
      Status ignored;
      inner->commit({&again, 1}, {&ignored, 1});
    }
    return info;
  }
};
struct LeavesOutcomeUnset : Wrapper {
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    std::vector<Status> apart(outcome.size());
    const CommitInfo info = inner->commit(changes, apart);
    for (std::size_t i = 0; i + 1 < outcome.size() || i == 0; ++i) {
      if (i < outcome.size()) outcome[i] = apart[i];
    }
    return info;
  }
};
struct StopsAtRefused : Wrapper {
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    CommitInfo last;
    bool refused = false;
    for (std::size_t i = 0; i < changes.size(); ++i) {
      if (refused) {
        outcome[i] = Status(ErrorCode::storage_unavailable, "an earlier change was refused");
        continue;
      }
      const CommitInfo info = inner->commit(changes.subspan(i, 1), outcome.subspan(i, 1));
      if (info.batch > 0) last = info;
      refused = !outcome[i];
    }
    return last;
  }
};
struct RefusesSecondChange : Wrapper {
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    std::vector<Change> first;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < changes.size(); ++i) {
      const auto same = [&](const Change& other) { return other.partition == changes[i].partition; };
      if (std::any_of(first.begin(), first.end(), same)) {
        outcome[i] = Status(ErrorCode::conflict, "once a commit");
      } else {
        first.push_back(changes[i]);
        places.push_back(i);
      }
    }
    std::vector<Status> apart(first.size());
    const CommitInfo info = inner->commit(first, apart);
    for (std::size_t i = 0; i < places.size(); ++i) outcome[places[i]] = apart[i];
    return info;
  }
};
struct HeadIsLastEvent : Wrapper {
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    auto page = inner->events(partition, log, start, direction, limit);
    page->head = 0;
    for (const Log each : {Log::messages, Log::changes}) {
      const auto last = inner->events(partition, each, ~Seq{0}, Direction::backward, {.rows = 1});
      if (!last->events.empty()) page->head = std::max(page->head, last->events.front().first);
    }
    return page;
  }
};
struct CutsAtZeroByte : Wrapper {
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    auto page = inner->events(partition, log, start, direction, limit);
    for (auto& [seq, bytes] : page->events)
      bytes.erase(std::find(bytes.begin(), bytes.end(), std::byte{0}), bytes.end());
    return page;
  }
};
struct CutsNames : Wrapper {
  void alter(Change& change) override {
    if (change.partition.starts_with("c:a")) change.partition = "c:a";
  }
};
struct KnowsOneLog : Wrapper {
  void alter(Change& change) override {
    filter_events(change, [](const StoredEvent&) { return true; });
    for (const StoredEvent& event : change.events) const_cast<StoredEvent&>(event).log = Log::messages;
  }
};
struct RunsForwardOnly : Wrapper {
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction, PageLimit limit) override {
    return inner->events(partition, log, start, Direction::forward, limit);
  }
};
struct LeavesOutStart : Wrapper {
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    return inner->events(partition, log, direction == Direction::forward ? start + 1 : start - 1, direction, limit);
  }
};
struct IgnoresRowLimit : Wrapper {
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    return inner->events(partition, log, start, direction, {.rows = 1000, .bytes = limit.bytes});
  }
};
struct IgnoresByteLimit : Wrapper {
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    return inner->events(partition, log, start, direction, {.rows = limit.rows, .bytes = 1 << 30});
  }
};
struct IgnoresReplacement : Wrapper {
  void alter(Change& change) override {
    filter_events(change, [&](const StoredEvent& event) { return event.seq > change.expected_head; });
  }
};
struct IgnoresTrim : Wrapper {
  void alter(Change& change) override { change.trim_to = 0; }
};
struct TrimLowersHead : Wrapper {
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    auto page = inner->events(partition, log, start, direction, limit);
    if (page->oldest > page->head) *page = EventPage{{}, 1, 0};
    return page;
  }
};
struct RefusesTrimmedReplacement : Wrapper {
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    for (const Change& change : changes) {
      const Seq oldest = inner->events(change.partition, Log::messages, 1, Direction::forward, {})->oldest;
      for (const StoredEvent& event : change.events) {
        if (event.seq >= oldest) continue;
        std::fill(outcome.begin(), outcome.end(), Status(ErrorCode::invalid, "trimmed"));
        return {};
      }
    }
    return inner->commit(changes, outcome);
  }
};
struct LosesRow : Wrapper {
  void alter(Change& change) override {
    filter_rows(change, [&](const Row& row) { return &row != &change.rows.back() || change.rows.size() < 2; });
  }
};
struct IgnoresDeletes : Wrapper {
  void alter(Change& change) override {
    filter_rows(change, [](const Row& row) { return row.value.has_value(); });
  }
};
struct SortsSignedBytes : Wrapper {
  Result<RowPage> rows(std::string_view partition, Table table, std::string_view after, PageLimit limit) override {
    auto page = inner->rows(partition, table, after, limit);
    std::sort(page->rows.begin(), page->rows.end(), [](const Row& a, const Row& b) {
      return std::lexicographical_compare(a.key.begin(), a.key.end(), b.key.begin(), b.key.end(), [](char x, char y) {
        return static_cast<signed char>(x) < static_cast<signed char>(y);
      });
    });
    return page;
  }
};
struct ForgetsNextPage : Wrapper {
  Result<RowPage> rows(std::string_view partition, Table table, std::string_view after, PageLimit limit) override {
    auto page = inner->rows(partition, table, after, limit);
    page->next.clear();
    return page;
  }
};
struct NumbersBatchesBackward : Wrapper {
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    const CommitInfo info = inner->commit(changes, outcome);
    return {info.batch == 0 ? 0 : 1'000'000 - info.batch};
  }
};
struct FeedSkipsBatch : Wrapper {
  Result<FeedPage> feed(std::uint64_t after, PageLimit limit) override { return inner->feed(after + 1, limit); }
};
struct FeedDividesBatch : Wrapper {
  Result<FeedPage> feed(std::uint64_t after, PageLimit limit) override {
    auto page = inner->feed(after, limit);
    const std::size_t most = std::max(limit.rows, 1u);
    if (page->moved.size() > most) page->moved.resize(most);
    return page;
  }
};
struct ShowsNewestLate : Wrapper {  // to other threads than the one that commits
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    auto page = inner->events(partition, log, start, direction, limit);
    if (std::this_thread::get_id() != owner && !page->events.empty()) {
      page->events.pop_back();
      --page->head;
    }
    return page;
  }
  std::thread::id owner = std::this_thread::get_id();
};
struct Throws : Wrapper {
  Result<std::optional<Row>> row(std::string_view, Table, std::string_view) override { throw 42; }
};

std::vector<std::string> broken_promises(Function<std::unique_ptr<Storage>()> make,
                                         Function<std::unique_ptr<Storage>()> reopen = {}) {
  std::vector<std::string> names;
  for (Check& check : storage_conformance(std::move(make), std::move(reopen))) {
    if (!check.run()) names.push_back(check.name);
  }
  return names;
}

struct Wrong {
  const char* what;
  std::unique_ptr<Storage> (*make)();
  const char* broken;
};

template <class T>
std::unique_ptr<Storage> make() {
  return std::make_unique<T>();
}

constexpr Wrong all_wrong[] = {
    {"names no epoch", make<NamesNoEpoch>, "open reports what the storage can do"},
    {"fails on an unknown partition", make<FailsOnUnknownPartition>, "an unknown partition is empty"},
    {"does half of a change", make<TearsChange>, "a change is done whole"},
    {"says done to a conflict", make<AcceptsConflict>, "a change with a wrong expected head is refused"},
    {"says done to a change that breaks the rules", make<LeavesOutWhatBreaksRules>,
     "a change that breaks the rules is refused"},
    {"keeps the rows of a refused change", make<KeepsRowsOfRefused>, "a refused change leaves nothing behind"},
    {"leaves an outcome unset", make<LeavesOutcomeUnset>, "every outcome is set"},
    {"stops at a refused change", make<StopsAtRefused>, "a refused change stops no other"},
    {"refuses a second change of a partition", make<RefusesSecondChange>,
     "a partition may occur more than once in a commit"},
    {"takes the last event for the head", make<HeadIsLastEvent>, "a head may move without an event"},
    {"cuts an event at a zero byte", make<CutsAtZeroByte>, "bytes come back as they were"},
    {"mixes up partitions", make<CutsNames>, "partitions lie apart"},
    {"mixes up the logs", make<KnowsOneLog>, "the two logs share one seq"},
    {"runs forward only", make<RunsForwardOnly>, "events run in both directions"},
    {"leaves out the start of a range", make<LeavesOutStart>, "events run in both directions"},
    {"ignores the limit in rows", make<IgnoresRowLimit>, "pages of events keep to their limits"},
    {"ignores the limit in bytes", make<IgnoresByteLimit>, "pages of events keep to their limits"},
    {"ignores a replacement", make<IgnoresReplacement>, "a replaced event keeps its place"},
    {"ignores a trim", make<IgnoresTrim>, "a trim drops the oldest events"},
    {"lowers the head in a trim", make<TrimLowersHead>, "a trim keeps the head"},
    {"refuses to replace a trimmed event", make<RefusesTrimmedReplacement>, "replacing a trimmed event is left out"},
    {"loses a row", make<LosesRow>, "rows are put and deleted"},
    {"ignores deletes", make<IgnoresDeletes>, "rows are put and deleted"},
    {"sorts rows by signed bytes", make<SortsSignedBytes>, "rows sort by unsigned bytes"},
    {"forgets the next page of rows", make<ForgetsNextPage>, "rows come page by page"},
    {"numbers batches backward", make<NumbersBatchesBackward>, "batch numbers ascend"},
    {"skips a batch of the feed", make<FeedSkipsBatch>, "the feed tells what each batch moved"},
    {"divides a batch of the feed", make<FeedDividesBatch>, "pages of the feed hold whole batches"},
    {"shows the newest event late", make<ShowsNewestLate>, "reads run beside a commit"},
    {"throws what is no exception", make<Throws>, "rows are put and deleted"},
};

}  // namespace

TEST_CASE("a storage that is wrong in one way fails the check that is named after it") {
  for (const Wrong& wrong : all_wrong) {
    SUBCASE(wrong.what) {
      const std::vector<std::string> broken = broken_promises(wrong.make);
      std::string all;
      for (const std::string& name : broken) all += name + "; ";
      CAPTURE(all);
      CHECK(std::count(broken.begin(), broken.end(), wrong.broken) == 1);
    }
  }
}

TEST_CASE("a storage that forgets at a close fails that check and no other") {
  CHECK(broken_promises(make_memory_storage, make_memory_storage) ==
        std::vector<std::string>{"everything outlives a close"});
}

TEST_CASE("the wall that the wrong storages stand behind is not itself wrong") {
  CHECK(broken_promises(make<Wrapper>).empty());
}
