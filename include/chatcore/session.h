#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>

#include <chatcore/auth.h>
#include <chatcore/event.h>
#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/requests.h>

namespace chatcore {
inline namespace v1 {

namespace detail {
class LocalSession;
}

struct SessionOptions {
  Identity identity{};                 // must name a user
  std::optional<Checkpoint> resume{};  // deliver what came after it first
  Function<void()> on_ready{};         // when the outbox becomes non-empty; on an engine thread (of a session
                                       // that is refused: inside open_session), must not block
  std::size_t outbox_bytes = 1 << 20;  // for a host that takes too slowly events become HeadMoved beyond it
};

// A user's session inside the process. It receives everything that happens in his conversations, but what it did
// itself through call(). In order for each conversation and at least once: after a resume an event may come again,
// under the same seq. A movable handle; destroying it closes the session. Every method is safe from any thread.
class CHATCORE_API Session {
 public:
  Session();  // closed
  explicit Session(std::shared_ptr<detail::LocalSession>);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // Asks for something as this session's user. `done` runs exactly once, later, on an engine thread (inside poll()
  // with threads = 0), with `overloaded` where too much is under way (Limits::session_requests) and `stopped` where
  // the session or the engine is closed (then it may be inside this call). Does not block.
  template <Request R>
  void call(R request, Done<typename R::Reply> done = {});

  // The next push in order, or nothing within `wait`. With threads = 0 it polls the engine while it waits, so it must
  // not be called with a wait from a callback then; without a wait it only looks, and costs no more than that. After
  // Closed nothing comes any more.
  std::optional<Push> take(std::chrono::milliseconds wait = {});

  // Covers what was taken. Until the first one arrives: the one that it resumed with, or an empty one.
  Checkpoint checkpoint() const;

  void close();

 private:
  std::shared_ptr<detail::LocalSession> session_;
};

}  // namespace v1
}  // namespace chatcore
