#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <chatcore/transport.h>

#include "client/inbox.h"
#include "client/request_queue.h"
#include "client/streams.h"
#include "client/typing_said.h"
#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace client {

// What the machine needs from its driver.
class Surroundings {
 public:
  virtual std::uint64_t random() = 0;
  virtual std::optional<std::string> token() = 0;           // nothing: the host's function threw
  virtual void finished(Call, Result<protocol::View>) = 0;  // tells the caller
  virtual void ready() = 0;                                 // the inbox is no longer empty

 protected:
  ~Surroundings() = default;
};

struct MachineOptions {
  std::string device{};
  std::string instance{};
  Place resume{};
  bool resume_lost = false;  // there was a checkpoint and it could not be read
  std::size_t held_bytes{};
  Backoff backoff{std::chrono::milliseconds(100), std::chrono::seconds(10)};
};

// The client's side of the protocol, without a socket, a thread or a clock: it is told what happened, and when, and
// asked what to do. One thread at a time.
class Machine final : QueueOwner, StreamsOwner {
 public:
  Machine(MachineOptions, Inbox&, Surroundings&);

  // ---- what happened
  void submit(Call, SteadyTime now);
  void connected(SteadyTime now);
  void disconnected(const Error& why, SteadyTime now);  // or the dialer failed
  void received(protocol::View frame, SteadyTime now);
  void reading(bool on, SteadyTime now);  // while off, silence proves nothing
  bool tick(SteadyTime now);              // false: there was nothing to do
  void end(const Error& why);             // for good; everything is answered with `why`

  // ---- what to do
  bool take_dial() { return std::exchange(dial_, false); }
  std::optional<Error> take_cut() { return std::exchange(cut_, std::nullopt); }  // close the connection
  std::vector<Frame> take_frames() { return std::exchange(frames_, {}); }
  std::optional<SteadyTime> timer(SteadyTime now) const;  // call tick() then

  // ---- what to show
  bool dialing() const { return state_ == State::dialing; }
  bool logged_in() const { return state_ == State::ready; }
  const Error& last_error() const { return last_error_; }
  const UserId& user() const { return user_; }

 private:
  enum class State { waiting, dialing, login, ready, ended };

  void answered(const protocol::Answer&, SteadyTime now);
  void logged_in(const protocol::LoggedIn&, SteadyTime now);
  void pushed(Push, std::size_t bytes, SteadyTime now);
  void passed(const Checkpoint&);
  void start_again();
  void lose(const Error& why, SteadyTime now);
  void wait_to_dial(const Error& why, SteadyTime now);
  void pump(SteadyTime now);
  void send(Bytes frame, SteadyTime now);
  void put(Push, std::size_t bytes);
  std::optional<SteadyTime> dead_at() const;

  // QueueOwner
  void finished(Call, Result<protocol::View>) override;
  std::uint64_t random() override { return surroundings_.random(); }
  // StreamsOwner
  void deliver(EventPtr, std::size_t bytes) override;
  void seen(const ConversationId&, Seq) override;
  void unreadable(const HeadMoved&) override;
  void pull(const ConversationId&, Seq after, bool later, std::chrono::milliseconds spread) override;

  const std::string device_;
  Inbox& inbox_;
  Surroundings& surroundings_;
  Backoff backoff_;
  RequestQueue queue_;
  Streams streams_;
  TypingSaid typing_;
  Checkpoint server_;                 // where to resume
  std::optional<Checkpoint> passed_;  // for the inbox, once no stream is behind it any more
  bool resume_lost_;
  bool reset_follows_ = false;  // the login said so already

  State state_ = State::waiting;
  bool dial_ = false;
  bool reading_ = true;
  std::optional<Error> cut_;
  std::vector<Frame> frames_;
  std::uint64_t calls_ = 0;  // on this connection
  std::uint64_t login_ = 0;  // the call that is the login
  std::chrono::milliseconds heartbeat_{};
  SteadyTime now_{};         // of what happens at present
  SteadyTime wait_until_{};  // to dial; for the login's answer
  SteadyTime sent_{}, received_{};
  std::optional<SteadyTime> asked_;  // the first Ping that nothing came after
  Error last_error_;
  UserId user_;
};

}  // namespace client
}  // namespace v1
}  // namespace chatcore
