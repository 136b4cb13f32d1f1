#pragma once

#include <chrono>
#include <cstddef>
#include <unordered_map>
#include <vector>

#include <chatcore/event.h>
#include <chatcore/transport.h>

namespace chatcore {
inline namespace v1 {
namespace core {

// The conversations that a session is told of by notices only: it took too slowly, and their queued events collapsed
// into one "there is more up to this head"; or they are set to notify only. All others are live. A notice that has left
// the outbox is renewed when the head moves on, so that who pulls after any notice comes to the end.
class Notices {
 public:
  static constexpr std::size_t most = 256;  // conversations; above it a session starts again from its checkpoint

  bool contains(const ConversationId& id) const { return told_.contains(id); }
  std::size_t size() const { return told_.size(); }
  void clear() { told_.clear(); }

  // It goes on by notices from here, or did so already. `spread`: see HeadMoved.
  void moved(const ConversationId&, Seq head, std::chrono::milliseconds spread = {});
  // The reader has it all up to `to`, and the rest will be pushed: decided on the conversation's shard. What moved on
  // since is not live yet.
  void live(const ConversationId&, Seq to);

  // Makes room for `needed` bytes in a queue that holds up to `bound`. Signals go, which were never promised; where
  // that is not enough, the conversations that take most room, until half of it is free or nothing more can be pulled.
  // A notice stands where the first event was: no checkpoint that comes behind it covers what nobody was told of.
  void collapse(std::vector<Frame>& queue, std::size_t needed, std::size_t bound);

  // The notices to queue now: of heads not told yet, where the last notice is no longer waiting in the queue.
  template <class Waits>
  std::vector<Frame> due(Waits&& waits) {
    std::vector<Frame> frames;
    for (auto& [id, told] : told_) {
      if (told.head > told.told && !(told.notice && waits(told.notice))) frames.push_back(notice(id, told));
    }
    return frames;
  }

 private:
  struct Told {
    Seq head{}, told{};
    std::chrono::milliseconds spread{};
    Frame notice{};  // the last one
  };
  static Frame notice(const ConversationId&, Told&);

  std::unordered_map<ConversationId, Told> told_;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
