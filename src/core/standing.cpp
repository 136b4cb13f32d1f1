#include <algorithm>
#include <array>
#include <iterator>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "core/ask_host.h"
#include "core/go_on.h"
#include "core/hub.h"
#include "core/shard.h"
#include "core/store.h"

// Who is in a conversation. Stored members are all in memory where it is fanned out on write; on read, those that
// somebody asked for. The host's own are asked for, and kept as long as he does not say that they changed.

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {

constexpr unsigned most_rounds = 16;      // a table that changes faster than it is read
constexpr std::size_t most_asked = 1024;  // who are asked for at once
constexpr std::size_t most_patched = 32;  // users looked up one by one; more: the whole list again

Error no_such_conversation() {
  return {ErrorCode::no_such_conversation, "there is no such conversation, or you are not in it", {}};
}

}  // namespace

const protocol::MemberRow* Conversation::row_of(const State& state, const UserId& user) const {
  if (state.on_read) return &state == &durable_ ? known_.durable(user) : known_.assigned(user);
  const Participant* found = state.roster ? state.roster->find(user) : nullptr;
  return found ? &found->row : nullptr;
}

Result<Standing> Conversation::standing(const Identity& who) const {
  if (!durable_.exists) return no_such_conversation();
  if (who.trusted) return Standing{.trusted = true, .active = true, .role = Role::owner, .intervals = {{1, 0}}};
  const protocol::MemberRow* row = row_of(durable_, who.user);
  if (!row || row->intervals.empty()) return no_such_conversation();
  return Standing{.active = !row->former, .role = row->role, .intervals = row->intervals};
}

void Conversation::read_as(const Identity& who, Function<void(Result<Standing>)> then) {
  read_as(who, 0, std::move(then));
}

void Conversation::read_as(const Identity& who, unsigned round, Function<void(Result<Standing>)> then) {
  if (phase_ != Phase::ready) {
    return when_ready([self = shared_from_this(), who, round, then = std::move(then)](Status ready) mutable {
      ready ? self->read_as(who, round, std::move(then)) : then(ready.error());
    });
  }
  last_used_ = shard_.core().now();
  const std::array users{who.user};
  if (who.trusted || !durable_.exists || knows(users)) return then(standing(who));
  if (round == most_rounds) {
    return then(Error{ErrorCode::overloaded, "the table of members changes faster than it can be read: retry", {}});
  }
  learn({who.user}, [self = shared_from_this(), who, round, then = std::move(then)](Status learnt) mutable {
    learnt ? self->read_as(who, round + 1, std::move(then)) : then(learnt.error());
  });
}

// A step of an attempt: what is known of those whom it looks at holds now.
void Conversation::know(Attempt attempt, Apply apply) {
  std::vector<UserId> users = attempt.about;
  users.push_back(attempt.by.who.user);
  for (UserId& user : moved()) users.push_back(std::move(user));
  const bool to_be_asked = assigned_.exists && (hosted_ || assigned_.on_read);
  if (!to_be_asked || (knows(users) && !may_cross_down(users.size()))) {
    return check_member(std::move(attempt), std::move(apply));
  }
  ++held_[attempt.by.who.user].waits;
  auto then = [self = shared_from_this(), generation = generation_, attempt = std::move(attempt),
               apply = std::move(apply)](Status learnt) mutable {
    self->go_on(generation, std::move(attempt), std::move(apply),
                [learnt = std::move(learnt)](Conversation& c, Attempt a, Apply f) {
                  learnt ? c.know(std::move(a), std::move(f)) : c.refuse(a, learnt.error());
                });
  };
  if (knows(users)) return read_all_members(std::move(then));
  learn(std::move(users), std::move(then));
}

bool Conversation::knows(std::span<const UserId> users) const {
  if (!hosted_) return knows_now(users);
  std::shared_lock lock(shard_.core().membership_changes.mutex);
  return knows_now(users);
}

// Of the host's: with the mutex, and as long as it is held.
bool Conversation::knows_now(std::span<const UserId> users) const {
  const MembershipChanges& changes = shard_.core().membership_changes;
  if (!hosted_) {
    return !assigned_.on_read ||
           std::all_of(users.begin(), users.end(), [&](const UserId& u) { return u.empty() || known_.has(u); });
  }
  if (!host_known_) return false;
  if (!durable_.on_read) {
    if (asked_at_ == changes.version()) return true;
    if (changes.since(asked_at_, id_)) return false;
    const auto named = changes.users_since(asked_at_);
    return named && named->empty();
  }
  return std::all_of(users.begin(), users.end(), [&](const UserId& u) {
    return u.empty() || (known_.has(u) && !changes.since(known_.version(u), id_, u));
  });
}

// Where the host's members are not listed: who may have come or gone since his row was known. They are asked about
// before the next seq is given out, which ends what one sees and begins what the other sees.
std::vector<UserId> Conversation::moved() {
  if (!hosted_) return {};
  std::shared_lock lock(shard_.core().membership_changes.mutex);
  return moved_now();
}

std::vector<UserId> Conversation::moved_now() {
  const MembershipChanges& changes = shard_.core().membership_changes;
  if (!durable_.on_read || !host_known_ || rows_at_ == changes.version()) return {};
  std::vector<UserId> users;
  const auto named = changes.users_since(rows_at_);
  if (!named || changes.since(rows_at_, id_) || rows_at_ == 0) {
    users = known_.users();
    for (const auto& [user, row] : host_rows_) {
      if (!known_.has(user)) users.push_back(user);
    }
  } else {
    users = *named;
    std::erase_if(users, [&](const UserId& u) { return !known_.has(u) && !host_rows_.contains(u); });
  }
  std::erase_if(users, [&](const UserId& u) { return known_.has(u) && !changes.since(known_.version(u), id_, u); });
  if (users.empty()) rows_at_ = changes.version();
  return users;
}

void Conversation::learn(std::vector<UserId> users, Function<void(Status)> then) {
  hosted_ ? ask_host(std::move(users), std::move(then)) : read_rows(std::move(users), std::move(then));
}

// ---- stored members of a conversation that is fanned out on read

void Conversation::read_rows(std::vector<UserId> users, Function<void(Status)> then) {
  std::erase_if(users, [&](const UserId& user) { return user.empty() || known_.has(user); });
  shard_.core().store->read(
      shard_,
      [partition = partition_, users = std::move(users)](Storage& storage) {
        return read_members(storage, partition, users);
      },
      [self = shared_from_this(), generation = known_.generation(), then = std::move(then)](auto rows) mutable {
        if (!rows) return then(rows.error());
        for (auto& [user, row] : *rows) {
          // What was forgotten meanwhile may have changed since this was read.
          if (self->known_.generation() == generation && !self->known_.has(user)) {
            self->known_.put(user, std::move(row));
          }
        }
        then(Status());
      });
}

bool Conversation::may_cross_down(std::size_t leaving) const {
  if (hosted_ || !assigned_.on_read || standby_) return false;
  return assigned_.members < shard_.core().limits.fan_out_on_write + leaving;
}

// Before so many go that it is fanned out on write again: then all members are looked at.
void Conversation::read_all_members(Function<void(Status)> then) {
  shard_.core().store->read(
      shard_, [partition = partition_](Storage& storage) { return read_members(storage, partition); },
      [self = shared_from_this(), generation = known_.generation(), rewrites = member_changes_,
       then = std::move(then)](Result<std::vector<Participant>> all) mutable {
        if (!all) return then(all.error());
        // Who came or went since is in none of it: once more.
        const bool holds = self->known_.generation() == generation && self->member_changes_ == rewrites;
        if (!holds) return self->read_all_members(std::move(then));
        for (Participant& each : *all) {
          if (const auto* row = self->known_.assigned(each.user)) each.row = *row;
        }
        self->standby_ = std::make_shared<const Roster>(self->shard_.core(), std::move(*all));
        then(Status());
      });
}

// ---- the host's members

// One question at a time, for all who wait; who comes meanwhile is in the next one.
void Conversation::ask_host(std::vector<UserId> users, Function<void(Status)> then) {
  askers_.push_back({std::move(users), std::move(then)});
  if (asked_for_.empty()) ask_for_those_who_wait();
}

void Conversation::ask_for_those_who_wait() {
  const auto last = askers_.begin() + static_cast<std::ptrdiff_t>(std::min(askers_.size(), most_asked));
  asked_for_.assign(std::move_iterator(askers_.begin()), std::move_iterator(last));
  askers_.erase(askers_.begin(), last);
  const MembershipChanges& changes = shard_.core().membership_changes;
  std::shared_lock lock(changes.mutex);
  const std::uint64_t version = changes.version();
  const auto named = changes.users_since(asked_at_);
  const bool list_is_old = !host_known_ || changes.since(asked_at_, id_);
  std::vector<UserId> users;
  if (list_is_old || (durable_.roster && (!named || named->size() > most_patched))) {
    lock.unlock();
    return ask_members(version);
  }
  if (durable_.roster) {
    users = *named;
  } else {
    for (const Asker& asker : asked_for_) users.insert(users.end(), asker.users.begin(), asker.users.end());
    std::sort(users.begin(), users.end());
    users.erase(std::unique(users.begin(), users.end()), users.end());
    std::erase_if(users, [&](const UserId& u) {
      return u.empty() || (known_.has(u) && !changes.since(known_.version(u), id_, u));
    });
  }
  lock.unlock();
  ask_roles(std::move(users), version);
}

void Conversation::host_answered(Status status) {
  for (Asker& asker : std::exchange(asked_for_, {})) asker.then(status);
  if (asked_for_.empty() && !askers_.empty()) ask_for_those_who_wait();
}

void Conversation::ask_members(std::uint64_t version) {
  core::ask_host<std::vector<Member>>(
      shard_, [this](Done<std::vector<Member>> done) { shard_.core().membership->members(id_, std::move(done)); },
      [self = shared_from_this(), version](Result<std::vector<Member>> list) {
        if (self->phase_ != Phase::ready) return self->host_answered(Status());  // read again: they look again
        if (list && list->size() <= self->shard_.core().limits.fan_out_on_read) {
          self->take_list(std::move(*list), version);
        } else if (list || list.error().code == ErrorCode::too_large) {
          self->hold_no_list(list ? list->size() : 0, version);
        } else {
          return self->host_answered(list.error());
        }
        self->host_answered(Status());
      });
}

// More than are held in memory: each is asked for by himself.
void Conversation::hold_no_list(std::size_t count, std::uint64_t version) {
  const bool begins = !host_known_ || durable_.roster;
  const RosterPtr before = host_known_ ? durable_.roster : nullptr;
  for (State* state : {&durable_, &assigned_}) {
    state->on_read = true;
    state->roster = nullptr;
    state->members = static_cast<std::uint32_t>(count);
  }
  const std::uint64_t was_asked_at = std::exchange(asked_at_, version);
  // The rows stay as they were known: who has gone since keeps what he could see.
  host_known_ = true;
  if (begins) {
    known_.clear();
    rows_at_ = 0;
  }
  for (const Participant& each : before ? before->all() : std::vector<Participant>()) {
    known_.put(each.user, each.row, was_asked_at);
  }
  if (!begins || (!before && generation_ == 1)) return;
  // Who was listed follows from here on; who came meanwhile, or was listed before it was read again, has to be found.
  if (before) tell_followers(Fanout::crossing_up, before, was_asked_at);
  const std::uint64_t since = shard_.core().store->last_batch();
  for (auto& shard : shard_.core().shards) {
    shard->post([&hub = shard->hub(), id = id_, since] { hub.membership_changed(id, since); });
  }
}

void Conversation::ask_roles(std::vector<UserId> users, std::uint64_t version) {
  struct Gathered {
    std::vector<std::pair<UserId, std::optional<Role>>> roles;
    std::size_t left = 0;
    Status failed;
  };
  auto gathered = std::make_shared<Gathered>();
  gathered->left = users.size();
  if (users.empty()) {  // nobody is named any more
    return shard_.post([self = shared_from_this()] { self->host_answered(Status()); });
  }
  for (const UserId& user : users) {
    core::ask_host<std::optional<Role>>(
        shard_, [&](Done<std::optional<Role>> done) { shard_.core().membership->role(id_, user, std::move(done)); },
        [self = shared_from_this(), gathered, user, version](Result<std::optional<Role>> role) {
          if (role) gathered->roles.emplace_back(user, *role);
          if (!role) gathered->failed = role.error();
          if (--gathered->left > 0) return;
          if (gathered->failed && self->phase_ == Phase::ready) self->take_roles(gathered->roles, version);
          self->host_answered(gathered->failed);
        });
  }
}

// Someone's row, as it follows from what the host says now and from what he was before. Who was never seen to come has
// been there from the beginning.
protocol::MemberRow Conversation::hosted_row(const UserId& user, std::optional<Role> role,
                                             const protocol::MemberRow* before) {
  protocol::MemberRow row;
  if (before) {
    row = *before;
  } else if (const auto kept = host_rows_.find(user); kept != host_rows_.end()) {
    row = kept->second;
  } else {
    row.former = !role;
    if (role) row.intervals = {{1, 0}};
  }
  if (role && row.former) {
    open_interval(
        row, row.intervals.empty() ? *durable_.settings : ConversationSettings{.newcomers_see = NewcomersSee::none},
        assigned_.head + 1);
  } else if (!role && !row.former) {
    close_interval(row, assigned_.head);
  }
  if (role) row.role = *role;
  return row;
}

void Conversation::take_list(std::vector<Member> list, std::uint64_t version) {
  std::sort(list.begin(), list.end(), [](const Member& a, const Member& b) { return a.user < b.user; });
  list.erase(std::unique(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.user == b.user; }),
             list.end());
  std::erase_if(list, [](const Member& m) { return m.user.empty(); });
  const bool was_list = host_known_ && durable_.roster;
  std::vector<Participant> all;
  for (const Member& member : list) {
    const Participant* before = was_list ? durable_.roster->find(member.user) : nullptr;
    // One who was not in the list as it was known has come now; else he may always have been there.
    protocol::MemberRow absent{.former = true};
    const bool came = was_list && !before && !host_rows_.contains(member.user);
    const protocol::MemberRow* old = before ? &before->row : came ? &absent : known_.durable(member.user);
    all.push_back({member.user, hosted_row(member.user, std::max(member.role, Role::reader), old)});
  }
  const auto is_listed = [&](const UserId& user) {
    return std::binary_search(list.begin(), list.end(), Member{user},
                              [](const Member& a, const Member& b) { return a.user < b.user; });
  };
  if (was_list) {
    for (const Participant& before : durable_.roster->all()) {
      if (!is_listed(before.user)) all.push_back({before.user, hosted_row(before.user, {}, &before.row)});
    }
  } else {
    for (const auto& [user, row] : host_rows_) {
      if (!is_listed(user)) all.push_back({user, hosted_row(user, {}, &row)});
    }
    for (const UserId& user : known_.users()) {
      const protocol::MemberRow* row = known_.durable(user);
      if (row && !is_listed(user) && !host_rows_.contains(user)) all.push_back({user, hosted_row(user, {}, row)});
    }
  }
  put_roster(std::move(all), version);
}

void Conversation::take_roles(const std::vector<std::pair<UserId, std::optional<Role>>>& roles, std::uint64_t version) {
  if (!host_known_) return;  // it was read again meanwhile: they look again
  if (!durable_.on_read) {
    std::vector<Participant> all = durable_.roster->all();
    for (const auto& [user, role] : roles) {
      const auto at = std::lower_bound(all.begin(), all.end(), user,
                                       [](const Participant& p, const UserId& u) { return p.user < u; });
      if (at != all.end() && at->user == user) {
        at->row = hosted_row(user, role, &at->row);
      } else if (role) {
        const protocol::MemberRow absent{.former = true};
        all.insert(at, {user, hosted_row(user, role, host_rows_.contains(user) ? nullptr : &absent)});
      }
    }
    return put_roster(std::move(all), version);
  }
  for (const auto& [user, role] : roles) {
    const protocol::MemberRow row = hosted_row(user, role, known_.durable(user));
    const bool is_known = role || !row.intervals.empty();
    keep_row(user, row);
    known_.put(user, is_known ? std::optional(row) : std::nullopt, version);
  }
}

void Conversation::put_roster(std::vector<Participant> all, std::uint64_t version) {
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.user < b.user; });
  for (const Participant& each : all) keep_row(each.user, each.row);
  const bool crosses = durable_.on_read && host_known_;
  auto roster = std::make_shared<const Roster>(shard_.core(), std::move(all));
  for (State* state : {&durable_, &assigned_}) {
    state->on_read = false;
    state->roster = roster;
    state->members = roster->count();
    state->owners = roster->owners();
  }
  host_known_ = true;
  asked_at_ = version;
  known_.clear();
  if (crosses) tell_followers(Fanout::crossing_down, roster, version);
}

// Only what can't be had from the host again is stored: that someone left, or came late.
void Conversation::keep_row(const UserId& user, const protocol::MemberRow& row) {
  const bool from_the_start = !row.former && row.intervals.size() == 1 && row.intervals[0].from == 1;
  const auto known = host_rows_.find(user);
  if ((from_the_start || row.intervals.empty()) && known == host_rows_.end()) return;
  const auto same = [](const protocol::MemberRow& a, const protocol::MemberRow& b) {
    return a.former == b.former &&
           std::equal(a.intervals.begin(), a.intervals.end(), b.intervals.begin(), b.intervals.end(),
                      [](const auto& x, const auto& y) { return x.from == y.from && x.to == y.to; });
  };
  if (known != host_rows_.end() && same(known->second, row)) return;
  begin_change();
  host_rows_[user] = row;
  unkept_.insert(user);
  write_host_row(user, row);
  next_.after = assigned_;
  if (!flying_.change && !std::exchange(is_changed_, true)) shard_.changed(shared_from_this());
}

void Conversation::write_host_row(const UserId& user, const protocol::MemberRow& row) {
  next_.members.push_back({user, row});
  next_.change->rows.push_back({.table = Table::members, .key = user.string(), .value = protocol::encode_row(row)});
}

void Conversation::tell_followers(Fanout fanout, RosterPtr to, std::uint64_t asked_at) {
  publish({{.seq = durable_.head, .age = durable_.age, .to = std::move(to), .fanout = fanout, .asked_at = asked_at}},
          floor_);
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
