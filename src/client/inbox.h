#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include <chatcore/event.h>

#include "client/place.h"

namespace chatcore {
inline namespace v1 {
namespace client {

// Pushes from the client's thread to the host's, and the checkpoint of what the host has taken. What is seen without
// being shown (the client's own events, what nobody may see) and the server's checkpoints lie in the same queue, so
// that they count from the moment everything before them was taken. Any thread.
class Inbox {
 public:
  Inbox(std::size_t limit, Place start);

  // ---- the client's thread
  bool push(Push, std::size_t bytes);  // true: it was empty
  void seen(const ConversationId&, Seq);
  void passed(const Checkpoint&);
  bool full() const;  // from `limit` on, until half of it was taken

  // ---- the host's
  struct Taken {
    std::optional<Push> push{};
    bool drained = false;  // full() is over
  };
  Taken take(std::chrono::milliseconds wait);
  Checkpoint checkpoint() const;

 private:
  struct Item {
    Push push;
    std::size_t bytes{};
    std::map<ConversationId, Seq> seen_after{};  // what was seen behind it, before the next push
    std::optional<Checkpoint> passed_after{};
  };
  using Recent = std::list<std::pair<ConversationId, Seq>>;

  void took(const Push&);
  void took(const ConversationId&, Seq);

  const std::size_t limit_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Item> items_;
  std::size_t bytes_ = 0;
  bool full_ = false;
  bool closed_ = false;  // Closed is in, or was taken

  Checkpoint server_;  // the last one taken
  Recent recent_;      // seqs taken; the conversation that moved last comes first
  std::unordered_map<ConversationId, Recent::iterator> places_;
};

}  // namespace client
}  // namespace v1
}  // namespace chatcore
