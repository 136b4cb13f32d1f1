#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/keys.h"
#include "core/known_members.h"
#include "core/rate_limit.h"
#include "core/reader.h"
#include "core/roster.h"
#include "core/store.h"
#include "protocol/record.h"

namespace chatcore {
inline namespace v1 {
namespace core {

class Conversation;
class Replay;
class Shard;

// Everything about a conversation that its members share, at one seq.
struct State {
  bool exists = false;
  Seq head{};
  Seq oldest = 1;         // when it was loaded
  std::uint64_t age = 0;  // engine time of the head
  ConversationKind kind{};
  std::shared_ptr<const ConversationSettings> settings{};
  bool on_read = false;                   // how it is fanned out
  RosterPtr roster{};                     // all members, and former ones; null where it is fanned out on read
  std::uint32_t members = 0, owners = 0;  // of now
  Seq crossed = 0;                        // where its fan-out last changed; 0: never
};

// What someone is in a conversation.
struct Standing {
  bool trusted = false;  // the host's own: sees everything
  bool active = false;   // a member of now
  Role role{};
  Intervals intervals{};
};

// What a policy said, as it is applied.
struct Verdict {
  Status status{};
  std::optional<Content> replaced{};
};

// An attempt to change a conversation, or to show something in it: who, under which key, and where the answer goes.
struct Attempt {
  enum class From { members, anyone };  // anyone: `apply` decides
  Caller by{};
  From from = From::members;
  IdempotencyKey key{};
  protocol::Digest digest{};
  Seq target = 0;                             // a message that it is about, read before it is applied
  std::vector<UserId> about{};                // users whose rows it looks at, besides the sender's
  std::shared_ptr<const RequestView> asks{};  // what a policy is asked about; null: nobody is asked
  std::unique_ptr<Verdict> verdict{};         // what it said
  bool counted = false;                       // by the user's limit and the conversation's
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
  // The content that was sent, or what a policy put in its place. Validated by the feature: null where it was not
  // replaced.
  Content* replacement() const { return replacement_; }
  Seq next() const { return state_.head + 1 + static_cast<Seq>(events_.size()); }
  // A member's row, or a former one's; null: neither. Of the sender, and of those whom the attempt says it is about.
  const protocol::MemberRow* member(const UserId&) const;
  bool hosted() const;  // its members are in the host's table, not here

  void message(EventBody);                     // the next seq, in the messages log
  void row(Row);                               // of a feature's own table; a draft may hold rows and no event
  void change(ChangeKind, MessagePosted now);  // of the target, which it replaces
  void settings(ConversationSettings);
  void members(std::vector<Participant>);  // puts these in, or in place of their rows
  void create(ConversationKind, ConversationSettings, std::vector<Participant>);

 private:
  friend class Conversation;
  struct New {
    Log log{};
    EventBody body{};
  };
  Draft(const Core& core, const Conversation& conversation, const Attempt& attempt, const State& state);

  const Core& core_;
  const Conversation& conversation_;
  const ConversationId& id_;
  const Caller& by_;
  const State& state_;
  Content* replacement_ = nullptr;
  std::optional<StoredMessage> target_{};
  std::vector<New> events_{};
  std::optional<MessagePosted> replaced_{};
  std::optional<State> after_{};        // but for what follows from the members
  std::vector<Participant> members_{};  // rows that change
  std::vector<Row> rows_{};
};

// Fills the draft, or says why not; then nothing is changed. Runs once, or again where the conversation had to be
// read again before its seq was given out.
using Apply = Function<Status(Draft&)>;

// How a publication finds its readers.
enum class Fanout : std::uint8_t {
  on_write,       // everyone in `to`; each has an inbox entry
  on_read,        // the sessions that follow the conversation, and those in `to`, who come or go
  crossing_up,    // everyone in `to`, who follow from here on
  crossing_down,  // everyone in `to`; nobody follows any more
};

// An event on its way to those who may see it.
struct Publication {
  Frame frame{};  // for everyone; null: nothing to show, but who follows changes
  Frame blind{};  // of a change to what not all can see: for those who can't
  Seq target{};   // of a change
  UserId sender{};
  IdempotencyKey key{};     // only the sender's own sessions see it
  std::uint64_t session{};  // the one it came through: it has the acknowledgement
  Seq seq{};
  std::uint64_t age{};
  RosterPtr to{};  // who may see it: decided when the seq was given out. Null on read: only those who follow
  Fanout fanout = Fanout::on_write;
  bool notify_only = false;
  std::optional<Seq> unseen_from{};  // it landed unnoticed: everything after this seq was never published
  std::uint64_t asked_at = 0;        // the version of the host's table that `to` stands on; 0: it is not the host's

  // `sees`: of a reader who is not in `to`.
  Frame shown_to(const UserId&, const Intervals* sees = nullptr) const;
};
using Publications = std::shared_ptr<const std::vector<Publication>>;

// What a session missed of a conversation: see replay.cpp.
struct Replayed {
  std::vector<std::pair<Seq, Frame>> frames{};
  Seq covers_to{}, oldest = 1, head{};
  Intervals intervals{};                     // what he may see
  bool live = false;                         // what comes after is published; else: ask again after covers_to
  bool follow = false;                       // ... to those who follow, as it is fanned out on read
  bool notify_only = false, notice = false;  // nothing is pushed; and: there is something that he should be told of
  std::uint64_t asked_at = 0;
};

// The one writer of a conversation. It gives out the seqs, from a head that runs ahead of the store; one change is
// under way at a time, and what arrives meanwhile joins the next. What others see is the state that is durable.
class Conversation : public std::enable_shared_from_this<Conversation> {
 public:
  Conversation(Shard&, const ConversationId&);

  // In this order: a known key, membership, the policy, `apply`. The answer comes when the event is durable, or an
  // error.
  void change(Attempt, Apply);
  // The engine stops: what no policy has decided yet is answered.
  void give_up_undecided();

  // Runs once the conversation is in memory; with an error where it cannot be read. `durable()` is valid inside.
  void when_ready(Function<void(Status)>);
  const State& durable() const { return durable_; }

  // Runs with the standing of someone who reads, once the conversation is in memory and he is known to it, maybe inside
  // this call. no_such_conversation to a stranger, or what kept it from being read. `durable()` is valid inside.
  void read_as(const Identity&, Function<void(Result<Standing>)>);
  // The same for whom read_as has found so in this very item.
  Result<Standing> standing(const Identity&) const;
  bool hosted() const { return hosted_; }
  std::uint64_t asked_at() const { return hosted_ ? asked_at_ : 0; }  // see Publication

  // Another engine on the same store says that the head moved from `before` to `head`; 0: it may have moved.
  void hinted(Seq before, Seq head);

  void abandon(const UserId& sender, const IdempotencyKey&);

  // A page, for someone with this standing: see pages.h.
  void read_page(ReadRange, bool with_changes, Function<void(Result<ReadPage>)>);

  // What someone missed, and the moment from which he is published to again.
  void replay(const Identity&, ReplayFrom, Function<void(Result<Replayed>)>);

  // From the shard, once a turn.
  void submit();

  const ConversationId& id() const { return id_; }
  Shard& shard() const { return shard_; }
  bool idle() const;
  bool empty() const { return idle() && !durable_.exists && !keys_.any_failed(); }  // nothing would be lost with it
  void clear();
  bool forgettable() const { return rested() && !keys_.any_failed(); }
  bool rested() const;  // idle, and whoever speaks when it is loaded again finds no fuller bucket than here
  std::uint64_t last_used() const { return last_used_; }
  ~Conversation();

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
    std::vector<Participant> members{};  // rows that it changes
    bool rewrites = false;               // rows of messages
    State after{};
  };
  enum class Phase { unloaded, loading, ready };

  void load();
  void loaded(Result<LoadedConversation>);
  void weigh();  // what it takes in memory, about
  void show_from(Seq before);
  void publish_unseen(Seq known, const RosterPtr& before, const RosterPtr& moved);
  void take_host_rows(std::vector<Participant>);
  void look_again();  // later: it could not be read after a commit of unknown outcome
  // The steps of an attempt, in order.
  void proceed(Attempt, Apply);
  void look_in_log(Attempt, Apply, Seq);
  void ask_source(Attempt, Apply);
  void know(Attempt, Apply);
  void check_member(Attempt, Apply);
  void admit(Attempt, Apply);
  Status count(const Caller&);
  void ask_policy(Attempt, Apply);
  void read_target(Attempt, Apply);
  void apply(Attempt, Apply, std::optional<StoredMessage> target);
  void assign(Attempt, Draft&);
  void begin_change();
  Fanout apply_members(Draft&);
  RosterPtr audience(const Draft&, const State& before, Fanout) const;
  void repeat(Attempt, const Keys::Used&);
  void refuse(Attempt&, Error);

  void replace_target(Draft&);
  void show_changed(Publication&, Event, const MessagePosted& now) const;
  const Bytes* unwritten(Seq) const;
  void committed(const Status&, std::uint64_t batch);
  void become_durable(Pending&);
  void publish(std::vector<Publication>, std::uint64_t batch);
  void fail(Pending, const Error&);
  // Runs `job` on the storage and `then` with its result, the attempt and its apply. Meanwhile what the same sender
  // asks for waits, so that his attempts stay in order.
  template <class Job, class Then>
  void read_for(Attempt, Apply, Job, Then);
  // What an attempt waited for has come: `then` takes it on, unless the conversation was read again meanwhile; then it
  // begins anew. Those that were held behind it follow.
  template <class Then>
  void go_on(std::uint64_t generation, Attempt, Apply, Then);

  // Who is in it: see standing.cpp.
  friend class Draft;
  const protocol::MemberRow* row_of(const State&, const UserId&) const;
  bool knows(std::span<const UserId>) const;
  bool knows_now(std::span<const UserId>) const;
  std::vector<UserId> moved();
  std::vector<UserId> moved_now();
  bool may_cross_down(std::size_t leaving) const;
  void learn(std::vector<UserId>, Function<void(Status)>);
  void read_as(const Identity&, unsigned round, Function<void(Result<Standing>)>);
  void read_rows(std::vector<UserId>, Function<void(Status)>);
  void read_all_members(Function<void(Status)>);
  void ask_host(std::vector<UserId>, Function<void(Status)>);
  void ask_for_those_who_wait();
  void ask_members(std::uint64_t version);
  void ask_roles(std::vector<UserId>, std::uint64_t version);
  void host_answered(Status);
  void take_list(std::vector<Member>, std::uint64_t version);
  void take_roles(const std::vector<std::pair<UserId, std::optional<Role>>>&, std::uint64_t version);
  void put_roster(std::vector<Participant>, std::uint64_t version);
  protocol::MemberRow hosted_row(const UserId&, std::optional<Role>, const protocol::MemberRow* before);
  void keep_row(const UserId&, const protocol::MemberRow&);
  void write_host_row(const UserId&, const protocol::MemberRow&);
  void hold_no_list(std::size_t count, std::uint64_t version);
  void tell_followers(Fanout, RosterPtr to, std::uint64_t asked_at);
  std::uint64_t asked_at_of(const UserId&) const;
  Replayed replayed(const Identity&, ReadPage, Replay meanwhile, Standing now) const;
  Replayed replayed_to_the_end(const Identity&, Standing) const;

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
  std::uint64_t floor_ = 0;   // everything durable lies in batches up to this one
  std::uint64_t all_by_ = 0;  // and counts as newer than no checkpoint from here on, also what landed unnoticed
  bool looks_again_ = false;
  // Up to where it has been published here: of what another engine wrote, this one is told by hints.
  Seq first_head_{};             // everything after it; where it was first read
  std::optional<Seq> hinted_{};  // the least that a hint named while it was not in memory, or being read
  Seq hinted_head_{};            // the newest head that a hint named while it was being read or written
  bool floor_unknown_ = false;   // a commit may have landed whose batch nobody told
  // An attempt that waits for a policy. The question is what a completion that comes late no longer finds.
  struct Question;
  struct Undecided {
    std::shared_ptr<Question> question{};
    std::uint64_t generation{};
    Attempt attempt{};
    Apply apply{};
  };
  void decided(const UserId& sender, const std::shared_ptr<Question>&, Verdict);
  struct Held {
    unsigned waits = 0;  // reads, or a decision
    std::deque<Function<void()>> behind{};
    std::unique_ptr<Undecided> undecided{};
  };
  std::unordered_map<UserId, Held> held_;
  std::optional<RateLimit> limit_;  // over all who speak here; none: nobody has yet, or it is unlimited

  std::vector<std::shared_ptr<Replay>> replays_;
  std::uint64_t member_changes_ = 0;
  std::uint64_t rows_version_;  // of the messages' rows: a page read before it changed is not kept

  std::size_t weight_ = 0;      // as it is accounted for
  KnownMembers known_;          // where it is fanned out on read
  RosterPtr crossing_;          // all members at the moment when that begins
  RosterPtr standby_;           // there: all members as they are assigned, where it may cross down soon
  const bool hosted_;           // the host's table says who is in it
  bool host_known_ = false;     // and has said so
  std::uint64_t asked_at_ = 0;  // the version of the table that the roster stands on
  std::uint64_t rows_at_ = 0;   // where it does not list them: of the version up to which all rows known here hold
  std::unordered_map<UserId, protocol::MemberRow> host_rows_;  // where someone came late, or left
  std::unordered_set<UserId> unkept_;                          // of these, those not durable yet
  struct Asker {
    std::vector<UserId> users{};
    Function<void(Status)> then{};
  };
  std::vector<Asker> askers_, asked_for_;  // who wait for the host's table; and those whose question is with him
};

// The conversations of a shard.
class Conversations {
 public:
  explicit Conversations(Shard& shard) : shard_(shard) {}
  std::shared_ptr<Conversation> get(const ConversationId&);   // makes it, unloaded
  std::shared_ptr<Conversation> find(const ConversationId&);  // null: not in memory
  void sweep();                                               // forgets those that nobody has used for a while
  void relieve();                                             // or, as memory is short, those that nobody uses now
  void give_up_undecided();
  void hinted(const ConversationId&, Seq before, Seq head);
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
