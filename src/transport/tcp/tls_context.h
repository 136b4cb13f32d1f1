#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <mutex>
#include <string>

#include <chatcore/transport.h>

#include "transport/tcp/tls_stream.h"

namespace chatcore {
inline namespace v1 {

namespace tcp {

using SslContext = std::shared_ptr<SSL_CTX>;

// What a client checks servers with.
class ClientTls {
 public:
  // Errors: `invalid`, where the authority is none.
  static Result<ClientTls> make(const TlsClientOptions&, const std::string& dialled);
  SslPtr connect() const;  // null: no memory

 private:
  ClientTls(SslContext context, std::string name) : context_(std::move(context)), name_(std::move(name)) {}

  SslContext context_;
  std::string name_;
};

}  // namespace tcp

namespace detail {

// A Certificates' pair of the moment, in the form that handshakes take it. A pair has a context of its own, which its
// connections share, so that a new pair touches none of them.
class ServerTls {
 public:
  static Result<std::shared_ptr<Certificates>> make(const std::string& chain, const std::string& key);
  static const ServerTls& of(const Certificates& certificates) { return *certificates.tls_; }

  Status replace(const std::string& chain, const std::string& key);
  tcp::SslPtr accept() const;  // null: no memory

 private:
  tcp::SslContext context() const;

  mutable std::mutex mutex_;  // guards what follows
  tcp::SslContext context_{};
};

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
