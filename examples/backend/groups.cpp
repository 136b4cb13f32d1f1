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

std::string group_of(const ConversationId& conversation) {
  return std::string(conversation.view().substr(prefix.size()));
}

class Table final : public Membership {
 public:
  Table(Groups& groups, Worker& worker) : groups_(groups), worker_(worker) {}

  bool owns(const ConversationId& conversation) const override { return conversation.view().starts_with(prefix); }

  void members(const ConversationId& conversation, Done<std::vector<Member>> done) override {
    worker_.answer(std::move(done), [this, group = group_of(conversation)] { return groups_.members(group); });
  }
  void role(const ConversationId& conversation, const UserId& user, Done<std::optional<Role>> done) override {
    worker_.answer(std::move(done), [this, group = group_of(conversation), user] { return groups_.role(group, user); });
  }
  void conversations(const UserId& user, Done<std::vector<ConversationId>> done) override {
    worker_.answer(std::move(done), [this, user] {
      std::vector<ConversationId> conversations;
      for (const std::string& group : groups_.of(user)) {
        if (auto conversation = conversation_of(group)) conversations.push_back(*std::move(conversation));
      }
      return conversations;
    });
  }

 private:
  Groups& groups_;
  Worker& worker_;
};

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
    CREATE TABLE IF NOT EXISTS groups(id TEXT PRIMARY KEY, title TEXT NOT NULL) STRICT, WITHOUT ROWID;
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
  Statement(database_, "INSERT INTO groups VALUES(?1, ?2) ON CONFLICT DO NOTHING").run(group, title);
  if (database_.changed() == 0) {
    Statement same(database_,
                   "SELECT 1 FROM groups JOIN group_members ON in_group = id "
                   "WHERE id = ?1 AND title = ?2 AND user = ?3 AND role = ?4");
    if (same.query(group, title, owner.view(), static_cast<int>(Role::owner)).next()) return {};
    return {ErrorCode::conflict, "this id is taken"};
  }
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
  transaction.commit();
  return {};
}

Status Groups::remove(std::string_view group, const UserId& by, const UserId& user) {
  const std::lock_guard lock(mutex_);
  Transaction transaction(database_);
  if (Status may = may_manage(group, by); !may) return may;
  if (user == by) return {ErrorCode::forbidden, "a group keeps its owner"};
  Statement(database_, "DELETE FROM group_members WHERE in_group = ?1 AND user = ?2").run(group, user.view());
  transaction.commit();
  return {};
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

std::optional<Role> Groups::role(std::string_view group, const UserId& user) {
  const std::lock_guard lock(mutex_);
  Statement found(database_, "SELECT role FROM group_members WHERE in_group = ?1 AND user = ?2");
  Rows rows = found.query(group, user.view());
  if (!rows.next()) return std::nullopt;
  return static_cast<Role>(rows.integer(0));
}

std::vector<std::string> Groups::of(const UserId& user) {
  std::vector<std::string> groups;
  const std::lock_guard lock(mutex_);
  Statement found(database_, "SELECT in_group FROM group_members WHERE user = ?1 ORDER BY in_group");
  for (Rows rows = found.query(user.view()); rows.next();) groups.push_back(rows.text(0));
  return groups;
}

std::unique_ptr<Membership> Groups::membership() { return std::make_unique<Table>(*this, worker_); }

}  // namespace backend
