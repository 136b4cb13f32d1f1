#include "core/inbox.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/hub.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {
constexpr std::chrono::milliseconds write_every{1000};
// Of a piece: one read and, where storage runs inside poll, one commit. Either is well below a millisecond.
constexpr std::size_t gathered_per_piece = 256, entries_per_piece = 32;

InboxEntry::Place place_of(const Participant& participant, Fanout fanout) {
  using Place = InboxEntry::Place;
  if (fanout == Fanout::on_write) return Place::entry;
  if (fanout == Fanout::crossing_down) return Place::entry_again;
  const auto& intervals = participant.row.intervals;
  const bool stays = participant.active() && !intervals.empty() && intervals.back().to == 0;
  return stays ? Place::channel : Place::entry_again;
}

}  // namespace

void Inbox::mark(const ConversationId& id, const Publication& publication, std::uint64_t batch) {
  // Of the host's own, those that are fanned out on read have no rows here: he is asked who is in them.
  const bool has_rows = publication.asked_at == 0 || publication.fanout == Fanout::on_write;
  if (!publication.to || !has_rows || publication.to->on(shard_.index()).empty()) return;
  auto& marks = marks_[id];
  if (marks.empty() || marks.back().to != publication.to || marks.back().fanout != publication.fanout) {
    marks.push_back({.to = publication.to, .fanout = publication.fanout});
  }
  Mark& mark = marks.back();
  mark.head = std::max(mark.head, publication.seq);
  mark.batch = std::max(mark.batch, batch);
  mark.age = std::max(mark.age, publication.age);
  schedule();
}

void Inbox::schedule() {
  if (std::exchange(scheduled_, true)) return;
  shard_.after(write_every, [this] {
    scheduled_ = false;
    flush();
  });
}

void Inbox::progressed() {
  if (noted_ < notable()) schedule();
}

void Inbox::flush_then(Function<void(Status)> then) {
  waiting_.push_back(std::move(then));
  flush();
}

std::vector<ConversationId> Inbox::unwritten(const UserId& user) const {
  std::vector<ConversationId> conversations;
  const auto look = [&](const Marks& marks) {
    for (const auto& [conversation, list] : marks) {
      const bool is_his = std::any_of(list.begin(), list.end(), [&](const Mark& mark) {
        const auto& users = mark.to->on(shard_.index());
        return std::find(users.begin(), users.end(), user) != users.end();
      });
      if (is_his) conversations.push_back(conversation);
    }
  };
  look(marks_);
  if (writing_) look(*writing_);
  return conversations;
}

// One at a time: what is marked meanwhile, and who waits for it, goes with the next.
void Inbox::flush() {
  if (flushing_) return;
  if (marks_.empty() && waiting_.empty()) return note_progress();
  under_way_ = std::exchange(waiting_, {});
  auto marks = std::make_shared<Marks>(std::exchange(marks_, {}));
  if (marks->empty()) return written(Status(), std::move(marks));
  flushing_ = true;
  writing_ = marks;
  read_piece(std::make_shared<Writing>(std::move(marks), shard_.index()));
}

// Who waits for it, with a list or a resume, does not wait for a piece a turn.
void Inbox::read_piece(std::shared_ptr<Writing> writing) {
  const bool is_awaited = !under_way_.empty() || !waiting_.empty();
  shard_.core().store->read(
      shard_, [writing, is_awaited](Storage& storage) { return writing->pieces.next(storage, is_awaited); },
      [this, writing](Result<std::vector<OwnedChange>> changes) {
        if (changes) {
          submit(std::move(*changes), writing);
          if (!writing->pieces.is_over()) return read_piece(writing);
        } else {
          writing->status = changes.error();
        }
        writing->is_read = true;
        if (writing->left == 0) written(writing->status, writing->marks);
      });
}

void Inbox::submit(std::vector<OwnedChange> changes, const std::shared_ptr<Writing>& writing) {
  writing->left += changes.size();
  for (OwnedChange& change : changes) {
    shard_.core().store->submit(shard_, std::make_shared<const OwnedChange>(std::move(change)),
                                [this, writing](const Status& status, std::uint64_t) {
                                  if (!status) writing->status = status;
                                  if (--writing->left == 0 && writing->is_read) {
                                    written(writing->status, writing->marks);
                                  }
                                });
  }
}

void Inbox::written(Status status, std::shared_ptr<Marks> marks) {
  flushing_ = false;
  writing_.reset();
  if (!status) {  // they come again before newer ones, which then count
    for (auto& [conversation, list] : *marks) {
      auto& newer = marks_[conversation];
      newer.insert(newer.begin(), list.begin(), list.end());
    }
    schedule();
  }
  for (auto& then : std::exchange(under_way_, {})) then(status);
  if (!waiting_.empty()) return flush();
  if (status && marks_.empty()) note_progress();
}

Inbox::Pieces::Pieces(std::shared_ptr<const Marks> marks, unsigned shard)
    : marks_(std::move(marks)), shard_(shard), conversation_(marks_->begin()) {}

Result<std::vector<OwnedChange>> Inbox::Pieces::next(Storage& storage, bool is_last) {
  constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
  const std::size_t most = is_last ? all : entries_per_piece;
  std::vector<OwnedChange> changes;
  gather(is_last ? all : gathered_per_piece);
  if (conversation_ != marks_->end()) return changes;
  for (std::size_t count = 0; count < most && !entries_.empty();) {
    const auto user = entries_.extract(entries_.begin());
    count += user.mapped().size();
    auto change = put_entries(storage, user.key(), user.mapped());
    if (!change && change.error().code == ErrorCode::corruption) continue;  // his alone; the others' are written
    if (!change) return change.error();
    changes.push_back(std::move(*change));
  }
  return changes;
}

void Inbox::Pieces::gather(std::size_t most) {
  std::size_t count = 0;
  for (; conversation_ != marks_->end(); ++conversation_, mark_ = 0) {
    const auto& [id, list] = *conversation_;
    for (; mark_ < list.size(); ++mark_, user_ = 0) {
      const Mark& mark = list[mark_];
      for (const auto& users = mark.to->on(shard_); user_ < users.size(); ++user_) {
        if (count++ == most) return;
        const UserId& user = users[user_];
        InboxEntry entry{id, {mark.head, mark.batch, mark.age}, place_of(*mark.to->find(user), mark.fanout)};
        auto& his = entries_[user];
        if (his.empty() || his.back().conversation != id) {
          his.push_back(std::move(entry));
        } else {
          merge(his.back(), entry);
        }
      }
    }
  }
}

std::uint64_t Inbox::notable() const {
  const Store& store = *shard_.core().store;
  return std::min(store.last_conversation_batch(), store.sure_to());
}

// Everything published here is written: a recovery need not look before this batch.
void Inbox::note_progress() {
  if (noted_ >= notable()) return;
  noted_ = std::min(shard_.hub().complete_to(), shard_.core().store->sure_to());
  auto change = std::make_shared<OwnedChange>();
  change->partition = engine_partition;
  change->rows = {number_row("inbox/" + std::to_string(shard_.index()), noted_),
                  number_row("time", shard_.core().now())};
  shard_.core().store->submit(shard_, std::move(change), [](const Status&, std::uint64_t) {});
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
