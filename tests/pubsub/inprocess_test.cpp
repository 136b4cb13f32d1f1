#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <chatcore/pubsub.h>

using namespace chatcore;
using namespace std::chrono_literals;

namespace {

Frame frame(std::string_view text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const Bytes>(bytes, bytes + text.size());
}
std::string text_of(const Frame& of) { return {reinterpret_cast<const char*>(of->data()), of->size()}; }

// Writes down what it is told, in one line; `then` is what the host does in such a call.
struct Diary : PubSubSink {
  void received(std::string_view topic, Frame got) override { add(std::string(topic) + "=" + text_of(got)); }
  void link_lost() override { add("lost"); }
  void link_back() override { add("back"); }
  void add(const std::string& what) {
    if (inside.exchange(true)) overlapped = true;
    {
      std::lock_guard lock(mutex);
      all += (all.empty() ? "" : " ") + what;
    }
    if (then) then(what);
    inside = false;
  }
  std::string take() {
    std::lock_guard lock(mutex);
    return std::exchange(all, {});
  }
  std::mutex mutex;
  std::string all;
  Function<void(const std::string&)> then;
  std::atomic<bool> inside{false}, overlapped{false};
};

// Two engines' halves on one exchange.
struct Pair {
  explicit Pair(InprocessExchangeOptions options = {}) : exchange(std::make_shared<InprocessExchange>(options)) {
    a = make_inprocess_pubsub(exchange);
    b = make_inprocess_pubsub(exchange);
    REQUIRE(a->start(to_a));
    REQUIRE(b->start(to_b));
  }
  static Done<void> into(Diary& log, std::string name) {
    return [&log, name = std::move(name)](Status status) {
      log.add(status ? name : name + ":" + std::string(chatcore::name(status.error().code)));
    };
  }
  std::shared_ptr<InprocessExchange> exchange;
  Diary to_a, to_b;
  std::unique_ptr<PubSub> a, b;
};

}  // namespace

TEST_CASE("a frame comes to all that have subscribed its topic, the publisher too, and to nobody else") {
  Pair two;
  two.a->subscribe("t", Pair::into(two.to_a, "confirmed"));
  two.b->subscribe("t", Pair::into(two.to_b, "confirmed"));
  two.b->subscribe("u", Pair::into(two.to_b, "confirmed"));
  two.a->publish("t", frame("1"));
  two.a->publish("u", frame("2"));
  two.b->publish("t", frame("3"));
  two.b->publish("nobody", frame("4"));
  CHECK(two.to_a.take() == "confirmed t=1 t=3");
  CHECK(two.to_b.take() == "confirmed confirmed t=1 u=2 t=3");
  two.b->unsubscribe("t");
  two.b->unsubscribe("t");
  two.b->unsubscribe("never");
  two.a->publish("t", frame("5"));
  CHECK(two.to_a.take() == "t=5");
  CHECK(two.to_b.take() == "");
}

TEST_CASE("a topic that is subscribed twice is one subscription") {
  Pair two;
  two.b->subscribe("t", Pair::into(two.to_b, "first"));
  two.b->subscribe("t", Pair::into(two.to_b, "second"));
  two.a->publish("t", frame("1"));
  CHECK(two.to_b.take() == "first second t=1");
  two.b->unsubscribe("t");
  two.a->publish("t", frame("2"));
  CHECK(two.to_b.take() == "");
}

TEST_CASE("a broken link is told, drops what is published, and makes subscriptions wait; then all is in force") {
  Pair two;
  two.b->subscribe("t", Pair::into(two.to_b, "confirmed"));
  two.exchange->break_link();
  two.exchange->break_link();
  two.a->publish("t", frame("1"));
  two.b->subscribe("u", Pair::into(two.to_b, "u"));
  two.b->subscribe("v", Pair::into(two.to_b, "v"));
  two.b->unsubscribe("v");
  CHECK(two.to_b.take() == "confirmed lost v:cancelled");
  CHECK(two.to_a.take() == "lost");
  two.exchange->mend_link();
  two.exchange->mend_link();
  CHECK(two.to_a.take() == "back");
  two.a->publish("t", frame("2"));
  two.a->publish("u", frame("3"));
  two.a->publish("v", frame("4"));
  CHECK(two.to_b.take() == "u back t=2 u=3");
  CHECK(two.exchange->dropped() == 1);
}

TEST_CASE("who starts while the link is broken is told so") {
  Pair two;
  two.exchange->break_link();
  Diary log;
  const auto late = make_inprocess_pubsub(two.exchange);
  REQUIRE(late->start(log));
  late->subscribe("t", Pair::into(log, "confirmed"));
  CHECK(log.take() == "lost");
  two.exchange->mend_link();
  CHECK(log.take() == "confirmed back");
  late->stop();
}

TEST_CASE("what a sink publishes in its own call comes when that call is over, in order") {
  Pair two;
  two.a->subscribe("t", {});
  two.b->subscribe("t", {});
  two.to_a.then = [&](const std::string& what) {
    if (what != "t=1") return;
    two.a->publish("t", frame("2"));
    two.b->publish("t", frame("3"));
    CHECK(two.to_a.take() == "t=1");
  };
  two.b->publish("t", frame("1"));
  CHECK(two.to_a.take() == "t=2 t=3");
  CHECK(two.to_b.take() == "t=1 t=2 t=3");
  CHECK_FALSE(two.to_a.overlapped);
}

TEST_CASE("a full queue drops what does not fit, and says so behind what it kept") {
  Pair two(InprocessExchangeOptions{.queue_frames = 2});
  two.b->subscribe("t", {});
  two.to_b.then = [&](const std::string& what) {
    if (what != "t=0") return;
    for (const char* each : {"1", "2", "3", "4"}) two.a->publish("t", frame(each));
  };
  two.a->publish("t", frame("0"));
  CHECK(two.to_b.take() == "t=0 t=1 t=2 lost back");
  CHECK(two.exchange->dropped() == 2);
  two.a->publish("t", frame("5"));
  CHECK(two.to_b.take() == "t=5");
}

TEST_CASE("a queue is bounded in bytes, and one frame that is larger than that still passes") {
  Pair two(InprocessExchangeOptions{.queue_bytes = 1000});
  two.b->subscribe("t", {});
  const std::string much(600, 'x'), more(5000, 'y');
  two.to_b.then = [&](const std::string& what) {
    if (what != "t=0") return;
    two.a->publish("t", frame(much));
    two.a->publish("t", frame(much));
  };
  two.a->publish("t", frame("0"));
  CHECK(two.to_b.take() == "t=0 t=" + much + " lost back");
  two.a->publish("t", frame(more));
  CHECK(two.to_b.take() == "t=" + more);
}

TEST_CASE("subscriptions that wait are bounded") {
  Pair two(InprocessExchangeOptions{.waiting_subscriptions = 2});
  two.exchange->break_link();
  for (const char* each : {"1", "2", "3"}) two.b->subscribe(each, Pair::into(two.to_b, each));
  CHECK(two.to_b.take() == "lost 3:overloaded");
  two.exchange->mend_link();
  CHECK(two.to_b.take() == "1 2 back");
  two.a->publish("3", frame("x"));
  CHECK(two.to_b.take() == "");
}

TEST_CASE("topics and frames out of bounds are refused or lost, and harm nothing") {
  Pair two;
  two.b->subscribe("", Pair::into(two.to_b, "empty"));
  two.b->subscribe(std::string(256, 't'), Pair::into(two.to_b, "long"));
  CHECK(two.to_b.take() == "empty:invalid long:invalid");
  const std::string longest(255, 't');
  two.b->subscribe(longest, {});
  two.b->subscribe(std::string_view("\0", 1), {});
  two.a->publish("", frame("x"));
  two.a->publish(longest, nullptr);
  two.a->publish(longest, std::make_shared<const Bytes>((16 << 20) + 1));
  two.a->publish(longest, frame(""));
  two.a->publish(std::string_view("\0", 1), frame("y"));
  CHECK(two.to_b.take() == longest + "= " + std::string(1, '\0') + "=y");
}

TEST_CASE("before start and after stop every call is harmless, and what waits is answered") {
  Pair two;
  Diary log;
  const auto nobody = make_inprocess_pubsub(nullptr);
  CHECK(nobody->start(log).error().code == ErrorCode::invalid);
  nobody->subscribe("t", Pair::into(log, "null"));
  nobody->publish("t", frame("x"));
  nobody->unsubscribe("t");
  nobody->stop();

  const auto fresh = make_inprocess_pubsub(two.exchange);
  fresh->subscribe("t", Pair::into(log, "early"));
  fresh->publish("t", frame("x"));
  CHECK(log.take() == "null:stopped early:stopped");
  CHECK(two.a->start(log).error().code == ErrorCode::invalid);

  two.b->subscribe("t", {});
  two.exchange->break_link();
  two.b->subscribe("u", Pair::into(two.to_b, "u"));
  two.b->stop();
  two.b->stop();
  CHECK(two.to_b.take() == "lost u:stopped");
  two.exchange->mend_link();
  two.a->publish("t", frame("1"));
  two.b->publish("t", frame("2"));
  two.b->subscribe("t", Pair::into(two.to_b, "after"));
  two.b->unsubscribe("t");
  CHECK(two.to_b.take() == "after:stopped");
  CHECK(two.b->start(log).error().code == ErrorCode::invalid);
}

TEST_CASE("what a sink throws goes nowhere, and the next frame comes") {
  Pair two;
  two.b->subscribe("t", [](Status) { throw std::runtime_error("no"); });
  two.to_b.then = [](const std::string& what) {
    if (what == "t=1") throw 42;
  };
  two.a->publish("t", frame("1"));
  two.to_b.inside = false;
  two.a->publish("t", frame("2"));
  CHECK(two.to_b.take() == "t=1 t=2");
}

TEST_CASE("a pub/sub outlives its exchange, and an exchange what uses it") {
  auto two = std::make_unique<Pair>();
  two->exchange.reset();
  two->b->subscribe("t", {});
  two->a.reset();
  two->b->publish("t", frame("1"));
  CHECK(two->to_b.take() == "t=1");
}

TEST_CASE("several threads publish at once: each one's frames come in order, one at a time, and none is lost") {
  constexpr int threads = 4, each = 5000;
  Pair two(InprocessExchangeOptions{.queue_frames = threads * each});
  two.b->subscribe("t", {});
  std::vector<int> last(threads, -1);
  int count = 0;
  bool ordered = true;
  two.to_b.then = [&](const std::string& what) {  // one at a time: nothing here is locked
    const int thread = what[2] - 'a', number = std::stoi(what.substr(3));
    ordered = ordered && number > last[thread];
    last[thread] = number;
    ++count;
  };
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        (t % 2 ? two.a : two.b)->publish("t", frame(std::string(1, static_cast<char>('a' + t)) + std::to_string(i)));
      }
    });
  }
  for (auto& thread : all) thread.join();
  CHECK(count == threads * each);
  CHECK(ordered);
  CHECK_FALSE(two.to_b.overlapped);
}

TEST_CASE("a thread that has handed over a whole queue leaves the rest to the next that comes") {
  Pair two(InprocessExchangeOptions{.queue_frames = 8});
  two.b->subscribe("t", {});
  std::thread::id first{};
  std::atomic<bool> over{false}, others{false};
  two.to_b.then = [&](const std::string& what) {
    if (what == "t=first") first = std::this_thread::get_id();
    if (std::this_thread::get_id() != first) others = true;
    // So there is always one more, until another thread has it: that one must not become the captive.
    if (!over && !others) two.a->publish("t", frame("again"));
  };
  std::thread captive([&] { two.a->publish("t", frame("first")); });
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!others && std::chrono::steady_clock::now() < end) two.b->publish("t", frame("x"));
  CHECK(others);
  over = true;
  captive.join();
}

TEST_CASE("stop waits for the call that runs on another thread, and no call comes afterwards") {
  Pair two;
  two.b->subscribe("t", {});
  std::mutex mutex;
  std::condition_variable changed;
  bool entered = false, leave = false;
  std::atomic<bool> left{false}, stopped{false};
  two.to_b.then = [&](const std::string&) {
    std::unique_lock lock(mutex);
    entered = true;
    changed.notify_all();
    changed.wait(lock, [&] { return leave; });
    left = true;
  };
  std::thread publisher([&] { two.a->publish("t", frame("1")); });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return entered; });
  }
  two.a->publish("t", frame("2"));  // queued behind it, and never told
  std::thread stopper([&] {
    two.b->stop();
    CHECK(left);
    stopped = true;
  });
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();
  CHECK_FALSE(stopped);
  {
    std::lock_guard lock(mutex);
    leave = true;
    changed.notify_all();
  }
  stopper.join();
  publisher.join();
  CHECK(two.to_b.take() == "t=1");
}
