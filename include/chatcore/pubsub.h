#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/result.h>
#include <chatcore/transport.h>

namespace chatcore {
inline namespace v1 {

namespace detail {
class InprocessPubSub;
}  // namespace detail

// What a PubSub tells: the engine. Calls come from any thread, one at a time, maybe inside a call to the PubSub. None
// blocks or throws, and each may call publish, subscribe and unsubscribe; not stop.
class CHATCORE_API PubSubSink {
 public:
  virtual ~PubSubSink();
  // A frame of a topic that is, or was a moment ago, subscribed. The topic is valid during the call.
  virtual void received(std::string_view topic, Frame) = 0;
  // From here to link_back() frames may be missing, of every topic.
  virtual void link_lost() = 0;
  // Every subscription that was confirmed, and not ended, is in force again: what is published from now on comes. So
  // the engine looks in the store for what it missed, and publishes that others may have missed what it published.
  virtual void link_back() = 0;
};

// Carries hints between the engines of a cluster, or of one process: frames by topic. It is never the only way
// something is learned: the engine subscribes, waits for the confirmation, then reads the head from its storage; when
// the link was lost, it reads again.
//
// Delivery: at most once. Frames that one PubSub publishes to one topic, one after the other, arrive in that order;
// those of several publishers, and of several topics, in any. All subscribers of the topic get a frame, the publisher's
// own too where it has subscribed (as with Redis): a sink knows its own by what stands in them. Loss: a frame that a
// confirmed subscription does not get, for whatever reason (a broken link, a full queue here or at the broker), is told
// by link_lost(), behind the last frame before it, and link_back(), before the first frame after it. The two alternate.
// The link counts as up when start() returns; where it is not, link_lost() comes first. Topics: 1 to 255 bytes, any.
// Frames: of up to 16 MiB, never null, shared and not copied.
//
// Threads: start and stop are called once, by any thread; publish, subscribe and unsubscribe by engine threads, several
// at once; these three never block. Bounded: what an implementation keeps for a slow link or sink has a limit.
// Exceptions: what start() throws counts as `transport_failed`, what publish() throws as a frame lost without a word,
// what subscribe() throws as `cancelled`.
// Ownership: the engine owns it and destroys it after stop(). The sink outlives the stop(), not the object.
class CHATCORE_API PubSub {
 public:
  virtual ~PubSub();

  // The sink may be told from now on. Need not wait for a link; may block for as long as a host is willing to wait for
  // its engine to open. Errors: `invalid` (options, a second start), `transport_failed`; then nothing else is called,
  // but stop().
  virtual Status start(PubSubSink&) = 0;

  // To all that have subscribed. What can't be sent (no link, not started, stopped, a topic or frame out of bounds) is
  // lost; a publisher hears of it only by link_lost().
  virtual void publish(std::string_view topic, Frame) = 0;

  // `confirmed` is run once, inside the call or later, on any thread, one at a time with the sink's calls: what is
  // published from then on, anywhere, arrives until unsubscribe(). While the link is lost it waits for it; the
  // subscription outlives every later loss. Twice the same topic is one subscription, confirmed to both.
  // Errors: `invalid` (the topic), `overloaded` (too many wait), `cancelled` (unsubscribed before it was in force),
  // `stopped` (by stop(), or not started), `forbidden` and `transport_failed` (the broker refuses it).
  virtual void subscribe(std::string_view topic, Done<void> confirmed) = 0;

  // Ends it, and takes no answer. Frames on their way may still come.
  virtual void unsubscribe(std::string_view topic) = 0;

  // When it returns, no call to the sink runs or comes; what was not confirmed is `stopped`. Waits for a call that is
  // running elsewhere. Afterwards every call is harmless: publish is ignored, subscribe `stopped`.
  virtual void stop() = 0;
};

// ---- in process

struct InprocessExchangeOptions {
  // Of each PubSub: what waits for its sink while that is called by another thread. What does not fit is dropped and
  // told by link_lost() and link_back().
  std::size_t queue_frames = 4096;
  std::size_t queue_bytes = 16 << 20;
  // Of each PubSub: subscriptions that may wait for a lost link or a busy sink; a further one is `overloaded`.
  std::size_t waiting_subscriptions = 1 << 16;
};

// Where the engines of one process meet: the host makes one, and each engine a PubSub on it. Any thread.
//
// It has no thread. A frame is handed to a sink inside publish(), outside all locks, by the thread that publishes; or,
// where another thread is already calling that sink, it is queued, and that thread goes on with it. A thread that has
// handed over a whole queue in one call leaves the rest to the next one that comes. So in a program of one thread,
// everything has been received when publish() returns (published from inside a sink's call: when that call is over).
class CHATCORE_API InprocessExchange {
 public:
  explicit InprocessExchange(InprocessExchangeOptions = {});
  ~InprocessExchange();  // those that still use it keep what they need
  InprocessExchange(const InprocessExchange&) = delete;
  InprocessExchange& operator=(const InprocessExchange&) = delete;

  // For tests: every link is lost, with what is queued and what is published until mend_link().
  void break_link();
  void mend_link();
  std::uint64_t dropped() const;  // deliveries, so far

 private:
  friend class detail::InprocessPubSub;
  struct State;
  std::shared_ptr<State> state_;
};

// One engine's way to the others. A null exchange is `invalid` at start().
CHATCORE_API std::unique_ptr<PubSub> make_inprocess_pubsub(std::shared_ptr<InprocessExchange>);

}  // namespace v1
}  // namespace chatcore
