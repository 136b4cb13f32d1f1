#pragma once

#include <vector>

#include "features/features.h"

namespace chatcore {
inline namespace v1 {
namespace features {

// Who is here, on this engine: its sessions are what it knows of. A user's state is computed from them whenever it is
// asked for; what is kept of a user is only who watches him, and for a while that he has gone.

// Follows the sessions that begin and end on this shard. Before threads run.
void attend(Shard&);

// How a user is, on his home shard; without last_seen.
PresenceState state_of(Shard& home, const UserId&);

// The same of these users, with last_seen, once it has been read. On their home shard; `then` too, on what is so then.
void presences_of(Shard& home, std::vector<UserId>, Function<void(std::vector<Presence>)> then);

// Whether the policy keeps it from `to` how this user is: then he is offline to him.
bool is_hidden(const Core&, const Identity& to, const UserId&);

// A session that watches, and where it lives.
struct Watcher {
  unsigned shard = 0;
  std::uint64_t session = 0;
  friend auto operator<=>(const Watcher&, const Watcher&) = default;
};
// The watcher is told how these users are now, and whenever that changes; or no longer. On their home shard.
void watch(Shard& home, std::vector<UserId>, Watcher);
void unwatch(Shard& home, const std::vector<UserId>&, Watcher);
// To the sessions that watch this user; from his home shard.
void show_to_watchers(Shard& home, const UserId&, Signal);

// watching.cpp: what comes of that where the watcher lives.
void learn(Shard&, const std::vector<std::uint64_t>& sessions, const std::vector<Presence>&);
void show_to(Shard&, const std::vector<std::uint64_t>& sessions, const Frame&);
void forget_watcher(Shard&, std::uint64_t session);
void show_again(Shard&, std::uint64_t session);  // what it was told may not have come

Status check_session(const Caller&);  // that he asks through one
Status check_watched(const Limits&, std::vector<UserId>&);

}  // namespace features
}  // namespace v1
}  // namespace chatcore
