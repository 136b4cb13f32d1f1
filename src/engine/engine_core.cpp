#include "engine/engine_core.h"

#include <algorithm>
#include <utility>

#include "core/connection_session.h"
#include "core/feed.h"
#include "core/hints.h"
#include "core/hub.h"
#include "core/inbox.h"
#include "core/local_session.h"
#include "core/pages.h"
#include "core/shard.h"
#include "core/store.h"
#include "features/presence.h"
#include "features/table.h"

namespace chatcore {
inline namespace v1 {
namespace detail {
namespace {

class SystemClock final : public Clock {
 public:
  TimePoint wall() override {
    return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }
  SteadyTime steady() override { return std::chrono::steady_clock::now(); }
};

// The host's, which may throw: then it stands still.
class GuardedClock final : public Clock {
 public:
  GuardedClock(std::shared_ptr<Clock> clock, core::Counters& counters)
      : clock_(std::move(clock)), counters_(counters) {}
  TimePoint wall() override {
    try {
      const TimePoint now = clock_->wall();
      wall_.store(now, std::memory_order_relaxed);
      return now;
    } catch (...) {
      core::add(counters_.callback_exceptions);
      return wall_.load(std::memory_order_relaxed);
    }
  }
  SteadyTime steady() override {
    try {
      const SteadyTime now = clock_->steady();
      steady_.store(now, std::memory_order_relaxed);
      return now;
    } catch (...) {
      core::add(counters_.callback_exceptions);
      return steady_.load(std::memory_order_relaxed);
    }
  }

 private:
  const std::shared_ptr<Clock> clock_;
  core::Counters& counters_;
  std::atomic<TimePoint> wall_{};
  std::atomic<SteadyTime> steady_{};
};

constexpr std::chrono::minutes sweep_every{1};
constexpr std::chrono::milliseconds relieve_every{100};

Error out_of_memory() {
  return {ErrorCode::overloaded, "the engine holds as much in memory as it may: come again later",
          std::chrono::seconds(1)};
}

Error invalid(std::string what) { return {ErrorCode::invalid, std::move(what), {}}; }

Status check(const EngineOptions& options) {
  const Limits& limits = options.limits;
  if (!options.storage) {
    return invalid(
        "EngineOptions::storage is missing: give make_rocksdb_storage({.path = ...}) or make_memory_storage()");
  }
  if (options.memory_bytes != 0 && options.memory_bytes < (1 << 20)) {
    return invalid("EngineOptions::memory_bytes: 0, or at least 1 MiB");
  }
  if (options.shards < 1 || options.shards > 64) return invalid("EngineOptions::shards: 1 to 64");
  if (options.threads > 64) return invalid("EngineOptions::threads: 0 to 64");
  if (options.storage_threads && *options.storage_threads == 0 && options.threads != 0) {
    return invalid("EngineOptions::storage_threads: 0 only where threads is 0 too, as the storage blocks");
  }
  if (options.storage_threads && *options.storage_threads > 64) {
    return invalid("EngineOptions::storage_threads: 0 to 64");
  }
  if (limits.frame_bytes < 1024 || limits.frame_bytes > (16u << 20)) {
    return invalid("Limits::frame_bytes: 1 KiB to 16 MiB");
  }
  std::size_t room = limits.frame_bytes;
  for (const std::size_t part : {std::size_t{4096}, limits.text_bytes, limits.content_bytes, limits.metadata_bytes}) {
    if (part > room) {
      return invalid("Limits::frame_bytes: must hold text_bytes + content_bytes + metadata_bytes and 4 KiB");
    }
    room -= part;
  }
  if (limits.group_members > limits.frame_bytes / 256) {
    return invalid("Limits::group_members: at most frame_bytes / 256, so that an event that names them fits a frame");
  }
  if (limits.fan_out_on_read == 0 || limits.fan_out_on_write >= limits.fan_out_on_read) {
    return invalid("Limits::fan_out_on_write: less than fan_out_on_read, which is at least 1");
  }
  if (options.membership_deadline.count() <= 0) return invalid("EngineOptions::membership_deadline: more than 0");
  if (limits.outbox_bytes < 2 * limits.frame_bytes) {
    return invalid("Limits::outbox_bytes: at least twice frame_bytes");
  }
  if (limits.session_requests == 0 || limits.engine_requests == 0 || limits.page_items == 0) {
    return invalid("Limits::session_requests, engine_requests and page_items: at least 1");
  }
  if (limits.group_members == 0 || limits.login.count() <= 0 || limits.heartbeat.count() <= 0 ||
      limits.stalled.count() <= 0 || limits.live_tick.count() <= 0 || limits.typing.count() <= 0) {
    return invalid("Limits::group_members, login, heartbeat, stalled, live_tick and typing: more than 0");
  }
  constexpr unsigned most = 1'000'000;
  for (const auto& [rate, burst] : {std::pair(limits.messages_per_second, limits.message_burst),
                                    std::pair(limits.conversation_per_second, limits.conversation_burst),
                                    std::pair(limits.requests_per_second, limits.request_burst)}) {
    if (rate > most)
      return invalid("Limits::messages_per_second, requests_per_second, conversation_per_second: 0 to 1,000,000");
    if (rate != 0 && (burst == 0 || burst > most)) {
      return invalid("Limits::message_burst, request_burst, conversation_burst: 1 to 1,000,000 where there is a rate");
    }
  }
  if (options.policy_deadline.count() <= 0) return invalid("EngineOptions::policy_deadline: more than 0");
  return {};
}

}  // namespace

Result<std::shared_ptr<EngineCore>> EngineCore::open(EngineOptions options) {
  if (Status ok = check(options); !ok) return ok.error();
  std::shared_ptr<EngineCore> engine(new EngineCore(options));
  if (Status started = engine->start(options); !started) return started.error();
  return engine;
}

EngineCore::EngineCore(EngineOptions& options)
    : core_(std::make_shared<core::Core>()),
      authenticator_(std::move(options.authenticator)),
      membership_(std::move(options.membership)),
      policy_(std::move(options.policy)),
      host_wake_(std::move(options.runtime.wake)),
      thread_count_(options.threads) {
  core_->limits = options.limits;
  core_->durability = options.durability;
  core_->memory_budget = options.memory_bytes;
  if (options.runtime.clock) {
    core_->clock = std::make_shared<GuardedClock>(std::move(options.runtime.clock), core_->counters);
  } else {
    core_->clock = std::make_shared<SystemClock>();
  }
  if (const Limits& limits = core_->limits; limits.messages_per_second != 0) {
    core_->user_limits =
        std::make_shared<core::UserLimits>(limits.messages_per_second, limits.message_burst, core_->clock);
  }
  core_->random_source = std::move(options.runtime.random);
  core_->log_sink = std::move(options.runtime.log);
  core_->authenticator = authenticator_.get();
  core_->membership = membership_.get();
  core_->membership_deadline = options.membership_deadline;
  core_->policy = policy_.get();
  core_->policy_deadline = options.policy_deadline;
  core_->policy_default = std::move(options.policy_default);
  core_->exempt = std::move(options.exempt);
  core_->profiles = std::move(options.profiles);
  core_->requests = &features::wire_table;
}

Status EngineCore::start(EngineOptions& options) {
  std::shared_ptr<Storage> storage = std::move(options.storage);
  Result<StoreInfo> info =
      Error{ErrorCode::storage_unavailable, "the storage threw an exception while it was opened", {}};
  std::uint64_t time = 0;
  Status recovered;
  try {
    info = storage->open(options.durability);
    if (!info) return info.error();
    if (info->durability < options.durability) {
      return invalid(
          "EngineOptions::durability: more than this storage can give; ask for less, or take another storage");
    }
    recovered = core::recover_inbox(*storage, info->last_batch, options.shards);
    if (!recovered) return recovered;
    auto persisted = core::read_number(*storage, "time");
    if (!persisted) return persisted.error();
    time = *persisted;
  } catch (...) {
    return Error{ErrorCode::storage_unavailable, "the storage threw an exception while it was opened", {}};
  }
  core_->epoch = info->epoch;
  core_->first_batch = info->last_batch;
  core_->time.start(*core_->clock, time);
  for (unsigned i = 0; i < options.shards; ++i) core_->shards.push_back(std::make_unique<core::Shard>(*core_, i));

  const unsigned storage_threads =
      options.storage_threads.value_or(options.threads == 0 ? 0 : std::min(2u, 1 + info->max_concurrency));
  const bool with_store = storage_threads == 0;
  for (unsigned i = 0; i < std::max(1u, thread_count_); ++i) {
    loops_.push_back(std::make_unique<Loop>(*core_, with_store));
  }
  for (auto& shard : core_->shards) {
    Loop& loop = *loops_[shard->index() % loops_.size()];
    loop.add(*shard);
    shard->on_wake([&loop] { loop.wake(); });
    features::attend(*shard);
    shard->post([this, &shard = *shard] {
      sweep(shard);
      if (core_->memory_budget != 0) relieve(shard);
    });
  }
  if (options.pubsub) core_->hints = std::make_unique<core::Hints>(*core_, std::move(options.pubsub));
  // Last: its threads tell the shards what they did.
  core_->store = std::make_unique<core::Store>(*core_, std::move(storage), storage_threads);
  core_->store->on_wake([&loop = *loops_.front()] { loop.wake(); });
  if (thread_count_ == 0) {
    loops_.front()->on_idle_wake(&host_wake_);
    core_->help = [engine = weak_from_this()] {
      const auto self = engine.lock();
      return self && self->poll(std::chrono::milliseconds(1)).handled > 0;
    };
  }
  start_threads();
  if (core_->hints) {
    if (Status started = core_->hints->start(); !started) {
      static_cast<void>(stop(std::chrono::seconds(1)));
      return started;
    }
  }
  return {};
}

// Near the budget: caches go first, then the conversations that nobody has used for longest.
void EngineCore::relieve(core::Shard& shard) {
  if (core_->is_tight()) {
    shard.pages().shrink(0);
    if (core_->is_tight()) shard.conversations().relieve();
  }
  shard.after(relieve_every, [this, &shard] { relieve(shard); });
}

void EngineCore::sweep(core::Shard& shard) {
  shard.conversations().sweep();
  shard.after(sweep_every, [this, &shard] { sweep(shard); });
}

void EngineCore::start_threads() {
  for (unsigned i = 0; i < thread_count_; ++i) {
    {
      std::lock_guard lock(mutex_);
      ++running_;
    }
    // It keeps the engine alive where it hangs in the host's code past the end of stop().
    threads_.emplace_back([self = shared_from_this(), &loop = *loops_[i]] {
      loop.run();
      bool last = false;
      {
        std::lock_guard lock(self->mutex_);
        last = --self->running_ == 0 && self->finish_when_ended_;
        self->ended_.notify_all();
      }
      if (last) self->finish();
    });
  }
}

EngineCore::~EngineCore() = default;

void EngineCore::attach(std::shared_ptr<Connection> connection, AttachOptions options) {
  if (!connection) return;
  if (core_->stopping) {
    core::guarded(*core_, [&] { connection->close({ErrorCode::stopped, "the server is stopping", {}}); });
    return;
  }
  if (!core_->fits(core::ConnectionSession::own_bytes)) {
    core::guarded(*core_, [&] { connection->close(out_of_memory()); });
    return;
  }
  const std::uint64_t id = ++core_->last_session;
  core::Shard& lobby = *core_->shards[id % core_->shards.size()];
  auto session =
      std::make_shared<core::ConnectionSession>(*core_, lobby, id, std::move(connection), std::move(options));
  lobby.post([session = std::move(session)] { session->start(); });
}

std::shared_ptr<LocalSession> EngineCore::open_session(SessionOptions options) {
  const Identity who = options.identity;
  auto session = std::make_shared<LocalSession>(*core_, ++core_->last_session, std::move(options));
  if (who.user.empty()) {
    session->refuse({ErrorCode::invalid, "SessionOptions::identity names no user", {}});
  } else if (core_->stopping) {
    session->refuse({ErrorCode::stopped, "the engine is stopped", {}});
  } else if (!core_->fits(0)) {
    session->refuse(out_of_memory());
  } else {
    core_->home(who.user).post([session] { session->start(); });
  }
  return session;
}

Result<Endpoint> EngineCore::listen(std::unique_ptr<Transport> transport) {
  if (!transport) return invalid("listen: no transport");
  if (core_->stopping) return Error{ErrorCode::stopped, "the engine is stopped", {}};
  std::shared_ptr<Transport> shared = std::move(transport);
  Result<Endpoint> endpoint = Error{ErrorCode::transport_failed, "the transport threw an exception", {}};
  core::guarded(*core_, [&] { endpoint = shared->start(*this); });
  if (!endpoint) return endpoint;
  std::size_t index;
  {
    std::lock_guard lock(mutex_);
    index = transports_.size();
    transports_.push_back(shared);
  }
  loops_[index % loops_.size()]->add(std::move(shared));
  return endpoint;
}

// The number first: a login that begins now is not meant.
void EngineCore::revoke(const UserId& user, const DeviceId& device) {
  if (user.empty()) return;
  const std::uint64_t number = ++core_->revocations;
  core::Shard& home = core_->home(user);
  home.post([&hub = home.hub(), user, device, number] { hub.revoke(user, device, number); });
}

PollResult EngineCore::poll(std::chrono::microseconds budget) {
  if (thread_count_ != 0 || stopped_) return {};
  if (poller_ == std::this_thread::get_id()) return {};  // in a callback
  const auto keep = shared_from_this();                  // where it hangs in the host's code past the end of stop()
  std::unique_lock lock(polling_, std::try_to_lock);
  if (!lock || stopped_) return {};  // another thread polls, or has stopped it
  poller_ = std::this_thread::get_id();
  const PollResult result = loops_.front()->poll(budget);
  poller_ = std::thread::id();
  lock.unlock();
  finish_if_left();
  return result;
}

void EngineCore::run() {
  if (thread_count_ == 0) {
    const auto keep = shared_from_this();
    std::unique_lock lock(polling_, std::try_to_lock);
    if (!lock || stopped_) return;
    poller_ = std::this_thread::get_id();
    loops_.front()->on_idle_wake(nullptr);
    loops_.front()->run();
    loops_.front()->on_idle_wake(&host_wake_);
    poller_ = std::thread::id();
    lock.unlock();
    return finish_if_left();
  }
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return stop_began_ || running_ == 0; });
}

// Noted first: what is given out or leaves from here on looks at it. Then whoever has to look again is told.
void EngineCore::membership_changed(const ConversationId& id) {
  const std::uint64_t since = core_->store->last_batch();  // whoever comes misses nothing of what is said after it
  core_->membership_changes.note(id);
  if (!membership_ || core_->stopping) return;
  core::Shard& home = core_->home(id);
  home.post([&home, id, since] {
    const auto conversation = home.conversations().find(id);
    if (conversation && conversation->durable().roster) return;  // it asks when it is used; nobody follows it
    for (auto& shard : home.core().shards) {
      shard->post([&hub = shard->hub(), id, since] { hub.membership_changed(id, since); });
    }
  });
}

void EngineCore::membership_changed(const UserId& user) {
  const std::uint64_t since = core_->store->last_batch();
  core_->membership_changes.note(user);
  if (!membership_ || core_->stopping) return;
  core::Shard& home = core_->home(user);
  home.post([&hub = home.hub(), user, since] { hub.membership_changed(user, since); });
}

void EngineCore::profile_changed(const UserId& user) {
  if (!core_->profiles || user.empty() || core_->stopping) return;
  core::Shard& home = core_->home(user);
  home.post([&home, user] { features::show_host_profile(home, user); });
}

void EngineCore::read_feed(std::uint64_t after, std::uint32_t limit, std::chrono::milliseconds wait,
                           Done<FeedEvents> done) {
  core::Shard& first = *core_->shards.front();
  core::Reply<FeedEvents> reply([keep = core_, done = std::move(done)](Result<FeedEvents> events) mutable {
    if (done) core::guarded(*keep, [&] { done(std::move(events)); });
  });
  first.post([&first, after, limit, wait, reply = std::move(reply)]() mutable {
    first.state<core::Feed>().read(first, after, limit, wait, std::move(reply));
  });
}

Stats EngineCore::stats() const {
  const core::Counters& c = core_->counters;
  return {.messages = c.messages,
          .duplicates = c.duplicates,
          .deliveries = c.deliveries,
          .commits = c.commits,
          .failed_changes = c.failed_changes,
          .refused = c.refused,
          .closed_slow = c.closed_slow,
          .closed_malformed = c.closed_malformed,
          .callback_exceptions = c.callback_exceptions,
          .sessions = c.sessions,
          .connections = c.connections,
          .conversations = c.conversations,
          .outbox_bytes = c.outbox_bytes,
          .inbound_bytes = c.inbound_bytes,
          .page_bytes = c.page_bytes,
          .session_bytes = c.session_bytes,
          .conversation_bytes = c.conversation_bytes,
          .memory_bytes = core_->memory_used(),
          .collapses = c.collapses,
          .notices = c.notices,
          .resyncs = c.resyncs};
}

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
