#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <chatcore/chatcore.h>

#include "simulation/ledger.h"
#include "simulation/plan.h"
#include "simulation/random.h"

namespace simulation {

// A change that owns what it points to.
struct Kept {
  explicit Kept(const Change&);
  Change view() const;  // into this

  std::string partition;
  Seq expected_head, new_head, trim_to;
  std::vector<StoredEvent> events;
  std::vector<Row> rows;

 private:
  std::vector<Bytes> bytes_;
};

// A disk: what the engines that are opened on it, one after the other, have written. What a commit promises is kept:
// what it said is done outlives a crash, and where the durability is less, everything up to some batch does.
class Disk {
 public:
  Disk(Durability, std::function<void(const std::string&)> trace);

  // What one life of an engine is given. A handle of an earlier life does nothing any more.
  std::unique_ptr<Storage> handle();
  void end_of_life();  // from now on nothing of the running engine reaches the disk

  // ---- what goes wrong
  void next_commit(Fate fate, std::uint64_t random) { fates_.push_back({fate, random}); }
  void fail_rows(unsigned commits) { rows_fail_ = commits; }
  void fail_reads(unsigned reads) { reads_fail_ = reads; }
  bool dying() const { return dying_; }   // a commit took the process with it
  void land();                            // what was unknown_late, where the heads still fit
  void heal();                            // nothing goes wrong any more; what was late is lost
  void lose_power(std::uint64_t random);  // below Durability::disk: only a prefix is left, under a new epoch
  void trim(const std::string& conversation, Seq to);
  void put(const Change&);  // whatever the heads are; for disks that are broken

  // ---- the truth
  Ledger ledger;
  std::set<std::string> landed_late{};  // conversations
  Storage& content() { return *content_; }
  std::uint64_t last_batch() const { return last_batch_; }
  unsigned losses() const { return losses_; }
  std::uint64_t step = 0;  // now

 private:
  friend class DiskHandle;
  struct Planned {
    Fate fate;
    std::uint64_t random;
  };
  CommitInfo commit(std::span<const Change>, std::span<Status>);
  std::uint64_t apply(std::span<const Change>, std::span<Status>);  // one batch
  Status apply(const Change&);
  bool read_fails();

  const Durability durability_;
  const std::function<void(const std::string&)> trace_;
  std::unique_ptr<Storage> content_;
  std::vector<std::pair<Kept, std::uint64_t>> journal_;  // and the step; kept where power may be lost
  std::deque<Planned> fates_;
  std::deque<Kept> late_;
  unsigned rows_fail_ = 0, reads_fail_ = 0, life_ = 0, losses_ = 0;
  bool dying_ = false;
  std::mutex mutex_;  // a run has one thread; the conformance suite has several
  std::uint64_t last_batch_ = 0;
};

}  // namespace simulation
