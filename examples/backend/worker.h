#pragma once

#include <chatcore/function.h>
#include <chatcore/result.h>

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace backend {

// A thread for questions that block, one after the other: the engine's threads must not. Safe from any thread.
class Worker {
 public:
  Worker();
  ~Worker();  // what still waits is dropped, which the engine takes as an answer

  // Completes with what `ask()` returns. storage_unavailable: it threw. overloaded, at once: a thousand wait.
  template <class T, class Ask>
  void answer(chatcore::Done<T> done, Ask ask) {
    using chatcore::Error, chatcore::ErrorCode;
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.size() < most_waiting) {
        waiting_.push_back([done = std::move(done), ask = std::move(ask)]() mutable {
          try {
            done(ask());
          } catch (const std::exception& error) {
            done(Error{ErrorCode::storage_unavailable, error.what()});
          }
        });
        changed_.notify_one();
        return;
      }
    }
    done(Error{ErrorCode::overloaded, "many are asking: try again later"});
  }

 private:
  static constexpr std::size_t most_waiting = 1000;
  void loop();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<chatcore::Function<void()>> waiting_;
  bool ends_ = false;
  std::thread thread_;  // last: it uses everything above
};

}  // namespace backend
