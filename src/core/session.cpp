#include "core/session.h"

#include <algorithm>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "core/ask_host.h"
#include "core/hub.h"
#include "core/inbox.h"
#include "core/shard.h"
#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace core {

Session::Session(Core& core, std::uint64_t id, std::size_t own_bytes)
    : keep_(core.shared_from_this()),
      core_(core),
      revocations_before_(core.revocations),
      id_(id),
      own_bytes_(own_bytes) {
  add(core.counters.session_bytes, own_bytes_);
}

Session::~Session() { sub(core_.counters.session_bytes, own_bytes_); }

std::size_t Session::bounded(std::size_t bound) const {
  constexpr std::size_t least = 4096;
  return core_.fits(0) ? bound : std::min(bound, least);
}

bool Session::begin(Shard& home, const Identity& identity, const std::optional<Checkpoint>& resume) {
  home_ = &home;
  identity_ = identity;
  if (!limit_ && core_.user_limits && !identity.trusted) limit_ = core_.user_limits->of(identity.user);
  begun_at_ = queued_batch_ = taken_batch_ = home.hub().complete_to();
  since_ = core_.clock->wall();
  home.hub().join(shared_from_this());
  const bool resumes = resume && !resume->empty();
  const std::optional<Place> place = resumes ? to_place(*resume) : std::nullopt;
  if (!place || place->epoch != core_.epoch || place->batch > core_.store->last_batch()) {
    catch_up_from(begun_at_, true);
    return !resumes;
  }
  queued_batch_ = taken_batch_ = place->batch;
  catch_up_from(place->batch, false);
  return true;
}

void Session::end() {
  if (!home_) return;
  home_->hub().leave(*this);
  catch_up_.reset();
  notices_.reset();
  home_ = nullptr;
}

namespace {

constexpr std::chrono::milliseconds look_again_after{1000};

// So that not all who are told of something read it at once: about 10,000 a second.
std::chrono::milliseconds spread_of(const Core& core, const Session::Seen* seen) {
  const std::size_t readers = seen ? seen->followers * core.shards.size() : 0;
  return std::chrono::milliseconds(readers < 100 ? 0 : std::min<std::size_t>(readers / 10, 10'000));
}

// What a table of the host's answers late, or not at all: see Membership.
bool is_of_host(const Error& error) {
  return error.code == ErrorCode::timeout || error.code == ErrorCode::cancelled || error.code == ErrorCode::overloaded;
}

}  // namespace

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

bool Session::is_stale(std::uint64_t asked_at, const ConversationId& id) const {
  const MembershipChanges& changes = core_.membership_changes;
  if (asked_at == changes.version()) return false;
  std::shared_lock lock(changes.mutex);
  return changes.since(asked_at, id, identity_.user);
}

void Session::stands_on(std::uint64_t asked_at) { stands_on_ = asked_at; }

void Session::queued_one() {
  const std::uint64_t asked_at = std::exchange(stands_on_, 0), since = hosted_since();
  if (asked_at != 0 && (since == 0 || asked_at < since)) hosted_since_.store(asked_at, std::memory_order_relaxed);
}

bool Session::deliver(const ConversationId& id, const Publication& publication, const Seen* seen) {
  if (catch_up_) {
    if (catch_up_->listing) {
      catch_up_->noted.insert(id);
      return false;
    }
    if (catch_up_->behind.contains(id)) return false;
  }
  const std::uint64_t asked_at = seen ? seen->asked_at : publication.asked_at;
  if (publication.unseen_from || (publication.asked_at != 0 && is_stale(asked_at, id))) {
    fall_behind(id, publication.unseen_from.value_or(publication.seq - 1));
    return false;
  }
  // The session that it came through has the acknowledgement.
  if (publication.session != id_) {
    Notices::Moved told{.from = publication.seq - 1, .head = publication.seq, .asked_at = asked_at};
    if (publication.notify_only) told.spread = spread_of(core_, seen);
    if (publication.notify_only || (notices_ && notices_->contains(id))) {
      notify(id, told);
    } else {
      Frame frame = publication.shown_to(identity_.user, seen ? seen->intervals : nullptr);
      if (!make_room_for(frame->size())) return false;
      if (notices_ && notices_->contains(id)) {  // it is the one that collapsed to make room
        notify(id, told);
      } else if (!catch_up_ || !catch_up_->listing) {
        stands_on(asked_at);
        push(std::move(frame));
      }
    }
  }
  return !std::exchange(delivered_, true) && !catch_up_;
}

bool Session::follows(const ConversationId& id) const {
  return std::any_of(follows_.begin(), follows_.end(), [&](const Follow& f) { return f.conversation == id; });
}

bool Session::show(const Frame& frame, const ConversationId& id, std::uint64_t asked_at) {
  if (half_full() || (asked_at != 0 && is_stale(asked_at, id))) return false;
  stands_on(asked_at);
  push(frame);
  return true;
}

// One is in the outbox at a time: so it is known which one the reader has.
void Session::checkpoint(const Frame& frame, std::uint64_t batch) {
  if (!home_) return;  // closed meanwhile: its last word is said
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

void Session::notify(const ConversationId& id, const Notices::Moved& moved) {
  if (!notices_) notices_ = std::make_unique<Notices>();
  notices_->moved(id, moved);
  taken();
}

void Session::taken() {
  if (!notices_) return;
  for (const auto& [id, asked_at] : notices_->due([this](const Frame& notice) { return waits(notice); })) {
    if (!notices_ || !notices_->contains(id)) continue;
    if (asked_at != 0 && is_stale(asked_at, id)) {
      look_up_again({id, {}});
      continue;
    }
    add(core_.counters.notices);
    stands_on(asked_at);
    push(notices_->notice(id));
  }
}

void Session::collapse(std::size_t needed) {
  if (!notices_) notices_ = std::make_unique<Notices>();
  add(core_.counters.collapses);
  const std::size_t most = bound();  // with what is queued: where memory is short it is little
  std::vector<Frame> queued = take_queue();
  notices_->collapse(queued, needed, most, hosted_since());
  put_queue(std::move(queued));
  signals_lost();
  if (notices_->size() > Notices::most) return fall_back();
  // It may have made room where the peer did not: then it goes on here, and not when he takes something.
  if (catch_up_) home_->post([self = shared_from_this()] { self->room(); });
  if (notices_->size() == 0) notices_.reset();  // signals were enough
}

// Later: whoever is told may want to show them again.
void Session::signals_lost() {
  if (!home_) return;
  home_->post([self = shared_from_this()] {
    if (self->home_) self->home_->hub().signals_lost(*self);
  });
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
  catch_up_from(queued_batch_, false);
}

// A push that stands on what the host's table said before it changed does not leave: its conversation is read again, as
// far as he may see it now.
std::vector<Session::Stale> Session::take_stale() {
  std::vector<Stale> stale;
  const MembershipChanges& changes = core_.membership_changes;
  const std::uint64_t since = hosted_since(), version = changes.version();
  if (since == 0 || since == version) return stale;
  if (checkpoint_ && waits(checkpoint_)) queued_batch_ = taken_batch_;  // it may cover what goes
  std::vector<Frame> queued = take_queue();
  std::erase_if(queued, [&](const Frame& frame) {
    using protocol::PushKind;
    const auto place = protocol::place_of(*frame);
    if (place.kind == PushKind::signal || frame == checkpoint_) return true;
    if (place.kind != PushKind::event && place.kind != PushKind::head_moved) return false;
    const auto id = ConversationId::make(place.conversation);
    if (!id || !changes.since(since, *id, identity_.user)) return false;
    stale.push_back({*id, place.kind == PushKind::event ? std::optional(place.seq) : std::nullopt});
    return true;
  });
  put_queue(std::move(queued));
  hosted_since_.store(version, std::memory_order_relaxed);
  signals_lost();
  return stale;
}

void Session::look_up_again(const Stale& stale) {
  if (stale.seq) return fall_behind(stale.id, *stale.seq - 1);
  const auto from = notices_ ? notices_->withdraw(stale.id) : std::nullopt;
  if (notices_ && notices_->size() == 0) notices_.reset();
  if (from) fall_behind(stale.id, *from);
}

void Session::live(const ConversationId& id, Seq to) {
  if (!notices_) return;
  notices_->live(id, to);
  if (notices_->size() == 0) notices_.reset();
}

// ---- catching up

void Session::catch_up_from(std::uint64_t batch, bool is_new) {
  catch_up_ = std::make_unique<CatchUp>(CatchUp{.number = ++catch_ups_, .batch = batch, .is_new = is_new});
  list_changed();
}

// What changed since then stands in the user's inbox entries once they are written; what is published from now on is
// noted. So nothing lies between the two. One who begins only has to find what he follows.
void Session::list_changed() {
  if (catch_up_->is_new) {
    note_unwritten();
    return read_changed();
  }
  home_->inbox().flush_then([self = shared_from_this(), number = catch_ups_](Status flushed) {
    if (!self->home_ || !self->catch_up_ || self->catch_up_->number != number) return;
    // Where they can't be written, on a full disk, memory knows them: who only reads is not turned away.
    if (!flushed) self->note_unwritten();
    self->read_changed();
  });
}

void Session::note_unwritten() {
  for (const ConversationId& id : home_->inbox().unwritten(identity_.user)) catch_up_->noted.insert(id);
}

void Session::read_changed() {
  core_.store->read(
      *home_,
      [user = identity_.user, batch = catch_up_->batch,
       is_new = catch_up_->is_new](Storage& storage) -> Result<std::vector<ConversationId>> {
        auto places = channels_of(storage, user);
        if (!places || is_new) return places;
        auto changed = changed_since(storage, user, batch);
        if (!changed) return changed;
        places->insert(places->end(), changed->begin(), changed->end());
        return places;
      },
      [self = shared_from_this(), number = catch_ups_](Result<std::vector<ConversationId>> changed) {
        if (!changed) return self->listed(number, std::move(changed));
        self->ask_places(number, std::move(*changed));
      });
}

// And those that the host's table knows.
void Session::ask_places(std::uint64_t number, std::vector<ConversationId> changed) {
  if (!home_ || !core_.membership) return listed(number, std::move(changed));
  ask_host<std::vector<ConversationId>>(
      *home_, [&](auto done) { core_.membership->conversations(identity_.user, std::move(done)); },
      [self = shared_from_this(), number,
       changed = std::move(changed)](Result<std::vector<ConversationId>> places) mutable {
        if (!places) return self->listed(number, places.error());
        changed.insert(changed.end(), places->begin(), places->end());
        self->listed(number, std::move(changed));
      });
}

void Session::listed(std::uint64_t number, Result<std::vector<ConversationId>> changed) {
  if (!home_ || !catch_up_ || catch_up_->number != number) return;
  if (!changed && !catch_up_->is_new) return close(changed.error());
  catch_up_->places_missing = !changed;
  if (!changed) {
    home_->after(look_again_after, [weak = weak_from_this(), number] {
      const auto self = weak.lock();
      if (self && self->home_ && self->catch_up_ && self->catch_up_->number == number) self->read_changed();
    });
    changed = std::vector<ConversationId>();
  }
  for (const ConversationId& id : *changed) catch_up_->behind.try_emplace(id);
  for (const ConversationId& id : catch_up_->noted) catch_up_->behind.try_emplace(id);
  catch_up_->noted.clear();
  catch_up_->listing = false;
  next_page();
}

void Session::look_for_places(std::uint64_t since) {
  if (!home_ || !core_.membership) return;
  ++looking_;
  ask_host<std::vector<ConversationId>>(
      *home_, [&](auto done) { core_.membership->conversations(identity_.user, std::move(done)); },
      [self = shared_from_this(), since](Result<std::vector<ConversationId>> places) {
        --self->looking_;
        if (!self->home_) return;
        if (!places) return self->look_again_for_places(since);
        for (const ConversationId& id : *places) {
          if (!self->follows(id)) self->fall_behind(id, std::nullopt, since);
        }
        if (self->wants_checkpoint()) self->home_->hub().checkpoint_now(*self);
      });
}

// Who follows is asked about before each push anyway; who comes has to be found.
void Session::look_again_for_places(std::uint64_t since) {
  const bool waits = looks_again_ != no_batch;
  looks_again_ = std::min(looks_again_, since);
  if (waits) return;
  home_->after(look_again_after, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->look_for_places(std::exchange(self->looks_again_, no_batch));
  });
}

void Session::fall_behind(const ConversationId& id, std::optional<Seq> after, std::uint64_t since) {
  if (!home_) return;
  if (!catch_up_) {
    catch_up_ = std::make_unique<CatchUp>(
        CatchUp{.number = ++catch_ups_, .batch = home_->hub().complete_to(), .listing = false});
  }
  const auto [behind, is_new] = catch_up_->behind.try_emplace(id, CatchUp::Behind{after, 0, since});
  behind->second.since = std::min(behind->second.since, since);
  // What was dropped from the outbox lies before what a place by batch would bring.
  if (!is_new && after && (!behind->second.after || *after < *behind->second.after)) {
    behind->second.after = after;
    ++behind->second.asked;
  }
  next_page();
}

// One page at a time, while there is room: a slow reader is read for slowly.
void Session::next_page() {
  if (!catch_up_ || catch_up_->listing || catch_up_->waiting || half_full()) return;
  if (catch_up_->behind.empty()) {
    if (catch_up_->places_missing) return;
    const bool has_moved = !catch_up_->is_new || delivered_;
    catch_up_.reset();
    delivered_ = has_moved;
    if (has_moved) home_->hub().checkpoint_now(*this);
    return;
  }
  catch_up_->waiting = true;
  const auto& [conversation, behind] = *catch_up_->behind.begin();
  Shard& shard = core_.home(conversation);
  shard.post([&shard, self = shared_from_this(), home = home_, number = catch_ups_, asked = behind.asked,
              id = conversation, from = ReplayFrom{behind.after, std::min(behind.since, catch_up_->batch)}]() mutable {
    shard.conversations().get(id)->replay(
        {.user = self->identity_.user}, from, [self, home, number, asked, id](Result<Replayed> replayed) {
          home->post([self, number, asked, id, replayed = std::move(replayed)]() mutable {
            self->page(number, asked, id, std::move(replayed));
          });
        });
  });
}

void Session::page(std::uint64_t number, unsigned asked, const ConversationId& id, Result<Replayed> replayed) {
  if (!home_ || !catch_up_ || catch_up_->number != number) return;
  catch_up_->waiting = false;
  const auto found = catch_up_->behind.find(id);
  if (found == catch_up_->behind.end() || found->second.asked != asked) return next_page();
  CatchUp::Behind& behind = found->second;  // stays where it is, whatever else falls behind meanwhile
  if (!replayed && replayed.error().code == ErrorCode::no_such_conversation) replayed = Replayed{.live = true};
  if (!replayed) return is_of_host(replayed.error()) ? next_page_later() : close(replayed.error());
  if (replayed->asked_at != 0 && is_stale(replayed->asked_at, id)) return next_page();  // once more
  for (auto& [seq, frame] : replayed->frames) {
    if (half_full()) return;  // goes on from here once there is room
    stands_on(replayed->asked_at);
    delivered_ = true;
    push(std::move(frame));
    if (overflowed_ || !catch_up_ || catch_up_->number != number) return;
    if (behind.asked != asked) return next_page();  // it fell further behind
    behind.after = seq;
  }
  behind.after = replayed->covers_to;
  if (replayed->live) {
    catch_up_->behind.erase(id);
    read_to_the_end(id, *replayed);
  }
  next_page();
}

// The host's table could not be asked: what is missing can wait, and nothing else of the session depends on it.
void Session::next_page_later() {
  catch_up_->waiting = true;
  home_->after(look_again_after, [weak = weak_from_this(), number = catch_ups_] {
    const auto self = weak.lock();
    if (!self || !self->home_ || !self->catch_up_ || self->catch_up_->number != number) return;
    self->catch_up_->waiting = false;
    self->next_page();
  });
}

void Session::read_to_the_end(const ConversationId& id, const Replayed& replayed) {
  if (replayed.follow) {
    home_->hub().follow(shared_from_this(), id, replayed.intervals, replayed.asked_at);
  } else {
    home_->hub().unfollow(*this, id);
  }
  if (replayed.notice) {
    const Seq from = replayed.head - std::min<Seq>(replayed.head, 1);
    notify(id, {.from = from, .head = replayed.head, .asked_at = replayed.asked_at});
  }
}

void Session::room() {
  if (home_) next_page();
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
