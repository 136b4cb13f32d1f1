#pragma once

#include <atomic>
#include <boost/asio/error.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <chatcore/transport.h>

namespace chatcore {
inline namespace v1 {
namespace tcp {

namespace asio = boost::asio;
using boost::system::error_code;

class TcpConnection;

inline bool would_block(const error_code& error) {
  return error == asio::error::would_block || error == asio::error::try_again;
}

inline Error failure(std::string what, const error_code& why) {
  return {ErrorCode::transport_failed, std::move(what) + ": " + why.message(), {}};
}

// What a transport, or a dialer, and its connections share: one reactor, one buffer to read into, and who is there.
//
// Everything but post() and wake() happens on the thread that polls, or in stop(), which keeps that thread out.
class Loop {
 public:
  static constexpr std::size_t buffer_bytes = 64 << 10;

  // Runs one handler. A wake is nothing that happened.
  bool poll(std::chrono::microseconds wait) {
    if (is_stopping_) return false;
    std::lock_guard turn(turn_);
    woken_ = false;
    std::size_t handled = 0;
    try {
      handled = wait.count() > 0 ? context_.run_one_for(wait) : context_.poll_one();
    } catch (...) {  // out of memory, in one handler
      return true;
    }
    return handled != 0 && !woken_;
  }

  // At most one wake lies in the queue, so that waking costs nothing where nobody polls.
  void wake() {
    if (wake_posted_.exchange(true)) return;
    try {
      asio::post(context_, [this] {
        wake_posted_ = false;
        woken_ = true;
      });
    } catch (...) {
      wake_posted_ = false;
    }
  }

  template <class F>
  void post(F&& run) {
    asio::post(context_, std::forward<F>(run));
  }

  // Closes by `close`, with the polling thread kept out, then lets go of every handler.
  template <class F>
  void stop(F&& close) {
    is_stopping_ = true;
    wake();
    std::lock_guard turn(turn_);
    try {
      close();
      while (context_.poll() != 0) {
      }
    } catch (...) {
    }
    is_stopping_ = false;
  }

  asio::io_context& context() { return context_; }
  std::vector<std::byte>& buffer() { return buffer_; }
  std::unordered_set<std::shared_ptr<TcpConnection>>& connections() { return connections_; }

 private:
  asio::io_context context_{1};  // one thread runs it; others post
  asio::executor_work_guard<asio::io_context::executor_type> stays_{context_.get_executor()};
  std::recursive_mutex turn_;  // recursive: a callback may stop the engine
  std::atomic<bool> is_stopping_{false}, wake_posted_{false};
  bool woken_ = false;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(buffer_bytes);
  std::unordered_set<std::shared_ptr<TcpConnection>> connections_{};
};

}  // namespace tcp
}  // namespace v1
}  // namespace chatcore
