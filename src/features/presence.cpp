#include "features/presence.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "core/hub.h"
#include "core/store.h"
#include "features/common.h"
#include "protocol/rows.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

constexpr std::chrono::milliseconds written_after{1000};
constexpr std::size_t written_at_once = 64, read_at_once = 128;  // users
constexpr std::size_t told_at_once = 256;                        // sessions
constexpr std::string_view seen_row = "seen";

// What is kept of a user.
struct Kept {
  std::set<Watcher> watchers{};
  PresenceState told = PresenceState::offline;     // to them
  PresenceState leaving = PresenceState::offline;  // what he was, while he may come back
  TimePoint went{};                                // when he was last here
  unsigned departures = 0;
  bool is_leaving = false;
};
struct Attendance {
  std::unordered_map<UserId, Kept> kept{};
  std::map<UserId, TimePoint> unwritten{}, writing{};  // when they were last seen
  bool writes = false, is_over = false;                // is_over: the engine stops
};
Attendance& attendance(Shard& home) { return home.state<Attendance>(); }

std::string partition_of(const UserId& user) { return "u:" + user.string(); }

void let_go(Shard& home, const UserId& user) {
  auto& kept = attendance(home).kept;
  const auto found = kept.find(user);
  if (found != kept.end() && found->second.watchers.empty() && !found->second.is_leaving) kept.erase(found);
}

// ---- when he was last seen

Result<TimePoint> read_last_seen(Storage& storage, const UserId& user) {
  auto row = storage.row(partition_of(user), Table::presence, seen_row);
  if (!row) return row.error();
  if (!*row) return TimePoint{};
  const auto number = protocol::decode_row<protocol::NumberRow>(*(*row)->value);
  if (!number) return number.error();
  return TimePoint(std::chrono::milliseconds(number->number));
}

using Times = std::map<UserId, TimePoint>;

// Some at a time, so that no job of the storage is long. One that can't be read is not known.
void read_times(Shard& home, std::vector<UserId> users, Times read, Function<void(const Times&)> then) {
  if (users.empty()) return then(read);
  const auto first = users.end() - static_cast<std::ptrdiff_t>(std::min(users.size(), read_at_once));
  std::vector<UserId> now(first, users.end());
  users.erase(first, users.end());
  home.core().store->read(
      home,
      [now = std::move(now)](Storage& storage) -> Result<Times> {
        Times times;
        for (const UserId& user : now) {
          if (const auto time = read_last_seen(storage, user)) times[user] = *time;
        }
        return times;
      },
      [&home, users = std::move(users), read = std::move(read), then = std::move(then)](Result<Times> times) mutable {
        if (times) read.merge(*times);
        read_times(home, std::move(users), std::move(read), std::move(then));
      });
}

using Seen = std::vector<std::pair<UserId, TimePoint>>;

// One whose partition is damaged does not keep the others from being written.
Result<std::vector<core::OwnedChange>> put_last_seen(Storage& storage, const Seen& seen) {
  std::vector<core::OwnedChange> changes;
  for (const auto& [user, time] : seen) {
    core::OwnedChange change{.partition = partition_of(user)};
    auto head = storage.events(change.partition, Log::messages, 1, Direction::forward, {.rows = 1});
    if (!head && head.error().code == ErrorCode::corruption) continue;
    if (!head) return head.error();
    change.expected_head = change.new_head = head->head;
    const auto number = static_cast<std::uint64_t>(std::max<std::int64_t>(0, time.time_since_epoch().count()));
    change.rows.push_back({.table = Table::presence,
                           .key = std::string(seen_row),
                           .value = protocol::encode_row(protocol::NumberRow{number})});
    changes.push_back(std::move(change));
  }
  return changes;
}

// Whoever asks meanwhile is told what is being written.
void write_some(Shard& home, core::Task done) {
  Attendance& all = attendance(home);
  Seen seen;
  while (!all.unwritten.empty() && seen.size() < written_at_once) {
    seen.push_back(*all.unwritten.begin());
    all.writing.insert_or_assign(seen.back().first, seen.back().second);
    all.unwritten.erase(all.unwritten.begin());
  }
  if (seen.empty()) return done();
  const auto next = std::make_shared<core::Task>([&home, seen, done = std::move(done)]() mutable {
    auto& writing = attendance(home).writing;
    for (const auto& [user, time] : seen) {
      const auto found = writing.find(user);
      if (found != writing.end() && found->second == time) writing.erase(found);
    }
    write_some(home, std::move(done));
  });
  home.core().store->read(
      home, [seen](Storage& storage) { return put_last_seen(storage, seen); },
      [&home, next](Result<std::vector<core::OwnedChange>> changes) {
        if (!changes || changes->empty()) return (*next)();  // when he was last seen is not worth a second try
        const auto left = std::make_shared<std::size_t>(changes->size());
        for (core::OwnedChange& change : *changes) {
          home.core().store->submit(home, std::make_shared<core::OwnedChange>(std::move(change)),
                                    [left, next](const Status&, std::uint64_t) {
                                      if (--*left == 0) (*next)();
                                    });
        }
      });
}

void saw(Shard& home, const UserId& user) {
  Attendance& all = attendance(home);
  const TimePoint now = home.core().clock->wall();
  all.unwritten[user] = now;
  if (const auto found = all.kept.find(user); found != all.kept.end()) found->second.went = now;
  if (std::exchange(all.writes, true)) return;
  home.after(written_after, [&home] { write_some(home, [&home] { attendance(home).writes = false; }); });
}

// ---- who is told

// Where they live, and not too many in one task.
template <class Run>
void at_watchers(Shard& home, const std::set<Watcher>& watchers, const Run& run) {
  for (auto at = watchers.begin(); at != watchers.end();) {
    Shard& shard = *home.core().shards[at->shard];
    std::vector<std::uint64_t> sessions;
    while (at != watchers.end() && at->shard == shard.index() && sessions.size() < told_at_once) {
      sessions.push_back((at++)->session);
    }
    shard.post([&shard, sessions = std::move(sessions), run] { run(shard, sessions); });
  }
}

void tell(Shard& home, const std::set<Watcher>& watchers, std::vector<Presence> presences) {
  at_watchers(home, watchers, [presences = std::move(presences)](Shard& shard, const auto& sessions) {
    learn(shard, sessions, presences);
  });
}

void changed(Shard& home, const UserId& user) {
  auto& kept = attendance(home).kept;
  const auto found = kept.find(user);
  if (found == kept.end() || found->second.watchers.empty()) return;
  Kept& of = found->second;
  const PresenceState now = state_of(home, user);
  if (std::exchange(of.told, now) == now) return;
  const TimePoint seen = now == PresenceState::offline ? of.went : TimePoint{};
  tell(home, of.watchers, {{user, now, seen}});
}

PresenceState state_in(const std::vector<std::shared_ptr<core::Session>>& sessions) {
  PresenceState state = PresenceState::offline;
  for (const auto& session : sessions) state = std::max(state, session->presence());
  return state;
}

// Who comes back within the grace was never away.
void left(Shard& home, const UserId& user, PresenceState was) {
  Kept& of = attendance(home).kept[user];
  of.leaving = was;
  of.is_leaving = true;
  const unsigned departure = ++of.departures;
  saw(home, user);
  home.after(home.core().limits.presence_grace, [&home, user, departure] {
    auto& kept = attendance(home).kept;
    const auto found = kept.find(user);
    if (found == kept.end() || !found->second.is_leaving || found->second.departures != departure) return;
    found->second.is_leaving = false;
    changed(home, user);
    let_go(home, user);
  });
}

void session_changed(Shard& home, core::Session& session, bool begins) {
  const UserId& user = session.identity().user;
  if (!begins) {
    forget_watcher(home, session.id());
    const bool was_seen = session.presence() != PresenceState::offline;
    if (was_seen && state_in(home.hub().sessions_of(user)) == PresenceState::offline) {
      left(home, user, session.presence());
    }
  } else if (const auto found = attendance(home).kept.find(user); found != attendance(home).kept.end()) {
    found->second.is_leaving = false;
  }
  changed(home, user);
  let_go(home, user);
}

core::Session* session_of(Shard& home, const Caller& by) {
  for (const auto& session : home.hub().sessions_of(by.who.user)) {
    if (session->id() == by.session) return session.get();
  }
  return nullptr;
}

}  // namespace

Status check_session(const Caller& by) {
  if (Status ok = check_user(by); !ok) return ok;
  if (by.session != 0) return {};
  return Error{ErrorCode::invalid, "this is of a session: ask through one", {}};
}

void attend(Shard& home) {
  home.hub().on_session([&home](core::Session& session, bool begins) { session_changed(home, session, begins); });
  home.hub().on_signals_lost([&home](core::Session& session) { show_again(home, session.id()); });
  home.before_stop([&home](core::Task done) {
    if (std::exchange(attendance(home).is_over, true)) return done();
    home.hub().for_each_user([&home](const UserId& user) {
      if (state_of(home, user) != PresenceState::offline) attendance(home).unwritten[user] = home.core().clock->wall();
    });
    write_some(home, std::move(done));
  });
}

PresenceState state_of(Shard& home, const UserId& user) {
  const PresenceState now = state_in(home.hub().sessions_of(user));
  if (now == PresenceState::online) return now;
  const auto found = attendance(home).kept.find(user);
  const bool may_come_back = found != attendance(home).kept.end() && found->second.is_leaving;
  return may_come_back ? std::max(now, found->second.leaving) : now;
}

void presences_of(Shard& home, std::vector<UserId> users, Function<void(std::vector<Presence>)> then) {
  std::vector<UserId> away;
  for (const UserId& user : users) {
    if (state_of(home, user) == PresenceState::offline) away.push_back(user);
  }
  auto answer = [&home, users = std::move(users), then = std::move(then)](const Times& read) mutable {
    std::vector<Presence> presences;
    const Attendance& all = attendance(home);
    for (const UserId& user : users) {
      Presence& presence = presences.emplace_back(Presence{.user = user, .state = state_of(home, user)});
      if (presence.state != PresenceState::offline) continue;
      if (const auto time = read.find(user); time != read.end()) presence.last_seen = time->second;
      if (const auto time = all.writing.find(user); time != all.writing.end()) presence.last_seen = time->second;
      if (const auto time = all.unwritten.find(user); time != all.unwritten.end()) presence.last_seen = time->second;
    }
    then(std::move(presences));
  };
  if (away.empty()) return answer({});
  read_times(home, std::move(away), {}, std::move(answer));
}

bool is_hidden(const Core& core, const Identity& to, const UserId& user) {
  if (!core.policy || to.trusted || user == to.user) return false;
  bool shown = false;
  core::guarded(core, [&] { shown = core.policy->shows_presence(to, user); });
  return !shown;
}

void watch(Shard& home, std::vector<UserId> users, Watcher watcher) {
  for (const UserId& user : users) {
    Kept& of = attendance(home).kept[user];
    of.watchers.insert(watcher);
    of.told = state_of(home, user);
  }
  presences_of(home, std::move(users),
               [&home, watcher](const std::vector<Presence>& all) { tell(home, {watcher}, all); });
}

void unwatch(Shard& home, const std::vector<UserId>& users, Watcher watcher) {
  for (const UserId& user : users) {
    const auto found = attendance(home).kept.find(user);
    if (found == attendance(home).kept.end()) continue;
    found->second.watchers.erase(watcher);
    let_go(home, user);
  }
}

void show_to_watchers(Shard& home, const UserId& user, Signal signal) {
  const auto found = attendance(home).kept.find(user);
  if (found == attendance(home).kept.end() || found->second.watchers.empty()) return;
  const Frame frame = std::make_shared<const Bytes>(protocol::encode_signal_push(signal));
  at_watchers(home, found->second.watchers,
              [frame](Shard& shard, const auto& sessions) { show_to(shard, sessions, frame); });
}

// ---- the requests

Status check_set_presence(Core&, const Caller& by, SetPresence& request) {
  if (Status ok = check_session(by); !ok) return ok;
  if (request.state >= PresenceState::offline && request.state <= PresenceState::online) return {};
  return Error{ErrorCode::invalid, "state: 1, 2 or 3", {}};
}

void set_presence(Shard& home, Call<SetPresence> call) {
  const UserId user = call.by.who.user;
  if (core::Session* session = session_of(home, call.by)) {
    const PresenceState before = state_of(home, user);
    session->set_presence(call.request.state);
    if (const auto kept = attendance(home).kept.find(user); kept != attendance(home).kept.end()) {
      kept->second.is_leaving = false;  // he says how he is
    }
    if (before != PresenceState::offline && state_of(home, user) == PresenceState::offline) saw(home, user);
    changed(home, user);
    let_go(home, user);
  }
  call.reply(Nothing{});
}

Status check_watched(const Limits& limits, std::vector<UserId>& users) {
  if (users.size() > limits.watched_users) {
    return Error{ErrorCode::too_large, "users: at most " + std::to_string(limits.watched_users), {}};
  }
  if (std::none_of(users.begin(), users.end(), [](const UserId& user) { return user.empty(); })) return {};
  return Error{ErrorCode::invalid, "users: a user id is empty", {}};
}

Status check_get_presence(Core& core, const Caller&, GetPresence& request) {
  return check_watched(core.limits, request.users);
}

void get_presence(Shard& shard, Call<GetPresence> call) {
  struct Asked {
    Call<GetPresence> call;
    std::map<UserId, Presence> found{};
    std::size_t left = 0;
  };
  std::map<unsigned, std::vector<UserId>> by_home;
  for (const UserId& user : call.request.users) by_home[shard.core().home(user).index()].push_back(user);
  auto asked = std::make_shared<Asked>(Asked{std::move(call)});
  asked->left = by_home.size() + 1;
  const auto over = [&shard, asked] {
    if (--asked->left > 0) return;
    PresencePage page;
    for (const UserId& user : asked->call.request.users) {
      const bool hidden = is_hidden(shard.core(), asked->call.by.who, user);
      page.users.push_back(hidden ? Presence{.user = user} : asked->found[user]);
    }
    asked->call.reply(std::move(page));
  };
  for (auto& [index, users] : by_home) {
    Shard& home = *shard.core().shards[index];
    home.post([&home, &shard, users = std::move(users), asked, over] {
      presences_of(home, users, [&shard, asked, over](std::vector<Presence> presences) {
        shard.post([asked, over, presences = std::move(presences)] {
          for (const Presence& presence : presences) asked->found[presence.user] = presence;
          over();
        });
      });
    });
  }
  over();
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
