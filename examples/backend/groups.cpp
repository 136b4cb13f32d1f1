#include "groups.h"

#include <algorithm>

using namespace chatcore;

namespace backend {
namespace {

constexpr std::int64_t most_members = 500;
constexpr std::string_view prefix = "group:";

bool is_group_id(std::string_view text) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  return !text.empty() && text.size() + prefix.size() <= ConversationId::max_size &&
         std::all_of(text.begin(), text.end(), fits);
}

}  // namespace

Result<ConversationId> conversation_of(std::string_view group) {
  if (!is_group_id(group)) {
    return {ErrorCode::invalid, "a group's id has 1 to 57 letters, digits, '-' and '_'"};
  }
  return ConversationId::make(std::string(prefix) + std::string(group));
}

Groups::Groups(const std::string& path) : database_(path) {
  database_.run(R"sql(
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS groups(
      id TEXT PRIMARY KEY, title TEXT NOT NULL, version INTEGER NOT NULL, told INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS group_members(
      in_group TEXT REFERENCES groups(id), user TEXT, role INTEGER NOT NULL, PRIMARY KEY(in_group, user)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS group_members_by_user ON group_members(user);
  )sql");
}

Status Groups::create(std::string_view group, std::string_view title, const UserId& owner) {
  if (const auto id = conversation_of(group); !id) return id.error();
  const std::lock_guard lock(mutex_);
  Transaction transaction(database_);
  Statement(database_, "INSERT INTO groups VALUES(?1, ?2, 1, 0) ON CONFLICT DO NOTHING").run(group, title);
  if (database_.changed() == 0) return {ErrorCode::conflict, "this id is taken"};
  Statement(database_, "INSERT INTO group_members VALUES(?1, ?2, ?3)")
      .run(group, owner.view(), static_cast<int>(Role::owner));
  transaction.commit();
  return {};
}

// Inside a transaction.
Status Groups::may_manage(std::string_view group, const UserId& by) {
  Statement found(database_, "SELECT role FROM group_members WHERE in_group = ?1 AND user = ?2");
  Rows role = found.query(group, by.view());
  if (!role.next()) return {ErrorCode::no_such_conversation, "no such group"};
  if (role.integer(0) != static_cast<int>(Role::owner)) return {ErrorCode::forbidden, "its owner manages the group"};
  return {};
}

Status Groups::add(std::string_view group, const UserId& by, const UserId& user) {
  const std::lock_guard lock(mutex_);
  Transaction transaction(database_);
  if (Status may = may_manage(group, by); !may) return may;
  Statement(database_, "INSERT INTO group_members VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING")
      .run(group, user.view(), static_cast<int>(Role::member));
  if (database_.changed() == 0) return {};
  Statement count(database_, "SELECT COUNT(*) FROM group_members WHERE in_group = ?1");
  if (Rows rows = count.query(group); rows.next() && rows.integer(0) > most_members) {
    return {ErrorCode::full_group, "a group has at most 500 members"};
  }
  Statement(database_, "UPDATE groups SET version = version + 1 WHERE id = ?1").run(group);
  transaction.commit();
  return {};
}

Status Groups::remove(std::string_view group, const UserId& by, const UserId& user) {
  const std::lock_guard lock(mutex_);
  Transaction transaction(database_);
  if (Status may = may_manage(group, by); !may) return may;
  if (user == by) return {ErrorCode::forbidden, "a group keeps its owner"};
  Statement(database_, "DELETE FROM group_members WHERE in_group = ?1 AND user = ?2").run(group, user.view());
  if (database_.changed() == 0) return {};
  Statement(database_, "UPDATE groups SET version = version + 1 WHERE id = ?1").run(group);
  transaction.commit();
  return {};
}

std::string Groups::title(std::string_view group) {
  const std::lock_guard lock(mutex_);
  Statement found(database_, "SELECT title FROM groups WHERE id = ?1");
  Rows rows = found.query(group);
  return rows.next() ? rows.text(0) : std::string();
}

std::vector<Member> Groups::members(std::string_view group) {
  std::vector<Member> members;
  const std::lock_guard lock(mutex_);
  Statement found(database_, "SELECT user, role FROM group_members WHERE in_group = ?1");
  for (Rows rows = found.query(group); rows.next();) {
    if (const auto user = UserId::make(rows.text(0))) members.push_back({*user, static_cast<Role>(rows.integer(1))});
  }
  return members;
}

std::vector<std::string> Groups::of(const UserId& user) {
  std::vector<std::string> groups;
  const std::lock_guard lock(mutex_);
  Statement found(database_, "SELECT in_group FROM group_members WHERE user = ?1 ORDER BY in_group");
  for (Rows rows = found.query(user.view()); rows.next();) groups.push_back(rows.text(0));
  return groups;
}

std::vector<std::string> Groups::untold() {
  std::vector<std::string> groups;
  const std::lock_guard lock(mutex_);
  Statement found(database_, "SELECT id FROM groups WHERE told < version");
  for (Rows rows = found.query(); rows.next();) groups.push_back(rows.text(0));
  return groups;
}

std::int64_t Groups::version(std::string_view group) {
  const std::lock_guard lock(mutex_);
  Statement found(database_, "SELECT version FROM groups WHERE id = ?1");
  Rows rows = found.query(group);
  return rows.next() ? rows.integer(0) : 0;
}

void Groups::told(std::string_view group, std::int64_t version) {
  const std::lock_guard lock(mutex_);
  Statement(database_, "UPDATE groups SET told = MAX(told, ?2) WHERE id = ?1").run(group, version);
}

}  // namespace backend
