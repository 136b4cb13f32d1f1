#include <doctest/doctest.h>

#include <deque>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include <chatcore/testing.h>

#include "auth/tokens.h"
#include "support/replies.h"

using namespace chatcore;
using namespace std::chrono_literals;

namespace {

// "good" is alice with her phone, until a certain time.
const Identity alice{.user = "alice", .device = "phone", .expires = TimePoint(1'900'000'000s)};

AuthenticatorTrial trial_of(Function<std::unique_ptr<Authenticator>()> make) {
  return {.make = std::move(make),
          .good = [] { return Credentials{.token = "good"}; },
          .identity = alice,
          .bad = [] { return Credentials{.token = "bad"}; },
          .patience = 50ms};
}

void keeps_every_promise(AuthenticatorTrial trial) {
  for (Check& check : authenticator_conformance(std::move(trial))) {
    SUBCASE(check.name.c_str()) {
      const Status kept = check.run();
      CHECK_MESSAGE(kept, kept.error().message);
    }
  }
}

std::string broken_promises(AuthenticatorTrial trial) {
  std::string names;
  for (Check& check : authenticator_conformance(std::move(trial))) {
    if (!check.run()) names += (names.empty() ? "" : "; ") + check.name;
  }
  return names;
}

Error no(std::string why = "no") { return {ErrorCode::unauthenticated, std::move(why), {}}; }

// An authenticator that is as it should be, for one to be wrong in one way.
struct Right : Authenticator {
  void authenticate(Credentials credentials, Done<Identity> done) override {
    const Result<Identity> who = check(credentials.token);
    answer(who, std::move(done));
  }
  virtual Result<Identity> check(const std::string& token) {
    if (token != "good") return no();
    return alice;
  }
  virtual void answer(const Result<Identity>& who, Done<Identity> done) { done(who); }
};

struct RefusesAll : Right {
  Result<Identity> check(const std::string&) override { return no(); }
};
struct NamesAnother : Right {
  Result<Identity> check(const std::string& token) override {
    auto who = Right::check(token);
    if (who) who->user = "bob";
    return who;
  }
};
struct NamesNobody : Right {
  Result<Identity> check(const std::string& token) override {
    auto who = Right::check(token);
    if (who) who->user = {};
    return who;
  }
};
struct ForgetsDevice : Right {
  Result<Identity> check(const std::string& token) override {
    auto who = Right::check(token);
    if (who) who->device = {};
    return who;
  }
};
struct ForgetsExpiry : Right {
  Result<Identity> check(const std::string& token) override {
    auto who = Right::check(token);
    if (who) who->expires = TimePoint::max();
    return who;
  }
};
struct AcceptsBad : Right {
  Result<Identity> check(const std::string& token) override { return Right::check(token == "bad" ? "good" : token); }
};
struct SaysNothing : Right {
  Result<Identity> check(const std::string& token) override { return token == "bad" ? no("") : Right::check(token); }
};
struct SaysNoText : Right {
  Result<Identity> check(const std::string& token) override {
    return token == "bad" ? no("\xff") : Right::check(token);
  }
};
struct IgnoresBad : Right {
  void authenticate(Credentials credentials, Done<Identity> done) override {
    if (credentials.token != "bad") Right::authenticate(std::move(credentials), std::move(done));
  }
};
struct IgnoresEmpty : Right {
  void authenticate(Credentials credentials, Done<Identity> done) override {
    if (!credentials.token.empty()) Right::authenticate(std::move(credentials), std::move(done));
  }
};
struct AnswersTwice : Right {
  void answer(const Result<Identity>& who, Done<Identity> done) override {
    done(who);
    done(who);
  }
};
struct AnswersAgainAtItsEnd : Right {
  ~AnswersAgainAtItsEnd() override {
    for (auto& done : kept_) done(no());
  }
  void answer(const Result<Identity>& who, Done<Identity> done) override {
    done(who);
    std::lock_guard lock(mutex_);
    kept_.push_back(std::move(done));
  }
  std::mutex mutex_;
  std::vector<Done<Identity>> kept_;
};
struct Blocks : Right {
  Result<Identity> check(const std::string& token) override {
    if (token == "bad" && !std::exchange(blocked_, true)) chat::wait_for_no_reply(60ms);
    return Right::check(token);
  }
  bool blocked_ = false;
};
struct AcceptsEmpty : Right {
  Result<Identity> check(const std::string& token) override { return Right::check(token.empty() ? "good" : token); }
};
struct AcceptsHuge : Right {
  Result<Identity> check(const std::string& token) override {
    return Right::check(token.size() > 100'000 ? "good" : token);
  }
};
struct Throws : Right {
  Result<Identity> check(const std::string& token) override {
    if (!is_utf8(token)) throw std::runtime_error("not UTF-8");
    return Right::check(token);
  }
};
struct ThrowsAfterAnswer : Right {
  void answer(const Result<Identity>& who, Done<Identity> done) override {
    done(who);
    if (who) throw 42;
  }
};
struct TakesOneThread : Right {
  Result<Identity> check(const std::string& token) override {
    if (std::this_thread::get_id() != owner_) return no();
    return Right::check(token);
  }
  const std::thread::id owner_ = std::this_thread::get_id();
};

// What answers in the host's loop.
struct Later : Right {
  struct Waiting {
    std::mutex mutex;
    std::deque<std::pair<Result<Identity>, Done<Identity>>> queue;
    void run() {
      std::unique_lock lock(mutex);
      while (!queue.empty()) {
        auto [who, done] = std::move(queue.front());
        queue.pop_front();
        lock.unlock();
        done(who);
        lock.lock();
      }
    }
  };
  Later(std::shared_ptr<Waiting> waiting, bool one_at_a_time) : waiting_(std::move(waiting)), one_(one_at_a_time) {}
  void answer(const Result<Identity>& who, Done<Identity> done) override {
    std::lock_guard lock(waiting_->mutex);
    if (one_) waiting_->queue.clear();
    waiting_->queue.emplace_back(who, std::move(done));
  }
  const std::shared_ptr<Waiting> waiting_;
  const bool one_;
};
AuthenticatorTrial later(bool one_at_a_time) {
  const auto waiting = std::make_shared<Later::Waiting>();
  AuthenticatorTrial trial = trial_of([=] { return std::make_unique<Later>(waiting, one_at_a_time); });
  trial.poll = [=] { waiting->run(); };
  return trial;
}

template <class T>
std::unique_ptr<Authenticator> make() {
  return std::make_unique<T>();
}
struct Wrong {
  const char* what;
  std::unique_ptr<Authenticator> (*make)();
  const char* broken;
};
constexpr Wrong all_wrong[] = {
    {"refuses everyone", make<RefusesAll>, "good credentials are accepted"},
    {"names another user", make<NamesAnother>, "the identity is the one expected"},
    {"names no user", make<NamesNobody>, "the identity is the one expected"},
    {"forgets the device", make<ForgetsDevice>, "the identity is the one expected"},
    {"forgets when it expires", make<ForgetsExpiry>, "the identity is the one expected"},
    {"accepts bad credentials", make<AcceptsBad>, "bad credentials are refused"},
    {"does not say why", make<SaysNothing>, "a refusal says why"},
    {"says why in no language", make<SaysNoText>, "a refusal says why"},
    {"does not answer bad credentials", make<IgnoresBad>, "every login is answered"},
    {"does not answer nonsense", make<IgnoresEmpty>, "every login is answered"},
    {"answers twice", make<AnswersTwice>, "no login is answered twice"},
    {"answers again when it is destroyed", make<AnswersAgainAtItsEnd>, "no login is answered twice"},
    {"blocks", make<Blocks>, "authenticate does not block"},
    {"accepts an empty token", make<AcceptsEmpty>, "nonsense is refused"},
    {"accepts a huge token", make<AcceptsHuge>, "nonsense is refused"},
    {"throws at what is no text", make<Throws>, "nothing is thrown"},
    {"throws after it has answered", make<ThrowsAfterAnswer>, "nothing is thrown"},
    {"knows the thread that made it only", make<TakesOneThread>, "several threads log in at once"},
};

}  // namespace

TEST_CASE("an authenticator that is wrong in one way fails the check that is named after it, and no other") {
  for (const Wrong& wrong : all_wrong) {
    SUBCASE(wrong.what) { CHECK(broken_promises(trial_of(wrong.make)) == wrong.broken); }
  }
  SUBCASE("remembers one login at a time") { CHECK(broken_promises(later(true)) == "logins under way are kept apart"); }
}

TEST_CASE("an authenticator whom one good login has opened lets no bad one in") {
  struct StaysOpen : Right {
    Result<Identity> check(const std::string& token) override {
      open_ = open_ || token == "good";
      return Right::check(open_ ? "good" : token);
    }
    bool open_ = false;
  };
  const auto broken = broken_promises(trial_of(make<StaysOpen>));
  CHECK(broken.find("bad credentials are refused") != std::string::npos);
}

TEST_CASE("an authenticator that is right passes, at once or later") {
  CHECK(broken_promises(trial_of(make<Right>)).empty());
  CHECK(broken_promises(later(false)).empty());
}

TEST_CASE("the authenticator of tokens keeps every promise of auth.h") {
  const std::string secret(32, 's');
  keeps_every_promise(
      {.make =
           [=] {
             return std::move(
                 *make_jwt_authenticator({.keys = *JwtKeys::make({{.algorithm = JwtAlgorithm::hs256, .key = secret}}),
                                          .device_claim = "dev",
                                          .clock = std::make_shared<ManualClock>()}));
           },
       .good =
           [=] {
             return Credentials{.token =
                                    tokens::by_secret(secret, R"({"sub":"alice","dev":"phone","exp":1900000000})")};
           },
       .identity = alice,
       .bad = [=] { return Credentials{.token = tokens::by_secret(secret, R"({"sub":"alice","exp":1700000000})")}; }});
}

TEST_CASE("a function of the host's keeps every promise of auth.h") {
  keeps_every_promise(trial_of([] {
    return make_authenticator(
        [](Credentials credentials, Done<Identity> done) { credentials.token == "good" ? done(alice) : done(no()); });
  }));
}
