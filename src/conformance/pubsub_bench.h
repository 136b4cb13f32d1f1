#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <vector>

#include "conformance/check.h"

// What the checks of a PubSub are written in: two of them on one broker, and what each one's sink was told.
namespace chatcore {
inline namespace v1 {
namespace conformance {

// A sink that writes down what it is told: "topic=frame", "lost", "back", and "ok topic" or "stopped topic" for the
// answer to a subscription.
class Ear final : public PubSubSink {
 public:
  void received(std::string_view topic, Frame frame) override {
    const bool is_text = frame && frame->size() <= 100;
    const std::string what = std::string(topic) + "=" + (is_text ? text_of(*frame) : "(much)");
    hear(what, std::move(frame));
  }
  void link_lost() override { hear("lost"); }
  void link_back() override { hear("back"); }
  void answered(const std::string& topic, const Status& status) {
    hear((status ? "ok" : std::string(name(status.error().code))) + " " + topic);
  }

  std::vector<std::string> heard() const {
    std::lock_guard lock(mutex_);
    return heard_;
  }
  std::size_t count(std::string_view what) const {
    std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::count(heard_.begin(), heard_.end(), what));
  }
  std::size_t total() const {
    std::lock_guard lock(mutex_);
    return heard_.size();
  }
  Frame last_frame() const {
    std::lock_guard lock(mutex_);
    return last_frame_;
  }
  bool was_overlapped() const { return overlapped_; }
  bool is_inside() const { return inside_; }

  // What the sink does in the call that tells it so; set before anything is published.
  std::function<void(const std::string&)> then{};

  // The call that tells this does not return until open().
  void hold(std::string what) {
    std::lock_guard lock(mutex_);
    held_ = std::move(what);
  }
  void open() {
    std::lock_guard lock(mutex_);
    held_.clear();
    opened_.notify_all();
  }
  bool is_held() const {
    std::lock_guard lock(mutex_);
    return holds_;
  }

 private:
  static std::string text_of(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
  void hear(const std::string& what, Frame frame = nullptr) {
    if (inside_.exchange(true)) overlapped_ = true;
    {
      std::unique_lock lock(mutex_);
      heard_.push_back(what);
      if (frame) last_frame_ = std::move(frame);
      if (what == held_) {
        holds_ = true;
        opened_.wait(lock, [this] { return held_.empty(); });
        holds_ = false;
      }
    }
    if (then) then(what);
    inside_ = false;
  }

  mutable std::mutex mutex_;
  std::condition_variable opened_;
  std::vector<std::string> heard_{};
  std::string held_{};
  bool holds_ = false;
  Frame last_frame_{};
  std::atomic<bool> inside_{false}, overlapped_{false};
};

// A pair with its sinks. What it waits for comes within the patience given.
class PubSubBench {
 public:
  struct Given {
    Function<PubSubPair()> make{};
    Function<void()> let{};
    std::chrono::milliseconds patience{};
  };

  explicit PubSubBench(std::shared_ptr<Given> given) : given_(std::move(given)), pair_(given_->make()) {
    expect(pair_.one && pair_.two, "the suite was given a function that makes no pair");
  }
  ~PubSubBench() {
    pair_.one->stop();
    pair_.two->stop();
  }
  PubSubBench(const PubSubBench&) = delete;
  PubSubBench& operator=(const PubSubBench&) = delete;

  PubSub& one() { return *pair_.one; }
  PubSub& two() { return *pair_.two; }

  void start() {
    for (auto [pubsub, ear] : {std::pair(pair_.one.get(), &ear_one), std::pair(pair_.two.get(), &ear_two)}) {
      if (const Status started = pubsub->start(*ear); !started) {
        throw Failure("start() fails: " + started.error().message);
      }
    }
  }
  bool can_break() const { return pair_.break_link && pair_.mend_link; }
  void break_link() { pair_.break_link(); }
  void mend_link() { pair_.mend_link(); }

  // The answer is told to the ear of the one that subscribes.
  Question<void> subscribe(PubSub& to, const std::string& topic) {
    Ear& ear = &to == pair_.one.get() ? ear_one : ear_two;
    Question<void> question;
    try {
      to.subscribe(topic, [&ear, topic, answers = question.answers](Status status) {
        ear.answered(topic, status);
        answers->add(std::move(status));
      });
    } catch (...) {
      question.answers->add(Error{ErrorCode::cancelled, "subscribe() throws", {}});
    }
    return question;
  }
  void must_subscribe(PubSub& to, const std::string& topic) {
    const auto question = subscribe(to, topic);
    expect(until([&] { return question.came(); }), "a subscription is not answered within the patience given");
    const Status answer = *question.answer();
    if (!answer) throw Failure("a subscription is refused: " + answer.error().message);
  }
  void publish(PubSub& from, const std::string& topic, const std::string& text) {
    try {
      from.publish(topic, frame_of(text));
    } catch (...) {  // a frame lost without a word, as the engine takes it
    }
  }

  template <class Over>
  bool until(Over over) {
    return wait_until(given_->let, given_->patience, std::move(over));
  }
  bool hears(const Ear& ear, const std::string& what) {
    return until([&] { return ear.count(what) > 0; });
  }
  void must_hear(const Ear& ear, const std::string& what) {
    expect(hears(ear, what), "this does not come within the patience given: " + printable(what));
  }
  // Until nothing has come for a moment.
  void settle() {
    for (std::size_t before = ~std::size_t(0); before != ear_one.total() + ear_two.total();) {
      before = ear_one.total() + ear_two.total();
      grace(given_->let);
    }
  }

  // Runs `work` on a thread of its own while the sink of `two`, which has subscribed to "hold", is in a call that lasts
  // until the work is over, or `most` has passed. False: it was not over.
  bool while_busy(std::chrono::milliseconds most, std::function<void()> work) {
    ear_two.hold("hold=x");
    std::atomic<bool> gives_up{false}, is_over{false};
    std::thread holder([&] {
      publish(one(), "hold", "x");
      until([&] { return gives_up || ear_two.is_held() || ear_two.count("hold=x") > 0; });
    });
    Function<void()> nothing;
    const bool held = wait_until(nothing, given_->patience, [&] { return ear_two.is_held(); });
    bool was_over = false;
    if (held) {
      std::thread worker([&] {
        work();
        is_over = true;
      });
      was_over = wait_until(nothing, most, [&] { return is_over.load(); });
      ear_two.open();
      worker.join();
    }
    gives_up = true;
    ear_two.open();
    holder.join();
    expect(held, "a frame does not come within the patience given");
    return was_over;
  }
  std::chrono::milliseconds patience() const { return given_->patience; }

 private:
  const std::shared_ptr<Given> given_;

 public:
  Ear ear_one{}, ear_two{};  // outlive the pair

 private:
  PubSubPair pair_;
};

}  // namespace conformance
}  // namespace v1
}  // namespace chatcore
