#pragma once

#include <string>

#include <chatcore/storage.h>

namespace chatcore {
inline namespace v1 {
namespace storage {

// Whether a change keeps the rules written at `Change`, so far as that can be told without reading. Shared by the
// implementations, so that they refuse the same things.
inline Status check_change(const Change& change) {
  const auto broken = [&](const char* rule) {
    return Status(ErrorCode::invalid, "change of partition '" + std::string(change.partition) + "': " + rule);
  };
  if (change.partition.empty() || change.partition.size() > 65) return broken("a partition name has 1 to 65 bytes");
  if (change.new_head < change.expected_head) return broken("new_head lies below expected_head");
  Seq last = change.expected_head;
  for (const StoredEvent& event : change.events) {
    if (event.log != Log::messages && event.log != Log::changes) return broken("there is no such log");
    if (event.seq == 0 || event.seq > change.new_head) return broken("an event's seq lies outside 1 to new_head");
    if (event.seq <= change.expected_head) continue;  // replaces a row, in any order
    if (event.seq <= last) return broken("new events must ascend");
    last = event.seq;
  }
  for (const Row& row : change.rows) {
    if (row.key.empty() || row.key.size() > 256) return broken("a row's key has 1 to 256 bytes");
  }
  return {};
}

// The limits of one answer, counted while it grows: an item fits if it is the first, or if both bounds allow it.
class PageRoom {
 public:
  explicit PageRoom(PageLimit limit) : limit_(limit) {}

  bool take(std::size_t bytes) {
    if (rows_ > 0 && (rows_ >= limit_.rows || bytes > limit_.bytes || bytes_ > limit_.bytes - bytes)) {
      full_ = true;
      return false;
    }
    ++rows_;
    bytes_ += bytes;
    return true;
  }
  bool full() const { return full_; }  // something was left out

 private:
  PageLimit limit_;
  std::size_t rows_ = 0;
  std::size_t bytes_ = 0;
  bool full_ = false;
};

}  // namespace storage
}  // namespace v1
}  // namespace chatcore
