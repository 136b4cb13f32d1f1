#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include <chatcore/ids.h>

namespace chatcore {
inline namespace v1 {
namespace core {

// What the host said has changed in its own table of members, by version. What was asked at a version holds as long as
// nothing that concerns it has changed since.
//
// `mutex` is held shared while a seq is given out or a push leaves on the strength of what was asked, and alone while a
// change is noted: so when Engine::membership_changed returns, nothing of the old table is under way any more.
class MembershipChanges {
 public:
  mutable std::shared_mutex mutex;

  void note(const ConversationId&);
  void note(const UserId&);
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }

  // With the mutex. Whether something concerns that conversation, or that user, since a version.
  bool since(std::uint64_t version, const ConversationId&) const;
  bool since(std::uint64_t version, const ConversationId&, const UserId&) const;
  // The users named since a version; empty: too many, ask for everything.
  std::optional<std::vector<UserId>> users_since(std::uint64_t version) const;

 private:
  void forget();

  std::atomic<std::uint64_t> version_{1};
  std::uint64_t floor_ = 0, users_floor_ = 0;  // before these everything counts as changed
  std::unordered_map<ConversationId, std::uint64_t> conversations_;
  std::unordered_map<UserId, std::uint64_t> users_;
  std::deque<std::pair<std::uint64_t, UserId>> log_;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
