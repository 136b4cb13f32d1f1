#pragma once

#include <chatcore/event.h>
#include <chatcore/ids.h>

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sqlite.h"

namespace backend {

// Who is in which group: the service's own tables, and the truth. A group has one owner, who manages it.
// Safe from any thread; everything blocks. SqliteError where the database fails.
class Groups {
 public:
  explicit Groups(const std::string& path);

  // `invalid`: an id has 1 to 57 letters, digits, '-' and '_'. conflict: the id is taken.
  chatcore::Status create(std::string_view group, std::string_view title, const chatcore::UserId& owner);
  // no_such_conversation: no such group, or `by` is no member. forbidden: `by` is not its owner. full_group: it has
  // 500. Adding who is a member, or removing who is none, changes nothing. Nobody removes the owner.
  chatcore::Status add(std::string_view group, const chatcore::UserId& by, const chatcore::UserId& user);
  chatcore::Status remove(std::string_view group, const chatcore::UserId& by, const chatcore::UserId& user);

  std::string title(std::string_view group);
  std::vector<chatcore::Member> members(std::string_view group);
  std::vector<std::string> of(const chatcore::UserId& user);

  // ---- what the chat has not been told yet. `version` counts a group's changes.
  std::vector<std::string> untold();
  std::int64_t version(std::string_view group);
  void told(std::string_view group, std::int64_t version);

 private:
  chatcore::Status may_manage(std::string_view group, const chatcore::UserId& by);

  std::mutex mutex_;
  Database database_;
};

// The conversation of a group.
chatcore::Result<chatcore::ConversationId> conversation_of(std::string_view group);

}  // namespace backend
