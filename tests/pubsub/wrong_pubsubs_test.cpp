#include <doctest/doctest.h>

#include <atomic>
#include <cctype>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <chatcore/testing.h>

#include "support/replies.h"

// The conformance suite of a PubSub: the one in process passes it, and each that is wrong in one way fails the check
// that is named after it, and no other.

using namespace chatcore;
using namespace std::chrono_literals;

namespace {

// What the two of a pair share.
struct Broker {
  explicit Broker(InprocessExchangeOptions options = {}) : exchange(std::make_shared<InprocessExchange>(options)) {}
  std::shared_ptr<InprocessExchange> exchange;
  std::atomic<bool> is_broken{false};
};

// The one in process behind a wall; a wrong one takes something out of it.
class Wall : public PubSub, public PubSubSink {
 public:
  explicit Wall(std::shared_ptr<Broker> broker)
      : broker_(std::move(broker)), inner_(make_inprocess_pubsub(broker_->exchange)) {}

  Status start(PubSubSink& sink) override {
    if (!sink_) sink_ = &sink;
    return inner_->start(*this);
  }
  void publish(std::string_view topic, Frame frame) override { inner_->publish(topic, std::move(frame)); }
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    inner_->subscribe(topic, std::move(confirmed));
  }
  void unsubscribe(std::string_view topic) override { inner_->unsubscribe(topic); }
  void stop() override { inner_->stop(); }

  void received(std::string_view topic, Frame frame) override { sink_->received(topic, std::move(frame)); }
  void link_lost() override { sink_->link_lost(); }
  void link_back() override { sink_->link_back(); }

 protected:
  const std::shared_ptr<Broker> broker_;
  const std::unique_ptr<PubSub> inner_;
  PubSubSink* sink_ = nullptr;
};

template <class T>
PubSubPair pair_on(std::shared_ptr<Broker> broker) {
  return {.one = std::make_unique<T>(broker),
          .two = std::make_unique<T>(broker),
          .break_link =
              [broker] {
                broker->is_broken = true;
                broker->exchange->break_link();
              },
          .mend_link =
              [broker] {
                broker->exchange->mend_link();
                broker->is_broken = false;
              }};
}
template <class T>
PubSubPair make() {
  return pair_on<T>(std::make_shared<Broker>());
}
template <class T>
PubSubPair make_small() {
  return pair_on<T>(std::make_shared<Broker>(InprocessExchangeOptions{.queue_frames = 64}));
}

std::string broken_promises(Function<PubSubPair()> make, Function<void()> let = {}) {
  std::string names;
  for (Check& check : pubsub_conformance(std::move(make), std::move(let), 300ms)) {
    if (const Status kept = check.run(); !kept) {
      CHECK_FALSE(kept.error().message.empty());
      names += (names.empty() ? "" : "; ") + check.name;
    }
  }
  return names;
}

std::string text_of(const Frame& frame) { return {reinterpret_cast<const char*>(frame->data()), frame->size()}; }

// ---- wrong ones

struct DropsItsOwn : Wall {
  using Wall::Wall;
  void publish(std::string_view topic, Frame frame) override {
    publisher_ = std::this_thread::get_id();
    Wall::publish(topic, std::move(frame));
    publisher_ = std::thread::id();
  }
  void received(std::string_view topic, Frame frame) override {
    if (publisher_.load() != std::this_thread::get_id()) Wall::received(topic, std::move(frame));
  }
  std::atomic<std::thread::id> publisher_{};
};
struct IgnoresCase : Wall {
  using Wall::Wall;
  void publish(std::string_view topic, Frame frame) override {
    std::string lower(topic);
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    Wall::publish(lower, std::move(frame));
  }
};
struct OvertakesItself : Wall {
  using Wall::Wall;
  void publish(std::string_view topic, Frame frame) override {
    if (frame && text_of(frame) == "8") return void(kept_ = std::move(frame));
    Wall::publish(topic, std::move(frame));
    if (kept_) Wall::publish(topic, std::exchange(kept_, {}));
  }
  Frame kept_{};
};
struct SaysNothingOfFullQueues : Wall {
  using Wall::Wall;
  void link_lost() override {
    told_ = broker_->is_broken;
    if (told_) Wall::link_lost();
  }
  void link_back() override {
    if (told_) Wall::link_back();
  }
  bool told_ = false;
};
struct ConfirmsTwice : Wall {
  using Wall::Wall;
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    Wall::subscribe(topic, [confirmed = std::move(confirmed)](Status status) mutable {
      const bool again = static_cast<bool>(status);
      confirmed(std::move(status));
      if (again) confirmed(Status());
    });
  }
};
struct HasRoomForThirty : Wall {
  using Wall::Wall;
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    {
      std::lock_guard lock(mutex_);
      topics_.emplace(topic);
      if (topics_.size() > 30) topic = "another";
    }
    Wall::subscribe(topic, std::move(confirmed));
  }
  std::mutex mutex_;
  std::set<std::string, std::less<>> topics_;
};
struct CountsSubscriptions : Wall {
  using Wall::Wall;
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    {
      std::lock_guard lock(mutex_);
      ++counts_[std::string(topic)];
    }
    Wall::subscribe(topic, std::move(confirmed));
  }
  void unsubscribe(std::string_view topic) override {
    {
      std::lock_guard lock(mutex_);
      if (--counts_[std::string(topic)] > 0) return;
      counts_.erase(std::string(topic));
    }
    Wall::unsubscribe(topic);
  }
  std::mutex mutex_;
  std::map<std::string, int, std::less<>> counts_;
};
struct EndsNothing : Wall {
  using Wall::Wall;
  void unsubscribe(std::string_view topic) override {
    if (broker_->is_broken) Wall::unsubscribe(topic);
  }
};
struct CutsTopicsAtZero : Wall {
  using Wall::Wall;
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    Wall::subscribe(topic.substr(0, topic.find('\0')), std::move(confirmed));
  }
};
struct TakesTheEmptyTopic : Wall {
  using Wall::Wall;
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    Wall::subscribe(topic.empty() ? "empty" : topic, std::move(confirmed));
  }
};
struct CutsFrames : Wall {
  using Wall::Wall;
  void publish(std::string_view topic, Frame frame) override {
    if (frame && frame->size() > 65'535 && frame->size() <= 16 << 20) {
      frame = std::make_shared<const Bytes>(frame->begin(), frame->begin() + 65'535);
    }
    Wall::publish(topic, std::move(frame));
  }
};
struct DropsEmptyFrames : Wall {
  using Wall::Wall;
  void publish(std::string_view topic, Frame frame) override {
    if (!frame || !frame->empty()) Wall::publish(topic, std::move(frame));
  }
};
struct ThrowsAtNull : Wall {
  using Wall::Wall;
  void publish(std::string_view topic, Frame frame) override {
    if (!frame) throw std::invalid_argument("a frame is needed");
    Wall::publish(topic, std::move(frame));
  }
};
struct CutsWhatIsTooLarge : Wall {
  using Wall::Wall;
  void publish(std::string_view topic, Frame frame) override {
    if (frame && frame->size() > 16 << 20) frame = std::make_shared<const Bytes>(16 << 20);
    Wall::publish(topic, std::move(frame));
  }
};
struct ConfirmsAtOnce : Wall {
  using Wall::Wall;
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    const bool would_confirm = sink_ && !is_stopped_ && !broker_->is_broken && topic.size() == 1;
    if (!would_confirm) return Wall::subscribe(topic, std::move(confirmed));
    Wall::subscribe(topic, {});
    confirmed(Status());
  }
  void stop() override {
    is_stopped_ = true;
    Wall::stop();
  }
  std::atomic<bool> is_stopped_{false};
};
struct WaitsForTheSink : Wall {
  explicit WaitsForTheSink(std::shared_ptr<Broker> broker) : Wall(std::move(broker)) {}
  void publish(std::string_view topic, Frame frame) override {
    {
      std::unique_lock lock(mutex_);
      left_.wait(lock, [] { return inside_ == std::thread::id() || inside_ == std::this_thread::get_id(); });
    }
    Wall::publish(topic, std::move(frame));
  }
  void received(std::string_view topic, Frame frame) override {
    if (topic != "hold") return Wall::received(topic, std::move(frame));
    {
      std::lock_guard lock(mutex_);
      inside_ = std::this_thread::get_id();
    }
    Wall::received(topic, std::move(frame));
    std::lock_guard lock(mutex_);
    inside_ = {};
    left_.notify_all();
  }
  static inline std::mutex mutex_;
  static inline std::condition_variable left_;
  static inline std::thread::id inside_;
};
struct WaitsForTheLink : Wall {
  using Wall::Wall;
  void publish(std::string_view topic, Frame frame) override {
    if (broker_->is_broken) chat::wait_for_no_reply(300ms);
    Wall::publish(topic, std::move(frame));
  }
};
struct SaysNothingBeforeStart : Wall {
  using Wall::Wall;
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    if (sink_) Wall::subscribe(topic, std::move(confirmed));
  }
};
struct ConfirmsAfterStop : Wall {
  using Wall::Wall;
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    if (is_stopped_) return confirmed(Status());
    Wall::subscribe(topic, std::move(confirmed));
  }
  void stop() override {
    Wall::stop();
    is_stopped_ = true;
  }
  std::atomic<bool> is_stopped_{false};
};
struct StartsAgain : Wall {
  using Wall::Wall;
  Status start(PubSubSink& sink) override {
    const bool again = sink_ != nullptr;
    sink_ = &sink;
    return again ? Status() : Wall::start(sink);
  }
};
struct StopsWithoutWaiting : Wall {
  using Wall::Wall;
  ~StopsWithoutWaiting() override {
    if (stopper_.joinable()) stopper_.join();
  }
  void stop() override {
    if (!is_inside_) return Wall::stop();
    stopper_ = std::thread([this] { Wall::stop(); });
  }
  void received(std::string_view topic, Frame frame) override {
    is_inside_ = true;
    Wall::received(topic, std::move(frame));
    is_inside_ = false;
  }
  std::atomic<bool> is_inside_{false};
  std::thread stopper_;
};
struct DropsWhatWaits : Wall {
  using Wall::Wall;
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    Wall::subscribe(topic, [this, confirmed = std::move(confirmed)](Status status) mutable {
      if (!is_stopping_) confirmed(std::move(status));
    });
  }
  void stop() override {
    is_stopping_ = true;
    Wall::stop();
    is_stopping_ = false;
  }
  std::atomic<bool> is_stopping_{false};
};
struct TellsTwice : Wall {
  using Wall::Wall;
  void link_lost() override {
    Wall::link_lost();
    Wall::link_lost();
  }
};
struct SaysBackAtOnce : Wall {
  using Wall::Wall;
  void link_lost() override {
    Wall::link_lost();
    Wall::link_back();
  }
  void link_back() override {}
};
struct ForgetsWhatItHad : Wall {
  using Wall::Wall;
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    if (!broker_->is_broken) {
      std::lock_guard lock(mutex_);
      topics_.emplace_back(topic);
    }
    Wall::subscribe(topic, std::move(confirmed));
  }
  void link_back() override {
    std::vector<std::string> topics;
    {
      std::lock_guard lock(mutex_);
      topics.swap(topics_);
    }
    if (broker_->is_broken) {
      for (const std::string& topic : topics) Wall::unsubscribe(topic);
    }
    Wall::link_back();
  }
  std::mutex mutex_;
  std::vector<std::string> topics_;
};
struct SaysNothingOfWhatIsGivenUp : Wall {
  using Wall::Wall;
  void subscribe(std::string_view topic, Done<void> confirmed) override {
    Wall::subscribe(topic, [confirmed = std::move(confirmed)](Status status) mutable {
      if (status || status.error().code != ErrorCode::cancelled) confirmed(std::move(status));
    });
  }
};
struct StartsAsIfThereWasALink : Wall {
  using Wall::Wall;
  Status start(PubSubSink& sink) override {
    is_starting_ = true;
    Status started = Wall::start(sink);
    is_starting_ = false;
    return started;
  }
  void link_lost() override {
    if (!is_starting_) Wall::link_lost();
  }
  std::atomic<bool> is_starting_{false};
};
struct DropsWhatTheSinkPublishes : Wall {
  using Wall::Wall;
  void publish(std::string_view topic, Frame frame) override {
    if (caller_.load() != std::this_thread::get_id()) Wall::publish(topic, std::move(frame));
  }
  void received(std::string_view topic, Frame frame) override {
    caller_ = std::this_thread::get_id();
    Wall::received(topic, std::move(frame));
    caller_ = std::thread::id();
  }
  std::atomic<std::thread::id> caller_{};
};

struct Wrong {
  const char* what;
  PubSubPair (*make)();
  const char* broken;
};
const Wrong all_wrong[] = {
    {"keeps a publisher's frames from him", make<DropsItsOwn>,
     "a frame comes once to all that have subscribed, the publisher too"},
    {"knows no capitals", make<IgnoresCase>, "a frame comes to nobody else"},
    {"lets a frame overtake another", make<OvertakesItself>, "frames come in the order they were published in"},
    {"says nothing of a full queue", make_small<SaysNothingOfFullQueues>, "no frame is lost without a word"},
    {"confirms twice", make<ConfirmsTwice>, "a subscription is answered once"},
    {"has room for thirty topics", make<HasRoomForThirty>, "a subscription is in force once it is confirmed"},
    {"counts subscriptions", make<CountsSubscriptions>, "a topic that is subscribed twice is one subscription"},
    {"ends nothing", make<EndsNothing>,
     "a topic that is subscribed twice is one subscription; what is unsubscribed comes no more"},
    {"cuts topics at zero", make<CutsTopicsAtZero>, "any topic of 1 to 255 bytes will do, and no other"},
    {"takes the empty topic", make<TakesTheEmptyTopic>, "any topic of 1 to 255 bytes will do, and no other"},
    {"cuts frames", make<CutsFrames>, "a frame of up to 16 MiB comes as it was"},
    {"drops empty frames", make<DropsEmptyFrames>, "a frame of up to 16 MiB comes as it was"},
    {"throws at no frame", make<ThrowsAtNull>, "what can't be sent does no harm"},
    {"cuts what is too large", make<CutsWhatIsTooLarge>, "what can't be sent does no harm"},
    {"confirms at once", make<ConfirmsAtOnce>, "a sink is told one thing at a time"},
    {"waits for the sink", make<WaitsForTheSink>, "no call waits for a sink that is busy"},
    {"waits for the link", make<WaitsForTheLink>, "no call blocks"},
    {"says nothing before it is started", make<SaysNothingBeforeStart>,
     "before start and after stop every call is harmless"},
    {"confirms after it was stopped", make<ConfirmsAfterStop>, "before start and after stop every call is harmless"},
    {"starts again", make<StartsAgain>, "it starts once"},
    {"stops without waiting", make<StopsWithoutWaiting>, "stop waits for a call that is running"},
    {"drops what waits", make<DropsWhatWaits>, "stop answers what waits, and nothing comes after it"},
    {"drops what a sink publishes", make<DropsWhatTheSinkPublishes>,
     "a sink may publish and subscribe in its own calls"},
    {"tells a loss twice", make<TellsTwice>, "a lost link is told, and that it is back"},
    {"says at once that it is back", make<SaysBackAtOnce>, "a lost link is told, and that it is back"},
    {"forgets what it had", make<ForgetsWhatItHad>, "a subscription outlives a lost link"},
    {"says nothing of what is given up", make<SaysNothingOfWhatIsGivenUp>, "a subscription waits for a lost link"},
    {"starts as if there was a link", make<StartsAsIfThereWasALink>, "one that starts without a link is told so"},
};

// Hangs where a sink publishes in its own call, until the test lets it go on.
struct Gate {
  void wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return is_open; });
  }
  void open() {
    std::lock_guard lock(mutex);
    is_open = true;
    changed.notify_all();
  }
  std::mutex mutex;
  std::condition_variable changed;
  bool is_open = false;
  int hanging = 0;  // pubsubs that are there
};
class Hangs final : public Wall {
 public:
  Hangs(std::shared_ptr<Broker> broker, std::shared_ptr<Gate> gate) : Wall(std::move(broker)), gate_(std::move(gate)) {
    std::lock_guard lock(gate_->mutex);
    ++gate_->hanging;
  }
  ~Hangs() override {
    std::lock_guard lock(gate_->mutex);
    --gate_->hanging;
    gate_->changed.notify_all();
  }
  void publish(std::string_view topic, Frame frame) override {
    if (caller_.load() == std::this_thread::get_id()) gate_->wait();
    Wall::publish(topic, std::move(frame));
  }
  void received(std::string_view topic, Frame frame) override {
    caller_ = std::this_thread::get_id();
    Wall::received(topic, std::move(frame));
    caller_ = std::thread::id();
  }

 private:
  const std::shared_ptr<Gate> gate_;
  std::atomic<std::thread::id> caller_{};
};

// Hands frames over in the host's loop.
struct Loop {
  void run() {
    std::unique_lock lock(mutex);
    if (std::exchange(is_running, true)) return;
    while (!waiting.empty()) {
      Function<void()> next = std::move(waiting.front());
      waiting.pop_front();
      lock.unlock();
      next();
      lock.lock();
    }
    is_running = false;
  }
  std::mutex mutex;
  bool is_running = false;
  std::deque<Function<void()>> waiting;
};
class PublishesLater final : public Wall {
 public:
  PublishesLater(std::shared_ptr<Broker> broker, std::shared_ptr<Loop> loop)
      : Wall(std::move(broker)), loop_(std::move(loop)) {}
  void publish(std::string_view topic, Frame frame) override {
    std::lock_guard lock(loop_->mutex);
    if (!sink_) return;
    loop_->waiting.push_back([this, alive = std::weak_ptr<int>(alive_), topic = std::string(topic), frame]() mutable {
      if (alive.lock()) Wall::publish(topic, std::move(frame));
    });
  }

 private:
  const std::shared_ptr<Loop> loop_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>();
};

PubSubPair right(std::shared_ptr<PubSubFaults> one, std::shared_ptr<PubSubFaults> two, bool by_order) {
  const auto exchange = std::make_shared<InprocessExchange>();
  const auto wrap = [](std::unique_ptr<PubSub> pubsub, std::shared_ptr<PubSubFaults> faults) {
    return faults ? make_faulty_pubsub(std::move(pubsub), std::move(faults)) : std::move(pubsub);
  };
  PubSubPair pair{.one = wrap(make_inprocess_pubsub(exchange), one), .two = wrap(make_inprocess_pubsub(exchange), two)};
  if (by_order) {
    pair.break_link = [one] { one->break_link(); };
    pair.mend_link = [one] { one->mend_link(); };
  } else {
    pair.break_link = [exchange] { exchange->break_link(); };
    pair.mend_link = [exchange] { exchange->mend_link(); };
  }
  return pair;
}

}  // namespace

TEST_CASE("a pub/sub that is wrong in one way fails the check that is named after it, and no other") {
  for (const Wrong& wrong : all_wrong) {
    SUBCASE(wrong.what) { CHECK(broken_promises(wrong.make) == std::string(wrong.broken)); }
  }
}

TEST_CASE("a pub/sub that hangs where its sink publishes fails that check") {
  const auto gate = std::make_shared<Gate>();
  const auto make_one = [=] {
    const auto broker = std::make_shared<Broker>();
    return PubSubPair{.one = std::make_unique<Hangs>(broker, gate), .two = std::make_unique<Hangs>(broker, gate)};
  };
  // What hangs would do so in others as well, with nobody to let it go on.
  for (Check& check : pubsub_conformance(make_one, {}, 100ms)) {
    if (check.name == "a sink may publish and subscribe in its own calls") CHECK_FALSE(check.run());
  }
  gate->open();
  std::unique_lock lock(gate->mutex);
  CHECK(gate->changed.wait_for(lock, 20s, [&] { return gate->hanging == 0; }));
}

TEST_CASE("the pub/sub in process keeps every promise of pubsub.h, with a large queue and with a small one") {
  CHECK(broken_promises([] { return right({}, {}, false); }) == "");
  CHECK(broken_promises(make<Wall>) == "");
  CHECK(broken_promises(make_small<Wall>) == "");
}

TEST_CASE("it does so where frames are handed over in the host's loop") {
  const auto loop = std::make_shared<Loop>();
  const auto make_one = [=] {
    const auto broker = std::make_shared<Broker>();
    return PubSubPair{.one = std::make_unique<PublishesLater>(broker, loop),
                      .two = std::make_unique<PublishesLater>(broker, loop)};
  };
  CHECK(broken_promises(make_one, [=] { loop->run(); }) == "");
}

TEST_CASE("it does so behind the wrapper that fails on order, whether the link is broken by order or by the exchange") {
  for (const bool by_order : {false, true}) {
    CAPTURE(by_order);
    const auto faults = std::make_shared<PubSubFaults>();
    CHECK(broken_promises([=] { return right(faults, faults, by_order); }) == "");
    CHECK(faults->published() > 0);
    CHECK(faults->spoiled() == 0);
  }
}

TEST_CASE("what makes no pair is said by every check") {
  std::size_t broken = 0, all = 0;
  for (Check& check : pubsub_conformance([] { return PubSubPair(); })) ++all, broken += check.run() ? 0 : 1;
  CHECK(all == 23);
  CHECK(broken == all);
}
