#include <chatcore/engine.h>

#include <utility>

#include "core/local_session.h"
#include "engine/calls.h"
#include "engine/engine_core.h"

namespace chatcore {
inline namespace v1 {

Engine::Engine(std::shared_ptr<detail::EngineCore> core) : core_(std::move(core)) {}
Engine::Engine(Engine&&) noexcept = default;

Engine& Engine::operator=(Engine&& other) noexcept {
  if (this != &other) {
    if (core_) static_cast<void>(stop(std::chrono::seconds(1)));
    core_ = std::move(other.core_);
  }
  return *this;
}

Engine::~Engine() {
  if (core_) static_cast<void>(stop(std::chrono::seconds(1)));
}

Result<Engine> Engine::open(EngineOptions options) {
  auto core = detail::EngineCore::open(std::move(options));
  if (!core) return core.error();
  return Engine(std::move(*core));
}

template <Request R>
void Engine::call(Identity as, R request, Done<typename R::Reply> done) {
  detail::start_call<R>(core_->core(), {std::move(as), 0}, std::move(request), std::move(done));
}

Session Engine::open_session(SessionOptions options) { return Session(core_->open_session(std::move(options))); }

void Engine::attach(std::shared_ptr<Connection> connection, AttachOptions options) {
  core_->attach(std::move(connection), std::move(options));
}

Result<Endpoint> Engine::listen(std::unique_ptr<Transport> transport) { return core_->listen(std::move(transport)); }

void Engine::revoke(const UserId& user, const DeviceId& device) { core_->revoke(user, device); }

PollResult Engine::poll(std::chrono::microseconds budget) noexcept { return core_->poll(budget); }
void Engine::run() noexcept { core_->run(); }
Status Engine::stop(std::chrono::milliseconds deadline) noexcept { return core_->stop(deadline); }
void Engine::membership_changed(const ConversationId& id) { core_->membership_changed(id); }
void Engine::membership_changed(const UserId& user) { core_->membership_changed(user); }
void Engine::profile_changed(const UserId& user) { core_->profile_changed(user); }
void Engine::read_feed(std::uint64_t after, std::uint32_t limit, std::chrono::milliseconds wait,
                       Done<FeedEvents> done) {
  core_->read_feed(after, limit, wait, std::move(done));
}
Stats Engine::stats() const noexcept { return core_->stats(); }

// ---- Session

namespace {

// Later, and also where nothing runs any more.
template <class T>
void answer_later(core::Core& core, Done<T> done, Error why) {
  core.shards.front()->post(
      [why = std::move(why),
       reply = core::Reply<T>([keep = core.shared_from_this(), done = std::move(done)](Result<T> r) mutable {
         if (done) core::guarded(*keep, [&] { done(std::move(r)); });
       })]() mutable { reply(std::move(why)); });
}

}  // namespace

Session::Session() = default;
Session::Session(std::shared_ptr<detail::LocalSession> session) : session_(std::move(session)) {}
Session::Session(Session&&) noexcept = default;

Session& Session::operator=(Session&& other) noexcept {
  if (this != &other) {
    close();
    session_ = std::move(other.session_);
  }
  return *this;
}

Session::~Session() { close(); }

template <Request R>
void Session::call(R request, Done<typename R::Reply> done) {
  if (!session_) {  // there is no engine that could answer later
    if (done) done(Error{ErrorCode::stopped, "the session is closed", {}});
    return;
  }
  detail::LocalSession& session = *session_;
  core::Core& core = session.core();
  if (Status may = session.enter_call(); !may) return answer_later(core, std::move(done), may.error());
  detail::start_call<R>(core, session.caller_from_outside(), std::move(request), std::move(done),
                        [keep = session_] { keep->leave_call(); });
}

std::optional<Push> Session::take(std::chrono::milliseconds wait) {
  if (!session_ || session_->is_closed_from_outside()) return {};
  const auto end = std::chrono::steady_clock::now() + wait;
  for (;;) {
    if (auto push = session_->take()) return push;
    core::Core& core = session_->core();
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= std::chrono::nanoseconds(0)) return {};  // without a poll: its time would be in nobody's budget
    if (core.help && core.help()) continue;
    session_->wait(
        std::min(std::chrono::ceil<std::chrono::milliseconds>(left), std::chrono::milliseconds(core.help ? 1 : 1000)));
  }
}

Checkpoint Session::checkpoint() const { return session_ ? session_->checkpoint_taken() : Checkpoint{}; }

void Session::close() {
  if (session_) session_->close_from_outside();
}

#define CHATCORE_INSTANTIATE(R)                                                     \
  template CHATCORE_API void Engine::call<R>(Identity, R, Done<typename R::Reply>); \
  template CHATCORE_API void Session::call<R>(R, Done<typename R::Reply>);
CHATCORE_FOR_EACH_REQUEST(CHATCORE_INSTANTIATE)
#undef CHATCORE_INSTANTIATE

}  // namespace v1
}  // namespace chatcore
