#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/checkpoint.h"
#include "core/conversation.h"
#include "core/notices.h"

namespace chatcore {
inline namespace v1 {
namespace core {

class Shard;

// One session of a user, on the user's home shard: what is pushed to it, and how it catches up. Whether a connection or
// the host takes what it says is for the two that derive from it.
class Session : public std::enable_shared_from_this<Session> {
 public:
  static constexpr std::uint64_t no_batch = ~std::uint64_t{0};

  Session(Core&, std::uint64_t id,
          std::size_t own_bytes);  // begins to log in: what is revoked from now on is revoked of it
  virtual ~Session();

  std::uint64_t id() const { return id_; }
  const Identity& identity() const { return identity_; }
  std::uint64_t revocations_before() const { return revocations_before_; }
  Caller caller() const { return {identity_, id_, limit_}; }
  TimePoint since() const { return since_; }  // when it began
  virtual std::string peer_address() const { return {}; }
  // How it counts for its user's presence. Kept for features.
  PresenceState presence() const { return presence_; }
  void set_presence(PresenceState state) { presence_ = state; }

  // An event, from the hub. A conversation that is still being caught up with is left out: the replay brings it. True:
  // the first one since the last checkpoint.
  // `seen`: of one who follows it.
  struct Seen {
    const Intervals* intervals = nullptr;
    std::uint64_t asked_at = 0;
    std::size_t followers = 0;  // here
  };
  bool deliver(const ConversationId&, const Publication&, const Seen* = nullptr);
  // Something that is never stored: dropped where half the outbox is full. False: dropped. `asked_at`: see Publication.
  bool show(const Frame&, const ConversationId&, std::uint64_t asked_at);
  bool has_room_for_signals() const { return !half_full(); }
  // Everything up to this batch is in the outbox, or the reader is told to pull it.
  void checkpoint(const Frame&, std::uint64_t batch);
  bool wants_checkpoint() const { return delivered_ && !catch_up_ && !looks(); }
  // A pull brought everything of a conversation up to `to`, and its shard says that what follows is published.
  void live(const ConversationId&, Seq to);
  // A conversation has to be read again, from that seq; empty: from now on.
  // `since`: or from what came after that batch.
  void fall_behind(const ConversationId&, std::optional<Seq> after, std::uint64_t since = no_batch);
  // The host's table has changed for its user, after that batch: in which conversations of it is he now?
  void look_for_places(std::uint64_t since);

  // The conversations it follows, and where it stands among those who do; kept by the hub.
  struct Follow {
    ConversationId conversation{};
    std::size_t at = 0;
  };
  std::vector<Follow>& follows() { return follows_; }
  bool follows(const ConversationId&) const;

  // Sends what is queued; from the shard, once a turn.
  virtual void flush(Shard& at) = 0;
  // Ends the session: the last push says why.
  virtual void close(const Error&) = 0;
  // The same at once: what is queued is dropped.
  virtual void revoke(const Error&) = 0;

 protected:
  // Puts the session into the hub of its shard. `resume`: catches up with what came after it first. False: the place
  // asked for is gone, the session begins now.
  bool begin(Shard&, const Identity&, const std::optional<Checkpoint>& resume);
  void end();

  virtual bool has_room(std::size_t bytes) const = 0;
  virtual bool half_full() const = 0;
  virtual void queue(Frame) = 0;          // marks the session ready
  virtual void make_room() {}             // sends at once what is queued, where that may help
  virtual std::size_t bound() const = 0;  // of the outbox, in bytes
  // All that is queued, and back what stays of it.
  virtual std::vector<Frame> take_queue() = 0;
  virtual void put_queue(std::vector<Frame>) = 0;
  virtual bool waits(const Frame&) const = 0;  // in the queue

  // Of an outbox, in bytes: where memory is short it is little.
  std::size_t bounded(std::size_t bound) const;
  void push(Frame);  // collapses others where there is no room
  void taken();      // something has left the outbox: renews the notices
  void room();       // there is room again: goes on catching up
  bool has_notices() const { return notices_ != nullptr; }

  // What is queued that stands on the host's table: since which version of it, 0: nothing is.
  std::uint64_t hosted_since() const { return hosted_since_.load(std::memory_order_relaxed); }
  void queued_one();  // by who queues, under the lock of the queue if it has one
  void nothing_queued() { hosted_since_.store(0, std::memory_order_relaxed); }
  // With MembershipChanges::mutex: takes out of the queue what may no longer be shown. It is looked up anew, without
  // it.
  struct Stale {
    ConversationId id{};
    std::optional<Seq> seq{};  // of an event; empty: it was a notice
  };
  std::vector<Stale> take_stale();
  void look_up_again(const Stale&);
  void signals_lost();  // which were queued

  const std::shared_ptr<Core> keep_;  // links and handles may outlive the engine
  Core& core_;
  Shard* home_ = nullptr;  // once begun
  Identity identity_{};
  std::uint64_t revocations_before_;    // when its login began
  std::shared_ptr<RateLimit> limit_{};  // of the user
  std::uint64_t begun_at_ = 0;          // the batch
  TimePoint since_{};

 private:
  // Catching up: see docs/architecture.md, "Checkpoints and resume".
  struct CatchUp {
    std::uint64_t number{};  // what an earlier one asked for is not for this one
    std::uint64_t batch{};
    bool is_new = false;          // it begins now: only what it follows has to be found
    bool places_missing = false;  // they could not be read yet: it goes on without, but is given no checkpoint
    bool listing = true;          // what changed is not known yet: what is published now is noted
    std::unordered_set<ConversationId> noted{};
    struct Behind {
      std::optional<Seq> after{};      // up to where it has been read
      unsigned asked = 0;              // a page that was asked for before this is too late
      std::uint64_t since = no_batch;  // else: where that is before the batch of all
    };
    std::unordered_map<ConversationId, Behind> behind{};
    bool waiting = false;  // for a page
  };
  void catch_up_from(std::uint64_t batch, bool is_new);
  void look_again_for_places(std::uint64_t since);
  void list_changed();
  void note_unwritten();
  void read_changed();
  void ask_places(std::uint64_t number, std::vector<ConversationId> changed);
  void listed(std::uint64_t number, Result<std::vector<ConversationId>>);
  void next_page();
  void page(std::uint64_t number, unsigned asked, const ConversationId&, Result<Replayed>);
  void next_page_later();
  void read_to_the_end(const ConversationId&, const Replayed&);
  bool is_stale(std::uint64_t asked_at, const ConversationId&) const;
  void stands_on(std::uint64_t asked_at);

  bool make_room_for(std::size_t bytes);
  void collapse(std::size_t needed);
  void fall_back();
  void notify(const ConversationId&, const Notices::Moved&);

  const std::uint64_t id_;
  PresenceState presence_ = PresenceState::online;
  const std::size_t own_bytes_;  // as they are accounted for
  std::unique_ptr<CatchUp> catch_up_;
  std::uint64_t catch_ups_ = 0;
  std::unique_ptr<Notices> notices_;                  // none: everything is live
  Frame checkpoint_;                                  // the last one queued; the next one waits until it is taken
  std::uint64_t queued_batch_ = 0, taken_batch_ = 0;  // of that one, and of one that surely has left the outbox
  bool delivered_ = false;                            // since the last checkpoint
  bool overflowed_ = false;
  bool looks() const { return looking_ != 0 || looks_again_ != no_batch; }
  unsigned looking_ = 0;                  // for its user's places: no checkpoint covers what he has not been found for
  std::uint64_t looks_again_ = no_batch;  // since when, for its user's places, which could not be asked for
  std::atomic<std::uint64_t> hosted_since_{0};
  std::uint64_t stands_on_ = 0;  // what is queued next
  std::vector<Follow> follows_;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
