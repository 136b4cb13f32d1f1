#include "support/certificates.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <stdexcept>

namespace support {
namespace {

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

void must(bool good) {
  if (!good) throw std::runtime_error("OpenSSL makes no certificate");
}

KeyPtr make_key(int rsa_bits) {
  KeyPtr key(rsa_bits ? EVP_RSA_gen(static_cast<unsigned>(rsa_bits)) : EVP_EC_gen("P-256"));
  must(key != nullptr);
  return key;
}

std::string text_of(const BioPtr& bio) {
  char* at = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &at);
  return {at, static_cast<std::size_t>(size)};
}

std::string pem_of(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return text_of(bio);
}

std::string pem_of(EVP_PKEY* key, const EVP_CIPHER* cipher = nullptr, std::string passphrase = {}) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, cipher, passphrase.data(), static_cast<int>(passphrase.size()),
                                     nullptr, nullptr) == 1);
  return text_of(bio);
}

void add_extension(X509* to, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
  must(extension != nullptr && X509_add_ext(to, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

// issuer null: signs itself.
X509Ptr make_certificate(EVP_PKEY* key, const Issue& what, bool is_authority, X509* issuer, EVP_PKEY* signer) {
  X509Ptr made(X509_new());
  X509* c = made.get();
  must(c != nullptr && X509_set_version(c, 2) == 1);
  unsigned char serial[16];
  must(RAND_bytes(serial, sizeof serial) == 1);
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7f) | 0x40);
  BIGNUM* number = BN_bin2bn(serial, sizeof serial, nullptr);
  must(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(c)) != nullptr);
  BN_free(number);
  const auto seconds = [](std::chrono::hours hours) { return static_cast<long>(std::chrono::seconds(hours).count()); };
  must(X509_gmtime_adj(X509_getm_notBefore(c), seconds(what.valid_from)) != nullptr);
  must(X509_gmtime_adj(X509_getm_notAfter(c), seconds(what.valid_until)) != nullptr);
  must(X509_set_pubkey(c, key) == 1);
  const auto* name = reinterpret_cast<const unsigned char*>(what.common_name.c_str());
  must(X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_UTF8, name, -1, -1, 0) == 1);
  if (!issuer) issuer = c;
  must(X509_set_issuer_name(c, X509_get_subject_name(issuer)) == 1);
  add_extension(c, issuer, NID_subject_key_identifier, "hash");
  if (issuer != c) add_extension(c, issuer, NID_authority_key_identifier, "keyid");
  if (is_authority) {
    add_extension(c, issuer, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(c, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
  } else {
    add_extension(c, issuer, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(c, issuer, NID_key_usage, "critical,digitalSignature");
    add_extension(c, issuer, NID_ext_key_usage, "serverAuth");
    std::string names;
    for (const std::string& one : what.names) names += (names.empty() ? "DNS:" : ",DNS:") + one;
    for (const std::string& one : what.addresses) names += (names.empty() ? "IP:" : ",IP:") + one;
    if (!names.empty()) add_extension(c, issuer, NID_subject_alt_name, names);
  }
  must(X509_sign(c, signer, EVP_sha256()) != 0);
  return made;
}

}  // namespace

struct Authority::Keys {
  KeyPtr key = make_key(0);
  X509Ptr certificate =
      make_certificate(key.get(), {.common_name = "chatcore test authority"}, true, nullptr, key.get());
  std::string pem = pem_of(certificate.get());
};

Authority::Authority() : keys_(std::make_unique<Keys>()) {}
Authority::~Authority() = default;
const std::string& Authority::pem() const { return keys_->pem; }

Pair Authority::issue(const Issue& what) const {
  const KeyPtr key = make_key(what.rsa_bits);
  const X509Ptr made = make_certificate(key.get(), what, false, keys_->certificate.get(), keys_->key.get());
  return {pem_of(made.get()), pem_of(key.get())};
}

Pair Authority::issue_by_intermediate(const Issue& what) const {
  const KeyPtr between_key = make_key(0), key = make_key(what.rsa_bits);
  const X509Ptr between = make_certificate(between_key.get(), {.common_name = "chatcore test intermediate"}, true,
                                           keys_->certificate.get(), keys_->key.get());
  const X509Ptr made = make_certificate(key.get(), what, false, between.get(), between_key.get());
  return {pem_of(made.get()) + pem_of(between.get()), pem_of(key.get())};
}

std::string encrypted(const std::string& key_pem, const std::string& passphrase) {
  const BioPtr bio(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  must(key != nullptr);
  return pem_of(key.get(), EVP_aes_256_cbc(), passphrase);
}

}  // namespace support
