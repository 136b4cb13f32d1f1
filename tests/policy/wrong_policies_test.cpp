#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <chatcore/chatcore.h>
#include <chatcore/testing.h>

#include "support/replies.h"

// The conformance suite of a policy: policies that are right pass it, and each that is wrong in one way fails the check
// that is named after it.

using namespace chatcore;
using namespace std::chrono_literals;

namespace {

using Make = std::unique_ptr<Policy> (*)();

std::vector<std::string> broken_promises(Function<std::unique_ptr<Policy>()> make, Function<void()> let = {}) {
  std::vector<std::string> broken;
  for (Check& check : policy_conformance(std::move(make), std::move(let))) {
    if (const Status kept = check.run(); !kept) {
      CHECK_FALSE(kept.error().message.empty());
      broken.push_back(check.name);
    }
  }
  return broken;
}

std::unique_ptr<Policy> right() {
  return make_policy([](const Identity&, const RequestView& request) -> Decision {
    if (const auto* send = request.as<Send>()) return {.replaced = Content{.text = "[" + send->content.text + "]"}};
    if (request.as<Leave>()) return {.code = ErrorCode::forbidden, .reason = "nobody leaves"};
    if (request.as<Join>()) return {.code = ErrorCode::rate_limited, .reason = "later", .retry_after = 1s};
    return {};
  });
}

// Decides like another function, but for what `wrong` takes on itself.
template <class Wrong>
std::unique_ptr<Policy> but(Wrong wrong) {
  return make_policy([wrong = std::move(wrong), inner = std::shared_ptr<Policy>(right())](
                         const Identity& who, const RequestView& request, Done<Decision> done) mutable {
    if (!wrong(request, done)) inner->decide(who, request, std::move(done));
  });
}

// A policy that decides on a thread of its own, and takes with it what is left when it goes.
class Slow final : public Policy {
 public:
  Slow() : thread_([this] { work(); }) {}
  ~Slow() override {
    over_ = true;
    thread_.join();
  }
  void decide(const Identity&, const RequestView& request, Done<Decision> done) override {
    Decision decision;
    if (const auto* send = request.as<Send>()) decision.replaced = send->content;
    std::lock_guard lock(mutex_);
    open_.emplace_back(std::move(done), std::move(decision));
  }

 private:
  void work() {
    while (!over_) {
      std::deque<std::pair<Done<Decision>, Decision>> open;
      {
        std::lock_guard lock(mutex_);
        open.swap(open_);
      }
      for (auto& [done, decision] : open) done(std::move(decision));
      std::this_thread::yield();
    }
  }
  std::mutex mutex_;
  std::deque<std::pair<Done<Decision>, Decision>> open_;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

// ---- wrong ones

std::unique_ptr<Policy> forgets_leave() {
  return but([](const RequestView& request, Done<Decision>&) { return request.as<Leave>() != nullptr; });
}
std::unique_ptr<Policy> knows_its_time_only() {
  return but([](const RequestView& request, Done<Decision>&) { return static_cast<unsigned>(request.id()) > 1000; });
}
std::unique_ptr<Policy> says_it_twice() {
  return but([](const RequestView&, Done<Decision>& done) {
    done(Decision{});
    done(Decision{});
    return true;
  });
}
std::unique_ptr<Policy> asks_and_waits() {
  return but([](const RequestView& request, Done<Decision>&) {
    if (request.as<Join>()) chat::wait_for_no_reply(400ms);
    return false;
  });
}
std::unique_ptr<Policy> throws() {
  return but([](const RequestView& request, Done<Decision>&) {
    if (request.as<CreateConversation>()) throw std::runtime_error("no table");
    return false;
  });
}
std::unique_ptr<Policy> gives_errors() {
  return but([](const RequestView& request, Done<Decision>& done) {
    if (!request.as<SetRole>()) return false;
    done(Error{ErrorCode::forbidden, "an error is no decision", {}});
    return true;
  });
}
template <class Change>
std::unique_ptr<Policy> refuses(Change change) {
  return but([change](const RequestView& request, Done<Decision>& done) {
    if (!request.as<DeleteMessage>()) return false;
    Decision decision{.code = ErrorCode::forbidden, .reason = "no"};
    change(decision);
    done(std::move(decision));
    return true;
  });
}
std::unique_ptr<Policy> refuses_for_the_engine() {
  return refuses([](Decision& d) { d.code = ErrorCode::key_expired; });
}
std::unique_ptr<Policy> refuses_without_a_word() {
  return refuses([](Decision& d) { d.reason.clear(); });
}
std::unique_ptr<Policy> refuses_in_another_alphabet() {
  return refuses([](Decision& d) { d.reason = "\xe9t\xe9"; });
}
std::unique_ptr<Policy> refuses_at_length() {
  return refuses([](Decision& d) { d.reason.assign(2000, 'x'); });
}
std::unique_ptr<Policy> refuses_into_the_past() {
  return refuses([](Decision& d) { d.retry_after = -1s; });
}
template <class R, class Text>
std::unique_ptr<Policy> replaces(Text text) {
  return but([text](const RequestView& request, Done<Decision>& done) {
    if (!request.as<R>()) return false;
    done(Decision{.replaced = Content{.text = text()}});
    return true;
  });
}
std::unique_ptr<Policy> replaces_what_has_no_content() {
  return replaces<SetRole>([] { return std::string("x"); });
}
std::unique_ptr<Policy> replaces_by_much() {
  return replaces<EditMessage>([] { return std::string(1 << 20, 'x'); });
}
std::unique_ptr<Policy> replaces_by_nothing() {
  return replaces<SendEphemeral>([] { return std::string(); });
}
std::unique_ptr<Policy> replaces_by_no_text() {
  return replaces<Send>([] { return std::string("\xff"); });
}

// Reads the request when it has time.
struct Late {
  std::mutex mutex;
  std::deque<std::pair<RequestView, Done<Decision>>> open;
  void work() {
    std::unique_lock lock(mutex);
    auto all = std::exchange(open, {});
    lock.unlock();
    for (auto& [request, done] : all) {
      Decision decision;
      if (const auto* send = request.as<Send>()) decision.replaced = send->content;
      done(std::move(decision));
    }
  }
};

// Has one place for what it is asked.
class OneAtATime final : public Policy {
 public:
  void decide(const Identity&, const RequestView&, Done<Decision> done) override {
    if (busy_.exchange(true)) return;  // it had no time
    std::this_thread::yield();
    done(Decision{});
    busy_ = false;
  }

 private:
  std::atomic<bool> busy_{false};
};

class GoesSlowly final : public Policy {
 public:
  ~GoesSlowly() override { chat::wait_for_no_reply(1200ms); }
  void decide(const Identity&, const RequestView&, Done<Decision> done) override { done(Decision{}); }
};

struct Wrong {
  const char* what;
  Make make;
  const char* broken;
};
const Wrong all_wrong[] = {
    {"forgets a kind of request", forgets_leave, "every request is decided"},
    {"forgets what is new", knows_its_time_only, "a request of a later version is decided"},
    {"says it twice", says_it_twice, "a request is decided once"},
    {"gives errors", gives_errors, "a decision is no error"},
    {"waits in the call", asks_and_waits, "decide does not block"},
    {"throws", throws, "decide does not throw"},
    {"refuses with a code of the engine's", refuses_for_the_engine, "a refusal says what a policy may say"},
    {"refuses without a reason", refuses_without_a_word, "a refusal says what a policy may say"},
    {"refuses in no UTF-8", refuses_in_another_alphabet, "a refusal says what a policy may say"},
    {"refuses at length", refuses_at_length, "a refusal says what a policy may say"},
    {"refuses into the past", refuses_into_the_past, "a refusal says what a policy may say"},
    {"replaces what has no content", replaces_what_has_no_content,
     "only a content is replaced, by one within the limits"},
    {"replaces by too much", replaces_by_much, "only a content is replaced, by one within the limits"},
    {"replaces by nothing", replaces_by_nothing, "only a content is replaced, by one within the limits"},
    {"replaces by no UTF-8", replaces_by_no_text, "only a content is replaced, by one within the limits"},
    {"has one place", [] { return std::unique_ptr<Policy>(new OneAtATime); }, "several threads may ask at once"},
    {"goes slowly", [] { return std::unique_ptr<Policy>(new GoesSlowly); },
     "it can be destroyed while decisions are open"},
};

std::string text_of(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += name + "; ";
  return all;
}

}  // namespace

TEST_CASE("a policy that is right passes, whether it decides at once, later or on a thread of its own") {
  CHECK(text_of(broken_promises(right)) == "");
  CHECK(text_of(broken_promises([] { return std::unique_ptr<Policy>(new Slow); })) == "");
  PolicyFaults faults;
  faults.set(PolicyFaults::Fault::late);
  CHECK(text_of(broken_promises([&] { return faults.wrap(right()); }, [&] { faults.release(); })) == "");
}

TEST_CASE("a policy that is wrong in one way fails the check that is named after it") {
  for (const Wrong& wrong : all_wrong) {
    CAPTURE(wrong.what);
    const std::vector<std::string> broken = broken_promises(wrong.make);
    CAPTURE(text_of(broken));
    CHECK(std::count(broken.begin(), broken.end(), wrong.broken) == 1);
  }
}

TEST_CASE("a policy that reads the request after the call fails that check and no other") {
  Late late;
  const auto make = [&] {
    return make_policy([&](const Identity&, const RequestView& request, Done<Decision> done) {
      std::lock_guard lock(late.mutex);
      late.open.emplace_back(request, std::move(done));
    });
  };
  // The other checks keep their requests alive no longer than the view allows, so only this one is run.
  for (Check& check : policy_conformance(make, [&] { late.work(); })) {
    if (check.name == "the request is read only during the call") CHECK_FALSE(check.run());
  }
}

TEST_CASE("what makes a policy may fail, and the checks say so") {
  CHECK(broken_promises([]() -> std::unique_ptr<Policy> { return nullptr; }).size() == 11);
  for (Check& check : policy_conformance([]() -> std::unique_ptr<Policy> { throw 1; })) {
    const Status kept = check.run();
    REQUIRE_FALSE(kept);
    CHECK(kept.error().message.find("exception") != std::string::npos);
  }
}

// ---- faults

TEST_CASE("a policy with faults: whatever it does, the engine answers once, and the host's default is the decision") {
  using Fault = PolicyFaults::Fault;
  PolicyFaults faults;
  EngineOptions options;
  options.policy = faults.wrap(right());
  options.policy_default = {.code = ErrorCode::overloaded, .reason = "by default"};
  options.limits.messages_per_second = 0;
  TestEngine test = TestEngine::open(std::move(options));
  std::vector<ErrorCode> answers;
  const auto send = [&](Fault fault) {
    faults.set(fault);
    test.engine().call({.user = "alice"}, Send{.to = Direct{"bob"}, .content = {.text = "x"}},
                       [&](Result<Sent> sent) { answers.push_back(sent ? ErrorCode::ok : sent.error().code); });
    test.settle();
  };
  send(Fault::none);
  send(Fault::twice);
  send(Fault::dropped);
  send(Fault::throws);
  CHECK(answers == std::vector{ErrorCode::ok, ErrorCode::ok, ErrorCode::overloaded, ErrorCode::overloaded});
  send(Fault::late);
  CHECK(faults.late() == 1);
  CHECK(answers.size() == 4);
  faults.release();
  CHECK(faults.late() == 0);
  test.settle();
  CHECK(answers.size() == 5);
  CHECK(answers.back() == ErrorCode::ok);
  send(Fault::never);
  CHECK(answers.size() == 5);
  test.advance(1s);
  CHECK(answers.size() == 6);
  CHECK(answers.back() == ErrorCode::overloaded);
  send(Fault::late);
  test.advance(1s);
  faults.release();  // too late
  test.settle();
  CHECK(answers.size() == 7);
  CHECK(answers.back() == ErrorCode::overloaded);
}
