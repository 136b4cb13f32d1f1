#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <chatcore/options.h>
#include <chatcore/request.h>

#include "core/counters.h"
#include "core/membership_changes.h"
#include "core/rate_limit.h"

namespace chatcore {
inline namespace v1 {
namespace core {

class Hints;
class Shard;
class Store;
struct RequestTable;

using Task = Function<void()>;

// Where an answer goes: once, whatever happens. Dropped unanswered (the engine stops, a queue is cleared), it answers
// `stopped` itself.
template <class T>
class Reply {
 public:
  Reply() = default;
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, Reply> && std::is_invocable_v<std::decay_t<F>&, Result<T>>)
  Reply(F&& function) : function_(std::forward<F>(function)) {}
  Reply(Reply&&) noexcept = default;
  Reply& operator=(Reply&& other) noexcept {
    if (this != &other) {
      drop();
      function_ = std::move(other.function_);
    }
    return *this;
  }
  ~Reply() { drop(); }

  explicit operator bool() const noexcept { return static_cast<bool>(function_); }
  void operator()(Result<T> result) {
    if (auto function = std::move(function_)) function(std::move(result));
  }

 private:
  void drop() noexcept {
    if (!function_) return;
    try {
      (*this)(Error{ErrorCode::stopped, "the engine stopped before it was done; retry with the same key"});
    } catch (...) {  // out of memory while stopping: there is nobody left to tell
    }
  }
  Function<void(Result<T>)> function_{};
};

// The engine's time, milliseconds since 1970: what ages are counted by. It starts at the wall clock's time, goes on by
// the steady clock, and never goes back, over restarts either, so that no jump of the wall clock touches it.
class EngineTime {
 public:
  void start(Clock& clock, std::uint64_t persisted);
  std::uint64_t now(Clock& clock) const;

 private:
  std::uint64_t base_ = 0;
  SteadyTime began_{};
};

// What all shards share. Set up by the composition root before a thread runs, then constant but for the counters.
struct Core : std::enable_shared_from_this<Core> {
  Limits limits{};
  Durability durability{};
  std::string epoch{};
  std::uint64_t first_batch = 0;  // the newest batch when the store was opened
  std::shared_ptr<Clock> clock{};
  EngineTime time{};
  std::size_t memory_budget = 0;  // 0: none
  mutable Counters counters{};
  std::atomic<bool> stopping{false};       // no more requests
  std::atomic<std::int64_t> under_way{0};  // requests not yet answered
  std::atomic<std::uint64_t> last_session{0};
  std::atomic<std::uint64_t> lives{0};  // of conversations in memory
  Membership* membership = nullptr;
  std::chrono::milliseconds membership_deadline{};
  MembershipChanges membership_changes{};
  std::atomic<std::uint64_t> revocations{0};  // how many there were: a login notes it when it begins
  std::shared_ptr<UserLimits> user_limits{};  // null: unlimited
  const RequestTable* requests = nullptr;
  Authenticator* authenticator = nullptr;
  Policy* policy = nullptr;  // null: everything passes
  std::chrono::milliseconds policy_deadline{};
  Decision policy_default{};
  mutable Function<bool(const Identity&, const ConversationId&)> exempt{};
  mutable Function<void(std::vector<UserId>, Done<std::vector<Profile>>)> profiles{};  // null: they are stored
  std::atomic<bool> decides_no_more{false};  // stopping: what is not decided now is answered with `stopped`
  std::unique_ptr<Store> store{};
  std::unique_ptr<Hints> hints{};  // null: this is the only engine on the store
  std::vector<std::unique_ptr<Shard>> shards{};

  Function<bool()> help{};  // with no thread of the engine's: does some of its work, for one who waits

  Core();
  ~Core();
  Shard& home(const ConversationId&) const;
  Shard& home(const UserId&) const;
  std::uint64_t now() const { return time.now(*clock); }
  std::uint64_t random();
  void log(LogLevel, std::string_view line) const;

  // What outboxes, frames not handled yet, pages, sessions and conversations take in memory, about, in bytes.
  std::uint64_t memory_used() const;
  bool fits(std::size_t bytes) const { return memory_budget == 0 || memory_used() + bytes <= memory_budget; }
  // Near the budget: what can be had again is let go of.
  bool is_tight() const { return memory_budget != 0 && memory_used() > memory_budget / 8 * 7; }

  Function<std::uint64_t()> random_source{};
  mutable Function<void(LogLevel, std::string_view)> log_sink{};

 private:
  std::mutex random_mutex_;  // the host's function need not be safe from several threads at once
};

// Runs what may be the host's code: nothing it throws goes further.
template <class F>
void guarded(const Core& core, F&& code) noexcept {
  try {
    code();
  } catch (...) {
    add(core.counters.callback_exceptions);
  }
}

// Who asks: the identity, and the session it asks through (0: the host, without one).
struct Caller {
  Identity who{};
  std::uint64_t session = 0;
  std::shared_ptr<RateLimit> limit{};  // on what he makes or shows; null: none
};

// A request on its way through the shards. `reply` runs exactly once.
template <class R, class Answer = typename R::Reply>
struct Call {
  using Request = R;
  Caller by{};
  R request{};
  Reply<Answer> reply{};
};

// The features, as the core sees them: what a frame's request number leads to.
struct RequestTable {
  // Decodes `body`, checks it and runs it; the encoded answer comes to `reply`, exactly once, on any shard.
  void (*dispatch)(Shard& from, Caller, std::uint16_t request, std::span<const std::byte> body, Reply<Bytes> reply);
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
