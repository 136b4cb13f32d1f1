#include <chatcore/client.h>

#include <type_traits>
#include <utility>

#include "client/core.h"
#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace {

// Abandon's key is the one it speaks of.
template <class R>
constexpr bool has_key = requires(R request) {
  request.key;
}
&&!std::is_same_v<R, Abandon>;

template <class R>
constexpr bool makes_event = std::is_same_v<typename R::Reply, Accepted>;

template <class R>
constexpr bool at_most_once = std::is_same_v<R, SendEphemeral> || std::is_same_v<R, SetTyping>;

template <class R>
constexpr bool begins_or_ends_typing = std::is_same_v<R, Send> || std::is_same_v<R, SetTyping>;

template <class R>
Function<void(Result<protocol::View>)> decoding(Done<typename R::Reply> done) {
  if (!done) return [](const Result<protocol::View>&) {};
  return [done = std::move(done)](Result<protocol::View> answer) mutable {
    if (!answer) return done(answer.error());
    auto reply = protocol::decode<typename R::Reply>(*answer);
    if (!reply) return done(Error{ErrorCode::malformed_frame, "the server's answer: " + reply.error().message});
    done(std::move(reply));
  };
}

}  // namespace

Client::Client(std::shared_ptr<detail::ClientCore> core) : core_(std::move(core)) {}
Client::Client(Client&&) noexcept = default;

Client& Client::operator=(Client&& other) noexcept {
  if (this != &other) {
    const auto old = std::exchange(core_, std::move(other.core_));
    if (old) old->end();
  }
  return *this;
}

Client::~Client() {
  if (core_) core_->end();
}

Result<Client> Client::open(ClientOptions options) {
  auto core = detail::ClientCore::open(std::move(options));
  if (!core) return core.error();
  return Client(std::move(*core));
}

template <Request R>
void Client::call(R request, Done<typename R::Reply> done) {
  if (!core_) return;
  client::Call call{.id = R::id, .once = at_most_once<R>, .makes_event = makes_event<R>};
  call.finish = decoding<R>(std::move(done));
  if constexpr (begins_or_ends_typing<R>) call.to = protocol::encode(SetTyping{.to = request.to});
  if constexpr (has_key<R>) {
    call.lane = client::Lane::write;
    core_->submit(std::move(call), request.key.empty(), [&](const IdempotencyKey& key) {
      if (!key.empty()) request.key = key;
      return protocol::encode(request);
    });
  } else {
    core_->submit(std::move(call), false, [&](const IdempotencyKey&) { return protocol::encode(request); });
  }
}

std::optional<Push> Client::take(std::chrono::milliseconds wait) {
  const auto core = core_;  // a callback may destroy this handle
  return core ? core->take(wait) : std::nullopt;
}

PollResult Client::poll(std::chrono::microseconds budget) noexcept {
  const auto core = core_;
  return core ? core->poll(budget) : PollResult{};
}

Checkpoint Client::checkpoint() const { return core_ ? core_->checkpoint() : Checkpoint{}; }

ClientStatus Client::status() const { return core_ ? core_->status() : ClientStatus{}; }

void Client::close() {
  if (const auto core = core_) core->close();
}

#define CHATCORE_INSTANTIATE(R) template CHATCORE_API void Client::call<R>(R, Done<R::Reply>);
CHATCORE_FOR_EACH_REQUEST(CHATCORE_INSTANTIATE)
#undef CHATCORE_INSTANTIATE

}  // namespace v1
}  // namespace chatcore
