#pragma once

#include <chatcore/membership.h>
#include <chatcore/result.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sqlite.h"
#include "worker.h"

namespace backend {

// Who is in which group: the service's own tables, and the truth, which the chat asks as well. A group has one owner,
// who manages it. Safe from any thread; everything but membership() blocks. SqliteError where the database fails.
class Groups {
 public:
  explicit Groups(const std::string& path);

  // Once more with the same title and owner changes nothing.
  // `invalid`: an id has 1 to 57 letters, digits, '-' and '_'. conflict: the id is taken.
  chatcore::Status create(std::string_view group, std::string_view title, const chatcore::UserId& owner);
  // no_such_conversation: no such group, or `by` is no member. forbidden: `by` is not its owner. full_group: it has
  // 500. Adding who is a member, or removing who is none, changes nothing. Nobody removes the owner.
  chatcore::Status add(std::string_view group, const chatcore::UserId& by, const chatcore::UserId& user);
  chatcore::Status remove(std::string_view group, const chatcore::UserId& by, const chatcore::UserId& user);

  std::vector<chatcore::Member> members(std::string_view group);
  std::optional<chatcore::Role> role(std::string_view group, const chatcore::UserId& user);
  std::vector<std::string> of(const chatcore::UserId& user);

  // These tables for the engine, which asks them on its own threads: answered from a thread of this one, which has to
  // live longer than the engine. After each change the engine has to be told so (Engine::membership_changed).
  std::unique_ptr<chatcore::Membership> membership();

 private:
  chatcore::Status may_manage(std::string_view group, const chatcore::UserId& by);

  std::mutex mutex_;  // of the connection
  Database database_;
  Worker worker_;  // last: it uses everything above
};

// The conversation of a group.
chatcore::Result<chatcore::ConversationId> conversation_of(std::string_view group);

}  // namespace backend
