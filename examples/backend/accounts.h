#pragma once

#include <chatcore/auth.h>

#include <mutex>
#include <string>
#include <string_view>

#include "sqlite.h"
#include "worker.h"

namespace backend {

// Users with passwords, and the tokens that they log in with: two tables of the service's own. Passwords are kept as
// scrypt hashes (RFC 7914), tokens as SHA-256: who reads the database can't log in with what he finds.
// Safe from any thread; everything but verify_later() blocks. SqliteError where the database fails.
class Accounts {
 public:
  explicit Accounts(const std::string& path);

  // `invalid`: no name that a user can have, or a password under 8 bytes. conflict: the name is taken.
  chatcore::Status sign_up(std::string_view user, std::string_view password);
  // A new token, for 30 days. unauthenticated: no such user, or another password; it takes as long for both.
  chatcore::Result<std::string> log_in(std::string_view user, std::string_view password);
  // Whose token that is, until when. unauthenticated: nobody's, or it has expired.
  chatcore::Result<chatcore::Identity> identity_of(std::string_view token);
  bool has(const chatcore::UserId&);

  // identity_of(), answered from a thread of this one. overloaded: a thousand are waiting.
  void verify_later(std::string token, chatcore::Done<chatcore::Identity>);

 private:
  std::mutex mutex_;  // of the connection
  Database database_;
  Worker worker_;  // last: it uses everything above
};

}  // namespace backend
