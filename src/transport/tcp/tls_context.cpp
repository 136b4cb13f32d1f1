#include "transport/tcp/tls_context.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <boost/asio/ip/address.hpp>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace chatcore {
inline namespace v1 {
namespace tcp {
namespace {

// AEAD with forward secrecy, in the order a server prefers them: AES has hardware nearly everywhere.
constexpr const char* ciphers_of_tls12 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr const char* ciphers_of_tls13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* groups = "X25519:P-256:P-384";

template <auto free>
struct Free {
  template <class T>
  void operator()(T* what) const {
    free(what);
  }
};
using BioPtr = std::unique_ptr<BIO, Free<BIO_free>>;
using X509Ptr = std::unique_ptr<X509, Free<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

std::string last_reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason ? reason : "unknown reason";
}

BioPtr reader(const std::string& text) {
  BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (!bio) throw std::bad_alloc();
  return bio;
}

// Without it OpenSSL asks for a passphrase on the host's terminal.
int no_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

// The certificates of a PEM text, with whatever else is written between them.
Result<std::vector<X509Ptr>> certificates_in(const std::string& pem) {
  std::vector<X509Ptr> found;
  const BioPtr bio = reader(pem);
  bool asked = false;
  while (X509Ptr one{PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, &asked)}) found.push_back(std::move(one));
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
    return Error{ErrorCode::invalid, "certificate " + std::to_string(found.size() + 1) + ": " + last_reason(), {}};
  }
  ERR_clear_error();
  if (found.empty()) return Error{ErrorCode::invalid, "there is none in PEM", {}};
  return found;
}

SslContext new_context(const SSL_METHOD* method) {
  SslContext context(SSL_CTX_new(method), [](SSL_CTX* c) { SSL_CTX_free(c); });
  SSL_CTX* c = context.get();
  if (!c) throw std::bad_alloc();
  // Each of these overrides what the system's openssl.cnf says.
  const bool good = SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1 &&
                    SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) == 1 &&
                    SSL_CTX_set_cipher_list(c, ciphers_of_tls12) == 1 &&
                    SSL_CTX_set_ciphersuites(c, ciphers_of_tls13) == 1 && SSL_CTX_set1_groups_list(c, groups) == 1;
  if (!good) throw std::bad_alloc();
  SSL_CTX_set_security_level(c, 2);
  SSL_CTX_clear_options(c, SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
  SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  // Idle, a connection holds no buffer; reading ahead takes a record and the next ones' beginning in one call.
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(c, 1);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  return context;
}

SslContext make_client_context(const TlsClientOptions& options, std::string& problem) {
  SslContext context = new_context(TLS_client_method());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  X509_VERIFY_PARAM* check = SSL_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_hostflags(check, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (options.certificate_authority.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());
    return context;
  }
  auto authorities = certificates_in(options.certificate_authority);
  if (!authorities) {
    problem = "TlsClientOptions::certificate_authority: " + authorities.error().message;
    return nullptr;
  }
  // Who names one trusts it, be it a root or not.
  X509_VERIFY_PARAM_set_flags(check, X509_V_FLAG_PARTIAL_CHAIN);
  for (const X509Ptr& one : *authorities) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), one.get()) != 1) throw std::bad_alloc();
  }
  return context;
}

bool is_address(const std::string& name) {
  error_code error;
  asio::ip::make_address(name, error);
  return !error;
}

}  // namespace

Result<ClientTls> ClientTls::make(const TlsClientOptions& options, const std::string& dialled) {
  const ErrorQueue queue;
  std::string problem;
  SslContext context = make_client_context(options, problem);
  if (!context) return Error{ErrorCode::invalid, std::move(problem), {}};
  ClientTls tls(std::move(context), options.server_name.empty() ? dialled : options.server_name);
  if (!tls.connect()) {
    return Error{ErrorCode::invalid, "TlsClientOptions::server_name: '" + tls.name_ + "' is no name of a server", {}};
  }
  return tls;
}

SslPtr ClientTls::connect() const {
  const ErrorQueue queue;
  SslPtr ssl(SSL_new(context_.get()));
  if (!ssl) return nullptr;
  SSL_set_connect_state(ssl.get());
  const char* name = name_.c_str();
  bool good = false;
  if (is_address(name_)) {
    good = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name) == 1;
  } else {  // SNI is for names only
    good = !name_.empty() && SSL_set1_host(ssl.get(), name) == 1 && SSL_set_tlsext_host_name(ssl.get(), name) == 1;
  }
  return good ? std::move(ssl) : nullptr;
}

}  // namespace tcp

namespace detail {
namespace {

using namespace tcp;

Error wrong(std::string what) { return {ErrorCode::invalid, std::move(what), {}}; }

Result<KeyPtr> private_key_in(const std::string& pem) {
  bool asked = false;
  KeyPtr key(PEM_read_bio_PrivateKey(reader(pem).get(), nullptr, no_passphrase, &asked));
  if (key) return key;
  if (asked) return wrong("the private key has a passphrase: give it without one");
  if (pem.find("PRIVATE KEY-----") == std::string::npos) return wrong("there is no private key in PEM");
  return wrong("the private key: " + last_reason());
}

Result<SslContext> make_server_context(const std::string& chain_pem, const std::string& key_pem) {
  const ErrorQueue queue;
  auto chain = certificates_in(chain_pem);
  if (!chain) return wrong("the certificate chain: " + chain.error().message);
  auto key = private_key_in(key_pem);
  if (!key) return key.error();
  SslContext context = new_context(TLS_server_method());
  SSL_CTX* c = context.get();
  SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_TICKET);
  // No tickets: OpenSSL keeps one key for all of a process' life, who gets it reads what was resumed with TLS 1.2, and
  // each would cost memory and bytes. TLS 1.3 needs no more round trips without.
  SSL_CTX_set_num_tickets(c, 0);
  if (X509_check_private_key(chain->front().get(), key->get()) != 1) {
    return wrong("the private key does not belong to the first certificate of the chain");
  }
  if (SSL_CTX_use_certificate(c, chain->front().get()) != 1) return wrong("the certificate: " + last_reason());
  if (SSL_CTX_use_PrivateKey(c, key->get()) != 1) return wrong("the private key: " + last_reason());
  for (std::size_t i = 1; i < chain->size(); ++i) {
    if (SSL_CTX_add1_chain_cert(c, (*chain)[i].get()) != 1) {
      return wrong("certificate " + std::to_string(i + 1) + " of the chain: " + last_reason());
    }
  }
  return context;
}

}  // namespace

Result<std::shared_ptr<Certificates>> ServerTls::make(const std::string& chain, const std::string& key) {
  auto tls = std::make_shared<ServerTls>();
  if (const Status set = tls->replace(chain, key); !set) return set.error();
  return std::shared_ptr<Certificates>(new Certificates(std::move(tls)));
}

Status ServerTls::replace(const std::string& chain, const std::string& key) {
  auto made = make_server_context(chain, key);
  if (!made) return made.error();
  std::lock_guard lock(mutex_);
  context_.swap(*made);
  return {};
}

SslContext ServerTls::context() const {
  std::lock_guard lock(mutex_);
  return context_;
}

SslPtr ServerTls::accept() const {
  const ErrorQueue queue;
  SslPtr ssl(SSL_new(context().get()));
  if (ssl) SSL_set_accept_state(ssl.get());
  return ssl;
}

}  // namespace detail

Certificates::Certificates(std::shared_ptr<detail::ServerTls> tls) : tls_(std::move(tls)) {}
Certificates::~Certificates() = default;

namespace {

template <class Run>
auto without_exceptions(Run&& run) -> decltype(run()) {
  try {
    return run();
  } catch (...) {
    return Error{ErrorCode::overloaded, "out of memory", {}};
  }
}

}  // namespace

Result<std::shared_ptr<Certificates>> Certificates::make(std::string chain, std::string key) {
  return without_exceptions([&] { return detail::ServerTls::make(chain, key); });
}

Status Certificates::replace(std::string chain, std::string key) {
  return without_exceptions([&] { return tls_->replace(chain, key); });
}

}  // namespace v1
}  // namespace chatcore
