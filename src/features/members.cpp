#include <algorithm>
#include <map>
#include <set>

#include "features/common.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

using Members = std::map<UserId, protocol::MemberRow>;
constexpr std::size_t most_intervals = 64;  // who comes and goes more often no longer sees his oldest stay

Members members_of(const core::Draft& draft) {
  Members members;
  for (const core::Membership& m : draft.state().roster->all()) members.emplace(m.user, m.row);
  return members;
}

void put(core::Draft& draft, const Members& members, MembersChanged what) {
  std::vector<core::Membership> all;
  for (const auto& [user, row] : members) all.push_back({user, row});
  std::vector<UserId> changed = what.joined;
  changed.insert(changed.end(), what.left.begin(), what.left.end());
  for (const Member& member : what.roles) {
    if (std::find(changed.begin(), changed.end(), member.user) == changed.end()) changed.push_back(member.user);
  }
  draft.roster(std::move(all), std::move(changed));
  draft.message(std::move(what));
}

// A new interval, from where the settings let a newcomer see; what it touches of older ones becomes one with it.
void open_interval(protocol::MemberRow& row, const ConversationSettings& settings, Seq joins) {
  Seq from = joins;
  if (settings.newcomers_see == NewcomersSee::all) from = 1;
  if (settings.newcomers_see == NewcomersSee::last)
    from = joins > settings.newcomers_last ? joins - settings.newcomers_last : 1;
  while (!row.intervals.empty() && row.intervals.back().to + 1 >= from) {
    from = std::min(from, row.intervals.back().from);
    row.intervals.pop_back();
  }
  if (row.intervals.size() >= most_intervals) row.intervals.erase(row.intervals.begin());
  row.intervals.push_back({from, 0});
  row.former = false;
  row.since = joins;
}

void close_interval(protocol::MemberRow& row, Seq last) {
  row.former = true;
  if (!row.intervals.empty()) row.intervals.back().to = last;
}

bool any_owner(const Members& members) {
  return std::any_of(members.begin(), members.end(),
                     [](const auto& m) { return !m.second.former && m.second.role == Role::owner; });
}

// Where the last owner has gone: the longest-standing member of the highest role takes his place.
void succeed(Members& members, MembersChanged& what) {
  if (any_owner(members)) return;
  auto heir = members.end();
  for (auto m = members.begin(); m != members.end(); ++m) {
    if (m->second.former) continue;
    const auto rank = [](const auto& member) { return std::pair(member.second.role, ~member.second.since); };
    if (heir == members.end() || rank(*m) > rank(*heir)) heir = m;
  }
  if (heir == members.end()) return;
  heir->second.role = Role::owner;
  what.roles.push_back({heir->first, Role::owner});
}

std::size_t count(const Members& members) {
  return static_cast<std::size_t>(
      std::count_if(members.begin(), members.end(), [](const auto& m) { return !m.second.former; }));
}

Status check_count(const core::Draft& draft, const Members& members) {
  const std::size_t most = draft.core().limits.group_members;
  if (count(members) <= most) return {};
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
  auto attempt = attempt_of(call);
  shard.conversations()
      .get(call.request.conversation)
      ->change(std::move(attempt), [added = std::move(call.request.members)](core::Draft& draft) -> Status {
        if (Status group = require_group(draft); !group) return group;
        if (Status may = require(draft, Role::admin); !may) return may;
        Members members = members_of(draft);
        MembersChanged what;
        for (const Member& member : added) {
          if (member.role > role_of(draft)) {
            return Error{ErrorCode::forbidden, "nobody gives a role above his own", {}};
          }
          const auto [at, is_new] = members.try_emplace(member.user);
          if (!is_new && !at->second.former) continue;
          at->second.role = member.role;
          open_interval(at->second, *draft.state().settings, draft.next());
          what.joined.push_back(member.user);
          if (member.role != Role::member) what.roles.push_back(member);
        }
        if (what.joined.empty()) return {};
        if (Status room = check_count(draft, members); !room) return room;
        put(draft, members, std::move(what));
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
  auto attempt = attempt_of(call);
  shard.conversations()
      .get(call.request.conversation)
      ->change(std::move(attempt), [users = std::move(call.request.users)](core::Draft& draft) -> Status {
        if (Status group = require_group(draft); !group) return group;
        if (Status may = require(draft, Role::admin); !may) return may;
        Members members = members_of(draft);
        MembersChanged what;
        for (const UserId& user : std::set<UserId>(users.begin(), users.end())) {
          const auto at = members.find(user);
          if (at == members.end() || at->second.former) continue;
          if (role_of(draft) != Role::owner && at->second.role >= role_of(draft)) {
            return Error{ErrorCode::forbidden, "this needs a role above that of who is removed", {}};
          }
          close_interval(at->second, draft.next());
          what.left.push_back(user);
        }
        if (what.left.empty()) return {};
        succeed(members, what);
        put(draft, members, std::move(what));
        return {};
      });
}

Status check_join(Core&, const Caller& by, Join& request) {
  if (Status ok = check_user(by); !ok) return ok;
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  return check_key(request.key);
}

void join(Shard& shard, Call<Join> call) {
  auto attempt = attempt_of(call, core::Attempt::From::anyone);
  shard.conversations().get(call.request.conversation)->change(std::move(attempt), [](core::Draft& draft) -> Status {
    const UserId& user = draft.by().who.user;
    const core::State& state = draft.state();
    const core::Membership* was = state.exists ? state.roster->find(user) : nullptr;
    if (was && state.kind != ConversationKind::group) return require_group(draft);
    const bool open =
        state.exists && state.kind == ConversationKind::group && (state.settings->open || draft.by().who.trusted);
    if (was && was->active()) return {};
    if (!open && was) return Error{ErrorCode::forbidden, "this group is not open: ask an admin", {}};
    if (!open) {
      return Error{ErrorCode::no_such_conversation, "there is no such conversation, or you are not in it", {}};
    }
    Members members = members_of(draft);
    const bool was_reader = was && was->row.role == Role::reader;  // leaving does not make a reader more
    members[user].role = was_reader ? Role::reader : Role::member;
    open_interval(members[user], *state.settings, draft.next());
    if (Status room = check_count(draft, members); !room) return room;
    put(draft, members, {.joined = {user}});
    return {};
  });
}

Status check_leave(Core&, const Caller& by, Leave& request) {
  if (Status ok = check_user(by); !ok) return ok;
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  return check_key(request.key);
}

void leave(Shard& shard, Call<Leave> call) {
  auto attempt = attempt_of(call);
  shard.conversations().get(call.request.conversation)->change(std::move(attempt), [](core::Draft& draft) -> Status {
    if (Status group = require_group(draft); !group) return group;
    Members members = members_of(draft);
    const auto at = members.find(draft.by().who.user);
    if (at == members.end() || at->second.former) return {};  // the host, of one who is no member
    close_interval(at->second, draft.next());
    MembersChanged what{.left = {draft.by().who.user}};
    succeed(members, what);
    put(draft, members, std::move(what));
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
  auto attempt = attempt_of(call);
  shard.conversations()
      .get(call.request.conversation)
      ->change(std::move(attempt), [user = call.request.user, role = call.request.role](core::Draft& draft) -> Status {
        if (Status group = require_group(draft); !group) return group;
        if (Status may = require(draft, Role::owner); !may) return may;
        Members members = members_of(draft);
        const auto at = members.find(user);
        if (at == members.end() || at->second.former) return Error{ErrorCode::invalid, "user: no member", {}};
        if (at->second.role == role) return {};
        at->second.role = role;
        if (!any_owner(members)) return Error{ErrorCode::forbidden, "he is the last owner: name another one first", {}};
        put(draft, members, {.roles = {{user, role}}});
        return {};
      });
}

Status check_list_members(Core& core, const Caller&, ListMembers& request) {
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  return check_limit(core.limits, request.limit);
}

void list_members(Shard& shard, Call<ListMembers> call) {
  auto conversation = shard.conversations().get(call.request.conversation);
  conversation->when_ready([conversation, call = std::move(call)](Status ready) mutable {
    if (!ready) return call.reply(ready.error());
    if (auto visible = conversation->visible_to(call.by.who); !visible) return call.reply(visible.error());
    const core::Roster& roster = *conversation->durable().roster;
    const core::Membership* self = roster.find(call.by.who.user);
    if (!call.by.who.trusted && !self->active()) {
      return call.reply(Error{ErrorCode::forbidden, "you are no longer in this conversation", {}});
    }
    MembersPage page{.total = roster.count()};
    auto at = std::upper_bound(roster.all().begin(), roster.all().end(), call.request.after,
                               [](const UserId& user, const core::Membership& m) { return user < m.user; });
    for (; at != roster.all().end(); ++at) {
      if (!at->active()) continue;
      if (page.members.size() == call.request.limit) {
        page.next = page.members.back().user;
        break;
      }
      page.members.push_back({at->user, at->row.role});
    }
    call.reply(std::move(page));
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
