#include "core/hub.h"

#include <algorithm>
#include <utility>

#include "core/connection_session.h"
#include "core/inbox.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {
constexpr std::size_t users_per_step = 16;
constexpr std::size_t publications_per_user = 16;
constexpr std::size_t swept_per_step = 256;
constexpr std::size_t counted_per_step = 256;
constexpr std::chrono::milliseconds checkpoint_every{500};
constexpr std::chrono::milliseconds sweep_every{1000};
// Beyond what a login may take. One that comes even later is turned away: what was revoked meanwhile is not known.
constexpr std::chrono::seconds revocation_kept{30};

Error revoked() { return {ErrorCode::unauthenticated, "revoked: log in again", {}}; }
Error expired() { return {ErrorCode::not_logged_in, "the login has expired: log in again", {}}; }
}  // namespace

Hub::Hub(Shard& shard) : shard_(shard), complete_(shard.core().first_batch) {}
Hub::~Hub() = default;

void Hub::join(std::shared_ptr<Session> session) {
  add(shard_.core().counters.sessions);
  users_[session->identity().user].push_back(session);
  if (told_) told_(*session, true);
}

const std::vector<std::shared_ptr<Session>>& Hub::sessions_of(const UserId& user) const {
  static const std::vector<std::shared_ptr<Session>> none;
  const auto found = users_.find(user);
  return found == users_.end() ? none : found->second;
}

void Hub::leave(Session& session) {
  while (!session.follows().empty()) unfollow(session, session.follows().back().conversation);
  expiring_.erase(session.id());
  const auto user = users_.find(session.identity().user);
  if (user == users_.end()) return;
  const auto gone = std::erase_if(user->second, [&](const auto& s) { return s.get() == &session; });
  sub(shard_.core().counters.sessions, gone);
  if (user->second.empty()) users_.erase(user);
  if (told_ && gone > 0) told_(session, false);
}

// ---- who follows

void Hub::follow(const std::shared_ptr<Session>& session, const ConversationId& id, Intervals sees,
                 std::uint64_t asked_at) {
  auto& followers = followers_[id];
  if (!followers) followers = std::make_shared<Followers>();
  auto seen = std::make_shared<const Intervals>(std::move(sees));
  for (const Session::Follow& follow : session->follows()) {
    if (follow.conversation != id) continue;
    Followers::Follower& known = followers->at(follow.at);
    known.sees = std::move(seen);
    known.asked_at = asked_at;
    return;
  }
  session->follows().push_back({id, followers->add({session, std::move(seen), asked_at})});
}

void Hub::unfollow(Session& session, const ConversationId& id) {
  auto& follows = session.follows();
  const auto follow = std::find_if(follows.begin(), follows.end(), [&](const auto& f) { return f.conversation == id; });
  if (follow == follows.end()) return;
  const std::size_t at = follow->at;
  follows.erase(follow);
  const auto found = followers_.find(id);
  if (found->second->remove(at)) {
    for (Session::Follow& moved : found->second->at(at).session->follows()) {
      if (moved.conversation == id) moved.at = at;
    }
  }
  if (found->second->count() == 0) followers_.erase(found);  // who walks through it keeps it
}

void Hub::end_walk(const ConversationId& id, Followers& followers) {
  if (!followers.end_walk()) return;
  followers.close_holes();
  for (std::size_t i = 0; i < followers.size(); ++i) {
    for (Session::Follow& follow : followers.at(i).session->follows()) {
      if (follow.conversation == id) follow.at = i;
    }
  }
}

void Hub::membership_changed(const UserId& user, std::uint64_t since) {
  const auto found = users_.find(user);
  if (found == users_.end()) return;
  for (const auto& session : std::vector(found->second)) session->look_for_places(since);
}

void Hub::membership_changed(const ConversationId& id, std::uint64_t since) {
  shard_.step([this, id, since, users = std::vector<UserId>(), listed = false]() mutable {
    if (!std::exchange(listed, true)) {
      users.reserve(users_.size());
      for (const auto& [user, sessions] : users_) users.push_back(user);
    }
    for (std::size_t n = 0; n < users_per_step && !users.empty(); ++n) {
      const auto found = users_.find(users.back());
      users.pop_back();
      if (found == users_.end()) continue;
      for (const auto& session : std::vector(found->second)) session->fall_behind(id, std::nullopt, since);
    }
    return users.empty();
  });
}

// ---- fan-out

void Hub::delivered(const std::shared_ptr<Session>& session) { delivered_.push_back(session); }

void Hub::deliver_to(const std::vector<UserId>& users, std::size_t& user, const ConversationId& id,
                     std::span<const Publication> publications) {
  for (std::size_t n = 0; n < users_per_step && user < users.size(); ++n) {
    const auto found = users_.find(users[user++]);
    if (found == users_.end()) continue;
    for (const auto& session : found->second) {
      bool is_first = false;
      for (const Publication& each : publications) {
        if (each.frame) is_first |= session->deliver(id, each);
      }
      if (is_first) delivered(session);
    }
  }
}

void Hub::deliver_to(Followers& followers, std::size_t& at, const ConversationId& id, const Publication& publication) {
  for (std::size_t n = 0; n < users_per_step && at < followers.size(); ++n, ++at) {
    const Followers::Follower follower = followers.at(at);
    if (!follower.session) continue;
    const Session::Seen seen{follower.sees.get(), follower.asked_at, followers.count()};
    if (follower.session->deliver(id, publication, &seen)) delivered(follower.session);
  }
}

// Behind the event that says so: who comes follows, who goes does not any more.
void Hub::come_and_go(const ConversationId& id, const Publication& publication) {
  if (publication.fanout == Fanout::crossing_down) {
    const auto found = followers_.find(id);
    if (found == followers_.end()) return;
    const auto followers = found->second;
    for (std::size_t i = followers->size(); i-- > 0;) {
      if (i < followers->size() && followers->at(i).session) unfollow(*std::shared_ptr(followers->at(i).session), id);
    }
    return;
  }
  if (publication.fanout == Fanout::on_write || !publication.to) return;
  for (const UserId& user : publication.to->on(shard_.index())) {
    const auto found = users_.find(user);
    if (found == users_.end()) continue;
    const Participant* participant = publication.to->find(user);
    for (const auto& session : found->second) {
      const bool left =
          !participant->active() || (!participant->row.intervals.empty() && participant->row.intervals.back().to != 0);
      if (left) {
        unfollow(*session, id);
      } else {
        follow(session, id, participant->row.intervals, publication.asked_at);
      }
    }
  }
}

void Hub::publish(const ConversationId& id, Publications publications, std::uint64_t batch) {
  for (const Publication& p : *publications) shard_.inbox().mark(id, p, batch);
  if (users_.empty()) return;
  struct Walk {
    std::size_t first = 0, user = 0, follower = 0;
    bool walks = false;
    std::shared_ptr<Followers> followers{};
  };
  shard_.step([this, id, publications = std::move(publications), walk = Walk()]() mutable {
    const std::span<const Publication> all = *publications;
    const Publication& now = all[walk.first];
    const auto next = [&](std::size_t last) {
      come_and_go(id, now);
      walk = {.first = last};
      schedule_checkpoints();
      return last == all.size();
    };
    if (now.fanout == Fanout::on_read && !walk.walks) {
      walk.walks = true;
      const auto found = followers_.find(id);
      if (found != followers_.end()) walk.followers = found->second;
      if (walk.followers) walk.followers->begin_walk();
    }
    if (walk.followers) {
      if (now.frame) deliver_to(*walk.followers, walk.follower, id, now);
      if (now.frame && walk.follower < walk.followers->size()) return false;
      end_walk(id, *walk.followers);
      walk.followers.reset();
    }
    if (!now.to) return next(walk.first + 1);
    // A user is looked up once for all that one audience gets.
    std::size_t last = walk.first + 1;
    while (now.fanout == Fanout::on_write && last < all.size() && last - walk.first < publications_per_user &&
           all[last].to == now.to && all[last].fanout == now.fanout) {
      ++last;
    }
    const auto& users = now.to->on(shard_.index());
    if (now.fanout == Fanout::on_read) {
      deliver_to_newcomers(users, walk.user, id, now);
    } else {
      deliver_to(users, walk.user, id, all.subspan(walk.first, last - walk.first));
    }
    if (walk.user < users.size()) return false;
    return next(last);
  });
}

void Hub::deliver_to_newcomers(const std::vector<UserId>& users, std::size_t& user, const ConversationId& id,
                               const Publication& publication) {
  for (std::size_t n = 0; n < users_per_step && user < users.size(); ++n) {
    const auto found = users_.find(users[user++]);
    if (found == users_.end()) continue;
    for (const auto& session : found->second) {
      if (!session->follows(id) && publication.frame && session->deliver(id, publication)) delivered(session);
    }
  }
}

void Hub::show(Shown shown, Function<void(std::uint32_t)> done) {
  if (shown.to_followers && shown.all) return show_followers(std::move(shown), std::move(done));
  shard_.step([this, shown = std::move(shown), done = std::move(done), user = std::size_t{0},
               count = std::uint32_t{0}]() mutable {
    for (std::size_t n = 0; n < users_per_step && user < shown.users.size(); ++n) {
      const auto found = users_.find(shown.users[user++]);
      if (found == users_.end()) continue;
      for (const auto& session : found->second) {
        if (session->id() == shown.but || (shown.to_followers && !session->follows(shown.conversation))) continue;
        count += session->show(shown.frame, shown.conversation, shown.asked_at) ? 1 : 0;
      }
    }
    if (user < shown.users.size()) return false;
    done(count);
    return true;
  });
}

void Hub::show_followers(Shown shown, Function<void(std::uint32_t)> done) {
  const auto found = followers_.find(shown.conversation);
  if (found == followers_.end()) return done(0);
  found->second->begin_walk();
  shard_.step([this, shown = std::move(shown), followers = found->second, done = std::move(done), at = std::size_t{0},
               count = std::uint32_t{0}]() mutable {
    for (std::size_t n = 0; n < users_per_step && at < followers->size(); ++n, ++at) {
      const Followers::Follower follower = followers->at(at);
      if (!follower.session || follower.session->id() == shown.but) continue;
      count += follower.session->show(shown.frame, shown.conversation, follower.asked_at) ? 1 : 0;
    }
    if (at < followers->size()) return false;
    end_walk(shown.conversation, *followers);
    done(count);
    return true;
  });
}

void Hub::for_each_user(Function<void(const UserId&)> run) const {
  for (const auto& [user, sessions] : users_) run(user);
}

void Hub::count_followers(const ConversationId& id, Function<bool(const Session&)> counts,
                          Function<void(std::uint32_t)> done) {
  const auto found = followers_.find(id);
  if (found == followers_.end()) return done(0);
  found->second->begin_walk();
  shard_.step([this, id, followers = found->second, counts = std::move(counts), done = std::move(done),
               at = std::size_t{0}, count = std::uint32_t{0}]() mutable {
    for (std::size_t n = 0; n < counted_per_step && at < followers->size(); ++n, ++at) {
      const auto& session = followers->at(at).session;
      count += session && counts(*session) ? 1 : 0;
    }
    if (at < followers->size()) return false;
    end_walk(id, *followers);
    done(count);
    return true;
  });
}

// Behind every fan-out that came before it.
void Hub::complete(unsigned from, std::uint64_t batch) {
  shard_.step([this, from, batch] {
    completed(from, batch);
    return true;
  });
}

void Hub::completed(unsigned from, std::uint64_t batch) {
  if (complete_by_shard_.empty()) complete_by_shard_.resize(shard_.core().shards.size(), complete_);
  complete_by_shard_[from] = std::max(complete_by_shard_[from], batch);
  complete_ = *std::min_element(complete_by_shard_.begin(), complete_by_shard_.end());
  schedule_checkpoints();
  shard_.inbox().progressed();
}

Frame Hub::checkpoint_frame() const {
  return std::make_shared<const Bytes>(protocol::encode_checkpoint(to_checkpoint({shard_.core().epoch, complete_})));
}

void Hub::checkpoint_now(Session& session) { session.checkpoint(checkpoint_frame(), complete_); }

void Hub::live(const UserId& user, std::uint64_t session, const ConversationId& id, Seq to) {
  shard_.step([this, user, session, id, to] {  // in its place among what is published
    const auto found = users_.find(user);
    if (found == users_.end()) return true;
    for (const auto& each : found->second) {
      if (each->id() == session) each->live(id, to);
    }
    return true;
  });
}

void Hub::clear() {
  followers_.clear();
  users_.clear();
  expiring_.clear();
  for (auto& [id, connection] : std::exchange(connections_, {})) connection->let_go();
}

void Hub::schedule_checkpoints() {
  if (delivered_.empty() || std::exchange(checkpoints_scheduled_, true)) return;
  shard_.after(checkpoint_every, [this] {
    shard_.step([this, frame = Frame(), batch = std::uint64_t{0}, sessions = std::exchange(delivered_, {})]() mutable {
      // One frame for all of them: this step is not interrupted by a fan-out, but one may stand before it.
      if (!frame) frame = checkpoint_frame(), batch = complete_;
      for (std::size_t n = 0; n < users_per_step && !sessions.empty(); ++n) {
        const auto session = sessions.back().lock();
        sessions.pop_back();
        if (session && session->wants_checkpoint()) session->checkpoint(frame, batch);
      }
      if (!sessions.empty()) return false;
      checkpoints_scheduled_ = false;
      schedule_checkpoints();
      return true;
    });
  });
}

// ---- connections

void Hub::hold(std::shared_ptr<ConnectionSession> connection) {
  add(shard_.core().counters.connections);
  connections_.emplace(connection->id(), std::move(connection));
  schedule_sweep();
}

void Hub::release(ConnectionSession& connection) {
  sub(shard_.core().counters.connections, connections_.erase(connection.id()));
}

void Hub::schedule_sweep() {
  if ((connections_.empty() && expiring_.empty()) || std::exchange(sweep_scheduled_, true)) return;
  shard_.after(sweep_every, [this] {
    sweep_sessions();
    std::vector<std::shared_ptr<ConnectionSession>> all;
    all.reserve(connections_.size());
    for (const auto& [id, connection] : connections_) all.push_back(connection);
    shard_.step([this, all = std::move(all)]() mutable {
      const SteadyTime now = shard_.core().clock->steady();
      for (std::size_t n = 0; n < swept_per_step && !all.empty(); ++n) {
        all.back()->sweep(shard_, now);
        all.pop_back();
      }
      if (!all.empty()) return false;
      sweep_scheduled_ = false;
      schedule_sweep();
      return true;
    });
  });
}

// ---- the end of a login

void Hub::watch_expiry(std::shared_ptr<Session> session) {
  if (session->identity().expires == TimePoint::max()) return;
  expiring_.emplace(session->id(), std::move(session));
  schedule_sweep();
}

void Hub::sweep_sessions() {
  const TimePoint now = shard_.core().clock->wall();
  std::vector<std::shared_ptr<Session>> over;
  for (const auto& [id, session] : expiring_) {
    if (session->identity().expires <= now) over.push_back(session);
  }
  for (const auto& session : over) session->close(expired());
}

void Hub::revoke(const UserId& user, const DeviceId& device, std::uint64_t number) {
  const SteadyTime now = shard_.core().clock->steady();
  forget_revocations(now);
  auto& list = revoked_[user];
  std::erase_if(list, [&](const Revocation& r) { return r.device == device && r.number < number; });
  list.push_back({device, number, now});
  revoked_order_.emplace_back(now, user);

  std::vector<std::shared_ptr<Session>> all;
  if (const auto found = users_.find(user); found != users_.end()) all = found->second;
  for (const auto& session : all) {
    const bool is_meant = device.empty() || session->identity().device == device;
    if (is_meant && session->revocations_before() < number) session->revoke(revoked());
  }
}

Status Hub::may_begin(const Identity& who, std::uint64_t revocations_before) {
  if (who.expires <= shard_.core().clock->wall()) return expired();
  if (revocations_before < revocations_forgotten_) return revoked();
  const auto found = revoked_.find(who.user);
  if (found == revoked_.end()) return {};
  for (const Revocation& r : found->second) {
    if ((r.device.empty() || r.device == who.device) && r.number > revocations_before) return revoked();
  }
  return {};
}

void Hub::forget_revocations(SteadyTime now) {
  const auto oldest = now - shard_.core().limits.login - revocation_kept;
  for (; !revoked_order_.empty() && revoked_order_.front().first < oldest; revoked_order_.pop_front()) {
    const auto found = revoked_.find(revoked_order_.front().second);
    if (found == revoked_.end()) continue;
    std::erase_if(found->second, [&](const Revocation& r) {
      if (r.time >= oldest) return false;
      revocations_forgotten_ = std::max(revocations_forgotten_, r.number);
      return true;
    });
    if (found->second.empty()) revoked_.erase(found);
  }
}

void Hub::close_all(const Error& why) {
  std::vector<std::shared_ptr<Session>> all;
  for (const auto& [user, sessions] : users_) all.insert(all.end(), sessions.begin(), sessions.end());
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  for (const auto& session : all) session->close(why);
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
