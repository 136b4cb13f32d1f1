#include "core/session.h"

#include <utility>

#include "core/hub.h"
#include "core/inbox.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {

Session::Session(Core& core, std::uint64_t id) : keep_(core.shared_from_this()), core_(core), id_(id) {}
Session::~Session() = default;

bool Session::begin(Shard& home, const Identity& identity, const std::optional<Checkpoint>& resume) {
  home_ = &home;
  identity_ = identity;
  begun_at_ = home.hub().complete_to();
  home.hub().join(shared_from_this());
  if (!resume || resume->empty()) return true;
  const std::optional<Place> place = to_place(*resume);
  if (!place || place->epoch != core_.epoch || place->batch > core_.store->last_batch()) return false;
  catch_up_ = std::make_unique<CatchUp>(CatchUp{.batch = place->batch});
  list_changed();
  return true;
}

void Session::end() {
  if (!home_) return;
  home_->hub().leave(*this);
  catch_up_.reset();
  home_ = nullptr;
}

void Session::push(Frame frame) {
  if (overflowed_) return;
  if (!has_room(frame->size())) make_room();
  if (!has_room(frame->size())) {
    overflowed_ = true;  // closed by a task of its own: the hub is going through its sessions now
    add(core_.counters.closed_slow);
    if (home_) {
      home_->post([self = shared_from_this()] {
        self->close({ErrorCode::overloaded, "this session took too slowly what it was sent: come back and resume", {}});
      });
    }
    return;
  }
  add(core_.counters.deliveries);
  queue(std::move(frame));
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
  if (publication.session != id_) push(publication.shown_to(identity_.user));
  return !std::exchange(delivered_, true) && !catch_up_;
}

bool Session::show(const Frame& frame) {
  if (half_full()) return false;
  push(frame);
  return true;
}

void Session::checkpoint(const Frame& frame) {
  delivered_ = false;
  push(frame);
}

// ---- catching up

// What changed since then stands in the user's inbox entries once they are written; what is published from now on is
// noted. So nothing lies between the two.
void Session::list_changed() {
  home_->inbox().flush_then([self = shared_from_this()](Status flushed) {
    if (!self->home_ || !self->catch_up_) return;
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
        [self](Result<std::vector<ConversationId>> changed) { self->listed(std::move(changed)); });
  });
}

void Session::listed(Result<std::vector<ConversationId>> changed) {
  if (!home_ || !catch_up_) return;
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
  shard.post([&shard, self = shared_from_this(), home = home_, id = conversation,
              from = ReplayFrom{after, catch_up_->batch}]() mutable {
    shard.conversations().get(id)->replay(self->identity_.user, from, [self, home, id](Result<Replayed> replayed) {
      home->post([self, id, replayed = std::move(replayed)]() mutable { self->page(id, std::move(replayed)); });
    });
  });
}

void Session::page(const ConversationId& id, Result<Replayed> replayed) {
  if (!home_ || !catch_up_) return;
  if (!replayed) return close(replayed.error());
  for (auto& [seq, frame] : replayed->frames) {
    if (half_full()) {  // goes on from here once there is room
      catch_up_->waiting = false;
      return;
    }
    push(std::move(frame));
    if (overflowed_ || !catch_up_) return;
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
