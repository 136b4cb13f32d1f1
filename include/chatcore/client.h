#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include <chatcore/engine.h>
#include <chatcore/event.h>
#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/options.h>
#include <chatcore/requests.h>
#include <chatcore/transport.h>

namespace chatcore {
inline namespace v1 {

namespace detail {
class ClientCore;
}

struct ClientOptions {
  Endpoint server{};                   // for TCP, where no dialer is given
  Function<std::string()> token{};     // asked for at each login; on the client's thread
  std::string device{};                // names this device to the server; empty: none
  std::optional<Checkpoint> resume{};  // from Client::checkpoint() of an earlier run
  Function<void()> on_ready{};         // when take() has something; on the client's thread, must not block
  std::size_t queue_bytes = 4 << 20;   // of requests not yet answered; more are `overloaded`
  std::size_t inbox_bytes = 4 << 20;   // of pushes not yet taken; beyond it nothing more is read
  unsigned threads = 1;                // 1, or 0: the caller polls
  std::unique_ptr<Dialer> dialer{};    // unset: TCP to `server`
  Runtime runtime{};
  std::chrono::milliseconds backoff_first{100};  // before the first reconnect; doubles, with jitter
  std::chrono::milliseconds backoff_most{10'000};
  // Set: TLS, where no dialer is given. `.tls = TlsClientOptions{}` trusts the system's certificate authorities and
  // expects the name in `server`. A server that is not accepted is one that is not there: status().last_error says why.
  std::optional<TlsClientOptions> tls{};
};

struct ClientStatus {
  bool connected = false;    // logged in
  std::size_t unanswered{};  // requests
  Error last_error{};        // why it is not connected
  UserId user{};             // as the server knows us, once logged in
};

// A session of a server elsewhere, in the shape of a Session. It connects, logs in, and stays so: it comes back after
// every cut, resumes where it was, and sends again what was not answered, in order, with the same keys.
//
// A request that changes something is given a key where it has none, and is repeated until it is answered for good; a
// request that only reads is repeated too. Pushes come exactly once and in order for each conversation: repeats are
// dropped, and what follows a hole is held back until the hole is filled. What this client did itself is not pushed
// to it. A movable handle; destroying it closes it. Safe from any thread, but poll(): one at a time.
class CHATCORE_API Client {
 public:
  // Does not wait for the connection. `invalid`: neither server nor dialer, or no token function.
  static Result<Client> open(ClientOptions);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // As Session::call. `overloaded` where the queue is full, `stopped` after close(), `unauthenticated` where the
  // server refuses the login (every request under way gets it).
  template <Request R>
  void call(R request, Done<typename R::Reply> done = {});

  std::optional<Push> take(std::chrono::milliseconds wait = {});
  PollResult poll(std::chrono::microseconds budget) noexcept;  // threads = 0

  // Covers what was taken; larger than the server's, as it says what was seen of each conversation since.
  Checkpoint checkpoint() const;
  ClientStatus status() const;
  void close();

 private:
  explicit Client(std::shared_ptr<detail::ClientCore>);
  std::shared_ptr<detail::ClientCore> core_;
};

}  // namespace v1
}  // namespace chatcore
