#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>

#include <chatcore/event.h>
#include <chatcore/requests.h>

namespace chatcore {
inline namespace v1 {
namespace client {

// What the streams need from their owner.
class StreamsOwner {
 public:
  virtual void deliver(EventPtr, std::size_t bytes) = 0;  // next in its conversation
  virtual void seen(const ConversationId&, Seq) = 0;      // up to here without anything to deliver
  virtual void unreadable(const HeadMoved&) = 0;          // up to here the application has to look itself
  // Sync; the answer goes to page(). Now, after a while, or at some moment within a spread.
  virtual void pull(const ConversationId&, Seq after, bool later, std::chrono::milliseconds spread) = 0;

 protected:
  ~StreamsOwner() = default;
};

// The events of all conversations: repeats are dropped, what follows a hole is held back until a Sync has filled it,
// and what this client made itself counts as seen.
//
// A conversation of which nothing is known begins with the first event that comes; what was before is history. An
// acknowledgement alone does not begin it: it may have overtaken an earlier event of somebody else's.
class Streams {
 public:
  // `instance`: the source of this client's keys. `held_bytes`: of events held back, over all conversations; beyond it
  // they are dropped and pulled again.
  Streams(StreamsOwner&, std::string instance, std::size_t held_bytes);

  void resume(const ConversationId&, Seq seen);
  void event(EventPtr, std::size_t bytes);
  void acknowledged(const ConversationId&, Seq);  // an event of this client's own
  void head_moved(const HeadMoved&);
  void page(const ConversationId&, const Result<SyncPage>&, std::size_t bytes);
  void reset();
  bool pulling() const { return pulling_ > 0; }  // something is held back or known to be missing

 private:
  struct Held {
    EventPtr event{};  // null: seen, with nothing to deliver
    std::size_t bytes{};
  };
  struct Stream {
    std::optional<Seq> seen{};
    Seq wanted{};  // the last seq known to exist
    bool pulling = false;
    std::map<Seq, Held> held{};
  };

  bool own(const Event& event) const { return event.key.source == instance_; }
  void next(const ConversationId&, Stream&, Seq, Held);
  void hold(Stream&, Seq, Held);
  void release(const ConversationId&, Stream&);
  void pull(const ConversationId&, Stream&, bool later = false, std::chrono::milliseconds spread = {});
  void take_page(const ConversationId&, Stream&, const SyncPage&, std::size_t bytes);
  void give_up(const ConversationId&, Stream&);

  StreamsOwner& owner_;
  const std::string instance_;
  const std::size_t held_limit_;
  std::size_t held_bytes_ = 0;
  std::size_t pulling_ = 0;
  std::unordered_map<ConversationId, Stream> streams_;
};

}  // namespace client
}  // namespace v1
}  // namespace chatcore
