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
constexpr std::chrono::milliseconds checkpoint_every{500};
constexpr std::chrono::milliseconds sweep_every{1000};
}  // namespace

Hub::Hub(Shard& shard) : shard_(shard), complete_(shard.core().first_batch) {}
Hub::~Hub() = default;

void Hub::join(std::shared_ptr<Session> session) {
  add(shard_.core().counters.sessions);
  users_[session->identity().user].push_back(std::move(session));
}

void Hub::leave(Session& session) {
  const auto user = users_.find(session.identity().user);
  if (user == users_.end()) return;
  const auto gone = std::erase_if(user->second, [&](const auto& s) { return s.get() == &session; });
  sub(shard_.core().counters.sessions, gone);
  if (user->second.empty()) users_.erase(user);
}

void Hub::publish(const ConversationId& id, Publications publications, std::uint64_t batch) {
  for (const Publication& p : *publications) shard_.inbox().mark(id, p, batch);
  if (users_.empty()) return;
  shard_.step(
      [this, id, publications = std::move(publications), first = std::size_t{0}, user = std::size_t{0}]() mutable {
        // A user is looked up once for all that one audience gets: up to `last`.
        std::size_t last = first;
        const auto to_all = [&](std::size_t n) { return (*publications)[n].to == (*publications)[first].to; };
        while (last < publications->size() && last - first < publications_per_user && to_all(last)) ++last;
        const auto& users = (*publications)[first].to->on(shard_.index());
        for (std::size_t n = 0; n < users_per_step && user < users.size(); ++n) {
          const auto found = users_.find(users[user++]);
          if (found == users_.end()) continue;
          for (const auto& session : found->second) {
            bool is_first = false;
            for (std::size_t i = first; i < last; ++i) is_first |= session->deliver(id, (*publications)[i]);
            if (is_first) delivered_.push_back(session);
          }
        }
        if (user < users.size()) return false;
        user = 0;
        first = last;
        schedule_checkpoints();
        return first == publications->size();
      });
}

void Hub::show(Frame frame, std::vector<UserId> users, std::uint64_t but, Function<void(std::uint32_t)> done) {
  shard_.step([this, frame = std::move(frame), users = std::move(users), but, done = std::move(done),
               user = std::size_t{0}, shown = std::uint32_t{0}]() mutable {
    for (std::size_t n = 0; n < users_per_step && user < users.size(); ++n) {
      const auto found = users_.find(users[user++]);
      if (found == users_.end()) continue;
      for (const auto& session : found->second) shown += session->id() != but && session->show(frame) ? 1 : 0;
    }
    if (user < users.size()) return false;
    done(shown);
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
  users_.clear();
  connections_.clear();
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
  if (connections_.empty() || std::exchange(sweep_scheduled_, true)) return;
  shard_.after(sweep_every, [this] {
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

void Hub::close_all(const Error& why) {
  std::vector<std::shared_ptr<Session>> all;
  for (const auto& [user, sessions] : users_) all.insert(all.end(), sessions.begin(), sessions.end());
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  for (const auto& session : all) session->close(why);
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
