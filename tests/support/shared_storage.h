#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <chatcore/storage.h>

namespace chat {

// A store in memory that outlives the engines opened on it, as a disk does, and that can be told to fail.
class SharedStorage {
 public:
  SharedStorage();

  // What an engine is given: a handle.
  std::unique_ptr<chatcore::Storage> handle();

  // What happens to the next commits that move a conversation's head, in order; then all is well again.
  enum class Fate {
    done,
    refused,       // storage_unavailable, nothing done
    full,          // storage_full, nothing done
    unknown_done,  // unknown_outcome, though it was done
    unknown_not_done,
    unknown_late,  // unknown_outcome, and done when land() is called
    throws,        // an exception in the middle: unknown, nothing done
  };
  void next(std::vector<Fate> fates) { fates_.assign(fates.begin(), fates.end()); }
  // Puts what was unknown_late into the store, where the heads still fit; how many changes did.
  std::size_t land();
  // Drops a conversation's events up to and including `to`, as retention does.
  void trim(const chatcore::ConversationId&, chatcore::Seq to);

  bool reads_fail = false;          // storage_unavailable
  bool commits_fail = false;        // storage_unavailable, until it is cleared
  bool inbox_commits_fail = false;  // those of users' partitions only
  chatcore::Durability durability = chatcore::Durability::disk;
  std::string epoch = "first";
  std::function<void()> before_commit{};  // on the committing thread
  std::function<void()> after_commit{};   // once: behind the next one that is in the store, and not yet said to be
  std::uint64_t commits = 0, reads = 0;

  chatcore::Storage& inner() { return *inner_; }

 private:
  friend class SharedHandle;
  struct Late {
    std::string partition;
    chatcore::Seq expected_head, new_head;
    std::vector<std::pair<std::pair<chatcore::Log, chatcore::Seq>, chatcore::Bytes>> events;
    std::vector<chatcore::Row> rows;
  };
  chatcore::CommitInfo commit(std::span<const chatcore::Change>, std::span<chatcore::Status>);
  chatcore::CommitInfo decide(std::span<const chatcore::Change>, std::span<chatcore::Status>);  // with the mutex
  std::unique_ptr<chatcore::Storage> inner_;
  std::deque<Fate> fates_;
  std::vector<Late> late_;
  std::uint64_t last_batch_ = 0;
  std::mutex mutex_;
};

}  // namespace chat
