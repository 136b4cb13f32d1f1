#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>

#include "transport/raw_socket.h"

namespace fakes {

// A TLS client that is no library of ours but OpenSSL bare, on memory: a test sees each byte that goes over the socket.
class TlsSocket {
 public:
  explicit TlsSocket(int least = TLS1_2_VERSION, int most = TLS1_3_VERSION) {
    context_.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_security_level(context_.get(), 0);  // it would do what is weak, if it were let
    SSL_CTX_set_min_proto_version(context_.get(), least);
    SSL_CTX_set_max_proto_version(context_.get(), most);
    SSL_CTX_set_options(context_.get(), SSL_OP_LEGACY_SERVER_CONNECT);
    begin();
  }
  explicit TlsSocket(std::uint16_t port) : TlsSocket() { connect(port); }

  // Cipher names of OpenSSL's for TLS 1.2, before the handshake. False: OpenSSL itself has none of them.
  bool ciphers(const char* list) {
    const bool good = SSL_CTX_set_cipher_list(context_.get(), list) == 1;
    begin();
    return good;
  }

  bool connect(std::uint16_t port) { return raw.connect(port); }

  // A step of the handshake. True: it is done. See has_failed().
  bool shake() {
    if (SSL_is_init_finished(ssl_.get())) return true;
    feed();
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    raw.send(take());
    if (result != 1 && SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_READ) fail();
    if (result != 1 && !is_open_) fail();
    return result == 1;
  }
  bool has_failed() const { return has_failed_; }
  const std::string& why() const { return why_; }  // it failed, in OpenSSL's words

  // What would go over the socket.
  std::string encrypt(std::string_view bytes) {
    SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
    return take();
  }
  bool send(std::string_view bytes) { return raw.send(encrypt(bytes)); }

  // As RawSocket's. False: the other side has closed, in whatever way; heard_end() tells them apart.
  bool receive(std::string& to) {
    const bool open = feed();
    char buffer[16 << 10];
    ERR_clear_error();
    int count = 0;
    while ((count = SSL_read(ssl_.get(), buffer, sizeof buffer)) > 0)
      to.append(buffer, static_cast<std::size_t>(count));
    const int error = SSL_get_error(ssl_.get(), count);
    if (error == SSL_ERROR_SSL) fail();
    raw.send(take());
    return open && error == SSL_ERROR_WANT_READ;
  }
  bool heard_end() const { return (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0; }
  bool was_reset() const { return raw.was_reset(); }
  void say_end() {
    SSL_shutdown(ssl_.get());
    raw.send(take());
  }
  void close() { raw.close(); }  // without a word

  SSL* ssl() { return ssl_.get(); }
  std::string cipher() const { return SSL_get_cipher_name(ssl_.get()); }
  std::string common_name() const {
    const std::unique_ptr<X509, decltype(&X509_free)> shown(SSL_get1_peer_certificate(ssl_.get()), &X509_free);
    char name[100] = "";
    if (shown) X509_NAME_get_text_by_NID(X509_get_subject_name(shown.get()), NID_commonName, name, sizeof name);
    return name;
  }
  // What OpenSSL wants to say.
  std::string take() {
    std::string out(BIO_ctrl_pending(out_), '\0');
    if (!out.empty()) BIO_read(out_, out.data(), static_cast<int>(out.size()));
    return out;
  }

  RawSocket raw{};

 private:
  void begin() {
    ssl_.reset(SSL_new(context_.get()));
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_connect_state(ssl_.get());
  }
  bool feed() {
    std::string cipher;
    is_open_ = raw.receive(cipher) && is_open_;
    if (!cipher.empty()) BIO_write(in_, cipher.data(), static_cast<int>(cipher.size()));
    return is_open_ || !cipher.empty();
  }
  void fail() {
    if (has_failed_) return;
    has_failed_ = true;
    const char* reason = ERR_reason_error_string(ERR_peek_error());
    why_ = reason ? reason : "closed";
  }

  struct Free {
    void operator()(SSL_CTX* c) const { SSL_CTX_free(c); }
    void operator()(SSL* s) const { SSL_free(s); }
  };
  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> ssl_;
  BIO *in_ = nullptr, *out_ = nullptr;  // the SSL's
  bool is_open_ = true, has_failed_ = false;
  std::string why_{};
};

}  // namespace fakes
