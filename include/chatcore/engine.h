#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/options.h>
#include <chatcore/requests.h>
#include <chatcore/session.h>
#include <chatcore/transport.h>

namespace chatcore {
inline namespace v1 {

namespace detail {
class EngineCore;
}

struct PollResult {
  std::size_t handled{};             // items
  bool more = false;                 // something could be done at once
  std::chrono::milliseconds next{};  // until the next timer; at most a second
};

// Counters since open, and levels. Read as a whole, without stopping anything.
struct Stats {
  std::uint64_t messages{};             // events committed
  std::uint64_t duplicates{};           // requests answered from a key
  std::uint64_t deliveries{};           // pushes put into outboxes
  std::uint64_t commits{};              // calls of Storage::commit
  std::uint64_t failed_changes{};       // changes not done, or of unknown outcome
  std::uint64_t refused{};              // requests answered with an error
  std::uint64_t closed_slow{};          // sessions closed because they took nothing, or not even their answers
  std::uint64_t closed_malformed{};     // connections closed because of malformed frames
  std::uint64_t callback_exceptions{};  // exceptions that the host's code let out
  std::uint64_t sessions{};             // now
  std::uint64_t connections{};          // now, logged in or not
  std::uint64_t conversations{};        // now in memory
  std::uint64_t outbox_bytes{};         // now, over all sessions
  std::uint64_t inbound_bytes{};        // now: frames received and not handled yet
  std::uint64_t page_bytes{};           // now: pages kept
  std::uint64_t session_bytes{};        // now, about: sessions and connections, but for their outboxes
  std::uint64_t conversation_bytes{};   // now, about: conversations in memory, their members and keys
  std::uint64_t memory_bytes{};         // now: the sum of the five above, which EngineOptions::memory_bytes bounds
  std::uint64_t collapses{};            // times that a full outbox gave up events for notices (HeadMoved)
  std::uint64_t notices{};              // notices sent anew, as the head had moved on
  std::uint64_t resyncs{};              // sessions brought on from their checkpoint: too many notices
};

struct FeedEvents {
  std::vector<EventPtr> events{};
  std::uint64_t next{};  // give as `after` to go on
  bool more = false;     // there is more now
};
inline constexpr std::uint64_t feed_end = ~std::uint64_t{0};  // for read_feed: what is there already is passed over

// A chat engine. A movable handle; destroying it stops the engine (as stop(1 s)). Several may live in one process.
// Every method is safe from any thread, but poll() and run(): one thread at a time.
class CHATCORE_API Engine {
 public:
  // Opens the storage and starts the threads. Blocks while the storage opens. Errors: `invalid` (an option is
  // missing or out of range; the message says which), and those of Storage::open.
  static Result<Engine> open(EngineOptions);

  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  // Asks for something as someone the host vouches for. `done` runs exactly once, later, never inside this call, on
  // an engine thread (inside poll() with threads = 0): overloaded above Limits::engine_requests, stopped after stop():
  // then, as nothing of the engine runs any more, it may be inside this call.
  template <Request R>
  void call(Identity as, R request, Done<typename R::Reply> done = {});

  // A session in this process. Given back closed (its first push is Closed) where the identity names no user or the
  // engine is stopped.
  Session open_session(SessionOptions);

  // A connection of the host's own. Frames as in docs/protocol.md; the transport's framing is the host's.
  void attach(std::shared_ptr<Connection>, AttachOptions);

  // Starts a transport. Gives the address it listens on, or the transport's error.
  Result<Endpoint> listen(std::unique_ptr<Transport>);

  // Ends every session of a user, or of one device of his, over a connection or in this process: what is queued for it
  // is dropped, its last push is Closed with `unauthenticated`, and nothing is shown to it any more. Within a second,
  // also where a peer takes nothing. A login that began before this call is turned away; whether one that begins after
  // it is let in is the Authenticator's matter, so tell that one first. Requests that were under way are finished.
  void revoke(const UserId&, const DeviceId& = {});

  // Does what there is to do, for about `budget` (one item more at most). Nothing where the engine has threads of
  // its own. Not from a callback.
  PollResult poll(std::chrono::microseconds budget) noexcept;

  // Polls until stop() is called from another thread or from a callback. With threads > 0 it only waits.
  void run() noexcept;

  // Ends it: no more requests, what is under way is finished or answered with `stopped`, connections are told to
  // come again elsewhere, and the storage is closed. Returns by the deadline, with `timeout` where a call of the
  // host's (a commit that hangs) has not returned by then: its thread is left what it needs. With threads = 0 also
  // where another thread hangs inside poll() or run(). It polls then, so callbacks come inside it; a callback that
  // hangs there holds it, the storage does not: what it is asked from here on, it is asked on a thread of its own. A
  // second stop returns what the first did. From a callback with threads = 0 it only ends run(): call it again outside.
  Status stop(std::chrono::milliseconds deadline) noexcept;

  // The host's own table (EngineOptions::membership) has changed: in that conversation, or for that user. From the
  // return on no seq is given out and no push leaves an outbox under the old table, in any thread; who is no longer in
  // a conversation keeps what he could see. Waits for a Connection::send that is under way, so not from inside one.
  void membership_changed(const ConversationId&);
  void membership_changed(const UserId&);

  // The host's own profile of that user (EngineOptions::profiles) has changed: who watches him is shown it.
  void profile_changed(const UserId&);

  // What was committed after batch `after` (0: from the beginning; feed_end: from now on), whole batches in order,
  // until there are `limit` events (0: 200) or 1 MiB: what push notifications, search, audit and analytics are made of.
  // Keep `next` once a page is dealt with: who comes back with it has each event at least once, those of a conversation
  // in order. Events are as stored: a message in its present state, a change without content. Users' own logs are in it
  // too (OwnChanged). `done` runs once, later, on an engine thread; where there is nothing yet, when there is, or after
  // `wait` (up to a day), with none.
  // `invalid`: a batch that is not there; a limit over 10,000. gone: the storage no longer holds what came after
  // `after`: read the conversations themselves. overloaded: 64 read it now. corruption: a record is damaged; the
  // message names conversation, seq and batch. What came before that batch was given; go on behind it, which leaves out
  // what else is in it. stopped; the storage's.
  void read_feed(std::uint64_t after, std::uint32_t limit, std::chrono::milliseconds wait, Done<FeedEvents> done);

  Stats stats() const noexcept;

 private:
  explicit Engine(std::shared_ptr<detail::EngineCore>);
  std::shared_ptr<detail::EngineCore> core_;
};

}  // namespace v1
}  // namespace chatcore
