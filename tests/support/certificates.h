#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

// Certificates made for a test, EC P-256 where nothing else is said, by OpenSSL, as PEM. A failure ends the test's
// program with an exception: there is nothing to test then.

namespace support {

struct Pair {
  std::string chain{}, key{};
};

struct Issue {
  std::vector<std::string> names{"localhost"};      // DNS names, subject alternative
  std::vector<std::string> addresses{"127.0.0.1"};  // IP addresses, the same
  std::string common_name = "chatcore test";
  std::chrono::hours valid_from{-24}, valid_until{24 * 30};  // from now on
  int rsa_bits = 0;                                          // 0: EC P-256
};

// A certificate authority that exists for one test.
class Authority {
 public:
  Authority();
  ~Authority();
  const std::string& pem() const;  // what a client is to trust
  Pair issue(const Issue& = {}) const;
  Pair issue_by_intermediate(const Issue& = {}) const;  // the chain has two certificates

 private:
  struct Keys;
  std::unique_ptr<Keys> keys_;
};

std::string encrypted(const std::string& key_pem, const std::string& passphrase);

}  // namespace support
