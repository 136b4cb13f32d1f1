#include "transport/tcp/tls_stream.h"

#include <openssl/x509.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/error.hpp>
#include <utility>

namespace chatcore {
inline namespace v1 {
namespace tcp {
namespace {

// Beyond it a peer makes us answer and reads nothing.
constexpr std::size_t most_unsent = 256 << 10;

}  // namespace

// OpenSSL's own BIO for sockets writes without MSG_NOSIGNAL. Made once, never changed, never freed: streams of static
// lifetime may be the last to use it.
const BIO_METHOD* TlsStream::method() {
  static const BIO_METHOD* const made = [] {
    BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "chatcore socket");
    if (!method) return method;
    BIO_meth_set_write(method, [](BIO* bio, const char* data, int size) {
      return of(bio).take(std::as_bytes(std::span(data, static_cast<std::size_t>(size))));
    });
    BIO_meth_set_read(method, [](BIO* bio, char* to, int size) {
      BIO_clear_retry_flags(bio);
      const int count = of(bio).give(std::as_writable_bytes(std::span(to, static_cast<std::size_t>(size))));
      if (count < 0 && !of(bio).socket_error_) BIO_set_retry_read(bio);
      return count;
    });
    BIO_meth_set_ctrl(method, [](BIO* bio, int command, long, void*) -> long {
      if (command == BIO_CTRL_EOF) return of(bio).socket_error_ == asio::error::eof ? 1 : 0;
      return command == BIO_CTRL_FLUSH ? 1 : 0;
    });
    return method;
  }();
  return made;
}

TlsStream::TlsStream(SslPtr ssl, tcp::socket& socket) : socket_(socket), ssl_(std::move(ssl)) {
  BIO* bio = method() ? BIO_new(method()) : nullptr;
  if (!bio || !ssl_) {
    BIO_free(bio);
    throw std::bad_alloc();
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_info_callback(ssl_.get(), &watch);
}

// A refused renegotiation costs the peer nothing and us a record; who asks for one is no client of ours.
void TlsStream::watch(const SSL* ssl, int where, int value) {
  if (where != SSL_CB_WRITE_ALERT || (value & 0xff) != SSL_AD_NO_RENEGOTIATION) return;
  static_cast<TlsStream*>(SSL_get_app_data(ssl))->asks_anew_ = true;
}

// ---- the socket's side, called by OpenSSL

int TlsStream::take(std::span<const std::byte> bytes) noexcept {
  try {
    std::size_t sent = 0;
    if (unsent_.empty()) {
      error_code error;
      sent = socket_.write_some(asio::buffer(bytes.data(), bytes.size()), error);
      if (error && !would_block(error)) {
        socket_error_ = error;
        return -1;
      }
    }
    if (unsent_.size() + bytes.size() - sent > most_unsent) {
      socket_error_ = asio::error::no_buffer_space;
      return -1;
    }
    unsent_.insert(unsent_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(sent), bytes.end());
    return static_cast<int>(bytes.size());
  } catch (...) {
    socket_error_ = asio::error::no_memory;
    return -1;
  }
}

int TlsStream::give(std::span<std::byte> to) noexcept {
  error_code error;
  const std::size_t count = socket_.read_some(asio::buffer(to.data(), to.size()), error);
  if (!error) return static_cast<int>(count);
  if (would_block(error)) return -1;
  socket_error_ = error;
  return error == asio::error::eof ? 0 : -1;
}

// ---- our side

error_code TlsStream::handshake() {
  const ErrorQueue queue;
  const error_code error = outcome(SSL_do_handshake(ssl_.get()));
  is_drained_ = would_block(error);
  return error;
}

std::size_t TlsStream::read(std::span<std::byte> to, error_code& error) {
  const ErrorQueue queue;
  std::size_t count = 0;
  error = outcome(SSL_read_ex(ssl_.get(), to.data(), to.size(), &count));
  is_drained_ = would_block(error);
  if (asks_anew_) error = asio::error::operation_not_supported;
  return error ? 0 : count;
}

error_code TlsStream::write(std::span<const std::byte> bytes) {
  const ErrorQueue queue;
  std::size_t count = 0;
  return outcome(SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &count));
}

error_code TlsStream::flush() {
  error_code error;
  if (unsent_.empty()) return error;
  std::size_t sent = 0;
  while (sent < unsent_.size() && !error) {
    sent += socket_.write_some(asio::buffer(unsent_.data() + sent, unsent_.size() - sent), error);
  }
  if (sent == unsent_.size()) {
    std::exchange(unsent_, {});  // its memory too: few connections need it
  } else {
    unsent_.erase(unsent_.begin(), unsent_.begin() + static_cast<std::ptrdiff_t>(sent));
  }
  return error;
}

void TlsStream::say_end() {
  const ErrorQueue queue;
  const bool was_said = (SSL_get_shutdown(ssl_.get()) & SSL_SENT_SHUTDOWN) != 0;  // it would wait for the other's
  if (!is_broken_ && !was_said && SSL_is_init_finished(ssl_.get())) SSL_shutdown(ssl_.get());
}

error_code TlsStream::outcome(int result) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_NONE:
      return {};
    case SSL_ERROR_WANT_READ:
      return asio::error::would_block;
    case SSL_ERROR_ZERO_RETURN:
      return asio::error::eof;
    default:
      break;
  }
  is_broken_ = true;
  if (socket_error_ == asio::error::eof) return asio::ssl::error::stream_truncated;
  if (socket_error_) return socket_error_;
  return {static_cast<int>(ERR_get_error()), asio::error::get_ssl_category()};
}

std::string TlsStream::explain(const error_code& error) const {
  const long verified = SSL_get_verify_result(ssl_.get());
  if (verified != X509_V_OK) {
    return std::string("the server's certificate is not accepted: ") + X509_verify_cert_error_string(verified);
  }
  if (error == asio::ssl::error::stream_truncated) return "the connection was cut, without TLS's own end";
  if (asks_anew_) return "TLS: renegotiation is not supported";
  if (error.category() == asio::error::get_ssl_category()) return "TLS: " + error.message();
  return error.message();
}

}  // namespace tcp
}  // namespace v1
}  // namespace chatcore
