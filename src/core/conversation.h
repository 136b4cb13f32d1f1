#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/keys.h"
#include "core/reader.h"
#include "core/roster.h"
#include "core/store.h"
#include "protocol/record.h"

namespace chatcore {
inline namespace v1 {
namespace core {

class Replay;
class Shard;

// Everything about a conversation that its members share, at one seq.
struct State {
  bool exists = false;
  Seq head{};
  Seq oldest = 1;  // when it was loaded
  ConversationKind kind{};
  std::shared_ptr<const ConversationSettings> settings{};
  RosterPtr roster{};
};

// An attempt to change a conversation: who, under which key, and where the answer goes.
struct Attempt {
  enum class From { members, anyone };  // anyone: `apply` decides
  Caller by{};
  From from = From::members;
  IdempotencyKey key{};
  protocol::Digest digest{};
  Seq target = 0;  // a message that it is about, read before it is applied
  Reply<Accepted> reply{};
};

// A message as its row holds it.
struct StoredMessage {
  Event event{};  // without key
  protocol::Origin origin{};
};

// What an attempt does, put together by a feature and then taken by the writer as a whole, or not at all.
class Draft {
 public:
  const ConversationId& id() const { return id_; }
  const Caller& by() const { return by_; }
  const State& state() const { return state_; }                           // with what is assigned but not yet durable
  const std::optional<StoredMessage>& target() const { return target_; }  // empty: there is none
  const Core& core() const { return core_; }
  Seq next() const { return state_.head + 1 + static_cast<Seq>(events_.size()); }

  void message(EventBody);                     // the next seq, in the messages log
  void change(ChangeKind, MessagePosted now);  // of the target, which it replaces
  void settings(ConversationSettings);
  void roster(std::vector<Membership>, std::vector<UserId> changed);  // all, ascending; the rows to be written
  void create(ConversationKind, ConversationSettings, std::vector<Membership>);

 private:
  friend class Conversation;
  struct New {
    Log log{};
    EventBody body{};
  };
  Draft(const Core& core, const ConversationId& id, const Caller& by, const State& state)
      : core_(core), id_(id), by_(by), state_(state) {}

  const Core& core_;
  const ConversationId& id_;
  const Caller& by_;
  const State& state_;
  std::optional<StoredMessage> target_{};
  std::vector<New> events_{};
  std::optional<MessagePosted> replaced_{};
  std::optional<State> after_{};
  std::vector<Row> rows_{};
};

// Fills the draft, or says why not; then nothing is changed. Runs once, or again where the conversation had to be
// read again before its seq was given out.
using Apply = Function<Status(Draft&)>;

// An event on its way to those who may see it.
struct Publication {
  Frame frame{};  // for everyone
  Frame blind{};  // of a change to what not all can see: for those who can't
  Seq target{};   // of a change
  UserId sender{};
  IdempotencyKey key{};     // only the sender's own sessions see it
  std::uint64_t session{};  // the one it came through: it has the acknowledgement
  Seq seq{};
  std::uint64_t age{};
  RosterPtr to{};  // who may see it: decided when the seq was given out

  Frame shown_to(const UserId&) const;
};
using Publications = std::shared_ptr<const std::vector<Publication>>;

// What a session missed of a conversation: see replay.cpp.
struct Replayed {
  std::vector<std::pair<Seq, Frame>> frames{};
  Seq covers_to{}, oldest = 1, head{};
  std::vector<protocol::Interval> intervals{};  // what he may see
  bool live = false;                            // what comes after is published; else: ask again after covers_to
};

// The one writer of a conversation. It gives out the seqs, from a head that runs ahead of the store; one change is
// under way at a time, and what arrives meanwhile joins the next. What others see is the state that is durable.
class Conversation : public std::enable_shared_from_this<Conversation> {
 public:
  Conversation(Shard&, const ConversationId&);

  // In this order: a known key, membership, `apply`. The answer comes when the event is durable, or an error.
  void change(Attempt, Apply);

  // Runs once the conversation is in memory; with an error where it cannot be read. `durable()` is valid inside.
  void when_ready(Function<void(Status)>);
  const State& durable() const { return durable_; }

  // The standing of someone who reads: no_such_conversation to a stranger. A trusted caller sees everything.
  Result<std::vector<protocol::Interval>> visible_to(const Identity&) const;

  void abandon(const UserId& sender, const IdempotencyKey&);

  // What `user` missed, and the moment from which he is published to again.
  void replay(const Identity&, ReplayFrom, Function<void(Result<Replayed>)>);

  // From the shard, once a turn.
  void submit();

  const ConversationId& id() const { return id_; }
  Shard& shard() const { return shard_; }
  bool idle() const;
  bool empty() const { return idle() && !durable_.exists && !keys_.any_failed(); }  // nothing would be lost with it
  void clear();
  std::uint64_t last_used() const { return last_used_; }

 private:
  struct Waiter {
    Reply<Accepted> reply{};
    Accepted answer{};
    UserId sender{};
    IdempotencyKey key{};
  };
  // One change: being put together, or under way.
  struct Pending {
    std::shared_ptr<OwnedChange> change{};
    std::vector<Waiter> waiters{};
    std::vector<Publication> publications{};
    State after{};
  };
  enum class Phase { unloaded, loading, ready };

  void load();
  void loaded(Result<LoadedConversation>);
  void look_again();  // later: it could not be read after a commit of unknown outcome
  // The steps of an attempt, in order.
  void proceed(Attempt, Apply);
  void look_in_log(Attempt, Apply, Seq);
  void ask_source(Attempt, Apply);
  void check_member(Attempt, Apply);
  void read_target(Attempt, Apply);
  void apply(Attempt, Apply, std::optional<StoredMessage> target);
  void assign(Attempt, Draft&);
  void repeat(Attempt, const Keys::Used&);
  void refuse(Attempt&, Error);

  void replace_target(Draft&);
  void show_changed(Publication&, Event, const MessagePosted& now) const;
  const Bytes* unwritten(Seq) const;
  void committed(const Status&, std::uint64_t batch);
  void publish(std::vector<Publication>, std::uint64_t batch);
  void fail(Pending, const Error&);
  // Runs `job` on the storage and `then` with its result, the attempt and its apply. Meanwhile what the same sender
  // asks for waits, so that his attempts stay in order.
  template <class Job, class Then>
  void read_for(Attempt, Apply, Job, Then);

  Shard& shard_;
  const ConversationId id_;
  const std::string partition_;
  Phase phase_ = Phase::unloaded;
  std::vector<Function<void(Status)>> waiting_;  // while loading

  State durable_, assigned_;
  Keys keys_;
  Pending next_, flying_;  // without a change: none
  bool is_changed_ = false;
  std::uint64_t generation_ = 0;  // of what was loaded: a read that began before is no longer of use
  std::uint64_t rewrites_ = 0;    // rows replaced: a row read before may be old
  std::uint64_t last_used_ = 0;
  std::uint64_t floor_ = 0;  // everything durable lies in batches up to this one
  bool looks_again_ = false;
  bool floor_unknown_ = false;  // a commit may have landed whose batch nobody told
  struct Held {
    unsigned reads = 0;
    std::deque<Function<void()>> behind{};
  };
  std::unordered_map<UserId, Held> held_;

  std::vector<std::shared_ptr<Replay>> replays_;
};

// The conversations of a shard.
class Conversations {
 public:
  explicit Conversations(Shard& shard) : shard_(shard) {}
  std::shared_ptr<Conversation> get(const ConversationId&);   // makes it, unloaded
  std::shared_ptr<Conversation> find(const ConversationId&);  // null: not in memory
  void sweep();                                               // forgets those that nobody has used for a while
  // There is none of that id: what strangers ask for is not kept.
  void forget_soon(const ConversationId&);
  void clear();  // when nothing runs any more: answers what waits

 private:
  Shard& shard_;
  std::unordered_map<ConversationId, std::shared_ptr<Conversation>> conversations_;
  std::vector<ConversationId> empty_;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
