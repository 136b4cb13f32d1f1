#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/conversation.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// What the id of a user's own log begins with. He has an inbox entry of it, by which a resume finds it, but it is not
// in his list.
inline constexpr std::string_view own_log_mark = "~~";

struct InboxEntry {
  // A channel has no entry that each event moves: only a row that says he is in it.
  enum class Place { entry, entry_again, channel };  // entry_again: it was a channel
  ConversationId conversation{};
  protocol::InboxRow row{};
  Place place = Place::entry;
};

// The inbox entries of the users that live on a shard: one row a user and conversation, "up to seq N", and a second one
// in the order of last activity, which is his conversation list. Gathered about a second and written behind the
// commits; what a crash takes is written again from the feed (recover_inbox).
class Inbox {
 public:
  explicit Inbox(Shard& shard) : shard_(shard) {}

  void mark(const ConversationId&, const Publication&, std::uint64_t batch);

  // The hub is through with another batch.
  void progressed();

  void clear() { waiting_.clear(), under_way_.clear(), writing_.reset(); }

  // Runs once everything marked before this call is written, or could not be.
  void flush_then(Function<void(Status)>);
  // The conversations of a user whose entries wait to be written.
  std::vector<ConversationId> unwritten(const UserId&) const;

 private:
  struct Mark {
    RosterPtr to{};
    Fanout fanout{};
    Seq head{};
    std::uint64_t batch{}, age{};
  };
  using Marks = std::unordered_map<ConversationId, std::vector<Mark>>;  // a mark for each audience

  // The changes that write the entries of these marks, in small pieces: first each user's entries are brought together,
  // then each piece has the changes of some users. For one thread at a time.
  class Pieces {
   public:
    Pieces(std::shared_ptr<const Marks>, unsigned shard);
    bool is_over() const { return conversation_ == marks_->end() && entries_.empty(); }
    Result<std::vector<OwnedChange>> next(Storage&, bool is_last);  // blocking; the last one has all that is left

   private:
    void gather(std::size_t most);

    const std::shared_ptr<const Marks> marks_;
    const unsigned shard_;
    Marks::const_iterator conversation_;  // with the next two: what is gathered next
    std::size_t mark_ = 0, user_ = 0;
    std::unordered_map<UserId, std::vector<InboxEntry>> entries_;
  };
  // A flush that is under way: a piece is read while the one before it is committed.
  struct Writing {
    Writing(std::shared_ptr<Marks> m, unsigned shard) : marks(m), pieces(std::move(m), shard) {}
    std::shared_ptr<Marks> marks;
    Pieces pieces;
    std::size_t left = 0;  // changes without an outcome
    bool is_read = false;  // there is no further piece
    Status status{};
  };

  void schedule();
  void flush();
  void read_piece(std::shared_ptr<Writing>);
  void submit(std::vector<OwnedChange>, const std::shared_ptr<Writing>&);
  void written(Status, std::shared_ptr<Marks>);
  std::uint64_t notable() const;
  void note_progress();

  Shard& shard_;
  Marks marks_;
  std::shared_ptr<Marks> writing_;  // those that are being written
  bool scheduled_ = false, flushing_ = false;
  std::vector<Function<void(Status)>> waiting_, under_way_;
  std::uint64_t noted_ = 0;  // how far the engine's row says that entries are written
};

// Blocking, on storage threads.

// The conversations of a user whose entry came after a batch.
Result<std::vector<ConversationId>> changed_since(Storage&, const UserId&, std::uint64_t batch);

// Those of his conversations that are fanned out on read.
Result<std::vector<ConversationId>> channels_of(Storage&, const UserId&);

// What a newer entry of the same user and conversation makes of one that is not written yet.
void merge(InboxEntry& known, const InboxEntry& newer);
// Changes that put one user's entries, each newer than the last, and move them in his list.
Result<OwnedChange> put_entries(Storage&, const UserId&, const std::vector<InboxEntry>&);

// A page of a user's list, last activity first. `after` as it came back in `next`.
struct InboxPage {
  std::vector<InboxEntry> entries{};
  std::string next{};
};
std::string order_key(const ConversationId&, std::uint64_t age);  // where it stands in the list: an `after`
Result<InboxPage> read_inbox(Storage&, const UserId&, const std::string& after, std::uint32_t limit);

// At open, before anything runs: writes the entries that a crash took, for what the feed shows after the last note; and
// the first note of each shard.
Status recover_inbox(Storage&, std::uint64_t newest_batch, unsigned shards);

// The engine's own numbers, in "e:".
inline constexpr std::string_view engine_partition = "e:engine";
Result<std::uint64_t> read_number(Storage&, std::string_view name);
Row number_row(std::string_view name, std::uint64_t);

}  // namespace core
}  // namespace v1
}  // namespace chatcore
