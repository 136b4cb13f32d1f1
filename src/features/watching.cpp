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
constexpr std::chrono::milliseconds entered_again_after{1000};
constexpr std::size_t looked_at_per_step = 16;  // conversations
// A conversation is counted so seldom that counting takes little of a shard's time.
constexpr std::chrono::microseconds counted_every_per_member{20};

constexpr std::size_t bytes_per_user = 300;  // that a session watches; about

using Members = std::vector<UserId>;
using MembersPtr = std::shared_ptr<const Members>;  // null: they are only counted

// ---- a session that watches, where it lives

struct Count {
  std::uint32_t online = 0;
  bool to_followers = false;  // it is fanned out on read: who follows is in it
};
struct Watching {
  std::weak_ptr<core::Session> session{};
  std::map<ConversationId, MembersPtr> conversations{};
  std::unordered_map<UserId, unsigned> users{};  // by how many of these, and by name
  std::set<UserId> hidden{};                     // he was told of them that they are offline: and hears no more
  // Not told yet.
  std::map<UserId, Presence> changed{};
  std::map<ConversationId, Count> counts{};
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

std::map<unsigned, Members> by_home(const Core& core, const Members& users) {
  std::map<unsigned, Members> homes;
  for (const UserId& user : users) homes[core.home(user).index()].push_back(user);
  return homes;
}

void watch_all(Shard& shard, std::uint64_t session, const Members& users) {
  for (auto& [index, here] : by_home(shard.core(), users)) {
    Shard& home = *shard.core().shards[index];
    home.post([&home, users = std::move(here), watcher = Watcher{shard.index(), session}]() mutable {
      watch(home, std::move(users), watcher);
    });
  }
}

void unwatch_all(Shard& shard, std::uint64_t session, const Members& users) {
  for (auto& [index, here] : by_home(shard.core(), users)) {
    Shard& home = *shard.core().shards[index];
    home.post(
        [&home, users = std::move(here), watcher = Watcher{shard.index(), session}] { unwatch(home, users, watcher); });
  }
}

// It watches those who come, and no longer those who go, unless something else names them.
void watch_instead(Shard& shard, std::uint64_t session, const Members& come, const Members& go) {
  Watching& of = *watching(shard, session);
  Members added, removed;
  for (const UserId& user : come) {
    if (++of.users[user] == 1) added.push_back(user);
  }
  for (const UserId& user : go) {
    const auto found = of.users.find(user);
    if (--found->second > 0) continue;
    of.users.erase(found);
    of.changed.erase(user);
    of.hidden.erase(user);
    removed.push_back(user);
  }
  auto& bytes = shard.core().counters.session_bytes;
  core::add(bytes, added.size() * bytes_per_user);
  core::sub(bytes, removed.size() * bytes_per_user);
  unwatch_all(shard, session, removed);
  watch_all(shard, session, added);
}
void watch_instead(Shard& shard, std::uint64_t session, const MembersPtr& come, const MembersPtr& go) {
  watch_instead(shard, session, come ? *come : Members(), go ? *go : Members());
}

Members all_of(const Watching& of) {
  Members users;
  for (const auto& [user, times] : of.users) users.push_back(user);
  return users;
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

// Whoever is hidden is said to be offline once: when he comes and goes is hidden too.
bool show_changed(const Core& core, core::Session& session, Watching& of) {
  while (!of.changed.empty()) {
    PresenceChanged frame;
    Members hidden;
    auto at = of.changed.begin();
    for (; at != of.changed.end() && frame.users.size() < users_per_frame; ++at) {
      const UserId& user = at->first;
      if (!is_hidden(core, session.identity(), user)) {
        of.hidden.erase(user);
        frame.users.push_back(at->second);
      } else if (!of.hidden.contains(user)) {
        hidden.push_back(user);
        frame.users.push_back({.user = user});
      }
    }
    if (!frame.users.empty() &&
        !session.show(std::make_shared<const Bytes>(protocol::encode_signal_push(std::move(frame))), {}, 0)) {
      return false;
    }
    of.changed.erase(of.changed.begin(), at);
    of.hidden.insert(hidden.begin(), hidden.end());
  }
  return true;
}

// Who does not follow it is not in it any more, or not yet.
bool show_counts(core::Session& session, std::map<ConversationId, Count>& counts) {
  for (auto at = counts.begin(); at != counts.end();) {
    const auto& [id, count] = *at;
    if (count.to_followers && !session.identity().trusted && !session.follows(id)) {
      ++at;
      continue;
    }
    const Frame frame = std::make_shared<const Bytes>(protocol::encode_signal_push(OnlineCount{id, count.online}));
    if (!session.show(frame, id, 0)) return false;
    at = counts.erase(at);
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
    of->hidden.clear();
    watch_all(shard, session, all_of(*of));
    enter_all(shard, session, here->identity(), *of);
  }
  const bool all = show_changed(shard.core(), *here, *of) && show_counts(*here, of->counts);
  of = watching(shard, session);
  if (of && (!all || !of->counts.empty())) tick_later(shard, session);
}

// One that is told of a conversation which it does not watch has ended while it was entered.
Watching* watching_in(Shard& shard, std::uint64_t session, const ConversationId& id) {
  Watching* of = watching(shard, session);
  if (of && of->conversations.contains(id)) return of;
  Shard& home = shard.core().home(id);
  home.post([&home, id, watcher = Watcher{shard.index(), session}] { leave(home, id, watcher); });
  return nullptr;
}

void learn_members(Shard& shard, const std::vector<std::uint64_t>& sessions, const ConversationId& id,
                   const MembersPtr& members) {
  for (const std::uint64_t session : sessions) {
    Watching* of = watching_in(shard, session, id);
    if (!of) continue;
    of->counts.erase(id);
    const MembersPtr before = std::exchange(of->conversations[id], members);
    watch_instead(shard, session, members, before);
  }
}

void learn_count(Shard& shard, const std::vector<std::uint64_t>& sessions, const ConversationId& id, Count count) {
  for (const std::uint64_t session : sessions) {
    Watching* of = watching_in(shard, session, id);
    if (!of) continue;
    of->counts[id] = count;
    tick_later(shard, session);
  }
}

void learn_end(Shard& shard, std::uint64_t session, const ConversationId& id) {
  Watching* of = watching(shard, session);
  const auto found = of ? of->conversations.find(id) : std::map<ConversationId, MembersPtr>::iterator();
  if (!of || found == of->conversations.end()) return;
  const MembersPtr before = std::move(found->second);
  of->conversations.erase(found);
  of->counts.erase(id);
  watch_instead(shard, session, nullptr, before);
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
  std::uint64_t asked_at = 0;  // the version of the host's table that it was looked up under
  bool is_asked = false;
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
  MembersPtr members;
  if (roster) {
    Members active;
    for (const core::Participant& each : roster->all()) {
      if (each.active()) active.push_back(each.user);
    }
    members = std::make_shared<const Members>(std::move(active));
  }
  for (auto& [index, sessions] : by_shard(of, only_new)) {
    Shard& there = *shard.core().shards[index];
    there.post([&there, id, members, sessions = std::move(sessions)] { learn_members(there, sessions, id, members); });
  }
}

void tell_count(Shard& shard, const ConversationId& id, Watched& of, std::uint32_t online) {
  const bool only_new = of.count == online;
  of.count = online;
  const Count count{online, !of.told};
  for (auto& [index, sessions] : by_shard(of, only_new)) {
    Shard& there = *shard.core().shards[index];
    there.post([&there, id, count, sessions = std::move(sessions)] { learn_count(there, sessions, id, count); });
  }
  for (Watched::By& by : of.by) by.is_new = false;
}

// On each shard those who live there: of a roster, or of the followers, each user once.
void count_here(Shard& there, const ConversationId& id, const core::RosterPtr& roster,
                Function<void(std::uint32_t)> done) {
  if (!roster) {
    const auto counts = [&there, id](const core::Session& session) {
      const auto& all = there.hub().sessions_of(session.identity().user);
      const auto first =
          all.size() == 1 ? all.begin()
                          : std::find_if(all.begin(), all.end(), [&](const auto& each) { return each->follows(id); });
      return first != all.end() && first->get() == &session &&
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
  if (of.is_being_counted) return;
  if (now < of.counted_next) {
    if (any_new(of) && of.count) tell_count(shard, id, of, *of.count);
    return;
  }
  of.is_being_counted = true;
  const auto every = std::chrono::duration_cast<std::chrono::milliseconds>(
      counted_every_per_member * std::max(state.members, of.count.value_or(0)));
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

// The host's table is looked at when a conversation is used: to be watched is a use.
void ask_host(Shard& shard, const ConversationId& id, Watched& of) {
  const std::uint64_t version = shard.core().membership_changes.version();
  if (!shard.core().membership || of.is_asked || of.asked_at == version || of.by.empty()) return;
  of.is_asked = true;
  const auto conversation = shard.conversations().get(id);
  conversation->read_as(of.by.front().who, [&shard, id, version, conversation](const Result<core::Standing>& standing) {
    auto& all = shard.state<WatchedHere>().all;
    const auto found = all.find(id);
    if (found == all.end()) return;
    found->second.is_asked = false;
    if (standing || standing.error().code == ErrorCode::no_such_conversation) found->second.asked_at = version;
  });
}

void look_at(Shard& shard, const ConversationId& id, Watched& of) {
  ask_host(shard, id, of);
  const auto conversation = shard.conversations().find(id);
  if (!conversation) {  // its members stay as they are while nobody uses it, but not how many of them are here
    if (of.count) shard.conversations().get(id)->when_ready([](const Status&) {});
    return;
  }
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
    if (!standing && standing.error().retryable()) {
      return shard.after(entered_again_after, [&shard, id, who, watcher] { enter(shard, id, who, watcher); });
    }
    if (!standing || (!standing->active && !standing->trusted)) {
      Shard& there = *shard.core().shards[watcher.shard];
      there.post([&there, session = watcher.session, id] { learn_end(there, session, id); });
      return;
    }
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
  for (const ConversationId& id : call.request.conversations) of.conversations[id];
  enter_all(home, session, call.by.who, of);
  watch_instead(home, session, call.request.users, Members());
}

// May he watch these conversations?
void when_known(Shard& home, Call<WatchPresence> call, Function<void(Call<WatchPresence>, const Status& may)> then) {
  struct Asked {
    Call<WatchPresence> call;
    Function<void(Call<WatchPresence>, const Status&)> then;
    std::size_t left = 0;
    Status may{};

    void over() {
      if (--left > 0) return;
      then(std::move(call), may);
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
  core::sub(shard.core().counters.session_bytes, of.users.size() * bytes_per_user);
  unwatch_all(shard, session, all_of(of));
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
  // One after the other, however long it takes to find out whether it may: the last one counts.
  home.in_order().run(
      "watch/" + std::to_string(call.by.session), [&home, call = std::move(call)](core::Task over) mutable {
        when_known(home, std::move(call),
                   [&home, over = std::move(over)](Call<WatchPresence> asked, const Status& may) mutable {
                     if (may) begin(home, asked);
                     may ? asked.reply(Nothing{}) : asked.reply(may.error());
                     home.post(std::move(over));
                   });
      });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
