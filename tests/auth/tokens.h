#pragma once

#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <memory>
#include <string>
#include <string_view>

#include <chatcore/auth.h>

// An issuer of tokens, written against OpenSSL alone, so that it can also make what no library would.

namespace tokens {

using namespace chatcore;

inline std::string base64url(std::string_view bytes) {
  static constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  std::uint32_t held = 0;
  unsigned bits = 0;
  for (const char c : bytes) {
    held = held << 8 | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6; bits -= 6) out.push_back(alphabet[held >> (bits - 6) & 63]);
  }
  if (bits > 0) out.push_back(alphabet[held << (6 - bits) & 63]);
  return out;
}

inline const unsigned char* octets(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// A pair of keys, made for the test.
class Pair {
 public:
  static Pair rsa(unsigned bits) { return Pair(EVP_RSA_gen(bits)); }
  static Pair ed25519() { return Pair(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")); }
  static Pair p256() { return Pair(EVP_EC_gen("P-256")); }

  std::string public_pem() const { return pem(PEM_write_bio_PUBKEY, key_.get()); }
  std::string private_pem() const {
    return pem(
        [](BIO* to, EVP_PKEY* key) { return PEM_write_bio_PrivateKey(to, key, nullptr, nullptr, 0, nullptr, nullptr); },
        key_.get());
  }
  std::string encrypted_pem() const {
    return pem(
        [](BIO* to, EVP_PKEY* key) {
          return PEM_write_bio_PKCS8PrivateKey(to, key, EVP_aes_128_cbc(), "secret", 6, nullptr, nullptr);
        },
        key_.get());
  }
  std::string sign(std::string_view text) const {
    const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    const EVP_MD* hash = EVP_PKEY_get_base_id(key_.get()) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
    REQUIRE(EVP_DigestSignInit(context.get(), nullptr, hash, nullptr, key_.get()) == 1);
    std::size_t size = 0;
    REQUIRE(EVP_DigestSign(context.get(), nullptr, &size, octets(text), text.size()) == 1);
    std::string signature(size, '\0');
    REQUIRE(EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, octets(text),
                           text.size()) == 1);
    signature.resize(size);
    return signature;
  }

 private:
  explicit Pair(EVP_PKEY* key) : key_(key, EVP_PKEY_free) { REQUIRE(key_); }
  template <class Write>
  static std::string pem(Write write, EVP_PKEY* key) {
    const std::unique_ptr<BIO, int (*)(BIO*)> out(BIO_new(BIO_s_mem()), BIO_free);
    REQUIRE(write(out.get(), key) == 1);
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    return std::string(text, static_cast<std::size_t>(size));
  }
  std::shared_ptr<EVP_PKEY> key_;
};

inline std::string hmac(std::string_view secret, std::string_view text) {
  unsigned char out[32];
  unsigned size = 0;
  REQUIRE(HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), octets(text), text.size(), out, &size));
  return std::string(reinterpret_cast<const char*>(out), size);
}

inline std::string unsigned_part(std::string_view header, std::string_view claims) {
  return base64url(header) + "." + base64url(claims);
}
inline std::string by_secret(std::string_view secret, std::string_view claims,
                             std::string_view header = R"({"alg":"HS256"})") {
  const std::string part = unsigned_part(header, claims);
  return part + "." + base64url(hmac(secret, part));
}
inline std::string by_pair(const Pair& pair, std::string_view header, std::string_view claims) {
  const std::string part = unsigned_part(header, claims);
  return part + "." + base64url(pair.sign(part));
}

}  // namespace tokens
