#include "core/membership_changes.h"

#include <algorithm>

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {
constexpr std::size_t most_remembered = 16'384;
constexpr std::size_t most_logged = 1024;
}  // namespace

void MembershipChanges::note(const ConversationId& id) {
  std::unique_lock lock(mutex);
  forget();
  conversations_[id] = version_.load() + 1;
  version_.fetch_add(1, std::memory_order_release);
}

void MembershipChanges::note(const UserId& user) {
  std::unique_lock lock(mutex);
  forget();
  const std::uint64_t version = version_.load() + 1;
  users_[user] = version;
  log_.emplace_back(version, user);
  if (log_.size() > most_logged) {
    users_floor_ = log_.front().first;
    log_.pop_front();
  }
  version_.store(version, std::memory_order_release);
}

void MembershipChanges::forget() {
  if (conversations_.size() + users_.size() < most_remembered) return;
  conversations_.clear();
  users_.clear();
  log_.clear();
  floor_ = users_floor_ = version_.load() + 1;
  version_.store(floor_, std::memory_order_release);
}

bool MembershipChanges::since(std::uint64_t version, const ConversationId& id) const {
  if (version < floor_) return true;
  const auto at = conversations_.find(id);
  return at != conversations_.end() && at->second > version;
}

bool MembershipChanges::since(std::uint64_t version, const ConversationId& id, const UserId& user) const {
  if (version == version_.load(std::memory_order_relaxed)) return false;
  if (since(version, id)) return true;
  const auto at = users_.find(user);
  return at != users_.end() && at->second > version;
}

std::optional<std::vector<UserId>> MembershipChanges::users_since(std::uint64_t version) const {
  if (version < users_floor_) return std::nullopt;
  std::vector<UserId> users;
  for (auto at = log_.rbegin(); at != log_.rend() && at->first > version; ++at) {
    if (std::find(users.begin(), users.end(), at->second) == users.end()) users.push_back(at->second);
  }
  return users;
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
