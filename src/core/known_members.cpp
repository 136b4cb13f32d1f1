#include "core/known_members.h"

#include <utility>

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {
constexpr std::size_t most = 4096;
}

const protocol::MemberRow* KnownMembers::durable(const UserId& user) const {
  const auto at = known_.find(user);
  return at != known_.end() && at->second.durable ? &*at->second.durable : nullptr;
}

const protocol::MemberRow* KnownMembers::assigned(const UserId& user) const {
  const auto at = known_.find(user);
  if (at == known_.end()) return nullptr;
  const auto& row = at->second.on_the_way != 0 ? at->second.assigned : at->second.durable;
  return row ? &*row : nullptr;
}

std::uint64_t KnownMembers::version(const UserId& user) const {
  const auto at = known_.find(user);
  return at == known_.end() ? 0 : at->second.version;
}

void KnownMembers::put(const UserId& user, std::optional<protocol::MemberRow> row, std::uint64_t version) {
  trim();
  Known& known = known_[user];
  known.durable = std::move(row);
  known.version = version;
}

void KnownMembers::assign(const UserId& user, const protocol::MemberRow& row) {
  trim();
  Known& known = known_[user];
  known.assigned = row;
  ++known.on_the_way;
}

void KnownMembers::committed(const UserId& user, const protocol::MemberRow& row) {
  const auto at = known_.find(user);
  if (at == known_.end()) return;
  at->second.durable = row;
  if (at->second.on_the_way > 0 && --at->second.on_the_way == 0) at->second.assigned.reset();
}

void KnownMembers::clear() {
  known_.clear();
  ++generation_;
}

std::vector<UserId> KnownMembers::users() const {
  std::vector<UserId> users;
  users.reserve(known_.size());
  for (const auto& [user, known] : known_) users.push_back(user);
  return users;
}

void KnownMembers::trim() {
  if (known_.size() < most) return;
  std::erase_if(known_, [](const auto& entry) { return entry.second.on_the_way == 0; });
  ++generation_;
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
