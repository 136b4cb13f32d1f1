#include "core/connection_session.h"

#include <algorithm>
#include <array>
#include <shared_mutex>
#include <utility>

#include "core/completion.h"
#include "core/hub.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {
constexpr std::size_t inbound_bound = 256 << 10;
constexpr std::size_t frames_a_send = 64;
constexpr std::size_t frames_a_drain = 16;

bool is_page(std::uint16_t request) {
  switch (static_cast<RequestId>(request)) {
    case RequestId::read_history:
    case RequestId::sync:
    case RequestId::list_members:
    case RequestId::list_conversations:
    case RequestId::get_profiles:
    case RequestId::get_presence:
    case RequestId::list_sessions:
      return true;
    default:
      return false;
  }
}

}  // namespace

ConnectionSession::ConnectionSession(Core& core, Shard& lobby, std::uint64_t id, std::shared_ptr<Connection> connection,
                                     AttachOptions options)
    : Session(core, id, own_bytes),
      lobby_(&lobby),
      connection_(std::move(connection)),
      given_(options.identity ? std::make_unique<const Identity>(*options.identity) : nullptr),
      rate_(std::max(1u, core.limits.requests_per_second), core.limits.request_burst),
      where_(&lobby) {}

void ConnectionSession::start() {
  since_ = core_.clock->steady();
  heard_ = since_.time_since_epoch().count();
  lobby_->hub().hold(std::static_pointer_cast<ConnectionSession>(shared_from_this()));
  std::shared_ptr<Connection> connection = connection_;
  guarded(core_, [&] { connection->attached(Link(std::static_pointer_cast<ConnectionSession>(shared_from_this()))); });
}

Shard* ConnectionSession::shard() const { return home_ ? home_ : lobby_; }

// ---- in

void ConnectionSession::receive(std::span<const std::byte> frame) {
  heard_.store(core_.clock->steady().time_since_epoch().count(), std::memory_order_relaxed);
  bool pause = false;
  {
    std::lock_guard lock(inbound_mutex_);
    inbound_.push(Bytes(frame.begin(), frame.end()));
    inbound_bytes_ += frame.size();
    add(core_.counters.inbound_bytes, frame.size());
    if (inbound_bytes_ > inbound_bound) pause = !std::exchange(is_paused_, true);
    if (!std::exchange(drain_posted_, true)) post_drain();
  }
  if (pause) tell_paused();
}

// What holds now: two threads that find different things may come here in either order.
void ConnectionSession::tell_paused() {
  std::lock_guard lock(connection_mutex_);
  bool paused;
  {
    std::lock_guard now(inbound_mutex_);
    paused = is_paused_;
  }
  if (connection_) guarded(core_, [&] { connection_->pause_reading(paused); });
}

void ConnectionSession::wake_drain() {
  std::lock_guard lock(inbound_mutex_);
  if (inbound_.empty() && !is_paused_) return;
  if (!std::exchange(drain_posted_, true)) post_drain();
}

void ConnectionSession::post_drain() {
  where_->post([self = shared_from_this(), at = where_] { static_cast<ConnectionSession&>(*self).drain(at); });
}

// Also while it moves: what the old shard still has of it is not for that one any more.
bool ConnectionSession::lives_on(const Shard& at) {
  std::lock_guard lock(inbound_mutex_);
  return where_ == &at;
}

template <class F>
void ConnectionSession::at_home(F run) {
  std::lock_guard lock(inbound_mutex_);
  if (is_moving_) return after_move_.push_back(std::move(run));
  where_->post([self = shared_from_this(), at = where_, run = std::move(run)]() mutable {
    auto& session = static_cast<ConnectionSession&>(*self);
    bool moved;
    {
      std::lock_guard still(session.inbound_mutex_);
      moved = session.where_ != at;
    }
    moved ? session.at_home(std::move(run)) : run(session);
  });
}

// The gate's first bar: one who has much under way, or does not take his answers, is not read further.
bool ConnectionSession::may_read() const {
  if (core_.under_way.load(std::memory_order_relaxed) >= static_cast<std::int64_t>(core_.limits.engine_requests)) {
    return false;
  }
  if (phase_ == Phase::open && !core_.fits(0)) return false;  // not refused: a later one might overtake it
  // An answer that may be long has its place reserved before it is asked for.
  if ((outbox_bytes_ + reserved_) * 2 >= core_.limits.outbox_bytes) return false;
  return phase_ != Phase::authenticating && !core_.stopping.load(std::memory_order_relaxed) &&
         under_way_ < core_.limits.session_requests && !half_full();
}

// The session's own limit. Who is over it is read again when he may go on: nothing is refused, so his order stays, and
// what he sends meanwhile costs nothing here.
bool ConnectionSession::is_within_rate(Shard& at) {
  if (core_.limits.requests_per_second == 0 || phase_ != Phase::open || identity_.trusted) return true;
  if (waits_for_rate_) return false;
  const auto wait = rate_.take(core_.clock->steady());
  if (!wait) return true;
  waits_for_rate_ = true;
  at.after(std::chrono::ceil<std::chrono::milliseconds>(*wait), [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    auto& session = static_cast<ConnectionSession&>(*self);
    session.waits_for_rate_ = false;
    session.wake_drain();
  });
  return false;
}

// A few frames an item. One that was posted before the session moved is not for here.
void ConnectionSession::drain(Shard* at) {
  bool more = true;
  for (std::size_t n = 1; more; ++n) {
    std::optional<Bytes> frame;
    bool unpause = false, pause = false;
    {
      std::lock_guard lock(inbound_mutex_);
      if (where_ != at) return;
      const bool reads = may_read() && (inbound_.empty() || is_within_rate(*at));
      if (reads && !inbound_.empty()) {
        frame = std::move(inbound_.front());
        inbound_.pop();
        inbound_bytes_ -= frame->size();
        sub(core_.counters.inbound_bytes, frame->size());
      }
      if (!reads) pause = !std::exchange(is_paused_, true);
      if (reads && inbound_.empty()) unpause = std::exchange(is_paused_, false);
      more = reads && !inbound_.empty();
      drain_posted_ = more && n >= frames_a_drain;
      if (drain_posted_) {
        post_drain();
        more = false;
      }
    }
    if (pause || unpause) tell_paused();
    if (frame && phase_ != Phase::closing && phase_ != Phase::gone) handle(*frame);
  }
}

void ConnectionSession::handle(const Bytes& bytes) {
  if (bytes.size() > core_.limits.frame_bytes) {  // our transports cut none so long
    add(core_.counters.closed_malformed);
    return close(
        {ErrorCode::malformed_frame, "a frame has at most " + std::to_string(core_.limits.frame_bytes) + " bytes", {}});
  }
  const auto frame = protocol::decode_client_frame(bytes);
  if (!frame) {
    add(core_.counters.closed_malformed);
    return close(frame.error());
  }
  if (frame->request == static_cast<std::uint16_t>(RequestId::ping)) {
    const auto now = static_cast<std::uint64_t>(core_.clock->wall().time_since_epoch().count());
    ++under_way_;
    return answer(frame->call, protocol::encode(protocol::Pong{now}));
  }
  if (frame->request == static_cast<std::uint16_t>(RequestId::login)) return log_in(*frame);
  request(*frame);
}

void ConnectionSession::request(const protocol::ClientFrame& frame) {
  ++under_way_;
  if (phase_ != Phase::open) return answer(frame.call, Error{ErrorCode::not_logged_in, "log in first"});
  if (identity_.expires <= core_.clock->wall()) {
    return answer(frame.call, Error{ErrorCode::not_logged_in, "the login has expired: log in again"});
  }
  Shard* const home = home_;
  const std::size_t reserved = is_page(frame.request) ? core_.limits.frame_bytes : 0;
  reserved_ += reserved;
  core_.under_way.fetch_add(1);
  core_.requests->dispatch(*home, caller(), frame.request, frame.body,
                           [self = shared_from_this(), home, call = frame.call, reserved](Result<Bytes> result) {
                             static_cast<ConnectionSession&>(*self).core_.under_way.fetch_sub(1);
                             home->run([self, call, reserved, result = std::move(result)]() mutable {
                               auto& session = static_cast<ConnectionSession&>(*self);
                               session.reserved_ -= reserved;
                               session.answer(call, std::move(result));
                             });
                           });
}

void ConnectionSession::answer(std::uint64_t call, Result<Bytes> result) {
  --under_way_;
  if (phase_ == Phase::closing || phase_ == Phase::gone) return;
  if (!result) add(core_.counters.refused);
  Bytes frame = result ? protocol::encode_answer(call, *result) : protocol::encode_answer(call, result.error());
  if (result && !has_room(frame.size()) && !core_.fits(0)) {  // its place was reserved when there was more
    frame = protocol::encode_answer(
        call, Error{ErrorCode::overloaded, "the answer does not fit into memory now: retry", std::chrono::seconds(1)});
  }
  push(std::make_shared<const Bytes>(std::move(frame)));
  wake_drain();
}

// ---- login

void ConnectionSession::log_in(const protocol::ClientFrame& frame) {
  ++under_way_;
  if (phase_ != Phase::login) return answer(frame.call, Error{ErrorCode::invalid, "this connection has logged in"});
  auto login = protocol::decode<protocol::Login>(frame.body);
  if (!login) return answer(frame.call, login.error());
  if (login->version > protocol::version) {
    return answer(frame.call,
                  Error{ErrorCode::version_too_new, "this server speaks version " + std::to_string(protocol::version)});
  }
  if (login->version == 0) return answer(frame.call, Error{ErrorCode::invalid, "version: must be 1 or more"});
  DeviceId device;
  if (!login->device.empty()) {
    auto made = DeviceId::make(login->device);
    if (!made) return answer(frame.call, Error{ErrorCode::invalid, "device: " + made.error().message});
    device = *made;
  }
  if (given_) {
    Identity identity = *given_;
    if (identity.device.empty()) identity.device = device;
    return authenticated(frame.call, std::move(login->resume), identity);
  }
  if (!core_.authenticator) {
    return answer(frame.call, Error{ErrorCode::unauthenticated, "this server takes no logins"});
  }
  phase_ = Phase::authenticating;
  revocations_before_ = core_.revocations;
  // Weak: a completion that the host keeps for ever must not keep the connection.
  auto done = std::make_shared<Done<Identity>>(
      first_completion<Identity>([waiting = weak_from_this(), lobby = lobby_, call = frame.call, device,
                                  resume = std::move(login->resume)](Result<Identity> identity) mutable {
        const auto self = std::static_pointer_cast<ConnectionSession>(waiting.lock());
        if (!self) return;
        if (identity) {
          identity->trusted = false;
          if (identity->device.empty()) identity->device = device;
        }
        lobby->post([self, call, resume = std::move(resume), identity = std::move(identity)]() mutable {
          self->authenticated(call, std::move(resume), std::move(identity));
        });
      }));
  try {
    core_.authenticator->authenticate({std::move(login->token), peer_address()},
                                      [done](Result<Identity> identity) { (*done)(std::move(identity)); });
  } catch (...) {
    add(core_.counters.callback_exceptions);
    (*done)(Error{ErrorCode::unauthenticated, "the login could not be checked", {}});
  }
}

std::string ConnectionSession::peer_address() const {
  std::string peer;
  std::lock_guard lock(connection_mutex_);
  if (connection_) guarded(core_, [&] { peer = connection_->peer_address(); });
  return peer;
}

void ConnectionSession::authenticated(std::uint64_t call, Checkpoint resume, Result<Identity> identity) {
  if (phase_ == Phase::closing || phase_ == Phase::gone || phase_ == Phase::open) {
    --under_way_;
    return;
  }
  if (identity && identity->user.empty()) {
    identity = Error{ErrorCode::unauthenticated, "the authenticator named no user"};
  }
  if (identity && identity->expires <= core_.clock->wall()) {  // it may have been long under way
    identity = Error{ErrorCode::unauthenticated, "the login has expired: get a new token"};
  }
  if (!identity) {
    phase_ = Phase::login;  // another attempt, until the login deadline
    return answer(call, identity.error());
  }
  // Frames that come from now on wait for the new home; where_ moves first, so that none is handled in between.
  Shard* const home = &core_.home(identity->user);
  {
    std::lock_guard lock(inbound_mutex_);
    where_ = home;
    is_moving_ = true;
    drain_posted_ = true;
  }
  lobby_->hub().release(*this);
  home->post([self = shared_from_this(), call, identity = *identity, resume = std::move(resume)] {
    static_cast<ConnectionSession&>(*self).welcome(call, identity, resume);
  });
}

void ConnectionSession::welcome(std::uint64_t call, const Identity& identity, const Checkpoint& resume) {
  lobby_ = &core_.home(identity.user);
  is_ready_ = false;  // the old shard forgot it
  std::vector<Function<void(ConnectionSession&)>> waited;
  {
    std::lock_guard lock(inbound_mutex_);
    is_moving_ = false;
    waited.swap(after_move_);
  }
  if (phase_ == Phase::closing || phase_ == Phase::gone) return;
  lobby_->hub().hold(std::static_pointer_cast<ConnectionSession>(shared_from_this()));
  if (Status may = lobby_->hub().may_begin(identity, revocations_before_); !may) {
    answer(call, may.error());
    close(may.error());
    for (auto& run : waited) run(*this);
    return;
  }
  phase_ = Phase::open;
  const bool resumed = begin(*lobby_, identity, resume);
  protocol::LoggedIn in{.version = protocol::version,
                        .user = identity.user,
                        .device = identity.device,
                        .epoch = core_.epoch,
                        .heartbeat_ms = static_cast<std::uint64_t>(core_.limits.heartbeat.count()),
                        .frame_bytes = core_.limits.frame_bytes,
                        .session_requests = core_.limits.session_requests,
                        .reset = !resumed};
  if (resume.empty() || !resumed) in.checkpoint = to_checkpoint({core_.epoch, begun_at_});
  answer(call, protocol::encode(in));
  if (!resumed) push(std::make_shared<const Bytes>(protocol::encode_reset()));
  for (auto& run : waited) run(*this);
  drain(lobby_);
  // Between the shards it may have missed that all are sent away.
  if (core_.stopping)
    close({ErrorCode::stopped, "the server is stopping: come back and resume", std::chrono::seconds(1)});
}

void ConnectionSession::sweep(Shard& at, SteadyTime now) {
  if (!lives_on(at)) return;
  if (phase_ == Phase::closing && now - since_ > std::chrono::seconds(5)) {  // it takes not even its farewell
    finish_close();
    return gone();
  }
  if ((phase_ == Phase::login || phase_ == Phase::authenticating) && now - since_ > core_.limits.login) {
    return close({ErrorCode::timeout, "no login within the time allowed", {}});
  }
  if (phase_ != Phase::open) return;
  if (identity_.expires <= core_.clock->wall()) {
    return close({ErrorCode::not_logged_in, "the login has expired: log in again", {}});
  }
  // One who is not read is not heard: then what counts is whether he takes what he is sent.
  bool paused;
  {
    std::lock_guard lock(inbound_mutex_);
    paused = is_paused_;
  }
  if (!outbox_.empty() && now - progress_ > core_.limits.stalled) return cut();
  const SteadyTime heard{SteadyTime::duration(heard_.load(std::memory_order_relaxed))};
  if (!paused && now - heard > 2 * core_.limits.heartbeat) {
    return close({ErrorCode::timeout, "nothing was heard for two heartbeats", {}});
  }
  if (paused) wake_drain();  // the engine may have been busy with others
}

// ---- out

bool ConnectionSession::has_room(std::size_t bytes) const { return outbox_bytes_ + bytes <= bound(); }
bool ConnectionSession::half_full() const { return outbox_bytes_ * 2 >= core_.limits.outbox_bytes; }

void ConnectionSession::queue(Frame frame) {
  if (outbox_.empty() && !is_full_) progress_ = core_.clock->steady();
  queued_one();
  outbox_bytes_ += frame->size();
  add(core_.counters.outbox_bytes, frame->size());
  outbox_.push(std::move(frame));
  if (!std::exchange(is_ready_, true)) shard()->ready(shared_from_this());
}

std::vector<Frame> ConnectionSession::take_queue() {
  sub(core_.counters.outbox_bytes, std::exchange(outbox_bytes_, 0));
  return outbox_.take_all();
}

void ConnectionSession::put_queue(std::vector<Frame> frames) {
  for (Frame& frame : frames) queue(std::move(frame));
}

bool ConnectionSession::waits(const Frame& frame) const {
  const auto all = outbox_.all();
  return std::find(all.begin(), all.end(), frame) != all.end();
}

void ConnectionSession::flush(Shard& at) {
  if (!lives_on(at)) return;
  is_ready_ = false;
  send_queued();
}

void ConnectionSession::send_queued() {
  if (phase_ == Phase::gone || is_full_) return;
  const bool was_half_full = half_full();
  bool took = false;
  // Nothing leaves under an old table of the host's: see MembershipChanges.
  std::shared_lock table(core_.membership_changes.mutex, std::defer_lock);
  std::vector<Stale> stale;
  if (hosted_since() != 0) {
    table.lock();
    stale = take_stale();
  }
  while (!outbox_.empty() && !is_full_) {
    const std::size_t count = std::min(outbox_.size(), frames_a_send);
    SendResult sent;
    {
      std::lock_guard lock(connection_mutex_);
      if (!connection_) return;
      guarded(core_, [&] { sent = connection_->send(outbox_.all().first(count)); });
    }
    if (sent.closed) return;
    const std::size_t taken = std::min(sent.taken, count);
    std::size_t bytes = 0;
    for (const Frame& frame : outbox_.all().first(taken)) bytes += frame->size();
    outbox_.pop(taken);
    outbox_bytes_ -= bytes;
    sub(core_.counters.outbox_bytes, bytes);
    is_full_ = taken < count;
    if (taken != 0) progress_ = core_.clock->steady(), took = true;
  }
  if (outbox_.empty()) nothing_queued();
  if (table.owns_lock()) table.unlock();
  for (const Stale& each : stale) look_up_again(each);
  if (phase_ == Phase::closing && outbox_.empty()) return finish_close();
  if (took && has_notices()) taken();
  if (was_half_full && !half_full()) {
    room();
    wake_drain();
  }
}

void ConnectionSession::writable() {
  at_home([](ConnectionSession& session) {
    session.is_full_ = false;
    session.send_queued();
  });
}

// ---- the end

void ConnectionSession::close(const Error& why) {
  if (phase_ == Phase::closing || phase_ == Phase::gone) return;
  phase_ = Phase::closing;
  since_ = core_.clock->steady();
  close_reason_ = why;
  Shard* const home = shard();
  end();
  lobby_ = home;
  queue(std::make_shared<const Bytes>(protocol::encode_closed(why)));
}

// What waits would not be taken either: it goes, and the farewell is all that is still tried.
void ConnectionSession::cut() {
  add(core_.counters.closed_slow);
  take_queue();
  close({ErrorCode::overloaded, "this connection took nothing for too long: come back and resume", {}});
  send_queued();
  finish_close();
}

// A peer that takes nothing does not keep the connection open.
void ConnectionSession::revoke(const Error& why) {
  take_queue();
  close(why);
  shard()->after(std::chrono::milliseconds(500), [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    auto& session = static_cast<ConnectionSession&>(*self);
    if (session.phase_ != Phase::closing) return;
    if (!session.outbox_.empty()) session.finish_close();
    session.gone();
  });
}

void ConnectionSession::finish_close() {
  std::lock_guard lock(connection_mutex_);
  if (!connection_ || std::exchange(is_close_told_, true)) return;
  guarded(core_, [&] { connection_->close(close_reason_); });
}

void ConnectionSession::closed(const Error& why) {
  at_home([why](ConnectionSession& session) {
    if (why.code == ErrorCode::malformed_frame) add(session.core_.counters.closed_malformed);
    session.gone();
  });
}

void ConnectionSession::gone() {
  if (phase_ == Phase::gone) return;
  phase_ = Phase::gone;
  Shard* const home = shard();
  end();
  home->hub().release(*this);
  take_queue();
  limit_.reset();
  let_go();
  std::lock_guard lock(inbound_mutex_);
  inbound_.clear();
  sub(core_.counters.inbound_bytes, std::exchange(inbound_bytes_, 0));
}

void ConnectionSession::let_go() {
  std::shared_ptr<Connection> connection;  // ends without the lock
  std::lock_guard lock(connection_mutex_);
  connection = std::move(connection_);
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
