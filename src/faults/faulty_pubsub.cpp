#include <condition_variable>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <chatcore/testing.h>

#include "faults/orders.h"

namespace chatcore {
inline namespace v1 {
namespace detail {

// Between a PubSub and its sink: what the one tells, and what is ordered, reaches the other one call at a time.
class FaultyLink final : public PubSubSink {
 public:
  // False: it was before.
  bool start(PubSubSink& sink) {
    std::lock_guard lock(mutex_);
    if (std::exchange(was_started_, true)) return false;
    sink_ = &sink;
    return true;
  }
  // What waits is answered; no call to the sink runs or comes when it returns.
  void stop() {
    std::deque<Item> left;
    {
      std::unique_lock lock(mutex_);
      was_started_ = true;
      sink_ = nullptr;
      left.swap(queue_);
      for (Held& each : std::exchange(held_, {})) left.push_back({.answers = std::move(each.confirmed)});
      over_.wait(lock, [&] { return caller_ == std::thread::id() || caller_ == std::this_thread::get_id(); });
    }
    for (Item& each : left) {
      if (each.answers) each.answers(Error{ErrorCode::stopped, "this pub/sub is not running", {}});
    }
  }

  void received(std::string_view topic, Frame frame) override {
    std::unique_lock lock(mutex_);
    if (is_broken_) return;
    queue_.push_back({.tells = [topic = std::string(topic), frame = std::move(frame)](PubSubSink& sink) mutable {
      sink.received(topic, std::move(frame));
    }});
    go_on(lock);
  }
  void link_lost() override {
    std::unique_lock lock(mutex_);
    turn(lock, is_lost_, true);
  }
  void link_back() override {
    std::unique_lock lock(mutex_);
    turn(lock, is_lost_, false);
  }
  void set_broken(bool is_broken) {
    std::unique_lock lock(mutex_);
    turn(lock, is_broken_, is_broken);
  }
  void lose_one() {
    std::unique_lock lock(mutex_);
    if (is_broken_ || is_lost_) return;
    tell_link(false);
    tell_link(true);
    go_on(lock);
  }

  void confirm(const std::string& topic, Done<void> confirmed, Status status) {
    if (!confirmed) return;
    std::unique_lock lock(mutex_);
    if (!sink_) {
      lock.unlock();
      return confirmed(std::move(status));
    }
    if (status && is_broken_) return held_.push_back({topic, std::move(confirmed)});
    queue_.push_back({.answers = std::move(confirmed), .status = std::move(status)});
    go_on(lock);
  }
  void unsubscribed(std::string_view topic) {
    std::unique_lock lock(mutex_);
    for (Held& each : held_) {
      if (each.topic != topic) continue;
      queue_.push_back({.answers = std::move(each.confirmed),
                        .status = {ErrorCode::cancelled, "unsubscribed before the link was back"}});
    }
    std::erase_if(held_, [](const Held& each) { return !each.confirmed; });
    go_on(lock);
  }

 private:
  struct Item {  // one of the two
    Function<void(PubSubSink&)> tells{};
    Done<void> answers{};
    Status status{};
  };
  struct Held {
    std::string topic{};
    Done<void> confirmed{};
  };

  // The link is there where neither the inner one nor an order says that it is lost.
  void turn(std::unique_lock<std::mutex>& lock, bool& which, bool to) {
    const bool was_there = !is_lost_ && !is_broken_;
    which = to;
    const bool is_there = !is_lost_ && !is_broken_;
    if (!is_broken_) {
      for (Held& each : std::exchange(held_, {})) queue_.push_back({.answers = std::move(each.confirmed)});
    }
    if (is_there != was_there) tell_link(is_there);
    go_on(lock);
  }
  void tell_link(bool is_there) {
    queue_.push_back({.tells = [is_there](PubSubSink& sink) { is_there ? sink.link_back() : sink.link_lost(); }});
  }
  // Tells what is queued, unless another call runs: its thread goes on with it.
  void go_on(std::unique_lock<std::mutex>& lock) {
    if (caller_ != std::thread::id()) return;
    while (sink_ && !queue_.empty()) {
      Item item = std::move(queue_.front());
      queue_.pop_front();
      PubSubSink& sink = *sink_;
      caller_ = std::this_thread::get_id();
      lock.unlock();
      try {
        item.tells ? item.tells(sink) : item.answers(std::move(item.status));
      } catch (...) {  // the host's code: it goes no further
      }
      lock.lock();
      caller_ = {};
    }
    over_.notify_all();
  }

  std::mutex mutex_;  // guards what follows; nothing is called with it
  std::condition_variable over_;
  PubSubSink* sink_ = nullptr;  // null: not started, or stopped
  bool was_started_ = false, is_lost_ = false, is_broken_ = false;
  std::deque<Item> queue_{};
  std::vector<Held> held_{};  // confirmed by the inner one, while an order has it that there is no link
  std::thread::id caller_{};
};

}  // namespace detail

struct PubSubFaults::State {
  struct Late {
    std::weak_ptr<PubSub> by;
    std::string topic;
    Frame frame;
  };
  explicit State(std::uint64_t seed) : orders(seed) {}

  template <class F>
  void each_link(F tell) {
    std::vector<std::shared_ptr<detail::FaultyLink>> all;
    {
      std::lock_guard lock(mutex);
      std::erase_if(links, [](const auto& each) { return each.expired(); });
      for (const auto& each : links) all.push_back(each.lock());
    }
    for (const auto& each : all) {
      if (each) tell(*each);
    }
  }
  void set_broken(bool is) {
    {
      std::lock_guard lock(mutex);
      is_broken = is;
    }
    each_link([is](detail::FaultyLink& link) { link.set_broken(is); });
  }

  std::mutex mutex{};  // guards what follows; nothing is called with it
  detail::Orders<PubSubFault> orders;
  std::deque<Late> late{};
  std::vector<std::weak_ptr<detail::FaultyLink>> links{};  // that were started
  bool is_broken = false;
};

PubSubFaults::PubSubFaults(std::uint64_t seed) : state_(std::make_shared<State>(seed)) {}
PubSubFaults::~PubSubFaults() = default;

void PubSubFaults::next(std::vector<PubSubFault> faults) {
  std::lock_guard lock(state_->mutex);
  state_->orders.next(std::move(faults));
}
void PubSubFaults::some(double share, std::vector<PubSubFault> faults) {
  std::lock_guard lock(state_->mutex);
  state_->orders.some(share, std::move(faults));
}
void PubSubFaults::break_link() { state_->set_broken(true); }
void PubSubFaults::mend_link() { state_->set_broken(false); }
std::size_t PubSubFaults::release() {
  std::deque<State::Late> late;
  {
    std::lock_guard lock(state_->mutex);
    late.swap(state_->late);
    if (state_->is_broken) return 0;
  }
  for (State::Late& each : late) {
    if (const auto by = each.by.lock()) by->publish(each.topic, std::move(each.frame));
  }
  return late.size();
}
std::size_t PubSubFaults::waiting() const {
  std::lock_guard lock(state_->mutex);
  return state_->late.size();
}
std::size_t PubSubFaults::published() const {
  std::lock_guard lock(state_->mutex);
  return state_->orders.calls();
}
std::size_t PubSubFaults::spoiled() const {
  std::lock_guard lock(state_->mutex);
  return state_->orders.spoiled();
}

namespace detail {

class FaultyPubSub final : public PubSub {
 public:
  FaultyPubSub(std::unique_ptr<PubSub> inner, const PubSubFaults& faults)
      : inner_(std::move(inner)), state_(faults.state_) {}
  ~FaultyPubSub() override { stop(); }

  Status start(PubSubSink& sink) override {
    if (!link_->start(sink)) return {ErrorCode::invalid, "it was started before: make another one"};
    bool is_broken = false;
    {
      std::lock_guard lock(state_->mutex);
      state_->links.push_back(link_);
      is_broken = state_->is_broken;
    }
    if (is_broken) link_->set_broken(true);
    return inner_->start(*link_);
  }
  void publish(std::string_view topic, Frame frame) override {
    PubSubFault fault{};
    {
      std::lock_guard lock(state_->mutex);
      fault = state_->orders.draw();
      if (state_->is_broken) return;
      if (fault == PubSubFault::late) {
        return state_->late.push_back({inner_, std::string(topic), std::move(frame)});
      }
    }
    if (fault == PubSubFault::unnoticed) return;
    if (fault == PubSubFault::lost) return state_->each_link([](FaultyLink& link) { link.lose_one(); });
    if (fault == PubSubFault::throws) throw std::runtime_error("a fault on order");
    if (fault == PubSubFault::twice) inner_->publish(topic, frame);
    inner_->publish(topic, std::move(frame));
  }
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    inner_->subscribe(
        topic, [link = link_, topic = std::string(topic), confirmed = std::move(confirmed)](Status status) mutable {
          link->confirm(topic, std::move(confirmed), std::move(status));
        });
  }
  void unsubscribe(std::string_view topic) override {
    inner_->unsubscribe(topic);
    link_->unsubscribed(topic);
  }
  void stop() override {
    inner_->stop();
    link_->stop();
  }

 private:
  const std::shared_ptr<FaultyLink> link_ = std::make_shared<FaultyLink>();
  const std::shared_ptr<PubSub> inner_;
  const std::shared_ptr<PubSubFaults::State> state_;
};

}  // namespace detail

std::unique_ptr<PubSub> make_faulty_pubsub(std::unique_ptr<PubSub> inner, std::shared_ptr<PubSubFaults> faults) {
  return std::make_unique<detail::FaultyPubSub>(std::move(inner), *faults);
}

}  // namespace v1
}  // namespace chatcore
