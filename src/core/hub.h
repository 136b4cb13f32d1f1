#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/conversation.h"
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

  // A fan-out: step by step, in the order in which it is called.
  void publish(const ConversationId&, Publications, std::uint64_t batch);
  // To these users' sessions that have room, but one, now; how many took it.
  void show(Frame, std::vector<UserId>, std::uint64_t but, Function<void(std::uint32_t sessions)>);
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
  // Closes every session and connection.
  void close_all(const Error&);
  void clear();  // when nothing runs any more

 private:
  void completed(unsigned from, std::uint64_t batch);
  void schedule_checkpoints();
  Frame checkpoint_frame() const;
  void schedule_sweep();

  Shard& shard_;
  std::unordered_map<UserId, std::vector<std::shared_ptr<Session>>> users_;
  std::unordered_map<std::uint64_t, std::shared_ptr<ConnectionSession>> connections_;
  bool sweep_scheduled_ = false;
  std::vector<std::uint64_t> complete_by_shard_;
  std::uint64_t complete_;
  bool checkpoints_scheduled_ = false;
  std::vector<std::weak_ptr<Session>> delivered_;  // since the last checkpoints
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
