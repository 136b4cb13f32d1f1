#include "auth/jwt/keys.h"

#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <utility>

namespace chatcore {
inline namespace v1 {
namespace jwt {
namespace {

constexpr std::size_t least_secret_bytes = 32;  // RFC 7518, 3.2: as long as the hash
constexpr int least_rsa_bits = 2048;            // RFC 7518, 3.3
constexpr std::size_t most_pem_bytes = 16 << 10;
constexpr std::size_t most_keys = 64;

struct Free {
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(EVP_PKEY_CTX* p) const { EVP_PKEY_CTX_free(p); }
  void operator()(EVP_MD_CTX* p) const { EVP_MD_CTX_free(p); }
  void operator()(jwt_t* p) const { jwt_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

// OpenSSL's list of errors belongs to the thread, so to the host: what is added to it here is taken off again.
struct KeepErrors {
  KeepErrors() { ERR_set_mark(); }
  ~KeepErrors() { ERR_pop_to_mark(); }
};

// libjwt takes the algorithm from the token, so it has been compared with the key's before.
bool libjwt_accepts(const std::string& token, const std::string& key, jwt_alg_t algorithm) {
  KeepErrors keep;
  jwt_t* decoded = nullptr;
  const auto* bytes = reinterpret_cast<const unsigned char*>(key.data());
  const int failed = jwt_decode(&decoded, token.c_str(), bytes, static_cast<int>(key.size()));
  const Owned<jwt_t> owned(failed == 0 ? decoded : nullptr);
  return owned && jwt_get_alg(owned.get()) == algorithm;
}

class Hs256 final : public Key {
 public:
  Hs256(std::string id, std::string secret) : Key(std::move(id), JwtAlgorithm::hs256), secret_(std::move(secret)) {}
  ~Hs256() override { OPENSSL_cleanse(secret_.data(), secret_.size()); }
  bool has_signed(const std::string& token, std::string_view, std::string_view) const override {
    return libjwt_accepts(token, secret_, JWT_ALG_HS256);
  }

 private:
  std::string secret_;
};

class Rs256 final : public Key {
 public:
  Rs256(std::string id, std::string pem) : Key(std::move(id), JwtAlgorithm::rs256), pem_(std::move(pem)) {}
  bool has_signed(const std::string& token, std::string_view, std::string_view) const override {
    return libjwt_accepts(token, pem_, JWT_ALG_RS256);
  }

 private:
  const std::string pem_;
};

// By OpenSSL: this libjwt has no EdDSA.
class Eddsa final : public Key {
 public:
  Eddsa(std::string id, Owned<EVP_PKEY> key) : Key(std::move(id), JwtAlgorithm::eddsa), key_(std::move(key)) {}
  bool has_signed(const std::string&, std::string_view signed_part, std::string_view signature) const override {
    KeepErrors keep;
    const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
    const auto bytes = [](std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); };
    return context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1 &&
           EVP_DigestVerify(context.get(), bytes(signature), signature.size(), bytes(signed_part),
                            signed_part.size()) == 1;
  }

 private:
  const Owned<EVP_PKEY> key_;
};

Error bad(const std::string& id, const std::string& what) {
  return {ErrorCode::invalid, "the key \"" + id + "\" " + what, {}};
}

Owned<EVP_PKEY> read_public_key(const std::string& pem) {
  const Owned<BIO> input(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!input) return nullptr;
  // Without this, OpenSSL would ask the terminal for the passphrase of an encrypted text.
  const auto no_passphrase = [](char*, int, int, void*) { return -1; };
  return Owned<EVP_PKEY>(PEM_read_bio_PUBKEY(input.get(), nullptr, no_passphrase, nullptr));
}

// As OpenSSL writes it: one key, and nothing around it that another reader could take for one.
std::string to_pem(EVP_PKEY* key) {
  const Owned<BIO> output(BIO_new(BIO_s_mem()));
  if (!output || PEM_write_bio_PUBKEY(output.get(), key) != 1) return {};
  char* data = nullptr;
  const long size = BIO_get_mem_data(output.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

bool is_sound(EVP_PKEY* key) {
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(key, nullptr));
  return context && EVP_PKEY_public_check(context.get()) == 1;
}

Result<std::unique_ptr<const Key>> make_hs256(JwtKey key) {
  if (key.key.size() < least_secret_bytes) {
    return bad(key.id, "has a secret of " + std::to_string(key.key.size()) + " bytes: HS256 needs 32 random ones");
  }
  if (key.key.size() > most_pem_bytes) return bad(key.id, "has a secret of more than 16 KiB");
  // What is public signs nothing: this is how a public key becomes a secret that everyone knows.
  if (key.key.find("-----BEGIN ") != key.key.npos) return bad(key.id, "has a PEM text as its HS256 secret");
  return std::unique_ptr<const Key>(std::make_unique<Hs256>(std::move(key.id), std::move(key.key)));
}

Result<std::unique_ptr<const Key>> make_public(JwtKey key) {
  KeepErrors keep;
  if (key.key.size() > most_pem_bytes) return bad(key.id, "is longer than 16 KiB");
  Owned<EVP_PKEY> read = read_public_key(key.key);
  if (!read) return bad(key.id, "is no public key in PEM (-----BEGIN PUBLIC KEY-----)");
  const bool is_rsa = key.algorithm == JwtAlgorithm::rs256;
  if (EVP_PKEY_get_base_id(read.get()) != (is_rsa ? EVP_PKEY_RSA : EVP_PKEY_ED25519)) {
    return bad(key.id, is_rsa ? "is no RSA key, which RS256 needs" : "is no Ed25519 key, which EdDSA needs");
  }
  if (is_rsa && EVP_PKEY_get_bits(read.get()) < least_rsa_bits) {
    return bad(key.id, "has " + std::to_string(EVP_PKEY_get_bits(read.get())) + " bits: RS256 needs 2048 or more");
  }
  if (!is_sound(read.get())) return bad(key.id, "is damaged: its numbers do not make a key");
  if (!is_rsa) return std::unique_ptr<const Key>(std::make_unique<Eddsa>(std::move(key.id), std::move(read)));
  std::string pem = to_pem(read.get());
  if (pem.empty()) return bad(key.id, "cannot be read: out of memory");
  return std::unique_ptr<const Key>(std::make_unique<Rs256>(std::move(key.id), std::move(pem)));
}

}  // namespace

std::string_view name_of(JwtAlgorithm algorithm) {
  switch (algorithm) {
    case JwtAlgorithm::hs256:
      return "HS256";
    case JwtAlgorithm::rs256:
      return "RS256";
    case JwtAlgorithm::eddsa:
      return "EdDSA";
  }
  return {};
}

Result<std::unique_ptr<const Key>> Key::make(JwtKey key) {
  if (name_of(key.algorithm).empty()) return bad(key.id, "has no algorithm: say hs256, rs256 or eddsa");
  return key.algorithm == JwtAlgorithm::hs256 ? make_hs256(std::move(key)) : make_public(std::move(key));
}

}  // namespace jwt

namespace detail {

Result<jwt::KeySet> JwtKeyring::check(std::vector<JwtKey> keys) {
  if (keys.empty()) return {ErrorCode::invalid, "no keys: nobody could log in"};
  if (keys.size() > jwt::most_keys) return {ErrorCode::invalid, "more than 64 keys: drop those that are not used"};
  jwt::KeySet set;
  for (JwtKey& each : keys) {
    for (const auto& other : set) {
      if (!each.id.empty() && other->id() == each.id) return jwt::bad(each.id, "is there twice: one key an id");
    }
    auto key = jwt::Key::make(std::move(each));
    if (!key) return key.error();
    set.push_back(std::move(*key));
  }
  return set;
}

}  // namespace detail

JwtKeys::JwtKeys(std::unique_ptr<detail::JwtKeyring> keyring) : keyring_(std::move(keyring)) {}
JwtKeys::~JwtKeys() = default;

Result<std::shared_ptr<JwtKeys>> JwtKeys::make(std::vector<JwtKey> keys) {
  auto set = detail::JwtKeyring::check(std::move(keys));
  if (!set) return set.error();
  return std::shared_ptr<JwtKeys>(new JwtKeys(std::make_unique<detail::JwtKeyring>(std::move(*set))));
}

Status JwtKeys::replace(std::vector<JwtKey> keys) {
  auto set = detail::JwtKeyring::check(std::move(keys));
  if (!set) return set.error();
  keyring_->replace(std::move(*set));
  return {};
}

}  // namespace v1
}  // namespace chatcore
