#include "core/local_session.h"

#include <algorithm>
#include <iterator>
#include <shared_mutex>
#include <utility>

#include "core/hub.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace detail {

LocalSession::LocalSession(core::Core& core, std::uint64_t id, SessionOptions options)
    : Session(core, id, sizeof(LocalSession) + 512),
      options_(std::move(options)),
      rate_(std::max(1u, core.limits.requests_per_second), core.limits.request_burst) {
  const Identity& who = options_.identity;         // requests may come before it begins
  if (options_.resume) taken_ = *options_.resume;  // a host that goes again at once keeps its place
  if (core.user_limits && !who.trusted && !who.user.empty()) limit_ = core.user_limits->of(who.user);
}

LocalSession::~LocalSession() { core::sub(core_.counters.outbox_bytes, bytes_); }  // what nobody took

void LocalSession::start() {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    started_ = true;
  }
  core::Shard& home = core_.home(options_.identity.user);
  if (Status may = home.hub().may_begin(options_.identity, revocations_before_); !may) return close(may.error());
  const bool resumed = begin(home, options_.identity, options_.resume);
  home.hub().watch_expiry(shared_from_this());
  // First its place: a host that takes the reset, and goes, comes back to it.
  if (!resumed || !options_.resume || options_.resume->empty()) home.hub().checkpoint_now(*this);
  if (!resumed) queue(std::make_shared<const Bytes>(protocol::encode_reset()));
}

void LocalSession::refuse(const Error& why) { close(why); }

void LocalSession::queue(Frame frame) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    queued_one();
    bytes_ += frame->size();
    core::add(core_.counters.outbox_bytes, frame->size());
    outbox_.push_back(std::move(frame));
  }
  if (!std::exchange(is_ready_, true) && home_) home_->ready(shared_from_this());
}

std::vector<Frame> LocalSession::take_queue() {
  std::lock_guard lock(mutex_);
  if (closed_) return {};
  core::sub(core_.counters.outbox_bytes, std::exchange(bytes_, 0));
  std::vector<Frame> frames(std::move_iterator(outbox_.begin()), std::move_iterator(outbox_.end()));
  outbox_.clear();
  return frames;
}

void LocalSession::put_queue(std::vector<Frame> frames) {
  for (Frame& frame : frames) queue(std::move(frame));
}

bool LocalSession::waits(const Frame& frame) const {
  std::lock_guard lock(mutex_);
  return std::find(outbox_.begin(), outbox_.end(), frame) != outbox_.end();
}

void LocalSession::tell_ready() {
  is_ready_ = false;
  filled_.notify_all();
  std::lock_guard lock(ready_mutex_);
  if (options_.on_ready && !silent_) core::guarded(core_, [&] { options_.on_ready(); });
}

void LocalSession::close(const Error& why) {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
    over_ = true;
    outbox_.push_back(std::make_shared<const Bytes>(protocol::encode_closed(why)));
  }
  end();
  tell_ready();
}

void LocalSession::revoke(const Error& why) {
  (void)take_queue();
  close(why);
}

bool LocalSession::has_room(std::size_t bytes) const {
  std::lock_guard lock(mutex_);
  return bytes_ + bytes <= bound();
}

bool LocalSession::half_full() const {
  std::lock_guard lock(mutex_);
  return bytes_ * 2 >= options_.outbox_bytes;
}

std::optional<Push> LocalSession::take() {
  for (;;) {
    Frame frame;
    bool half = false;
    // Nothing leaves under an old table of the host's: see core::MembershipChanges.
    const core::MembershipChanges& changes = core_.membership_changes;
    std::shared_lock table(changes.mutex, std::defer_lock);
    if (hosted_since() != 0) table.lock();
    {
      std::lock_guard lock(mutex_);
      if (outbox_.empty()) {
        nothing_queued();
        return {};
      }
      frame = std::move(outbox_.front());
      outbox_.pop_front();
      if (!closed_ || bytes_ >= frame->size()) {
        half = bytes_ * 2 >= options_.outbox_bytes && (bytes_ - frame->size()) * 2 < options_.outbox_bytes;
        const std::size_t size = std::min(bytes_, frame->size());
        bytes_ -= size;
        core::sub(core_.counters.outbox_bytes, size);
      }
    }
    const auto place = protocol::place_of(*frame);
    if (table.owns_lock() && is_stale_push(place)) continue;
    if (half || place.kind == protocol::PushKind::head_moved) {
      core_.home(options_.identity.user).post([self = shared_from_this()] {
        auto& session = static_cast<LocalSession&>(*self);
        session.taken();
        if (!session.half_full()) session.room();
      });
    }
    auto decoded = protocol::decode_server_frame(*frame);
    if (!decoded) continue;  // our own bytes
    if (auto* checkpoint = std::get_if<Checkpoint>(&*decoded)) {
      std::lock_guard lock(mutex_);
      taken_ = std::move(*checkpoint);
    } else if (auto* push = std::get_if<Push>(&*decoded)) {
      return std::move(*push);
    }
  }
}

bool LocalSession::is_stale_push(const protocol::PushPlace& place) {
  const core::MembershipChanges& changes = core_.membership_changes;
  const std::uint64_t since = hosted_since();
  if (since == 0 || since == changes.version()) return false;
  if (place.kind == protocol::PushKind::checkpoint) return true;
  if (place.kind == protocol::PushKind::signal) {
    core_.home(options_.identity.user).post([self = shared_from_this()] {
      static_cast<LocalSession&>(*self).signals_lost();
    });
    return true;
  }
  if (place.kind != protocol::PushKind::event && place.kind != protocol::PushKind::head_moved) return false;
  const auto id = ConversationId::make(place.conversation);
  if (!id || !changes.since(since, *id, options_.identity.user)) return false;
  Stale stale{*id, place.kind == protocol::PushKind::event ? std::optional(place.seq) : std::nullopt};
  core_.home(options_.identity.user).post([self = shared_from_this(), stale = std::move(stale)] {
    static_cast<LocalSession&>(*self).look_up_again(stale);
  });
  return true;
}

bool LocalSession::wait(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return filled_.wait_for(lock, time, [&] { return !outbox_.empty(); });
}

Checkpoint LocalSession::checkpoint_taken() const {
  std::lock_guard lock(mutex_);
  return taken_;
}

Status LocalSession::enter_call() {
  const Identity& who = options_.identity;
  if (over_) return Error{ErrorCode::stopped, "the session is closed", {}};
  if (who.expires <= core_.clock->wall()) {
    return Error{ErrorCode::not_logged_in, "the login has expired: log in again", {}};
  }
  if (core_.limits.requests_per_second != 0 && !who.trusted) {
    if (const auto wait = rate_.take(core_.clock->steady())) {
      return core::rate_limited("requests of this session", *wait);
    }
  }
  if (calls_.fetch_add(1) < core_.limits.session_requests) return {};
  calls_.fetch_sub(1);
  return Error{ErrorCode::overloaded, "too many requests of this session are under way", std::chrono::milliseconds(10)};
}

void LocalSession::leave_call() { calls_.fetch_sub(1); }

void LocalSession::close_from_outside() {
  over_ = true;
  if (closed_from_outside_.exchange(true)) return;
  {
    std::lock_guard lock(ready_mutex_);
    silent_ = true;  // from now on: what on_ready refers to may go
  }
  core_.home(options_.identity.user).post([self = shared_from_this()] {
    self->close({ErrorCode::stopped, "the session was closed", {}});
  });
}

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
