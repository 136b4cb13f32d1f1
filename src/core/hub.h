#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/conversation.h"
#include "core/followers.h"
#include "core/session.h"

namespace chatcore {
inline namespace v1 {
namespace core {

class ConnectionSession;

// The sessions of the users that live on a shard, and what is published to them.
class Hub {
 public:
  explicit Hub(Shard&);
  ~Hub();

  void join(std::shared_ptr<Session>);
  void leave(Session&);
  const std::vector<std::shared_ptr<Session>>& sessions_of(const UserId&) const;
  // Told of each session that begins or has ended here. Set before threads run.
  void on_session(Function<void(Session&, bool begins)> told) { told_ = std::move(told); }
  // Told that signals which were queued for a session here did not leave.
  void on_signals_lost(Function<void(Session&)> told) { told_of_loss_ = std::move(told); }
  void signals_lost(Session& session) {
    if (told_of_loss_) told_of_loss_(session);
  }
  void for_each_user(Function<void(const UserId&)>) const;
  // How many of those who follow a conversation here `counts` says yes of; step by step.
  void count_followers(const ConversationId&, Function<bool(const Session&)> counts,
                       Function<void(std::uint32_t)> done);

  // A fan-out: step by step, in the order in which it is called.
  void publish(const ConversationId&, Publications, std::uint64_t batch);
  // That session is published to, from now on, what those who follow a conversation see.
  void follow(const std::shared_ptr<Session>&, const ConversationId&, Intervals, std::uint64_t asked_at);
  void unfollow(Session&, const ConversationId&);
  // The host's table has changed for that user: which of its conversations is he in?
  // `since`: the last batch before it.
  void membership_changed(const UserId&, std::uint64_t since);
  // Or in that conversation: who follows it is asked about anew, and so is whoever is here.
  void membership_changed(const ConversationId&, std::uint64_t since);

  // Something that is never stored, for the sessions here that have room; `done` is told how many took it.
  struct Shown {
    Frame frame{};
    ConversationId conversation{};
    std::vector<UserId> users{};
    bool to_followers = false;  // to those of the conversation, of these users, or of all
    bool all = false;
    std::uint64_t but = 0;       // not to this session
    std::uint64_t asked_at = 0;  // see Publication
  };
  void show(Shown, Function<void(std::uint32_t sessions)> done);
  // Everything that shard `from` publishes of batches up to this one has been published here.
  void complete(unsigned from, std::uint64_t batch);

  // The batch up to which everything is in the outboxes here.
  std::uint64_t complete_to() const { return complete_; }
  void checkpoint_now(Session&);
  // A pull of that session brought everything up to `to`, and what follows is published: see Session::live.
  void live(const UserId&, std::uint64_t session, const ConversationId&, Seq to);

  // Connections, logged in or not: kept here until they are gone, and looked after once a second.
  void hold(std::shared_ptr<ConnectionSession>);
  void release(ConnectionSession&);
  // Ends the sessions of a user, of one device where it is named, whose login began before this revocation.
  void revoke(const UserId&, const DeviceId&, std::uint64_t number);
  // Whether a session may begin whose login began when there had been so many revocations.
  Status may_begin(const Identity&, std::uint64_t revocations_before);
  // A session in this process is closed when its identity expires. (Connections look after theirs themselves.)
  void watch_expiry(std::shared_ptr<Session>);
  // Closes every session and connection.
  void close_all(const Error&);
  void clear();  // when nothing runs any more

 private:
  void show_followers(Shown, Function<void(std::uint32_t sessions)> done);
  void completed(unsigned from, std::uint64_t batch);
  void deliver_to(const std::vector<UserId>&, std::size_t& user, const ConversationId&, std::span<const Publication>);
  void deliver_to(Followers&, std::size_t& at, const ConversationId&, const Publication&);
  void deliver_to_newcomers(const std::vector<UserId>&, std::size_t& user, const ConversationId&, const Publication&);
  void come_and_go(const ConversationId&, const Publication&);
  void end_walk(const ConversationId&, Followers&);
  void delivered(const std::shared_ptr<Session>&);
  void schedule_checkpoints();
  Frame checkpoint_frame() const;
  void schedule_sweep();
  void sweep_sessions();
  void forget_revocations(SteadyTime now);

  Shard& shard_;
  Function<void(Session&, bool)> told_;
  Function<void(Session&)> told_of_loss_;
  std::unordered_map<UserId, std::vector<std::shared_ptr<Session>>> users_;
  std::unordered_map<ConversationId, std::shared_ptr<Followers>> followers_;
  std::unordered_map<std::uint64_t, std::shared_ptr<ConnectionSession>> connections_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Session>> expiring_;
  // What was revoked lately, for logins that were on their way meanwhile.
  struct Revocation {
    DeviceId device{};  // empty: all
    std::uint64_t number{};
    SteadyTime time{};
  };
  std::unordered_map<UserId, std::vector<Revocation>> revoked_;
  std::deque<std::pair<SteadyTime, UserId>> revoked_order_;
  std::uint64_t revocations_forgotten_ = 0;  // the largest number of them
  bool sweep_scheduled_ = false;
  std::vector<std::uint64_t> complete_by_shard_;
  std::uint64_t complete_;
  bool checkpoints_scheduled_ = false;
  std::vector<std::weak_ptr<Session>> delivered_;  // since the last checkpoints
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
