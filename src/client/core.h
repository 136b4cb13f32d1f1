#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <chatcore/client.h>

#include "client/inbox.h"
#include "client/machine.h"

namespace chatcore {
inline namespace v1 {
namespace detail {

// What drives the machine: the dialer, the connection, the clock and, if wanted, a thread.
//
// Threads: whoever holds `driving_` is the client's thread for the moment: the thread of its own, or a caller of poll,
// take, close. Only he touches the members under "driver". Everybody else leaves a post in the mail and wakes him. The
// host's code is called with neither mutex_ nor the inbox's held.
// Stop order: the machine ends (everything is answered), connections are told to close, the dialer stops; the thread
// stays to answer late calls until the handle goes.
class ClientCore final : public std::enable_shared_from_this<ClientCore>, client::Surroundings {
 public:
  static Result<std::shared_ptr<ClientCore>> open(ClientOptions);
  ClientCore(ClientOptions, const std::optional<client::Place>& resume);
  ~ClientCore();

  // `encode` gives the request's bytes; where `numbered`, with this client's next number in its key.
  void submit(client::Call, bool numbered, Function<Bytes(const IdempotencyKey&)> encode);
  std::optional<Push> take(std::chrono::milliseconds wait);
  PollResult poll(std::chrono::microseconds budget) noexcept;
  Checkpoint checkpoint() const { return inbox_.checkpoint(); }
  ClientStatus status() const;
  void close();
  void end();  // the handle is gone

 private:
  class Wire;  // a connection's way to us

  // ---- the mail
  struct Opened {
    Result<std::shared_ptr<Connection>> connection;
  };
  struct Received {
    std::uint64_t wire{};
    Bytes frame{};
  };
  struct Writable {
    std::uint64_t wire{};
  };
  struct Lost {
    std::uint64_t wire{};
    Error why{};
    bool given_up = false;  // by us; the connection does not know yet
  };
  using Post = std::variant<client::Call, Opened, Received, Writable, Lost>;

  void post(Post);
  void receive(std::uint64_t wire, std::span<const std::byte> frame);
  void wake();
  std::optional<Post> next_post();
  bool mail_waits() const;

  // ---- driver
  static constexpr std::chrono::milliseconds longest_wait{1000};
  void run() noexcept;
  bool on_driver() const { return driver_ == std::this_thread::get_id(); }
  PollResult drive(std::chrono::microseconds budget, std::chrono::milliseconds wait) noexcept;
  bool step(SteadyTime now) noexcept;
  void handle(Post, SteadyTime now);
  void opened(Result<std::shared_ptr<Connection>>, SteadyTime now);
  bool act(SteadyTime now);
  void gone(const Lost&, SteadyTime now);
  void cut(const Error& why);
  void log(std::string_view line);
  bool flush();
  bool leaving() const;  // close() was called and has not been seen to
  bool shut(SteadyTime now);
  void wait_for_mail(std::chrono::milliseconds);
  void publish_status();
  // What the host's code lets out is its own affair. False: it threw.
  template <class F>
  static bool guarded(F&& host_code) noexcept {
    try {
      host_code();
      return true;
    } catch (...) {
      return false;
    }
  }

  // client::Surroundings
  std::uint64_t random() override;
  std::optional<std::string> token() override;
  void finished(client::Call, Result<protocol::View>) override;
  void ready() override;

  ClientOptions options_;  // the dialer and the functions in it belong to the driver, but both wakes
  client::Inbox inbox_;

  // ---- everybody's
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Post> mail_;
  std::size_t mail_bytes_ = 0;  // of frames
  std::uint64_t overrun_ = 0;   // the connection that brought too many
  bool woken_ = false;          // whoever drives will look at the mail
  bool closing_ = false, closed_ = false, ending_ = false;
  const std::string instance_;
  std::uint64_t numbers_ = 0;  // given out to keys
  std::size_t queued_bytes_ = 0, unanswered_ = 0;
  ClientStatus status_;

  // ---- driver
  std::mutex driving_;
  std::atomic<std::thread::id> driver_{};
  client::Machine machine_;
  std::shared_ptr<Connection> connection_;
  std::uint64_t wire_ = 0;  // the connection's number
  unsigned steps_ = 0;
  bool paused_ = false, writable_ = true;
  bool stopped_ = false;       // the dialer
  std::vector<Frame> outbox_;  // not yet taken by the connection
  // Closed by us: held until they say that they are closed.
  std::vector<std::pair<std::uint64_t, std::shared_ptr<Connection>>> leaving_;
  std::thread thread_;
};

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
