#include "client/machine.h"

#include <algorithm>
#include <memory>
#include <variant>

namespace chatcore {
inline namespace v1 {
namespace client {
namespace {

using namespace std::chrono_literals;

constexpr auto login_deadline = 10s;
constexpr auto default_heartbeat = 30s;  // of a server that names none
constexpr std::chrono::milliseconds longest_spread = 60s;
constexpr auto pull_again = 1s;  // after a Sync that brought nothing
constexpr std::size_t small_push_bytes = 128;

// Coming again would change nothing.
bool is_final(ErrorCode code) {
  switch (code) {
    case ErrorCode::unauthenticated:
    case ErrorCode::version_too_new:
    case ErrorCode::forbidden:
    case ErrorCode::invalid:
    case ErrorCode::unknown_request:
      return true;
    default:
      return false;
  }
}

}  // namespace

Machine::Machine(MachineOptions options, Inbox& inbox, Surroundings& surroundings)
    : device_(std::move(options.device)),
      inbox_(inbox),
      surroundings_(surroundings),
      backoff_(options.backoff),
      queue_(*this, options.backoff),
      streams_(*this, std::move(options.instance), options.held_bytes),
      server_(std::move(options.resume.server)),
      resume_lost_(options.resume_lost) {
  for (const auto& [conversation, seq] : options.resume.seen) streams_.resume(conversation, seq);
}

// ---- what happened

void Machine::submit(Call call, SteadyTime now) {
  if (call.refused) {
    Error refused = std::move(*call.refused);
    return surroundings_.finished(std::move(call), std::move(refused));
  }
  if (state_ == State::ended) return surroundings_.finished(std::move(call), last_error_);
  if (call.id == Send::id) typing_.forget(call.to);
  if (call.id == SetTyping::id && typing_.is_repeat(call, now)) {
    return surroundings_.finished(std::move(call), protocol::View());
  }
  queue_.add(std::move(call));
  pump(now);
}

void Machine::connected(SteadyTime now) {
  if (state_ != State::dialing) return;
  state_ = State::login;
  wait_until_ = now + login_deadline;
  calls_ = 0;
  login_ = ++calls_;
  auto token = surroundings_.token();
  if (!token) return lose({ErrorCode::cancelled, "the token function threw"}, now);
  const protocol::Login login{.token = std::move(*token), .device = device_, .resume = server_};
  send(protocol::encode_client_frame(login_, protocol::Login::id, protocol::encode(login)), now);
}

void Machine::disconnected(const Error& why, SteadyTime now) {
  if (state_ == State::waiting || state_ == State::ended) return;
  wait_to_dial(why.code == ErrorCode::ok ? Error{ErrorCode::transport_failed, "the connection was closed"} : why, now);
}

void Machine::received(protocol::View frame, SteadyTime now) {
  if (state_ != State::login && state_ != State::ready) return;
  now_ = received_ = now;
  asked_.reset();
  auto decoded = protocol::decode_server_frame(frame);
  if (!decoded) return lose(decoded.error(), now);
  if (const auto* answer = std::get_if<protocol::Answer>(&*decoded)) {
    answered(*answer, now);
  } else if (auto* push = std::get_if<Push>(&*decoded)) {
    pushed(std::move(*push), frame.size(), now);
  } else if (const auto* checkpoint = std::get_if<Checkpoint>(&*decoded)) {
    passed(*checkpoint);
  }
  pump(now);
}

void Machine::reading(bool on, SteadyTime now) {
  if (on && !reading_) {
    received_ = now;
    if (asked_) asked_ = now;
  }
  reading_ = on;
}

bool Machine::tick(SteadyTime now) {
  now_ = now;
  if (std::exchange(resume_lost_, false)) start_again();
  switch (state_) {
    case State::waiting:
      if (now < wait_until_) return false;
      state_ = State::dialing;
      dial_ = true;
      return true;
    case State::login:
      if (now < wait_until_) return false;
      lose({ErrorCode::timeout, "the server did not answer the login"}, now);
      return true;
    case State::ready: {
      if (const auto dead = dead_at(); dead && *dead <= now) {
        lose({ErrorCode::timeout, "the server is silent"}, now);
        return true;
      }
      if (sent_ + heartbeat_ <= now) {
        if (!asked_) asked_ = now;
        send(protocol::encode_client_frame(++calls_, protocol::Ping::id, protocol::encode(protocol::Ping{})), now);
      }
      const std::size_t before = frames_.size();
      pump(now);
      return frames_.size() > before;
    }
    default:
      return false;
  }
}

void Machine::end(const Error& why) {
  last_error_ = why;
  if (state_ == State::ended) return;
  if (state_ != State::waiting) cut_ = why;
  state_ = State::ended;
  dial_ = false;
  frames_.clear();
  queue_.fail_all(why);
  put(Closed{why}, small_push_bytes);
}

// ---- what came

void Machine::answered(const protocol::Answer& answer, SteadyTime now) {
  if (state_ == State::ready) return queue_.answered(answer, now);
  if (answer.call != login_) return;
  if (answer.error) return is_final(answer.error->code) ? end(*answer.error) : lose(*answer.error, now);
  const auto welcome = protocol::decode<protocol::LoggedIn>(answer.body);
  if (!welcome) return lose({ErrorCode::malformed_frame, welcome.error().message}, now);
  logged_in(*welcome, now);
}

void Machine::logged_in(const protocol::LoggedIn& welcome, SteadyTime now) {
  state_ = State::ready;
  user_ = welcome.user;
  last_error_ = {};
  backoff_.reset();
  const std::uint64_t most_ms = std::chrono::milliseconds(24h).count();
  heartbeat_ = std::chrono::milliseconds(std::min(welcome.heartbeat_ms, most_ms));
  if (heartbeat_ == 0ms) heartbeat_ = default_heartbeat;
  sent_ = received_ = now;
  // The push that says so too follows; were it lost with the connection, the new place would hide it.
  reset_follows_ = welcome.reset;
  if (welcome.reset) start_again();
  if (!welcome.checkpoint.empty()) passed(welcome.checkpoint);
  queue_.session_began(welcome.session_requests, welcome.frame_bytes);
}

void Machine::pushed(Push push, std::size_t bytes, SteadyTime now) {
  if (const auto* closed = push.as<Closed>()) {
    return is_final(closed->why.code) ? end(closed->why) : lose(closed->why, now);
  }
  if (state_ != State::ready) return;
  if (auto* event = std::get_if<EventPtr>(&push)) {
    if (*event) streams_.event(std::move(*event), bytes);
  } else if (const auto* moved = push.as<HeadMoved>()) {
    streams_.head_moved(*moved);
  } else if (push.as<Reset>()) {
    if (!std::exchange(reset_follows_, false)) start_again();
  } else {
    put(std::move(push), bytes);
  }
}

// A checkpoint says that everything before it was pushed. Where some of that is held back or still to be pulled, it
// must not reach the application first.
void Machine::passed(const Checkpoint& checkpoint) {
  server_ = checkpoint;
  passed_ = checkpoint;
}

// Until a new checkpoint comes the old one stays: a login with it is answered with another reset, so nothing that
// happens in between is missed.
void Machine::start_again() {
  streams_.reset();
  queue_.forget_inner();
  passed_.reset();
  put(Reset{}, small_push_bytes);
}

// ---- the connection

void Machine::lose(const Error& why, SteadyTime now) {
  cut_ = why;
  wait_to_dial(why, now);
}

void Machine::wait_to_dial(const Error& why, SteadyTime now) {
  state_ = State::waiting;
  last_error_ = why;
  frames_.clear();
  asked_.reset();
  reset_follows_ = false;
  wait_until_ = now + std::max(why.retry_after, 0ms) + backoff_.next(surroundings_.random());
  queue_.session_ended();
}

std::optional<SteadyTime> Machine::dead_at() const {
  if (!reading_) return std::nullopt;
  const SteadyTime silent = received_ + 2 * heartbeat_;
  return asked_ ? std::min<SteadyTime>(silent, *asked_ + heartbeat_) : silent;
}

std::optional<SteadyTime> Machine::timer(SteadyTime now) const {
  switch (state_) {
    case State::waiting:
    case State::login:
      return wait_until_;
    case State::ready: {
      SteadyTime at = sent_ + heartbeat_;
      if (const auto dead = dead_at()) at = std::min(at, *dead);
      if (const auto queue = queue_.timer(now)) at = std::min(at, *queue);
      return at;
    }
    default:
      return std::nullopt;
  }
}

void Machine::pump(SteadyTime now) {
  if (passed_ && !streams_.pulling()) inbox_.passed(*std::exchange(passed_, std::nullopt));
  if (state_ != State::ready) return;
  while (auto frame = queue_.next(now, calls_ + 1)) {
    ++calls_;
    send(std::move(*frame), now);
  }
}

void Machine::send(Bytes frame, SteadyTime now) {
  sent_ = now;
  frames_.push_back(std::make_shared<const Bytes>(std::move(frame)));
}

// ---- queue and streams

void Machine::finished(Call call, Result<protocol::View> answer) {
  if (call.id == SetTyping::id && !answer) typing_.forget(call.to);
  // Before the caller hears of it: his next call may depend on it.
  if (call.makes_event && answer) {
    if (const auto accepted = protocol::decode<Accepted>(*answer); accepted && accepted->seq != 0) {
      streams_.acknowledged(accepted->conversation, accepted->seq);
    }
  }
  if (call.lane == Lane::inner) {
    call.finish(std::move(answer));
  } else {
    surroundings_.finished(std::move(call), std::move(answer));
  }
}

void Machine::put(Push push, std::size_t bytes) {
  if (inbox_.push(std::move(push), bytes)) surroundings_.ready();
}

void Machine::deliver(EventPtr event, std::size_t bytes) { put(Push(std::move(event)), bytes); }

void Machine::seen(const ConversationId& conversation, Seq seq) { inbox_.seen(conversation, seq); }

void Machine::unreadable(const HeadMoved& moved) { put(Push(moved), small_push_bytes); }

void Machine::pull(const ConversationId& conversation, Seq after, bool later, std::chrono::milliseconds spread) {
  Call call{.id = Sync::id, .lane = Lane::inner, .body = protocol::encode(Sync{conversation, after})};
  call.finish = [this, conversation](Result<protocol::View> answer) {
    if (!answer) return streams_.page(conversation, answer.error(), 0);
    streams_.page(conversation, protocol::decode<SyncPage>(*answer), answer->size());
  };
  SteadyTime at = later ? now_ + pull_again : SteadyTime{};
  if (spread > 0ms) {  // many were told at once
    const auto most = static_cast<std::uint64_t>(std::min<std::chrono::milliseconds>(spread, longest_spread).count());
    at = now_ + std::chrono::milliseconds(surroundings_.random() % (most + 1));
  }
  queue_.add(std::move(call), at);
}

}  // namespace client
}  // namespace v1
}  // namespace chatcore
