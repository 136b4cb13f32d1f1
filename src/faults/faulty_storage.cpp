#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>

#include <chatcore/testing.h>

namespace chatcore {
inline namespace v1 {

using Kind = StorageFault::Kind;

struct StorageFaults::State {
  // What a call is to suffer. Not the fault itself: that may be over before the call is.
  struct Hit {
    Kind kind{};
    ErrorCode code{};
    std::chrono::milliseconds delay{};
    Error error() const { return {code, "a fault on order", {}}; }
  };

  std::optional<Hit> arrive(StorageCall call, std::span<const Change> changes) {
    ++calls[call];
    changed.notify_all();
    for (auto at = faults.begin(); at != faults.end(); ++at) {
      if (at->call != call || (at->only && !at->only(changes))) continue;
      if (at->after > 0) {
        --at->after;
        continue;
      }
      const Hit hit{at->kind, at->code, at->delay};
      if (at->times == 1) {
        faults.erase(at);
      } else if (at->times > 1) {
        --at->times;
      }
      return hit;
    }
    return {};
  }

  void release() {
    ++releases;
    changed.notify_all();
  }

  std::mutex mutex{};
  std::condition_variable changed{};
  std::deque<StorageFault> faults{};
  std::map<StorageCall, unsigned> calls{};
  unsigned hanging = 0, storages = 0;
  std::uint64_t releases = 0;
  bool cancel_releases = true;
};

StorageFaults::StorageFaults() : state_(std::make_shared<State>()) {}
StorageFaults::~StorageFaults() = default;

void StorageFaults::add(StorageFault fault) {
  std::lock_guard lock(state_->mutex);
  state_->faults.push_back(std::move(fault));
}
void StorageFaults::clear() {
  std::lock_guard lock(state_->mutex);
  state_->faults.clear();
  state_->release();
}
void StorageFaults::release() {
  std::lock_guard lock(state_->mutex);
  state_->release();
}
void StorageFaults::cancel_releases(bool does) {
  std::lock_guard lock(state_->mutex);
  state_->cancel_releases = does;
}
unsigned StorageFaults::calls(StorageCall call) const {
  std::lock_guard lock(state_->mutex);
  return state_->calls[call];
}
unsigned StorageFaults::hanging() const {
  std::lock_guard lock(state_->mutex);
  return state_->hanging;
}
unsigned StorageFaults::storages() const {
  std::lock_guard lock(state_->mutex);
  return state_->storages;
}
bool StorageFaults::wait_for(Function<bool()> over, std::chrono::milliseconds most) {
  const auto end = std::chrono::steady_clock::now() + most;
  while (!over()) {  // without the mutex: it asks for what stands above
    if (std::chrono::steady_clock::now() > end) return false;
    std::unique_lock lock(state_->mutex);
    state_->changed.wait_for(lock, std::chrono::milliseconds(1));
  }
  return true;
}

namespace detail {

class FaultyStorage final : public Storage {
 public:
  FaultyStorage(std::unique_ptr<Storage> inner, const StorageFaults& faults)
      : inner_(std::move(inner)), state_(faults.state_) {
    std::lock_guard lock(state_->mutex);
    ++state_->storages;
  }
  ~FaultyStorage() override {
    inner_.reset();
    std::lock_guard lock(state_->mutex);
    --state_->storages;
    state_->changed.notify_all();
  }

  Result<StoreInfo> open(Durability wanted) override {
    if (const auto error = suffer(StorageCall::open)) return *error;
    return inner_->open(wanted);
  }
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    bool is_answered = true;
    const auto error = suffer(StorageCall::commit, changes, &is_answered);
    const CommitInfo info = error ? CommitInfo{} : inner_->commit(changes, outcome);
    if (!error && is_answered) return info;
    const Error why = error.value_or(Error{ErrorCode::unknown_outcome, "a fault on order", {}});
    std::fill(outcome.begin(), outcome.end(), Status(why));
    return {};
  }
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction way, PageLimit limit) override {
    if (const auto error = suffer(StorageCall::events)) return *error;
    return inner_->events(partition, log, start, way, limit);
  }
  Result<std::optional<Row>> row(std::string_view partition, Table table, std::string_view key) override {
    if (const auto error = suffer(StorageCall::row)) return *error;
    return inner_->row(partition, table, key);
  }
  Result<RowPage> rows(std::string_view partition, Table table, std::string_view after, PageLimit limit) override {
    if (const auto error = suffer(StorageCall::rows)) return *error;
    return inner_->rows(partition, table, after, limit);
  }
  Result<FeedPage> feed(std::uint64_t after, PageLimit limit) override {
    if (const auto error = suffer(StorageCall::feed)) return *error;
    return inner_->feed(after, limit);
  }
  void cancel() override {
    {
      std::lock_guard lock(state_->mutex);
      if (state_->cancel_releases) {
        is_cancelled_ = true;
        state_->release();
      }
    }
    inner_->cancel();
  }

 private:
  // An error: the call fails with it. None: it goes on, and says what came of it if it `is_answered`.
  std::optional<Error> suffer(StorageCall call, std::span<const Change> changes = {}, bool* is_answered = nullptr) {
    std::unique_lock lock(state_->mutex);
    const auto hit = state_->arrive(call, changes);
    if (!hit) return {};
    switch (hit->kind) {
      case Kind::fails:
        return hit->error();
      case Kind::unanswered:
        if (is_answered) *is_answered = false;
        return {};
      case Kind::throws:
        throw std::runtime_error("a fault on order");
      case Kind::hangs: {
        if (is_cancelled_) return {};
        const auto began = state_->releases;
        ++state_->hanging;
        state_->changed.notify_all();
        state_->changed.wait(lock, [&] { return state_->releases != began; });
        --state_->hanging;
        return {};
      }
      case Kind::slow:
        lock.unlock();
        std::this_thread::sleep_for(hit->delay);
        return {};
    }
    return {};
  }

  std::unique_ptr<Storage> inner_;
  const std::shared_ptr<StorageFaults::State> state_;
  bool is_cancelled_ = false;  // nothing may block any more; with the orders' mutex
};

}  // namespace detail

std::unique_ptr<Storage> make_faulty_storage(std::unique_ptr<Storage> inner, std::shared_ptr<StorageFaults> faults) {
  return std::make_unique<detail::FaultyStorage>(std::move(inner), *faults);
}

}  // namespace v1
}  // namespace chatcore
