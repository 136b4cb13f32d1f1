#include "simulation/disk.h"

#include <algorithm>

namespace simulation {
namespace {

Error unavailable() { return {ErrorCode::storage_unavailable, "the disk is not there", {}}; }
Error full() { return {ErrorCode::storage_full, "the disk is full", {}}; }
Error unknown() { return {ErrorCode::unknown_outcome, "the disk did not say", {}}; }

bool moves(const Change& change) { return change.new_head > change.expected_head; }

// One of the fates that a single change may have.
Fate single(Random& random) {
  constexpr Fate fates[] = {Fate::done,        Fate::done, Fate::refused, Fate::unknown_done, Fate::unknown_not_done,
                            Fate::unknown_late};
  return fates[random.below(6)];
}

}  // namespace

Kept::Kept(const Change& change)
    : partition(change.partition),
      expected_head(change.expected_head),
      new_head(change.new_head),
      trim_to(change.trim_to),
      rows(change.rows.begin(), change.rows.end()) {
  bytes_.reserve(change.events.size());
  for (const StoredEvent& event : change.events) {
    bytes_.emplace_back(event.bytes.begin(), event.bytes.end());
    events.push_back({event.log, event.seq, bytes_.back()});
  }
}

Change Kept::view() const {
  return {.partition = partition,
          .expected_head = expected_head,
          .new_head = new_head,
          .events = events,
          .rows = rows,
          .trim_to = trim_to};
}

// One life of an engine.
class DiskHandle final : public Storage {
 public:
  explicit DiskHandle(Disk& disk) : disk_(disk), life_(disk.life_) {}

  Result<StoreInfo> open(Durability) override {
    if (disk_.read_fails()) return unavailable();
    return StoreInfo{.format = 1,
                     .epoch = "life" + std::to_string(disk_.losses_),
                     .durability = disk_.durability_,
                     .max_concurrency = 4,
                     .last_batch = disk_.last_batch_};
  }
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    const std::lock_guard alone(disk_.mutex_);
    if (!gone()) return disk_.commit(changes, outcome);
    for (Status& status : outcome) status = unavailable();
    return {};
  }
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    const std::lock_guard alone(disk_.mutex_);
    if (fails()) return unavailable();
    return disk_.content_->events(partition, log, start, direction, limit);
  }
  Result<std::optional<Row>> row(std::string_view partition, Table table, std::string_view key) override {
    const std::lock_guard alone(disk_.mutex_);
    if (fails()) return unavailable();
    return disk_.content_->row(partition, table, key);
  }
  Result<RowPage> rows(std::string_view partition, Table table, std::string_view after, PageLimit limit) override {
    const std::lock_guard alone(disk_.mutex_);
    if (fails()) return unavailable();
    return disk_.content_->rows(partition, table, after, limit);
  }
  Result<FeedPage> feed(std::uint64_t after, PageLimit limit) override {
    const std::lock_guard alone(disk_.mutex_);
    if (fails()) return unavailable();
    return disk_.content_->feed(after, limit);
  }

 private:
  bool gone() const { return life_ != disk_.life_ || disk_.dying_; }
  bool fails() { return gone() || disk_.read_fails(); }

  Disk& disk_;
  const unsigned life_;
};

Disk::Disk(Durability durability, std::function<void(const std::string&)> trace)
    : durability_(durability), trace_(std::move(trace)), content_(make_memory_storage()) {
  (void)content_->open(Durability::memory);
}

std::unique_ptr<Storage> Disk::handle() { return std::make_unique<DiskHandle>(*this); }

void Disk::end_of_life() {
  ++life_;
  dying_ = false;
  // What its process had under way gets there now or never: before the next one opens the disk.
  if (step % 2 == 0) land();
  late_.clear();
}

bool Disk::read_fails() {
  if (reads_fail_ == 0) return false;
  --reads_fail_;
  return true;
}

std::uint64_t Disk::apply(std::span<const Change> changes, std::span<Status> outcome) {
  const CommitInfo info = content_->commit(changes, outcome);
  if (info.batch != 0) last_batch_ = info.batch;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (!outcome[i]) continue;
    ledger.apply(changes[i].partition, changes[i].events, changes[i].new_head, changes[i].trim_to, step);
    if (durability_ != Durability::disk) journal_.emplace_back(Kept(changes[i]), step);
  }
  return info.batch;
}

Status Disk::apply(const Change& change) {
  Status outcome(ErrorCode::unknown_outcome, "unset");
  apply({&change, 1}, {&outcome, 1});
  return outcome;
}

CommitInfo Disk::commit(std::span<const Change> changes, std::span<Status> outcome) {
  Planned planned{Fate::done, 0};
  const auto moving = std::count_if(changes.begin(), changes.end(), moves);
  // "Mixed" waits for a commit in which there is something to mix.
  const auto due =
      std::find_if(fates_.begin(), fates_.end(), [&](const Planned& p) { return moving > 1 || p.fate != Fate::mixed; });
  if (moving > 0 && due != fates_.end()) {
    planned = *due;
    fates_.erase(due);
  } else if (moving == 0 && rows_fail_ > 0) {
    --rows_fail_;
    planned.fate = rows_fail_ % 3 == 0 ? Fate::unknown_done : rows_fail_ % 3 == 1 ? Fate::refused : Fate::full;
  }
  if (planned.fate != Fate::done) {
    std::string names;
    for (const Change& change : changes) names += (names.empty() ? "" : ", ") + std::string(change.partition);
    trace_("storage: a commit of " + names + ": " + std::string(name_of(planned.fate)));
  }
  Random random(planned.random);
  std::vector<Change> written;
  std::vector<std::pair<std::size_t, bool>> places;  // and whether it is told
  for (std::size_t i = 0; i < changes.size(); ++i) {
    Fate fate = planned.fate;
    if (fate == Fate::mixed) fate = single(random);
    if (fate == Fate::dies) fate = random.percent(50) ? Fate::unknown_done : Fate::unknown_not_done;
    // What moves no head can't be kept from landing over what is newer: no storage could be asked for that.
    if (fate == Fate::unknown_late && !moves(changes[i])) fate = Fate::unknown_not_done;
    outcome[i] = fate == Fate::refused ? unavailable() : fate == Fate::full ? full() : unknown();
    if (fate == Fate::unknown_late) late_.emplace_back(changes[i]);
    if (fate != Fate::done && fate != Fate::unknown_done) continue;
    written.push_back(changes[i]);
    places.emplace_back(i, fate == Fate::done);
  }
  std::vector<Status> done(written.size(), unknown());
  const std::uint64_t batch = apply(written, done);
  bool any_told = false;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto [place, told] = places[i];
    if (told || !done[i]) outcome[place] = done[i];
    any_told = any_told || (told && done[i]);
  }
  dying_ = dying_ || planned.fate == Fate::dies;
  return {any_told ? batch : 0};
}

void Disk::land() {
  for (const Kept& late : std::exchange(late_, {})) {
    const Status landed = apply(late.view());
    if (landed && late.partition.starts_with("c:")) landed_late.insert(late.partition.substr(2));
    trace_("storage: a late change of " + late.partition + (landed ? " landed" : " no longer fits"));
  }
}

void Disk::heal() {
  fates_.clear();
  late_.clear();
  rows_fail_ = reads_fail_ = 0;
}

void Disk::lose_power(std::uint64_t random) {
  late_.clear();
  if (journal_.empty()) return;
  const std::size_t lost = random % std::min<std::size_t>(journal_.size(), 12);
  if (lost == 0) return;
  journal_.resize(journal_.size() - lost, journal_.front());
  trace_("storage: the last " + std::to_string(lost) + " changes are gone");
  ++losses_;
  landed_late.clear();
  const auto journal = std::exchange(journal_, {});
  content_ = make_memory_storage();
  (void)content_->open(Durability::memory);
  ledger.clear();
  last_batch_ = 0;
  const std::uint64_t now = step;
  for (const auto& [change, at] : journal) {
    step = at;
    (void)apply(change.view());
  }
  step = now;
}

void Disk::trim(const std::string& conversation, Seq to) {
  const Book* book = ledger.find(conversation);
  if (!book) return;
  const std::string partition = "c:" + conversation;
  (void)apply({.partition = partition, .expected_head = book->head, .new_head = book->head, .trim_to = to});
}

void Disk::put(const Change& change) {
  const auto page = content_->events(change.partition, Log::messages, 1, Direction::forward, {.rows = 1});
  Change fitted = change;
  fitted.expected_head = page ? page->head : 0;
  fitted.new_head = std::max(fitted.expected_head, change.new_head);
  (void)apply(fitted);
}

}  // namespace simulation
