#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/ip/tcp.hpp>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "transport/tcp/loop.h"

namespace chatcore {
inline namespace v1 {
namespace tcp {

using asio::ip::tcp;

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using SslPtr = std::unique_ptr<SSL, SslFree>;

// OpenSSL's errors lie in a queue of the thread, which the host may use as well: we leave none, and mistake none.
struct ErrorQueue {
  ErrorQueue() { ERR_clear_error(); }
  ErrorQueue(const ErrorQueue&) = delete;
  ErrorQueue& operator=(const ErrorQueue&) = delete;
  ~ErrorQueue() { ERR_clear_error(); }
};

// TLS on a socket that does not block. What the socket does not take at once is kept here, encrypted, until flush():
// so reading and the handshake never wait for the socket to take something, and a write is never half done. Whoever
// writes stops while has_unsent(); it is then at most one record, and what the handshake or an alert adds.
//
// One call at a time. The socket outlives it.
class TlsStream {
 public:
  TlsStream(SslPtr, tcp::socket&);
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  // would_block: once the socket is readable, again. Any other error is final; explain() has more to say of it.
  error_code handshake();
  // At most a record of what came. eof: the peer said that this is the end (close_notify); stream_truncated: it did
  // not.
  std::size_t read(std::span<std::byte> to, error_code&);
  // Takes all of up to record_bytes, or fails for good.
  error_code write(std::span<const std::byte>);
  bool has_unsent() const { return !unsent_.empty(); }
  error_code flush();
  // There may be more to read though the socket is not readable.
  bool has_pending() const { return !is_drained_ && SSL_has_pending(ssl_.get()) == 1; }
  // Says that nothing more will be written, where that can still be said.
  void say_end();

  std::string explain(const error_code&) const;

  static constexpr std::size_t record_bytes = SSL3_RT_MAX_PLAIN_LENGTH;

 private:
  static const BIO_METHOD* method();
  static TlsStream& of(BIO* bio) { return *static_cast<TlsStream*>(BIO_get_data(bio)); }
  int take(std::span<const std::byte>) noexcept;
  int give(std::span<std::byte>) noexcept;
  error_code outcome(int result);
  static void watch(const SSL*, int where, int value);

  tcp::socket& socket_;
  std::vector<std::byte> unsent_{};
  error_code socket_error_{};  // final
  bool is_drained_ = false;    // what OpenSSL holds is less than a record
  bool is_broken_ = false;     // TLS can say nothing more
  bool asks_anew_ = false;     // the peer wants to renegotiate
  SslPtr ssl_;                 // last: uses the rest
};

}  // namespace tcp
}  // namespace v1
}  // namespace chatcore
