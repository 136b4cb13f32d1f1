#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <chatcore/auth.h>

namespace chatcore {
inline namespace v1 {
namespace jwt {

std::string_view name_of(JwtAlgorithm);  // as `alg` says it

// A key that was found good, ready to check tokens with. Any thread.
class Key {
 public:
  static Result<std::unique_ptr<const Key>> make(JwtKey);
  virtual ~Key() = default;

  const std::string& id() const { return id_; }
  JwtAlgorithm algorithm() const { return algorithm_; }
  // Whether it made `signature` for `signed_part`, which is what stands before the last dot of `token`.
  virtual bool has_signed(const std::string& token, std::string_view signed_part, std::string_view signature) const = 0;

 protected:
  Key(std::string id, JwtAlgorithm algorithm) : id_(std::move(id)), algorithm_(algorithm) {}

 private:
  const std::string id_;
  const JwtAlgorithm algorithm_;
};

using KeySet = std::vector<std::unique_ptr<const Key>>;

}  // namespace jwt

namespace detail {

// The set that counts now. Who checks a token keeps the one he began with.
class JwtKeyring {
 public:
  explicit JwtKeyring(jwt::KeySet keys) { replace(std::move(keys)); }
  static Result<jwt::KeySet> check(std::vector<JwtKey>);

  std::shared_ptr<const jwt::KeySet> current() const {
    std::lock_guard lock(mutex_);
    return keys_;
  }
  void replace(jwt::KeySet keys) {
    auto next = std::make_shared<const jwt::KeySet>(std::move(keys));
    std::lock_guard lock(mutex_);
    keys_.swap(next);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const jwt::KeySet> keys_{};
};

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
