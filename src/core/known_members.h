#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include <chatcore/ids.h>

#include "protocol/rows.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// Members' rows that were asked for lately, of a conversation whose members are not all held in memory. A row is known
// as it is durable, and as it was given out last where that is still on its way to the store.
class KnownMembers {
 public:
  bool has(const UserId& user) const { return known_.contains(user); }
  // Null: he is not and never was a member, or nothing is known of him.
  const protocol::MemberRow* durable(const UserId&) const;
  const protocol::MemberRow* assigned(const UserId&) const;
  std::uint64_t version(const UserId&) const;  // of the host's table that he was looked up in; 0: unknown

  void put(const UserId&, std::optional<protocol::MemberRow>, std::uint64_t version = 0);
  void assign(const UserId&, const protocol::MemberRow&);
  void committed(const UserId&, const protocol::MemberRow&);
  void clear();
  // Changes whenever something was forgotten: what was read before that may be old.
  std::uint64_t generation() const { return generation_; }
  std::vector<UserId> users() const;
  std::size_t size() const { return known_.size(); }

 private:
  struct Known {
    std::optional<protocol::MemberRow> durable{}, assigned{};
    unsigned on_the_way = 0;
    std::uint64_t version = 0;
  };
  void trim();

  std::unordered_map<UserId, Known> known_;
  std::uint64_t generation_ = 0;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
