#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
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

  struct Moved {
    Seq from{};  // what comes after it is told of, where it was live until now
    Seq head{};
    std::uint64_t asked_at = 0;          // see Publication
    std::chrono::milliseconds spread{};  // see HeadMoved
  };
  // It goes on by notices from here, or did so already.
  void moved(const ConversationId&, const Moved&);
  // Takes back that he is told of it, and says after which seq it has to be looked up for him; empty: he was not told.
  std::optional<Seq> withdraw(const ConversationId&);
  // The reader has it all up to `to`, and the rest will be pushed: decided on the conversation's shard. What moved on
  // since is not live yet.
  void live(const ConversationId&, Seq to);

  // Makes room for `needed` bytes in a queue that holds up to `bound`. Signals go, which were never promised; where
  // that is not enough, the conversations that take most room, until half of it is free or nothing more can be pulled.
  // A notice stands where the first event was: no checkpoint that comes behind it covers what nobody was told of.
  // `asked_at`: of what is queued.
  void collapse(std::vector<Frame>& queue, std::size_t needed, std::size_t bound, std::uint64_t asked_at);

  // Of whom a notice is to be queued now: heads not told yet, where the last notice is no longer waiting in the queue.
  struct Due {
    ConversationId id{};
    std::uint64_t asked_at = 0;
  };
  template <class Waits>
  std::vector<Due> due(Waits&& waits) const {
    std::vector<Due> all;
    for (const auto& [id, told] : told_) {
      if (told.now.head > told.told && !(told.notice && waits(told.notice))) all.push_back({id, told.now.asked_at});
    }
    return all;
  }
  Frame notice(const ConversationId&);  // of one that is told of: its head

 private:
  struct Told {
    Moved now{};
    Seq told{};
    Frame notice{};  // the last one
  };

  std::unordered_map<ConversationId, Told> told_;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
