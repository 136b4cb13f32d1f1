#include "accounts.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>
#include <chrono>
#include <stdexcept>

using namespace chatcore;

namespace backend {
namespace {

constexpr std::size_t shortest_password = 8, longest_password = 1024;
constexpr std::chrono::hours token_life{30 * 24};

using Hash = std::array<unsigned char, 32>;

std::span<const std::byte> as_blob(std::span<const unsigned char> bytes) { return std::as_bytes(bytes); }

template <std::size_t N>
std::array<unsigned char, N> random_bytes() {
  std::array<unsigned char, N> bytes;
  if (RAND_bytes(bytes.data(), static_cast<int>(N)) != 1) throw std::runtime_error("there are no random numbers");
  return bytes;
}

// N = 2^15, r = 8, p = 3: 32 MiB and some 0.2 s, for each guess as well.
Hash hash_password(std::string_view password, std::span<const unsigned char> salt) {
  Hash hash;
  if (EVP_PBE_scrypt(password.data(), password.size(), salt.data(), salt.size(), 1 << 15, 8, 3, 64 << 20, hash.data(),
                     hash.size()) != 1) {
    throw std::runtime_error("scrypt failed");
  }
  return hash;
}

Hash hash_token(std::string_view token) {
  Hash hash;
  if (EVP_Digest(token.data(), token.size(), hash.data(), nullptr, EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error("SHA-256 failed");
  }
  return hash;
}

std::string hex(std::span<const unsigned char> bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) text.append({digits[byte >> 4], digits[byte & 15]});
  return text;
}

TimePoint now() { return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now()); }

}  // namespace

Accounts::Accounts(const std::string& path) : database_(path) {
  database_.run(R"sql(
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS users(
      name TEXT PRIMARY KEY, salt BLOB NOT NULL, password BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS tokens(
      token BLOB PRIMARY KEY, user TEXT NOT NULL REFERENCES users(name), expires INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS tokens_by_time ON tokens(expires);
  )sql");
}

Status Accounts::sign_up(std::string_view user, std::string_view password) {
  if (const auto id = UserId::make(user); !id) return id.error();
  if (password.size() < shortest_password || password.size() > longest_password) {
    return {ErrorCode::invalid, "a password has 8 to 1024 bytes"};
  }
  const auto salt = random_bytes<16>();
  const Hash hash = hash_password(password, salt);  // outside the lock: it takes long on purpose
  const std::lock_guard lock(mutex_);
  Statement(database_, "INSERT INTO users VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING")
      .run(user, as_blob(salt), as_blob(hash));
  if (database_.changed() == 0) return {ErrorCode::conflict, "this name is taken"};
  return {};
}

Result<std::string> Accounts::log_in(std::string_view user, std::string_view password) {
  std::vector<std::byte> salt(16), stored;
  {
    const std::lock_guard lock(mutex_);
    Statement found(database_, "SELECT salt, password FROM users WHERE name = ?1");
    if (Rows rows = found.query(user); rows.next()) {
      salt = rows.bytes(0);
      stored = rows.bytes(1);
    }
  }
  if (password.size() > longest_password) password = {};
  const Hash hash = hash_password(password, {reinterpret_cast<const unsigned char*>(salt.data()), salt.size()});
  if (stored.size() != hash.size() || CRYPTO_memcmp(stored.data(), hash.data(), hash.size()) != 0) {
    return {ErrorCode::unauthenticated, "no such user, or another password"};
  }
  std::string token = hex(random_bytes<32>());
  const std::lock_guard lock(mutex_);
  Statement(database_, "DELETE FROM tokens WHERE expires < ?1").run(now().time_since_epoch().count());
  Statement(database_, "INSERT INTO tokens VALUES(?1, ?2, ?3)")
      .run(as_blob(hash_token(token)), user, (now() + token_life).time_since_epoch().count());
  return token;
}

Result<Identity> Accounts::identity_of(std::string_view token) {
  const Hash hash = hash_token(token);
  const std::lock_guard lock(mutex_);
  Statement found(database_, "SELECT user, expires FROM tokens WHERE token = ?1 AND expires > ?2");
  Rows rows = found.query(as_blob(hash), now().time_since_epoch().count());
  if (!rows.next()) return {ErrorCode::unauthenticated, "no such token: log in again"};
  const auto user = UserId::make(rows.text(0));
  if (!user) return user.error();
  return Identity{.user = *user, .expires = TimePoint(std::chrono::milliseconds(rows.integer(1)))};
}

bool Accounts::has(const UserId& user) {
  const std::lock_guard lock(mutex_);
  Statement found(database_, "SELECT 1 FROM users WHERE name = ?1");
  return found.query(user.view()).next();
}

void Accounts::verify_later(std::string token, Done<Identity> done) {
  worker_.answer(std::move(done), [this, token = std::move(token)] { return identity_of(token); });
}

}  // namespace backend
