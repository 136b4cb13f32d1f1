#include "client/core.h"

#include <algorithm>
#include <random>
#include <system_error>

namespace chatcore {
inline namespace v1 {
namespace detail {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t call_bytes = sizeof(client::Call) + 64;  // of a queued request, beside its body
constexpr std::size_t mail_slack = 16 << 20;                   // frames that were cut before reading was paused

class SystemClock final : public Clock {
 public:
  TimePoint wall() override { return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now()); }
  SteadyTime steady() override { return std::chrono::steady_clock::now(); }
};

ClientOptions completed(ClientOptions options) {
  if (!options.runtime.clock) options.runtime.clock = std::make_shared<SystemClock>();
  if (!options.runtime.random) {
    options.runtime.random = [device = std::make_unique<std::random_device>()] {
      return static_cast<std::uint64_t>((*device)()) << 32 | (*device)();
    };
  }
  if (!options.dialer) options.dialer = make_tcp_dialer(options.server, 16 << 20, options.tls);
  return options;
}

// New at each run: numbers that began again under an old instance would be taken for repeats.
std::string new_instance(std::uint64_t random) {
  std::string text(16, '0');
  for (char& digit : text) {
    digit = "0123456789abcdef"[random & 15];
    random >>= 4;
  }
  return text;
}

client::MachineOptions machine_options(const ClientOptions& options, std::string instance,
                                       const std::optional<client::Place>& resume) {
  return {.device = options.device,
          .instance = std::move(instance),
          .resume = resume.value_or(client::Place{}),
          .resume_lost = !resume,
          .held_bytes = options.inbox_bytes,
          .backoff = {options.backoff_first, options.backoff_most}};
}

}  // namespace

Result<std::shared_ptr<ClientCore>> ClientCore::open(ClientOptions options) {
  if (!options.dialer && options.server.address.empty() && options.server.port == 0) {
    return Error{ErrorCode::invalid, "ClientOptions: name a server or give a dialer"};
  }
  if (!options.token) return Error{ErrorCode::invalid, "ClientOptions::token is missing"};
  if (options.threads > 1) return Error{ErrorCode::invalid, "ClientOptions::threads is 0 or 1"};
  // A checkpoint that cannot be read is a place that is gone: the first push says so.
  std::optional<client::Place> resume = client::Place{};
  if (options.resume && !options.resume->empty()) resume = client::decode_place(*options.resume);
  try {
    auto core = std::make_shared<ClientCore>(completed(std::move(options)), resume);
    if (core->options_.threads > 0) core->thread_ = std::thread([core] { core->run(); });
    return core;
  } catch (const std::system_error& error) {  // no thread, no random device
    return Error{ErrorCode::overloaded, error.what()};
  }
}

ClientCore::ClientCore(ClientOptions options, const std::optional<client::Place>& resume)
    : options_(std::move(options)),
      inbox_(options_.inbox_bytes, resume.value_or(client::Place{})),
      instance_(new_instance(random())),
      machine_(machine_options(options_, instance_, resume), inbox_, *this) {}

ClientCore::~ClientCore() = default;

// ---- callers

void ClientCore::submit(client::Call call, bool numbered, Function<Bytes(const IdempotencyKey&)> encode) {
  {
    // Number, bytes and place in the mail under one lock: numbers have to leave in order.
    std::lock_guard lock(mutex_);
    call.body = encode(numbered ? IdempotencyKey(instance_, numbers_ + 1) : IdempotencyKey());
    call.cost = call.body.size() + call_bytes;
    if (closing_) {
      call.refused = Error{ErrorCode::stopped, "the client is closed"};
    } else if (queued_bytes_ + call.cost > options_.queue_bytes) {
      call.refused = Error{ErrorCode::overloaded, "ClientOptions::queue_bytes: too much is not yet answered"};
    } else if (numbered) {
      ++numbers_;
    }
    if (call.refused) call.cost = 0;
    queued_bytes_ += call.cost;
    ++unanswered_;
    mail_.push_back(std::move(call));
  }
  wake();
}

std::optional<Push> ClientCore::take(std::chrono::milliseconds wait) {
  const auto end = std::chrono::steady_clock::now() + std::min<std::chrono::milliseconds>(wait, 24h);
  for (bool last = false;;) {
    auto taken = inbox_.take(options_.threads > 0 ? wait : 0ms);
    if (taken.drained) wake();
    if (taken.push || last || options_.threads > 0 || on_driver()) return std::move(taken.push);
    const auto rest = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    drive(1ms, std::clamp<std::chrono::milliseconds>(rest, 0ms, longest_wait));
    std::lock_guard lock(mutex_);
    last = closed_ || rest <= 0ms;
  }
}

PollResult ClientCore::poll(std::chrono::microseconds budget) noexcept {
  return options_.threads > 0 ? PollResult{} : drive(budget, 0ms);
}

ClientStatus ClientCore::status() const {
  std::lock_guard lock(mutex_);
  ClientStatus status = status_;
  status.unanswered = unanswered_;
  return status;
}

void ClientCore::close() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  if (on_driver()) return;  // from a callback: he sees it when it returns
  wake();
  if (options_.threads > 0) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_; });
  } else {
    std::lock_guard lock(driving_);  // whoever polls at present comes back soon
    driver_ = std::this_thread::get_id();
    while (leaving()) step(options_.runtime.clock->steady());
    driver_ = std::thread::id();
  }
}

void ClientCore::end() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  close();
  wake();
  if (!thread_.joinable()) return;
  if (on_driver()) {
    thread_.detach();  // it holds what it needs
  } else {
    thread_.join();
  }
}

// ---- the mail

void ClientCore::post(Post post) {
  {
    std::lock_guard lock(mutex_);
    mail_.push_back(std::move(post));
  }
  wake();
}

void ClientCore::receive(std::uint64_t wire, std::span<const std::byte> frame) {
  {
    std::lock_guard lock(mutex_);
    if (closed_ || wire == overrun_) return;
    if (mail_bytes_ + frame.size() > options_.inbox_bytes + mail_slack) {
      // A transport with a thread of its own, and a host that does not poll. Nothing is lost: the server has it all.
      overrun_ = wire;
      mail_.push_back(Lost{wire, {ErrorCode::overloaded, "the client was not polled"}, true});
    } else {
      mail_bytes_ += frame.size();
      mail_.push_back(Received{wire, Bytes(frame.begin(), frame.end())});
    }
  }
  wake();
}

void ClientCore::wake() {
  if (on_driver()) return;
  bool stopped;
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(woken_, true)) return;
    stopped = closed_;
  }
  changed_.notify_all();
  if (!stopped) guarded([&] { options_.dialer->wake(); });
  if (options_.threads == 0 && options_.runtime.wake) guarded([&] { options_.runtime.wake(); });
}

std::optional<ClientCore::Post> ClientCore::next_post() {
  std::lock_guard lock(mutex_);
  woken_ = false;
  if (mail_.empty()) return std::nullopt;
  std::optional<Post> post = std::move(mail_.front());
  mail_.pop_front();
  if (const auto* received = std::get_if<Received>(&*post)) mail_bytes_ -= received->frame.size();
  return post;
}

bool ClientCore::mail_waits() const { return woken_ || !mail_.empty() || (closing_ && !closed_); }

// ---- what the host gave

std::uint64_t ClientCore::random() {
  std::uint64_t number = 0;
  guarded([&] { number = options_.runtime.random(); });
  return number;
}

std::optional<std::string> ClientCore::token() {
  std::optional<std::string> token;
  guarded([&] { token = options_.token(); });
  return token;
}

void ClientCore::finished(client::Call call, Result<protocol::View> answer) {
  bool is_news = false;
  {
    std::lock_guard lock(mutex_);
    queued_bytes_ -= call.cost;
    --unanswered_;
    is_news = status_.connected != machine_.logged_in();
  }
  if (is_news) publish_status();  // who has the answer may ask for it
  guarded([&] { call.finish(std::move(answer)); });
}

void ClientCore::ready() {
  if (options_.on_ready) guarded([&] { options_.on_ready(); });
}

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
