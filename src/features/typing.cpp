#include "features/typing.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "features/signals.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

// Someone who types, and through which session he said so last.
struct Typist {
  Identity who{};
  std::uint64_t session = 0;
  SteadyTime until{};
};

// A conversation in which someone types, or was said to. It is looked at once a tick, and forgotten when there is
// nothing left to say.
struct Room {
  std::map<UserId, Typist> typing;
  std::map<UserId, std::uint64_t> said;  // who was shown last, and the session that he said it through
  SteadyTime said_at{};
};

struct Typists {
  std::unordered_map<ConversationId, Room> rooms;
};

// How many members there are is not known of a table of the host's that does not list them: they are too many.
bool is_large(const Limits& limits, const core::State& state) {
  return state.members > limits.typing_members || (state.on_read && state.members == 0);
}

// Where he alone types, or did, the session that he said it through knows. Once there are others it has to be shown
// all of them, and that they are gone.
std::uint64_t who_knows(const std::map<UserId, std::uint64_t>& before, const std::map<UserId, std::uint64_t>& now) {
  const auto& some = now.empty() ? before : now;
  const bool same = before.empty() || now.empty() || before.begin()->first == now.begin()->first;
  return before.size() <= 1 && now.size() <= 1 && same ? some.begin()->second : 0;
}

bool same_users(const std::map<UserId, std::uint64_t>& a, const std::map<UserId, std::uint64_t>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return x.first == y.first; });
}

void tick(Shard&, const ConversationId&);

void tick_later(Shard& shard, const ConversationId& id) {
  shard.after(shard.core().limits.live_tick, [&shard, id] { tick(shard, id); });
}

// Said where it changed, and anew when half of the time is over for which it holds: so it ends for nobody too early,
// and who had no room for it hears it all the same.
void say(Shard& shard, const core::Conversation& conversation) {
  const Limits& limits = shard.core().limits;
  auto& rooms = shard.state<Typists>().rooms;
  const auto at = rooms.find(conversation.id());
  if (at == rooms.end()) return;
  Room& room = at->second;
  if (is_large(limits, conversation.durable())) return void(rooms.erase(at));
  std::map<UserId, std::uint64_t> now;
  for (const auto& [user, typist] : room.typing) now.emplace(user, typist.session);
  const SteadyTime time = shard.core().clock->steady();
  if (!same_users(room.said, now) || (!now.empty() && room.said_at + limits.typing / 2 <= time)) {
    Typing typing{.conversation = conversation.id()};
    for (const auto& [user, session] : now) typing.users.push_back(user);
    show(shard, conversation, std::move(typing), {.but = who_knows(room.said, now)}, {});
    room.said = std::move(now);
    room.said_at = time;
  }
  if (room.typing.empty()) return void(rooms.erase(at));
  tick_later(shard, conversation.id());
}

// Each is asked for anew: who has left, or may no longer speak, is not shown. Mostly all answers come inside this call.
void tick(Shard& shard, const ConversationId& id) {
  Room& room = shard.state<Typists>().rooms.at(id);
  std::erase_if(room.typing, [now = shard.core().clock->steady()](const auto& t) { return t.second.until <= now; });
  std::vector<Identity> asked;
  for (const auto& [user, typist] : room.typing) asked.push_back(typist.who);
  if (asked.empty()) asked.push_back(Identity::system());  // only whether the conversation can be read
  const auto conversation = shard.conversations().get(id);
  const auto left = std::make_shared<std::size_t>(asked.size());
  for (const Identity& who : asked) {
    if_he_speaks(*conversation, who, [&shard, conversation, left, user = who.user](const Status& speaks) {
      if (!speaks) types_no_more(shard, conversation->id(), user);
      if (--*left == 0) say(shard, *conversation);
    });
  }
}

void types(Shard& shard, const ConversationId& id, const Caller& by) {
  const Limits& limits = shard.core().limits;
  const auto [at, is_new] = shard.state<Typists>().rooms.try_emplace(id);
  auto& typing = at->second.typing;
  // Members are no more than that. Identities of the host's own may be; they need not be shown all.
  if (typing.size() < limits.typing_members || typing.contains(by.who.user)) {
    typing[by.who.user] = {by.who, by.session, shard.core().clock->steady() + limits.typing};
  }
  if (is_new) tick_later(shard, id);
}

}  // namespace

void types_no_more(Shard& shard, const ConversationId& id, const UserId& user) {
  auto& rooms = shard.state<Typists>().rooms;
  if (const auto room = rooms.find(id); room != rooms.end()) room->second.typing.erase(user);
}

Status check_typing(Core&, const Caller& by, SetTyping& request) {
  if (Status ok = check_target(by, request.to, "to"); !ok) return ok;
  return check_user(by);
}

void set_typing(Shard& shard, Call<SetTyping> call) {
  const auto conversation = shard.conversations().get(conversation_of(call.by, call.request.to));
  const Identity who = call.by.who;
  if_he_speaks(*conversation, who, [&shard, conversation, call = std::move(call)](const Status& speaks) mutable {
    if (!speaks) return call.reply(speaks.error());
    const Limits& limits = shard.core().limits;
    if (is_large(limits, conversation->durable())) {
      return call.reply(
          Error{ErrorCode::too_large,
                "to: typing is shown in conversations of up to " + std::to_string(limits.typing_members) + " members",
                {}});
    }
    if (call.request.typing) {
      types(shard, conversation->id(), call.by);
    } else {
      types_no_more(shard, conversation->id(), call.by.who.user);
    }
    call.reply(Nothing{});
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
