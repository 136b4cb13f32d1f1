#include <algorithm>
#include <string>
#include <utility>

#include "client/core.h"
#include "core/link_target.h"

// ClientCore, the driver's side: what runs on the client's thread.

namespace chatcore {
inline namespace v1 {
namespace detail {
namespace {

using namespace std::chrono_literals;

constexpr auto turn = 10ms;              // of a thread of our own
constexpr auto idle_look = 2ms;          // at a dialer whose poll does not wait
constexpr unsigned posts_in_a_row = 64;  // before timers and the connection have their turn

}  // namespace

class ClientCore::Wire final : public LinkTarget {
 public:
  Wire(std::weak_ptr<ClientCore> core, std::uint64_t number) : core_(std::move(core)), number_(number) {}
  void receive(std::span<const std::byte> frame) override {
    if (const auto core = core_.lock()) core->receive(number_, frame);
  }
  void writable() override {
    if (const auto core = core_.lock()) core->post(Writable{number_});
  }
  void closed(const Error& why) override {
    if (const auto core = core_.lock()) core->post(Lost{number_, why});
  }

 private:
  std::weak_ptr<ClientCore> core_;
  std::uint64_t number_;
};

void ClientCore::run() noexcept {
  for (;;) {
    drive(turn, longest_wait);
    std::lock_guard lock(mutex_);
    if (ending_ && closed_ && mail_.empty()) return;
  }
}

PollResult ClientCore::drive(std::chrono::microseconds budget, std::chrono::milliseconds wait) noexcept {
  PollResult result;
  std::unique_lock driving(driving_, std::defer_lock);
  if (on_driver()) return result;  // from a callback
  if (!driving.try_lock()) {
    std::unique_lock lock(mutex_);
    if (wait > 0ms) changed_.wait_for(lock, idle_look);
    return result;
  }
  driver_ = std::this_thread::get_id();
  Clock& clock = *options_.runtime.clock;
  const SteadyTime start = clock.steady();
  SteadyTime now = start;
  for (; step(now); ++result.handled) {
    now = clock.steady();
    result.more = now - start >= budget && !leaving();
    if (result.more) {
      ++result.handled;
      break;
    }
  }
  guarded([&] { flush(); });
  publish_status();
  result.next = longest_wait;
  if (const auto timer = machine_.timer(now)) {
    const auto rest = std::chrono::ceil<std::chrono::milliseconds>(*timer - now);
    result.next = std::clamp<std::chrono::milliseconds>(rest, 0ms, longest_wait);
  }
  if (result.handled == 0 && wait > 0ms) wait_for_mail(std::min(wait, result.next));
  if (std::lock_guard lock(mutex_); mail_waits()) result.more = true;
  driver_ = std::thread::id();
  return result;
}

// One thing. Without memory for it the connection is given up: what it brought comes again.
bool ClientCore::step(SteadyTime now) noexcept {
  try {
    if (leaving()) return shut(now);
    if (++steps_ % posts_in_a_row != 0) {
      if (auto post = next_post()) return handle(std::move(*post), now), true;
    }
    if (act(now)) return true;
    if (auto post = next_post()) return handle(std::move(*post), now), true;
    bool came = false;
    if (!stopped_) guarded([&] { came = options_.dialer->poll(0us); });
    return came;
  } catch (...) {
    cut({ErrorCode::overloaded, "out of memory"});
    machine_.disconnected({ErrorCode::overloaded, "out of memory"}, now);
    return true;
  }
}

void ClientCore::handle(Post post, SteadyTime now) {
  if (auto* call = std::get_if<client::Call>(&post)) {
    machine_.submit(std::move(*call), now);
  } else if (auto* came = std::get_if<Opened>(&post)) {
    opened(std::move(came->connection), now);
  } else if (const auto* received = std::get_if<Received>(&post)) {
    if (connection_ && received->wire == wire_) machine_.received(received->frame, now);
  } else if (const auto* writable = std::get_if<Writable>(&post)) {
    writable_ = writable_ || writable->wire == wire_;
  } else if (const auto* lost = std::get_if<Lost>(&post)) {
    gone(*lost, now);
  }
  if (const auto why = machine_.take_cut()) cut(*why);
}

void ClientCore::opened(Result<std::shared_ptr<Connection>> connection, SteadyTime now) {
  if (!machine_.dialing()) return;
  if (!connection) return machine_.disconnected(connection.error(), now);
  if (!*connection) return machine_.disconnected({ErrorCode::transport_failed, "the dialer gave no connection"}, now);
  connection_ = std::move(*connection);
  ++wire_;
  writable_ = true;
  paused_ = false;
  machine_.reading(true, now);
  if (guarded([&] { connection_->attached(Link(std::make_shared<Wire>(weak_from_this(), wire_))); })) {
    machine_.connected(now);
  } else {
    connection_.reset();
    machine_.disconnected({ErrorCode::transport_failed, "the connection threw"}, now);
  }
}

void ClientCore::gone(const Lost& lost, SteadyTime now) {
  if (!lost.given_up) std::erase_if(leaving_, [&](const auto& one) { return one.first == lost.wire; });
  if (!connection_ || lost.wire != wire_) return;
  if (lost.given_up) cut(lost.why);
  connection_.reset();
  outbox_.clear();
  machine_.disconnected(lost.why, now);
  log("the network ended the connection: " + lost.why.message);
}

// What is due: timers, the connection.
bool ClientCore::act(SteadyTime now) {
  bool acted = machine_.tick(now);
  if (const auto why = machine_.take_cut()) cut(*why);
  if (const bool full = inbox_.full(); connection_ && full != paused_) {
    paused_ = full;
    machine_.reading(!full, now);
    guarded([&] { connection_->pause_reading(full); });
    acted = true;
  }
  acted = flush() || acted;
  if (machine_.take_dial()) {
    const auto done = [core = weak_from_this()](Result<std::shared_ptr<Connection>> connection) {
      if (const auto self = core.lock()) self->post(Opened{std::move(connection)});
    };
    if (!guarded([&] { options_.dialer->dial(done); })) {
      machine_.disconnected({ErrorCode::transport_failed, "the dialer threw"}, now);
    }
    acted = true;
  }
  return acted;
}

void ClientCore::cut(const Error& why) {
  outbox_.clear();
  if (!connection_) return;
  auto connection = leaving_.emplace_back(wire_, std::exchange(connection_, nullptr)).second;
  guarded([&] { connection->close(why); });
  log("closed the connection: " + why.message);
}

void ClientCore::log(std::string_view line) {
  if (options_.runtime.log) guarded([&] { options_.runtime.log(LogLevel::info, line); });
}

bool ClientCore::flush() {
  for (Frame& frame : machine_.take_frames()) outbox_.push_back(std::move(frame));
  if (!connection_ || !writable_ || outbox_.empty()) return false;
  SendResult sent;
  if (!guarded([&] { sent = connection_->send(outbox_); })) sent.closed = true;
  if (sent.closed) {
    post(Lost{wire_, {ErrorCode::transport_failed, "the connection is gone"}, true});
    outbox_.clear();
    return true;
  }
  const std::size_t taken = std::min(sent.taken, outbox_.size());
  outbox_.erase(outbox_.begin(), outbox_.begin() + static_cast<std::ptrdiff_t>(taken));
  writable_ = outbox_.empty();
  return true;
}

bool ClientCore::leaving() const {
  std::lock_guard lock(mutex_);
  return closing_ && (!closed_ || !mail_.empty());
}

// Everything is answered with `stopped`, then the network goes; later only late calls are answered.
bool ClientCore::shut(SteadyTime now) {
  const Error why{ErrorCode::stopped, "the client is closed"};
  machine_.end(why);
  while (auto post = next_post()) {
    if (auto* call = std::get_if<client::Call>(&*post)) machine_.submit(std::move(*call), now);
  }
  if (std::exchange(stopped_, true)) return true;
  cut(why);
  guarded([&] { options_.dialer->stop(); });
  leaving_.clear();
  publish_status();
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
  return true;
}

void ClientCore::wait_for_mail(std::chrono::milliseconds wait) {
  const auto until = std::chrono::steady_clock::now() + wait;
  {
    std::lock_guard lock(mutex_);
    if (mail_waits()) return;
  }
  bool came = false;
  if (!stopped_) guarded([&] { came = options_.dialer->poll(wait); });
  if (came) return;
  // Woken, or this dialer's poll does not wait: then it is looked at every now and then.
  const auto look = stopped_ ? until : std::min(until, std::chrono::steady_clock::now() + idle_look);
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, look, [&] { return mail_waits(); });
}

void ClientCore::publish_status() {
  std::lock_guard lock(mutex_);
  status_.connected = machine_.logged_in();
  status_.user = machine_.user();
  const Error& why = machine_.last_error();
  if (status_.last_error.code != why.code || status_.last_error.message != why.message) status_.last_error = why;
}

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
