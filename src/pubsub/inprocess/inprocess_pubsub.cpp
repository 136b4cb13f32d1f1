#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <chatcore/pubsub.h>

namespace chatcore {
inline namespace v1 {
namespace {

constexpr std::size_t most_topic_bytes = 255, most_frame_bytes = 16 << 20;

bool is_topic(std::string_view topic) { return !topic.empty() && topic.size() <= most_topic_bytes; }

using Name = std::shared_ptr<const std::string>;

struct Delivery {
  Name topic{};
  Frame frame{};
};
struct Answer {
  Done<void> to{};
  Status status{};
};
struct Waiting {
  Name topic{};
  Done<void> confirmed{};
};

// The host's code: nothing it throws goes further.
template <class F>
void run(F&& code) noexcept {
  try {
    code();
  } catch (...) {
  }
}

void answer(Answer each) noexcept {
  if (each.to) run([&] { each.to(std::move(each.status)); });
}

// One PubSub, as the exchange knows it. Guarded by State::mutex; the sink is called without it, by one thread at a
// time: the one that `caller` names.
struct Member {
  PubSubSink* sink = nullptr;  // null: not started, or stopped
  std::deque<std::variant<Delivery, Answer>> queue{};
  std::deque<Waiting> waiting{};      // subscriptions while the link is lost
  std::size_t frames = 0, bytes = 0;  // in the queue
  std::thread::id caller{};
  std::atomic<int> coming{0};  // threads that wait for the mutex, to call the sink if nobody does
  // Frames were dropped behind what is queued; none is taken until the sink has been told that the link is lost.
  bool gap = false, told = false;
};
using MemberPtr = std::shared_ptr<Member>;

struct Topic {
  Name name{};
  std::vector<MemberPtr> members{};
};

}  // namespace

struct InprocessExchange::State {
  explicit State(InprocessExchangeOptions given) : options(given) {}

  static std::size_t cost(const Frame& frame) { return frame->size() + sizeof(Delivery); }

  void put(Member& member, const Name& topic, const Frame& frame) noexcept {
    if (member.gap || member.frames >= options.queue_frames ||
        member.bytes + cost(frame) > std::max(options.queue_bytes, cost(frame))) {
      return lose(member);
    }
    try {
      member.queue.emplace_back(Delivery{topic, frame});
    } catch (...) {
      return lose(member);  // no memory is one more reason
    }
    ++member.frames;
    member.bytes += cost(frame);
  }
  void lose(Member& member) noexcept {
    member.gap = true;
    ++dropped;
  }

  // Calls the sink with what is queued, unless another thread does: then that one goes on with it.
  void deliver(Member& member) {
    ++member.coming;
    std::unique_lock lock(mutex);
    --member.coming;
    for (std::size_t done = 0; member.caller == std::thread::id(); ++done) {
      if (!step(member, lock)) return;
      if (done < options.queue_frames || !member.coming) continue;
      lock.unlock();
      for (int i = 0; i < 100 && member.coming; ++i) std::this_thread::yield();  // one of them takes over
      lock.lock();
    }
  }

  // One call to the sink. False: there is nothing to tell it.
  bool step(Member& member, std::unique_lock<std::mutex>& lock) {
    PubSubSink* const sink = member.sink;
    if (!sink) return false;
    if (!member.queue.empty()) {
      auto item = std::move(member.queue.front());
      member.queue.pop_front();
      if (auto* delivery = std::get_if<Delivery>(&item)) {
        --member.frames;
        member.bytes -= cost(delivery->frame);
        outside(member, lock, [&] { sink->received(*delivery->topic, std::move(delivery->frame)); });
      } else {
        outside(member, lock, [&] { answer(std::move(std::get<Answer>(item))); });
      }
      return true;
    }
    if (!member.gap) return false;
    if (!member.told) {
      member.told = true;
      outside(member, lock, [&] { sink->link_lost(); });
      return true;
    }
    if (down) return false;
    member.gap = member.told = false;
    outside(member, lock, [&] { sink->link_back(); });
    return true;
  }

  template <class F>
  void outside(Member& member, std::unique_lock<std::mutex>& lock, F&& code) {
    member.caller = std::this_thread::get_id();
    lock.unlock();
    run(code);
    lock.lock();
    member.caller = {};
    if (!member.sink) over.notify_all();
  }

  void leave(const MemberPtr& member) {
    for (auto at = topics.begin(); at != topics.end();) {
      std::erase(at->second.members, member);
      at = at->second.members.empty() ? topics.erase(at) : std::next(at);
    }
    std::erase(members, member);
  }

  const InprocessExchangeOptions options;
  std::mutex mutex{};
  std::condition_variable over{};  // a call to a sink, after its stop
  std::map<std::string, Topic, std::less<>> topics{};
  std::vector<MemberPtr> members{};
  bool down = false;
  std::uint64_t dropped = 0;
};

InprocessExchange::InprocessExchange(InprocessExchangeOptions options) : state_(std::make_shared<State>(options)) {}
InprocessExchange::~InprocessExchange() = default;

void InprocessExchange::break_link() {
  std::vector<MemberPtr> members;
  {
    std::lock_guard lock(state_->mutex);
    state_->down = true;
    members = state_->members;
    for (const MemberPtr& member : members) {
      state_->dropped += member->frames;
      std::erase_if(member->queue, [](const auto& item) { return std::holds_alternative<Delivery>(item); });
      member->frames = member->bytes = 0;
      member->gap = true;
    }
  }
  for (const MemberPtr& member : members) state_->deliver(*member);
}

void InprocessExchange::mend_link() {
  std::vector<MemberPtr> members;
  {
    std::lock_guard lock(state_->mutex);
    members = state_->members;
    for (const MemberPtr& member : members) {
      for (Waiting& each : std::exchange(member->waiting, {})) {
        member->queue.emplace_back(Answer{std::move(each.confirmed), {}});
      }
    }
    state_->down = false;
  }
  for (const MemberPtr& member : members) state_->deliver(*member);
}

std::uint64_t InprocessExchange::dropped() const {
  std::lock_guard lock(state_->mutex);
  return state_->dropped;
}

namespace detail {

class InprocessPubSub final : public PubSub {
 public:
  explicit InprocessPubSub(const std::shared_ptr<InprocessExchange>& exchange)
      : state_(exchange ? exchange->state_ : nullptr) {}
  ~InprocessPubSub() override { stop(); }

  Status start(PubSubSink& sink) override {
    if (!state_) return {ErrorCode::invalid, "an exchange in process is needed: make one, and share it"};
    {
      std::lock_guard lock(state_->mutex);
      if (std::exchange(used_, true)) return {ErrorCode::invalid, "it was started before: make another one"};
      state_->members.push_back(member_);
      member_->sink = &sink;
      member_->gap = state_->down;
    }
    state_->deliver(*member_);
    return {};
  }

  void publish(std::string_view topic, Frame frame) override {
    if (!state_ || !is_topic(topic) || !frame || frame->size() > most_frame_bytes) return;
    std::vector<MemberPtr> members;
    {
      std::lock_guard lock(state_->mutex);
      if (!member_->sink) return;
      const auto found = state_->topics.find(topic);
      if (found == state_->topics.end()) return;
      members = found->second.members;
      for (const MemberPtr& member : members) {
        if (state_->down) {
          state_->lose(*member);
        } else {
          state_->put(*member, found->second.name, frame);
        }
      }
    }
    for (const MemberPtr& member : members) state_->deliver(*member);
  }

  void subscribe(std::string_view topic, Done<void> confirmed) override {
    Status refused = add(topic, confirmed);
    if (!refused) return answer({std::move(confirmed), std::move(refused)});
    state_->deliver(*member_);
  }

  void unsubscribe(std::string_view topic) override {
    if (!state_) return;
    {
      std::lock_guard lock(state_->mutex);
      const auto found = state_->topics.find(topic);
      if (found == state_->topics.end()) return;
      if (std::erase(found->second.members, member_) == 0) return;
      for (Waiting& each : member_->waiting) {
        if (*each.topic != topic) continue;
        member_->queue.emplace_back(
            Answer{std::move(each.confirmed), {ErrorCode::cancelled, "unsubscribed before the link was back"}});
        each.topic = nullptr;
      }
      std::erase_if(member_->waiting, [](const Waiting& each) { return !each.topic; });
      if (found->second.members.empty()) state_->topics.erase(found);
    }
    state_->deliver(*member_);
  }

  void stop() override {
    if (!state_) return;
    std::deque<std::variant<Delivery, Answer>> queue;
    std::deque<Waiting> waiting;
    {
      std::unique_lock lock(state_->mutex);
      used_ = true;
      if (!member_->sink) return;
      member_->sink = nullptr;
      state_->leave(member_);
      queue.swap(member_->queue);
      waiting.swap(member_->waiting);
      // Inside one of the sink's own calls there is nothing to wait for.
      state_->over.wait(
          lock, [&] { return member_->caller == std::thread::id() || member_->caller == std::this_thread::get_id(); });
    }
    for (auto& item : queue) {
      if (auto* each = std::get_if<Answer>(&item)) answer({std::move(each->to), stopped()});
    }
    for (Waiting& each : waiting) answer({std::move(each.confirmed), stopped()});
  }

 private:
  static Status stopped() { return {ErrorCode::stopped, "this pub/sub is not running"}; }

  // Ok: `confirmed` is taken.
  Status add(std::string_view topic, Done<void>& confirmed) {
    if (!is_topic(topic)) return {ErrorCode::invalid, "a topic has 1 to 255 bytes"};
    if (!state_) return stopped();
    std::lock_guard lock(state_->mutex);
    if (!member_->sink) return stopped();
    const std::size_t unconfirmed = member_->waiting.size() + member_->queue.size() - member_->frames;
    if (unconfirmed >= state_->options.waiting_subscriptions) {
      return {ErrorCode::overloaded, "too many subscriptions wait to be confirmed: try again later"};
    }
    Topic& entry = state_->topics[std::string(topic)];
    if (!entry.name) entry.name = std::make_shared<const std::string>(topic);
    if (std::find(entry.members.begin(), entry.members.end(), member_) == entry.members.end()) {
      entry.members.push_back(member_);
    }
    if (state_->down) {
      member_->waiting.push_back({entry.name, std::move(confirmed)});
    } else {
      member_->queue.emplace_back(Answer{std::move(confirmed), {}});
    }
    return {};
  }

  const std::shared_ptr<InprocessExchange::State> state_;
  const MemberPtr member_ = std::make_shared<Member>();
  bool used_ = false;  // guarded by State::mutex
};

}  // namespace detail

std::unique_ptr<PubSub> make_inprocess_pubsub(std::shared_ptr<InprocessExchange> exchange) {
  return std::make_unique<detail::InprocessPubSub>(exchange);
}

}  // namespace v1
}  // namespace chatcore
