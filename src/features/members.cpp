#include <algorithm>
#include <map>
#include <set>

#include "core/store.h"
#include "features/common.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

using Members = std::map<UserId, protocol::MemberRow>;

protocol::MemberRow row_of(const core::Draft& draft, const UserId& user) {
  const protocol::MemberRow* row = draft.member(user);
  return row ? *row : protocol::MemberRow{.former = true};
}

void put(core::Draft& draft, const Members& changed, MembersChanged what) {
  std::vector<core::Participant> rows;
  for (const auto& [user, row] : changed) rows.push_back({user, row});
  draft.members(std::move(rows));
  draft.message(std::move(what));
}

// How many members, and owners, there are with these rows in place.
struct Count {
  std::size_t members = 0, owners = 0;
};
Count count_with(const core::Draft& draft, const Members& changed) {
  Count count{draft.state().members, draft.state().owners};
  const auto weigh = [](const protocol::MemberRow* row) {
    return Count{row && !row->former ? 1u : 0u, row && !row->former && row->role == Role::owner ? 1u : 0u};
  };
  for (const auto& [user, row] : changed) {
    const Count before = weigh(draft.member(user)), after = weigh(&row);
    count.members = count.members + after.members - before.members;
    count.owners = count.owners + after.owners - before.owners;
  }
  return count;
}

// Where the last owner goes: the longest-standing member of the highest role takes his place. Where members are not
// held in memory nobody can be looked for: he has to name one first.
Status succeed(const core::Draft& draft, Members& changed, MembersChanged& what) {
  if (count_with(draft, changed).owners > 0) return {};
  if (draft.state().on_read) {
    if (draft.by().who.trusted || draft.state().owners == 0) return {};
    return Error{ErrorCode::forbidden, "the last owner can't go: name another owner first (SetRole)", {}};
  }
  const auto rank = [](const protocol::MemberRow& row) { return std::pair(row.role, ~row.since); };
  const core::Participant* heir = nullptr;
  for (const core::Participant& each : draft.state().roster->all()) {
    if (!each.active() || changed.contains(each.user)) continue;
    if (!heir || rank(each.row) > rank(heir->row)) heir = &each;
  }
  if (!heir) return {};
  changed[heir->user] = heir->row;
  changed[heir->user].role = Role::owner;
  what.roles.push_back({heir->user, Role::owner});
  return {};
}

Status check_count(const core::Draft& draft, const Members& changed) {
  const std::size_t most = draft.core().limits.group_members;
  if (draft.state().kind == ConversationKind::channel || count_with(draft, changed).members <= most) return {};
  return Error{ErrorCode::full_group, "the group has room for " + std::to_string(most) + " members", {}};
}

}  // namespace

Status check_add(Core& core, const Caller&, AddMembers& request) {
  if (request.members.size() > core.limits.group_members) {
    return Error{ErrorCode::full_group, "members: at most " + std::to_string(core.limits.group_members), {}};
  }
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  for (const Member& member : request.members) {
    if (member.user.empty()) return Error{ErrorCode::invalid, "members: a user id is empty", {}};
    if (member.role < Role::reader || member.role > Role::owner) {
      return Error{ErrorCode::invalid, "members: a role is 1 to 4", {}};
    }
  }
  return check_key(request.key);
}

void add_members(Shard& shard, Call<AddMembers> call) {
  auto attempt = attempt_of(shard, call);
  for (const Member& member : call.request.members) attempt.about.push_back(member.user);
  shard.conversations()
      .get(call.request.conversation)
      ->change(std::move(attempt), [added = std::move(call.request.members)](core::Draft& draft) -> Status {
        if (Status stored = require_stored_members(draft); !stored) return stored;
        if (Status may = require(draft, Role::admin); !may) return may;
        Members changed;
        MembersChanged what;
        for (const Member& member : added) {
          if (member.role > role_of(draft)) {
            return Error{ErrorCode::forbidden, "nobody gives a role above his own", {}};
          }
          protocol::MemberRow row = row_of(draft, member.user);
          if (!row.former || changed.contains(member.user)) continue;
          row.role = member.role;
          core::open_interval(row, *draft.state().settings, draft.next());
          changed[member.user] = std::move(row);
          what.joined.push_back(member.user);
          if (member.role != Role::member) what.roles.push_back(member);
        }
        if (what.joined.empty()) return {};
        if (Status room = check_count(draft, changed); !room) return room;
        put(draft, changed, std::move(what));
        return {};
      });
}

Status check_remove(Core& core, const Caller&, RemoveMembers& request) {
  if (request.users.size() > core.limits.group_members) {
    return Error{ErrorCode::invalid, "users: at most " + std::to_string(core.limits.group_members), {}};
  }
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  for (const UserId& user : request.users) {
    if (user.empty()) return Error{ErrorCode::invalid, "users: a user id is empty", {}};
  }
  return check_key(request.key);
}

void remove_members(Shard& shard, Call<RemoveMembers> call) {
  auto attempt = attempt_of(shard, call);
  attempt.about = call.request.users;
  shard.conversations()
      .get(call.request.conversation)
      ->change(std::move(attempt), [users = std::move(call.request.users)](core::Draft& draft) -> Status {
        if (Status stored = require_stored_members(draft); !stored) return stored;
        if (Status may = require(draft, Role::admin); !may) return may;
        Members changed;
        MembersChanged what;
        for (const UserId& user : std::set<UserId>(users.begin(), users.end())) {
          protocol::MemberRow row = row_of(draft, user);
          if (row.former) continue;
          if (role_of(draft) != Role::owner && row.role >= role_of(draft)) {
            return Error{ErrorCode::forbidden, "this needs a role above that of who is removed", {}};
          }
          core::close_interval(row, draft.next());
          changed[user] = std::move(row);
          what.left.push_back(user);
        }
        if (what.left.empty()) return {};
        if (Status may = succeed(draft, changed, what); !may) return may;
        put(draft, changed, std::move(what));
        return {};
      });
}

Status check_join(Core&, const Caller& by, Join& request) {
  if (Status ok = check_user(by); !ok) return ok;
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  return check_key(request.key);
}

void join(Shard& shard, Call<Join> call) {
  auto attempt = attempt_of(shard, call, core::Attempt::From::anyone);
  shard.conversations().get(call.request.conversation)->change(std::move(attempt), [](core::Draft& draft) -> Status {
    const UserId& user = draft.by().who.user;
    const core::State& state = draft.state();
    const protocol::MemberRow* was = draft.member(user);
    if (was) {
      if (Status stored = require_stored_members(draft); !stored) return stored;
      if (!was->former) return {};
    }
    const bool of_many = state.kind == ConversationKind::group || state.kind == ConversationKind::channel;
    const bool open = state.exists && of_many && !draft.hosted() && (state.settings->open || draft.by().who.trusted);
    if (!open && was) return Error{ErrorCode::forbidden, "this group is not open: ask an admin", {}};
    if (!open) {
      return Error{ErrorCode::no_such_conversation, "there is no such conversation, or you are not in it", {}};
    }
    // Leaving does not make a reader more, and who joins a channel reads.
    const bool reads = was ? was->role == Role::reader : state.kind == ConversationKind::channel;
    Members changed;
    protocol::MemberRow& row = changed[user] = row_of(draft, user);
    row.role = reads ? Role::reader : Role::member;
    core::open_interval(row, *state.settings, draft.next());
    if (Status room = check_count(draft, changed); !room) return room;
    MembersChanged what{.joined = {user}};
    if (reads) what.roles.push_back({user, Role::reader});
    put(draft, changed, std::move(what));
    return {};
  });
}

Status check_leave(Core&, const Caller& by, Leave& request) {
  if (Status ok = check_user(by); !ok) return ok;
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  return check_key(request.key);
}

void leave(Shard& shard, Call<Leave> call) {
  auto attempt = attempt_of(shard, call);
  shard.conversations().get(call.request.conversation)->change(std::move(attempt), [](core::Draft& draft) -> Status {
    if (Status stored = require_stored_members(draft); !stored) return stored;
    const UserId& user = draft.by().who.user;
    protocol::MemberRow row = row_of(draft, user);
    if (row.former) return {};  // the host, of one who is no member
    core::close_interval(row, draft.next());
    Members changed{{user, std::move(row)}};
    MembersChanged what{.left = {user}};
    if (Status may = succeed(draft, changed, what); !may) return may;
    put(draft, changed, std::move(what));
    return {};
  });
}

Status check_role(Core&, const Caller&, SetRole& request) {
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  if (request.user.empty()) return Error{ErrorCode::invalid, "user: empty", {}};
  if (request.role < Role::reader || request.role > Role::owner) {
    return Error{ErrorCode::invalid, "role: 1 to 4", {}};
  }
  return check_key(request.key);
}

void set_role(Shard& shard, Call<SetRole> call) {
  auto attempt = attempt_of(shard, call);
  attempt.about = {call.request.user};
  shard.conversations()
      .get(call.request.conversation)
      ->change(std::move(attempt), [user = call.request.user, role = call.request.role](core::Draft& draft) -> Status {
        if (Status stored = require_stored_members(draft); !stored) return stored;
        if (Status may = require(draft, Role::owner); !may) return may;
        protocol::MemberRow row = row_of(draft, user);
        if (row.former) return Error{ErrorCode::invalid, "user: no member", {}};
        if (row.role == role) return {};
        const bool was_owner = row.role == Role::owner;
        row.role = role;
        const Members changed{{user, std::move(row)}};
        if (was_owner && count_with(draft, changed).owners == 0) {
          return Error{ErrorCode::forbidden, "he is the last owner: name another one first", {}};
        }
        put(draft, changed, {.roles = {{user, role}}});
        return {};
      });
}

Status check_list_members(Core& core, const Caller&, ListMembers& request) {
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  return check_limit(core.limits, request.limit);
}

namespace {

MembersPage page_of(const core::Roster& roster, const ListMembers& request) {
  MembersPage page{.total = roster.count()};
  auto at = std::upper_bound(roster.all().begin(), roster.all().end(), request.after,
                             [](const UserId& user, const core::Participant& m) { return user < m.user; });
  for (; at != roster.all().end(); ++at) {
    if (!at->active()) continue;
    if (page.members.size() == request.limit) {
      page.next = page.members.back().user;
      break;
    }
    page.members.push_back({at->user, at->row.role});
  }
  return page;
}

// Of a conversation that does not hold them in memory.
Result<MembersPage> stored_page(Storage& storage, const std::string& partition, const ListMembers& request,
                                std::uint32_t total) {
  MembersPage page{.total = total};
  std::string after = request.after.string();
  for (;;) {
    auto rows = storage.rows(partition, Table::members, after, {.rows = request.limit + 1, .bytes = 1 << 20});
    if (!rows) return rows.error();
    for (const chatcore::Row& row : rows->rows) {
      auto user = UserId::make(row.key);
      auto member = protocol::decode_row<protocol::MemberRow>(*row.value);
      if (!user || !member) return Error{ErrorCode::corruption, "a member's row is damaged"};
      if (member->former) continue;
      if (page.members.size() == request.limit) {
        page.next = page.members.back().user;
        return page;
      }
      page.members.push_back({*user, member->role});
    }
    if (rows->next.empty()) return page;
    after = std::move(rows->next);
  }
}

}  // namespace

void list_members(Shard& shard, Call<ListMembers> call) {
  auto conversation = shard.conversations().get(call.request.conversation);
  const Identity who = call.by.who;
  conversation->read_as(who, [&shard, conversation, call = std::move(call)](Result<core::Standing> standing) mutable {
    if (!standing) return call.reply(standing.error());
    if (!standing->active) {
      return call.reply(Error{ErrorCode::forbidden, "you are no longer in this conversation", {}});
    }
    const core::State& state = conversation->durable();
    if (state.roster) return call.reply(page_of(*state.roster, call.request));
    if (conversation->hosted()) {
      return call.reply(Error{ErrorCode::too_large, "the members are the host's own, and too many to be listed", {}});
    }
    shard.core().store->read(
        shard,
        [partition = "c:" + conversation->id().string(), request = call.request,
         total = state.members](Storage& storage) { return stored_page(storage, partition, request, total); },
        [call = std::move(call)](Result<MembersPage> page) mutable { call.reply(std::move(page)); });
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
