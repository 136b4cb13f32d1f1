#pragma once

#include <doctest/doctest.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>

#include <chatcore/storage.h>

namespace chat {

using namespace chatcore;
using namespace std::chrono_literals;

// A storage in memory that hangs or throws where it is told to. What is told outlives it.
enum class At { nothing, commit, events, row, rows };
struct Orders {
  std::mutex mutex;
  std::condition_variable changed;
  At hangs = At::nothing, throws = At::nothing;
  bool cancel_helps = false;
  int inside = 0;
  bool destroyed = false;

  void set(At hang, At except = At::nothing) {
    std::lock_guard lock(mutex);
    hangs = hang, throws = except;
    changed.notify_all();
  }
  void wait_for(const std::function<bool()>& over) {
    std::unique_lock lock(mutex);
    REQUIRE(changed.wait_for(lock, 20s, over));
  }
};
class Troubled final : public Storage {
 public:
  explicit Troubled(std::shared_ptr<Orders> orders) : orders_(std::move(orders)) {}
  ~Troubled() override {
    std::lock_guard lock(orders_->mutex);
    orders_->destroyed = true;
    orders_->changed.notify_all();
  }
  Result<StoreInfo> open(Durability d) override { return inner_->open(d); }
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    go(At::commit);
    return inner_->commit(changes, outcome);
  }
  Result<EventPage> events(std::string_view p, Log l, Seq s, Direction d, PageLimit n) override {
    go(At::events);
    return inner_->events(p, l, s, d, n);
  }
  Result<std::optional<Row>> row(std::string_view p, Table t, std::string_view k) override {
    go(At::row);
    return inner_->row(p, t, k);
  }
  Result<RowPage> rows(std::string_view p, Table t, std::string_view a, PageLimit n) override {
    go(At::rows);
    return inner_->rows(p, t, a, n);
  }
  Result<FeedPage> feed(std::uint64_t a, PageLimit n) override { return inner_->feed(a, n); }
  void cancel() override {
    std::lock_guard lock(orders_->mutex);
    if (orders_->cancel_helps) orders_->hangs = At::nothing;
    orders_->changed.notify_all();
  }

 private:
  void go(At here) {
    std::unique_lock lock(orders_->mutex);
    ++orders_->inside;
    orders_->changed.notify_all();
    orders_->changed.wait(lock, [&] { return orders_->hangs != here; });
    --orders_->inside;
    if (orders_->throws == here) throw std::runtime_error("the host's storage");
  }
  const std::shared_ptr<Orders> orders_;
  const std::unique_ptr<Storage> inner_ = make_memory_storage();
};

}  // namespace chat
