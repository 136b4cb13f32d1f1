#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <chatcore/chatcore.h>

#include "simulation/plan.h"
#include "simulation/truth.h"

namespace simulation {

class World;

// An application of one user, on a client of the network or a session in the server's process. It keeps across its
// lives what it has shown, its checkpoint, and what it has to send again.
class Device {
 public:
  Device(World&, unsigned index);

  void open();
  void close();  // the application ends, or its process does
  bool is_open() const { return client_ || session_; }
  bool in_process() const { return plan_.in_process; }
  bool online() const;  // logged in, as far as it knows

  bool poll();         // the client library does one thing
  bool act();          // the application does: takes a push, or sends again
  bool waits() const;  // for an answer
  void sleeps(std::uint64_t steps);
  void wakes() { asleep_until_ = 0; }

  void perform(const Op&);
  void is_revoked();  // what is written from now on is not for the login that it has

  const std::string& name() const { return plan_.name; }
  const UserId& user() const { return user_; }
  unsigned index() const { return index_; }
  Watch watch;

 private:
  template <class R>
  void ask(R, Done<typename R::Reply>);
  void begin(Attempt);
  void send(std::size_t attempt);
  void answered(std::size_t attempt, const Result<Accepted>&);
  void took(const Push&);
  bool reads_what_it_was_told_of();
  void catch_up(const ConversationId&, Seq after);
  void caught_up(const ConversationId&, Seq to);
  void change_members(const Op&, Attempt);
  void change_message(const Op&, Attempt);
  void send_again(const Op&, Attempt);
  void read_back(const Op&);
  void mark_read(const Op&);
  void mark(const Op&);
  void has_received(const Op&);
  void change_profile(const Op&);
  Target place(unsigned) const;
  std::optional<ConversationId> conversation(unsigned place) const;
  IdempotencyKey next_key(unsigned op);

  World& world_;
  const unsigned index_;
  const DevicePlan& plan_;
  const UserId user_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Session> session_;
  Checkpoint checkpoint_;
  bool ready_ = false;
  unsigned life_ = 0;
  std::optional<std::uint64_t> revoked_;  // the step
  std::uint64_t opened_at_ = 0, numbers_ = 0;
  std::uint64_t asleep_until_ = 0;
  // Conversations that it was told to read. It takes its time, and goes on with it in its next life.
  struct Behind {
    Seq from = 0, head = 0;  // what it had, what it was told of
    std::uint64_t when = 0;
    bool reading = false;
  };
  std::map<ConversationId, Behind> behind_;
  std::size_t asked_ = 0;                                     // other requests under way
  std::vector<std::pair<std::uint64_t, std::size_t>> again_;  // when, and which attempt
};

}  // namespace simulation
