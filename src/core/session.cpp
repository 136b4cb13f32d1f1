#include "core/session.h"

#include <utility>

#include "core/hub.h"
#include "core/inbox.h"
#include "core/shard.h"
#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace core {

Session::Session(Core& core, std::uint64_t id) : keep_(core.shared_from_this()), core_(core), id_(id) {}
Session::~Session() = default;

bool Session::begin(Shard& home, const Identity& identity, const std::optional<Checkpoint>& resume) {
  home_ = &home;
  identity_ = identity;
  begun_at_ = queued_batch_ = taken_batch_ = home.hub().complete_to();
  home.hub().join(shared_from_this());
  if (!resume || resume->empty()) return true;
  const std::optional<Place> place = to_place(*resume);
  if (!place || place->epoch != core_.epoch || place->batch > core_.store->last_batch()) return false;
  queued_batch_ = taken_batch_ = place->batch;
  catch_up_from(place->batch);
  return true;
}

void Session::end() {
  if (!home_) return;
  home_->hub().leave(*this);
  catch_up_.reset();
  notices_.reset();
  home_ = nullptr;
}

// ---- what is pushed

void Session::push(Frame frame) {
  if (overflowed_ || !make_room_for(frame->size())) return;
  add(core_.counters.deliveries);
  queue(std::move(frame));
}

bool Session::make_room_for(std::size_t bytes) {
  if (has_room(bytes)) return true;
  make_room();
  if (has_room(bytes)) return true;
  if (home_) collapse(bytes);
  if (overflowed_ || has_room(bytes)) return !overflowed_;
  overflowed_ = true;  // by answers alone. Closed by a task of its own: the hub is going through its sessions now
  add(core_.counters.closed_slow);
  if (home_) {
    home_->post([self = shared_from_this()] {
      self->close({ErrorCode::overloaded, "this session took too slowly what it was sent: come back and resume", {}});
    });
  }
  return false;
}

bool Session::deliver(const ConversationId& conversation, const Publication& publication) {
  if (catch_up_) {
    if (catch_up_->listing) {
      catch_up_->noted.insert(conversation);
      return false;
    }
    if (catch_up_->behind.contains(conversation)) return false;
  }
  // The session that it came through has the acknowledgement.
  if (publication.session != id_) {
    if (notices_ && notices_->contains(conversation)) {
      notify(conversation, publication.seq);
    } else {
      Frame frame = publication.shown_to(identity_.user);
      // Where this very conversation collapses for it, the notice brings it.
      if (!make_room_for(frame->size())) return false;
      if (notices_ && notices_->contains(conversation)) {
        notify(conversation, publication.seq);
      } else if (!catch_up_ || !catch_up_->listing) {
        push(std::move(frame));
      }
    }
  }
  return !std::exchange(delivered_, true) && !catch_up_;
}

bool Session::show(const Frame& frame) {
  if (half_full()) return false;
  push(frame);
  return true;
}

// One is in the outbox at a time: so it is known which one the reader has.
void Session::checkpoint(const Frame& frame, std::uint64_t batch) {
  if (checkpoint_ && waits(checkpoint_)) {
    std::vector<Frame> queued = take_queue();
    std::erase(queued, checkpoint_);
    put_queue(std::move(queued));
  } else {
    taken_batch_ = queued_batch_;
  }
  queued_batch_ = batch;
  checkpoint_ = frame;
  delivered_ = false;
  push(frame);
}

// ---- a reader who takes too slowly

void Session::notify(const ConversationId& id, Seq head, std::chrono::milliseconds spread) {
  if (!notices_) notices_ = std::make_unique<Notices>();
  notices_->moved(id, head, spread);
  taken();
}

void Session::taken() {
  if (!notices_) return;
  for (Frame& frame : notices_->due([this](const Frame& notice) { return waits(notice); })) {
    add(core_.counters.notices);
    push(std::move(frame));
    if (!notices_) return;
  }
}

void Session::collapse(std::size_t needed) {
  if (!notices_) notices_ = std::make_unique<Notices>();
  add(core_.counters.collapses);
  std::vector<Frame> queued = take_queue();
  notices_->collapse(queued, needed, bound());
  put_queue(std::move(queued));
  if (notices_->size() > Notices::most) return fall_back();
  if (notices_->size() == 0) notices_.reset();  // signals were enough
}

// Too much to be told one by one: it is brought on from its last checkpoint, as one who comes back, at its own pace.
// What it was told of before that checkpoint it pulls by itself.
void Session::fall_back() {
  add(core_.counters.resyncs);
  const bool waited = checkpoint_ && waits(checkpoint_);
  if (waited) queued_batch_ = taken_batch_;
  std::vector<Frame> queued = take_queue();
  std::erase_if(queued,
                [](const Frame& frame) { return protocol::place_of(*frame).kind != protocol::PushKind::other; });
  put_queue(std::move(queued));
  checkpoint_.reset();
  notices_.reset();
  catch_up_from(queued_batch_);
}

void Session::live(const ConversationId& id, Seq to) {
  if (!notices_) return;
  notices_->live(id, to);
  if (notices_->size() == 0) notices_.reset();
}

// ---- catching up

// What changed since then stands in the user's inbox entries once they are written; what is published from now on is
// noted. So nothing lies between the two.
void Session::catch_up_from(std::uint64_t batch) {
  catch_up_ = std::make_unique<CatchUp>(CatchUp{.number = ++catch_ups_, .batch = batch});
  list_changed();
}

void Session::list_changed() {
  home_->inbox().flush_then([self = shared_from_this(), number = catch_ups_](Status flushed) {
    if (!self->home_ || !self->catch_up_ || self->catch_up_->number != number) return;
    // Where they can't be written, on a full disk, memory knows them: who only reads is not turned away.
    if (!flushed) {
      for (const ConversationId& id : self->home_->inbox().unwritten(self->identity_.user)) {
        self->catch_up_->noted.insert(id);
      }
    }
    self->core_.store->read(
        *self->home_,
        [user = self->identity_.user, batch = self->catch_up_->batch](Storage& storage) {
          return changed_since(storage, user, batch);
        },
        [self, number](Result<std::vector<ConversationId>> changed) { self->listed(number, std::move(changed)); });
  });
}

void Session::listed(std::uint64_t number, Result<std::vector<ConversationId>> changed) {
  if (!home_ || !catch_up_ || catch_up_->number != number) return;
  if (!changed) return close(changed.error());
  for (const ConversationId& id : *changed) catch_up_->behind.emplace(id, std::nullopt);
  for (const ConversationId& id : catch_up_->noted) catch_up_->behind.emplace(id, std::nullopt);
  catch_up_->noted.clear();
  catch_up_->listing = false;
  next_page();
}

// One page at a time, while there is room: a slow reader is read for slowly.
void Session::next_page() {
  if (!catch_up_ || catch_up_->listing || catch_up_->waiting || half_full()) return;
  if (catch_up_->behind.empty()) {
    catch_up_.reset();
    delivered_ = true;
    return home_->hub().checkpoint_now(*this);
  }
  catch_up_->waiting = true;
  const auto& [conversation, after] = *catch_up_->behind.begin();
  Shard& shard = core_.home(conversation);
  shard.post([&shard, self = shared_from_this(), home = home_, number = catch_ups_, id = conversation,
              from = ReplayFrom{after, catch_up_->batch}]() mutable {
    shard.conversations().get(id)->replay({.user = self->identity_.user}, from,
                                          [self, home, number, id](Result<Replayed> replayed) {
                                            home->post([self, number, id, replayed = std::move(replayed)]() mutable {
                                              self->page(number, id, std::move(replayed));
                                            });
                                          });
  });
}

void Session::page(std::uint64_t number, const ConversationId& id, Result<Replayed> replayed) {
  if (!home_ || !catch_up_ || catch_up_->number != number) return;
  if (!replayed && replayed.error().code == ErrorCode::no_such_conversation) replayed = Replayed{.live = true};
  if (!replayed) return close(replayed.error());
  for (auto& [seq, frame] : replayed->frames) {
    if (half_full()) {  // goes on from here once there is room
      catch_up_->waiting = false;
      return;
    }
    push(std::move(frame));
    if (overflowed_ || !catch_up_ || catch_up_->number != number) return;
    catch_up_->behind[id] = seq;
  }
  catch_up_->waiting = false;
  if (replayed->live) {
    catch_up_->behind.erase(id);
  } else {
    catch_up_->behind[id] = replayed->covers_to;
  }
  next_page();
}

void Session::room() { next_page(); }

}  // namespace core
}  // namespace v1
}  // namespace chatcore
