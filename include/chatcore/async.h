#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include <chatcore/engine.h>

namespace chatcore {
inline namespace v1 {

// Asks and waits. With threads = 0 it polls the engine meanwhile (so: not from a callback, and not while another
// thread polls). `timeout`: the answer has not come; the request may still be done, a retry with its key finds out.
template <Request R>
Result<typename R::Reply> wait(Engine& engine, Identity as, R request,
                               std::chrono::milliseconds deadline = std::chrono::seconds(10)) {
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result<typename R::Reply>> result;
  };
  auto state = std::make_shared<State>();
  engine.call(std::move(as), std::move(request), [state](Result<typename R::Reply> result) {
    std::lock_guard lock(state->mutex);
    state->result.emplace(std::move(result));
    state->changed.notify_all();
  });
  const auto end = std::chrono::steady_clock::now() + deadline;
  std::unique_lock lock(state->mutex);
  while (!state->result) {
    if (std::chrono::steady_clock::now() >= end) return Error{ErrorCode::timeout, "no answer within the deadline"};
    lock.unlock();
    const PollResult polled = engine.poll(std::chrono::milliseconds(1));
    lock.lock();
    if (!state->result && polled.handled == 0) state->changed.wait_for(lock, std::chrono::microseconds(200));
  }
  return std::move(*state->result);
}

// What ask() gives: `co_await` it once. The coroutine goes on on an engine thread (inside poll() with threads = 0).
// Dropping it does not cancel the request.
template <Request R>
class Asked {
 public:
  Asked(Engine& engine, Identity as, R request) : state_(std::make_shared<State>()) {
    engine.call(std::move(as), std::move(request), [state = state_](Result<typename R::Reply> result) {
      state->result.emplace(std::move(result));
      if (void* waiting = state->waiting.exchange(state.get(), std::memory_order_acq_rel)) {
        std::coroutine_handle<>::from_address(waiting).resume();
      }
    });
  }
  bool await_ready() const noexcept { return state_->waiting.load(std::memory_order_acquire) != nullptr; }
  bool await_suspend(std::coroutine_handle<> caller) noexcept {
    void* nobody = nullptr;
    return state_->waiting.compare_exchange_strong(nobody, caller.address(), std::memory_order_acq_rel);
  }
  Result<typename R::Reply> await_resume() { return std::move(*state_->result); }

 private:
  struct State {
    std::atomic<void*> waiting{nullptr};  // null: neither is here; the caller's coroutine; or this: the result is
    std::optional<Result<typename R::Reply>> result;
  };
  std::shared_ptr<State> state_;
};

// Asks, for `co_await`. Name the request first: GCC 12 frees wild memory where a coroutine awaits a call whose
// arguments are braced temporaries (fixed in GCC 13).
//   Send hello{.to = Direct{"bob"}, .content = {.text = "hi"}};
//   Result<Sent> sent = co_await ask(engine, alice, std::move(hello));
template <Request R>
Asked<R> ask(Engine& engine, Identity as, R request) {
  return Asked<R>(engine, std::move(as), std::move(request));
}

}  // namespace v1
}  // namespace chatcore
