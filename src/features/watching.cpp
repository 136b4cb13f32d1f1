#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "core/hub.h"
#include "features/common.h"
#include "features/presence.h"

// The sessions that watch, and what they are told once a tick; and the conversations that are watched.

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

constexpr std::size_t most_conversations = 100;
constexpr std::size_t users_per_frame = 500;
constexpr std::size_t looked_at_per_step = 16;  // conversations
// A conversation is counted so seldom that counting takes little of a shard's time.
constexpr std::chrono::microseconds counted_every_per_member{20};

using Members = std::vector<UserId>;  // ascending

// ---- a session that watches, where it lives

struct Watching {
  std::weak_ptr<core::Session> session{};
  Members named{};
  std::map<ConversationId, Members> conversations{};  // no members: they are only counted
  std::set<UserId> users{};                           // all of these
  // Not told yet.
  std::map<UserId, Presence> changed{};
  std::map<ConversationId, std::uint32_t> counts{};
  bool ticks = false, lost = false;  // lost: what it was told may not have come
};
struct Watchings {
  std::unordered_map<std::uint64_t, Watching> all{};  // by session
};

Watching* watching(Shard& shard, std::uint64_t session) {
  auto& all = shard.state<Watchings>().all;
  const auto found = all.find(session);
  return found == all.end() ? nullptr : &found->second;
}

std::map<unsigned, Members> by_home(const Core& core, const std::set<UserId>& users) {
  std::map<unsigned, Members> homes;
  for (const UserId& user : users) homes[core.home(user).index()].push_back(user);
  return homes;
}

void watch_all(Shard& shard, std::uint64_t session, const std::set<UserId>& users) {
  for (auto& [index, here] : by_home(shard.core(), users)) {
    Shard& home = *shard.core().shards[index];
    home.post([&home, users = std::move(here), watcher = Watcher{shard.index(), session}]() mutable {
      watch(home, std::move(users), watcher);
    });
  }
}

void unwatch_all(Shard& shard, std::uint64_t session, const std::set<UserId>& users) {
  for (auto& [index, here] : by_home(shard.core(), users)) {
    Shard& home = *shard.core().shards[index];
    home.post(
        [&home, users = std::move(here), watcher = Watcher{shard.index(), session}] { unwatch(home, users, watcher); });
  }
}

// Whom it watches follows from the users and the conversations that it named.
void watch_anew(Shard& shard, std::uint64_t session) {
  Watching& of = *watching(shard, session);
  std::set<UserId> now(of.named.begin(), of.named.end()), added, removed;
  for (const auto& [id, members] : of.conversations) now.insert(members.begin(), members.end());
  std::set_difference(now.begin(), now.end(), of.users.begin(), of.users.end(), std::inserter(added, added.end()));
  std::set_difference(of.users.begin(), of.users.end(), now.begin(), now.end(), std::inserter(removed, removed.end()));
  of.users = std::move(now);
  for (const UserId& user : removed) of.changed.erase(user);
  unwatch_all(shard, session, removed);
  watch_all(shard, session, added);
}

void enter(Shard&, const ConversationId&, const Identity&, Watcher);
void leave(Shard&, const ConversationId&, Watcher);

void enter_all(Shard& shard, std::uint64_t session, const Identity& who, const Watching& of) {
  for (const auto& [id, members] : of.conversations) {
    Shard& home = shard.core().home(id);
    home.post([&home, id = id, who, watcher = Watcher{shard.index(), session}] { enter(home, id, who, watcher); });
  }
}

void tick(Shard&, std::uint64_t session);

void tick_later(Shard& shard, std::uint64_t session) {
  if (std::exchange(watching(shard, session)->ticks, true)) return;
  shard.after(shard.core().limits.live_tick, [&shard, session] { tick(shard, session); });
}

bool show_changed(Core& core, core::Session& session, std::map<UserId, Presence>& changed) {
  while (!changed.empty()) {
    PresenceChanged frame;
    for (const auto& [user, presence] : changed) {
      if (frame.users.size() == users_per_frame) break;
      frame.users.push_back(presence);
    }
    const std::size_t told = frame.users.size();
    hide(core, session.identity(), frame.users);
    if (!session.show(std::make_shared<const Bytes>(protocol::encode_signal_push(std::move(frame))), {}, 0))
      return false;
    changed.erase(changed.begin(), std::next(changed.begin(), static_cast<std::ptrdiff_t>(told)));
  }
  return true;
}

bool show_counts(core::Session& session, std::map<ConversationId, std::uint32_t>& counts) {
  while (!counts.empty()) {
    const auto& [id, online] = *counts.begin();
    const Frame frame = std::make_shared<const Bytes>(protocol::encode_signal_push(OnlineCount{id, online}));
    if (!session.show(frame, id, 0)) return false;
    counts.erase(counts.begin());
  }
  return true;
}

// What it has no room for waits, and only the newest of it.
void tick(Shard& shard, std::uint64_t session) {
  Watching* of = watching(shard, session);
  if (!of) return;
  of->ticks = false;
  const auto here = of->session.lock();
  if (!here) return;
  if (!here->has_room_for_signals()) return tick_later(shard, session);
  if (std::exchange(of->lost, false)) {
    watch_all(shard, session, of->users);
    enter_all(shard, session, here->identity(), *of);
  }
  const bool all = show_changed(shard.core(), *here, of->changed) && show_counts(*here, of->counts);
  of = watching(shard, session);
  if (of && !all) tick_later(shard, session);
}

// The members of a conversation that it watches; none: they are only counted.
void learn_members(Shard& shard, const std::vector<std::uint64_t>& sessions, const ConversationId& id,
                   const Members& members) {
  for (const std::uint64_t session : sessions) {
    Watching* of = watching(shard, session);
    const auto known = of ? of->conversations.find(id) : std::map<ConversationId, Members>::iterator();
    if (!of || known == of->conversations.end()) continue;
    known->second = members;
    watch_anew(shard, session);
  }
}

void learn_count(Shard& shard, const std::vector<std::uint64_t>& sessions, const ConversationId& id,
                 std::uint32_t online) {
  for (const std::uint64_t session : sessions) {
    Watching* of = watching(shard, session);
    if (!of || !of->conversations.contains(id)) continue;
    of->counts[id] = online;
    tick_later(shard, session);
  }
}

void learn_end(Shard& shard, std::uint64_t session, const ConversationId& id) {
  Watching* of = watching(shard, session);
  if (!of || of->conversations.erase(id) == 0) return;
  of->counts.erase(id);
  watch_anew(shard, session);
}

// ---- a conversation that is watched, on its shard

struct Watched {
  struct By {
    Watcher watcher{};
    Identity who{};
    bool is_new = true;
  };
  std::vector<By> by{};
  core::RosterPtr told{};                // of whom they watch
  std::optional<std::uint32_t> count{};  // that they were told
  SteadyTime counted_next{};
  bool is_being_counted = false;
};
struct WatchedHere {
  std::map<ConversationId, Watched> all{};
  bool looks = false;
};

std::map<unsigned, std::vector<std::uint64_t>> by_shard(const Watched& of, bool only_new) {
  std::map<unsigned, std::vector<std::uint64_t>> sessions;
  for (const Watched::By& by : of.by) {
    if (by.is_new || !only_new) sessions[by.watcher.shard].push_back(by.watcher.session);
  }
  return sessions;
}

bool any_new(const Watched& of) {
  return std::any_of(of.by.begin(), of.by.end(), [](const Watched::By& by) { return by.is_new; });
}

void tell_members(Shard& shard, const ConversationId& id, Watched& of, const core::RosterPtr& roster, bool only_new) {
  Members members;
  for (const core::Participant& each : roster ? roster->all() : std::vector<core::Participant>()) {
    if (each.active()) members.push_back(each.user);
  }
  for (auto& [index, sessions] : by_shard(of, only_new)) {
    Shard& there = *shard.core().shards[index];
    there.post([&there, id, members, sessions = std::move(sessions)] { learn_members(there, sessions, id, members); });
  }
}

void tell_count(Shard& shard, const ConversationId& id, Watched& of, std::uint32_t online) {
  const bool only_new = of.count == online;
  of.count = online;
  for (auto& [index, sessions] : by_shard(of, only_new)) {
    Shard& there = *shard.core().shards[index];
    there.post([&there, id, online, sessions = std::move(sessions)] { learn_count(there, sessions, id, online); });
  }
  for (Watched::By& by : of.by) by.is_new = false;
}

// On each shard those who live there: of a roster, or of the followers, each user once.
void count_here(Shard& there, const ConversationId& id, const core::RosterPtr& roster,
                Function<void(std::uint32_t)> done) {
  if (!roster) {
    const auto counts = [&there](const core::Session& session) {
      const auto& all = there.hub().sessions_of(session.identity().user);
      return !all.empty() && all.front().get() == &session &&
             state_of(there, session.identity().user) != PresenceState::offline;
    };
    return there.hub().count_followers(id, counts, std::move(done));
  }
  std::uint32_t online = 0;
  for (const UserId& user : roster->on(there.index())) {
    online += state_of(there, user) != PresenceState::offline ? 1 : 0;
  }
  done(online);
}

void count(Shard& shard, const ConversationId& id, Watched& of, const core::State& state) {
  const SteadyTime now = shard.core().clock->steady();
  if (of.is_being_counted || (now < of.counted_next && !any_new(of))) return;
  of.is_being_counted = true;
  const auto every = std::chrono::duration_cast<std::chrono::milliseconds>(counted_every_per_member * state.members);
  of.counted_next = now + std::max(shard.core().limits.live_tick, every);
  struct Sum {
    std::size_t left = 0;
    std::uint32_t online = 0;
  };
  const auto sum = std::make_shared<Sum>(Sum{shard.core().shards.size()});
  for (const auto& each : shard.core().shards) {
    each->post([&there = *each, &shard, id, roster = state.roster, sum] {
      count_here(there, id, roster, [&shard, id, sum](std::uint32_t online) {
        shard.post([&shard, id, sum, online] {
          sum->online += online;
          if (--sum->left > 0) return;
          auto& all = shard.state<WatchedHere>().all;
          const auto found = all.find(id);
          if (found == all.end()) return;
          found->second.is_being_counted = false;
          tell_count(shard, id, found->second, sum->online);
        });
      });
    });
  }
}

// Who is no longer a member watches no longer.
void put_out(Shard& shard, const ConversationId& id, Watched& of, const core::Conversation& conversation) {
  std::erase_if(of.by, [&](const Watched::By& by) {
    if (by.who.trusted) return false;
    const auto standing = conversation.standing(by.who);
    if (standing && standing->active) return false;
    Shard& there = *shard.core().shards[by.watcher.shard];
    there.post([&there, session = by.watcher.session, id] { learn_end(there, session, id); });
    return true;
  });
}

void look_at(Shard& shard, const ConversationId& id, Watched& of) {
  const auto conversation = shard.conversations().find(id);
  if (!conversation) return;  // nothing changes while nobody uses it
  const core::State& state = conversation->durable();
  if (!state.exists) return;
  if (state.roster && state.roster != of.told) put_out(shard, id, of, *conversation);
  const bool is_small = state.roster && state.members <= shard.core().limits.presence_members;
  const auto was = std::exchange(of.told, state.roster);
  if (is_small) {
    of.count.reset();
    if (was == state.roster && !any_new(of)) return;
    tell_members(shard, id, of, state.roster, was == state.roster);
    for (Watched::By& by : of.by) by.is_new = false;
    return;
  }
  if (was && !of.count) tell_members(shard, id, of, nullptr, false);  // it has grown
  count(shard, id, of, state);
}

void look(Shard& shard) {
  shard.step([&shard, after = ConversationId()]() mutable {
    auto& all = shard.state<WatchedHere>().all;
    auto at = all.upper_bound(after);
    for (std::size_t n = 0; n < looked_at_per_step && at != all.end(); ++n) {
      after = at->first;
      look_at(shard, at->first, at->second);
      at = at->second.by.empty() ? all.erase(at) : std::next(at);
    }
    if (at != all.end()) return false;
    if (all.empty()) {
      shard.state<WatchedHere>().looks = false;
    } else {
      shard.after(shard.core().limits.live_tick, [&shard] { look(shard); });
    }
    return true;
  });
}

void enter(Shard& shard, const ConversationId& id, const Identity& who, Watcher watcher) {
  auto conversation = shard.conversations().get(id);
  conversation->read_as(who, [&shard, id, who, watcher, conversation](const Result<core::Standing>& standing) {
    if (!standing) return;
    WatchedHere& here = shard.state<WatchedHere>();
    Watched& of = here.all[id];
    std::erase_if(of.by, [&](const auto& by) { return by.watcher == watcher; });
    of.by.push_back({watcher, who});
    look_at(shard, id, of);
    if (!std::exchange(here.looks, true)) shard.after(shard.core().limits.live_tick, [&shard] { look(shard); });
  });
}

void leave(Shard& shard, const ConversationId& id, Watcher watcher) {
  auto& all = shard.state<WatchedHere>().all;
  const auto found = all.find(id);
  if (found == all.end()) return;
  std::erase_if(found->second.by, [&](const auto& by) { return by.watcher == watcher; });
  if (found->second.by.empty()) all.erase(found);
}

// ---- the request

void begin(Shard& home, const Call<WatchPresence>& call) {
  const std::uint64_t session = call.by.session;
  forget_watcher(home, session);
  const auto& sessions = home.hub().sessions_of(call.by.who.user);
  const auto found = std::find_if(sessions.begin(), sessions.end(), [&](const auto& s) { return s->id() == session; });
  if (found == sessions.end() || (call.request.users.empty() && call.request.conversations.empty())) return;
  Watching& of = home.state<Watchings>().all[session];
  of.session = *found;
  of.named = call.request.users;
  for (const ConversationId& id : call.request.conversations) of.conversations[id];
  enter_all(home, session, call.by.who, of);
  watch_anew(home, session);
}

// May he watch these conversations?
void when_allowed(Shard& home, Call<WatchPresence> call, Function<void(Call<WatchPresence>)> then) {
  struct Asked {
    Call<WatchPresence> call;
    Function<void(Call<WatchPresence>)> then;
    std::size_t left = 0;
    Status may{};

    void over() {
      if (--left > 0) return;
      may ? then(std::move(call)) : call.reply(may.error());
    }
  };
  auto asked = std::make_shared<Asked>(Asked{std::move(call), std::move(then)});
  asked->left = asked->call.request.conversations.size() + 1;
  for (const ConversationId& id : asked->call.request.conversations) {
    Shard& shard = home.core().home(id);
    shard.post([&home, &shard, id, who = asked->call.by.who, asked] {
      auto conversation = shard.conversations().get(id);
      conversation->read_as(who, [&home, conversation, asked](const Result<core::Standing>& standing) {
        Status may = standing ? may_be_marked(*conversation) : Status(standing.error());
        if (standing && !standing->active && !standing->trusted) {
          may = Error{ErrorCode::forbidden, "you are no longer in this conversation", {}};
        }
        home.post([asked, may = std::move(may)] {
          if (!may) asked->may = may;
          asked->over();
        });
      });
    });
  }
  asked->over();
}

}  // namespace

void learn(Shard& shard, const std::vector<std::uint64_t>& sessions, const std::vector<Presence>& presences) {
  for (const std::uint64_t session : sessions) {
    Watching* of = watching(shard, session);
    if (!of) continue;
    for (const Presence& presence : presences) {
      if (of->users.contains(presence.user)) of->changed[presence.user] = presence;
    }
    if (!of->changed.empty()) tick_later(shard, session);
  }
}

void show_to(Shard& shard, const std::vector<std::uint64_t>& sessions, const Frame& frame) {
  for (const std::uint64_t session : sessions) {
    const Watching* of = watching(shard, session);
    if (const auto here = of ? of->session.lock() : nullptr) static_cast<void>(here->show(frame, {}, 0));
  }
}

void forget_watcher(Shard& shard, std::uint64_t session) {
  auto& all = shard.state<Watchings>().all;
  const auto found = all.find(session);
  if (found == all.end()) return;
  const Watching of = std::move(found->second);
  all.erase(found);
  unwatch_all(shard, session, of.users);
  for (const auto& [id, members] : of.conversations) {
    Shard& home = shard.core().home(id);
    home.post([&home, id = id, watcher = Watcher{shard.index(), session}] { leave(home, id, watcher); });
  }
}

void show_again(Shard& shard, std::uint64_t session) {
  Watching* of = watching(shard, session);
  if (!of) return;
  of->lost = true;
  tick_later(shard, session);
}

Status check_watch(Core& core, const Caller& by, WatchPresence& request) {
  if (Status ok = check_session(by); !ok) return ok;
  if (Status ok = check_watched(core.limits, request.users); !ok) return ok;
  if (request.conversations.size() > most_conversations) {
    return Error{ErrorCode::too_large, "conversations: at most " + std::to_string(most_conversations), {}};
  }
  for (const ConversationId& id : request.conversations) {
    if (Status ok = check_id(id, "conversations"); !ok) return ok;
  }
  const auto sort = [](auto& ids) {
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  };
  sort(request.users);
  sort(request.conversations);
  return {};
}

void watch_presence(Shard& home, Call<WatchPresence> call) {
  when_allowed(home, std::move(call), [&home](Call<WatchPresence> allowed) {
    begin(home, allowed);
    allowed.reply(Nothing{});
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
