#include <algorithm>
#include <thread>

#include "conformance/check.h"

namespace chatcore {
inline namespace v1 {
namespace {

using namespace conformance;

struct Login : Question<Identity> {
  bool is_accepted() const {
    const auto given = answer();
    return given && *given;
  }
  bool is_refused() const {
    const auto given = answer();
    return given && !*given;
  }
};

class AuthenticatorBench {
 public:
  explicit AuthenticatorBench(AuthenticatorTrial given) : trial(std::move(given)) {}

  std::unique_ptr<Authenticator> fresh() {
    auto authenticator = trial.make();
    expect(authenticator != nullptr, "the suite was given a function that makes no authenticator");
    return authenticator;
  }
  Login begin(Authenticator& authenticator, Credentials credentials) {
    return {
        Login::ask([&](Done<Identity> done) { authenticator.authenticate(std::move(credentials), std::move(done)); })};
  }
  void wait(const Login& login) {
    wait_until(trial.poll, trial.patience, [&] { return login.came() || login.threw; });
  }
  // On an authenticator of its own; the answer has come, or does not.
  Login log_in(Credentials credentials) {
    const auto authenticator = fresh();
    Login login = begin(*authenticator, std::move(credentials));
    wait(login);
    return login;
  }

  AuthenticatorTrial trial;
};

Credentials token(std::string text) { return {.token = std::move(text), .peer_address = "192.0.2.1:4711"}; }

// What a client may send instead of a token: up to a whole frame of anything.
std::vector<Credentials> garbage() {
  std::string all_bytes;
  for (int i = 0; i < 256; ++i) all_bytes.push_back(static_cast<char>(i));
  return {token(""),
          token(" "),
          token(std::string(1, '\0')),
          token(std::string(1 << 20, 'x')),
          token(all_bytes),
          token("\xff\xfe\xc0\x80"),
          token("..."),
          token("{\"\":"),
          token(std::string(10'000, '[')),
          token("' OR 1=1; --"),
          token("%s%n%x\r\n\r\n")};
}

void accepts_good(AuthenticatorBench& bench) {
  const Login login = bench.log_in(bench.trial.good());
  if (!login.is_refused()) return;
  throw Failure("the good credentials were refused: " + login.answer()->error().message);
}

void names_identity(AuthenticatorBench& bench) {
  const Login login = bench.log_in(bench.trial.good());
  if (!login.is_accepted()) return;
  const Identity identity = **login.answer();
  const Identity& wanted = bench.trial.identity;
  expect(!identity.user.empty(), "an identity names a user");
  expect_same(identity.user.string(), wanted.user.string(), "the user");
  if (!wanted.device.empty()) expect_same(identity.device.string(), wanted.device.string(), "the device");
  if (wanted.expires != TimePoint::max()) {
    expect_same(std::to_string(identity.expires.time_since_epoch().count()),
                std::to_string(wanted.expires.time_since_epoch().count()), "when it expires, in ms");
  }
}

void refuses_bad(AuthenticatorBench& bench) {
  expect(!bench.log_in(bench.trial.bad()).is_accepted(), "bad credentials are refused");
  // Nothing that was learned from a good login lets a bad one in.
  const auto authenticator = bench.fresh();
  bench.wait(bench.begin(*authenticator, bench.trial.good()));
  const Login login = bench.begin(*authenticator, bench.trial.bad());
  bench.wait(login);
  expect(!login.is_accepted(), "bad credentials are refused, after a good login too");
}

void says_why(AuthenticatorBench& bench) {
  const Login login = bench.log_in(bench.trial.bad());
  if (!login.is_refused()) return;
  const Error why = login.answer()->error();
  expect(why.code != ErrorCode::ok, "a refusal has an error code");
  expect(!why.message.empty(), "a refusal has a message: the client is shown it");
  expect(is_utf8(why.message), "the message is UTF-8");
}

void answers_each(AuthenticatorBench& bench) {
  const auto comes = [&](Credentials credentials, const char* which) {
    const Login login = bench.log_in(std::move(credentials));
    expect(login.came() || login.threw, std::string(which) + " credentials: no answer within the patience given");
  };
  comes(bench.trial.good(), "good");
  comes(bench.trial.bad(), "bad");
  for (Credentials& each : garbage()) comes(std::move(each), "nonsense as");
}

void answers_once(AuthenticatorBench& bench) {
  for (const bool good : {true, false}) {
    Login login;
    {
      const auto authenticator = bench.fresh();
      login = bench.begin(*authenticator, good ? bench.trial.good() : bench.trial.bad());
      bench.wait(login);
      grace(bench.trial.poll);
    }
    expect(login.answers->count() <= 1, "a login is answered " + std::to_string(login.answers->count()) + " times");
  }
}

void does_not_block(AuthenticatorBench& bench) {
  constexpr auto most = std::chrono::milliseconds(50);  // everyone on that engine thread waits meanwhile
  const auto quickest = [&](Function<Credentials()>& credentials) {
    auto least = steady_clock::duration::max();
    for (int i = 0; i < 3 && least > most; ++i) {  // a machine may be busy once
      const auto authenticator = bench.fresh();
      const Login login = bench.begin(*authenticator, credentials());
      least = std::min(least, login.took);
      bench.wait(login);
    }
    return least;
  };
  expect(quickest(bench.trial.good) <= most,
         "authenticate() of good credentials takes longer than 50 ms: answer later");
  expect(quickest(bench.trial.bad) <= most, "authenticate() of bad credentials takes longer than 50 ms: answer later");
}

void refuses_garbage(AuthenticatorBench& bench) {
  for (Credentials& each : garbage()) {
    const std::string shown = printable(each.token);
    expect(!bench.log_in(std::move(each)).is_accepted(), "nonsense was accepted: " + shown);
  }
}

void throws_nothing(AuthenticatorBench& bench) {
  expect(!bench.log_in(bench.trial.good()).threw, "authenticate() of good credentials throws");
  expect(!bench.log_in(bench.trial.bad()).threw, "authenticate() of bad credentials throws");
  for (Credentials& each : garbage()) {
    const std::string shown = printable(each.token);
    expect(!bench.log_in(std::move(each)).threw, "authenticate() throws at " + shown);
  }
}

// Each in turn good and bad.
std::vector<Login> many(AuthenticatorBench& bench, Authenticator& authenticator, int count) {
  std::vector<Login> logins;
  for (int i = 0; i < count; ++i) {
    logins.push_back(bench.begin(authenticator, i % 2 == 0 ? bench.trial.good() : bench.trial.bad()));
  }
  return logins;
}

// Only where one login for itself goes as it should: what is wrong with that has its own checks.
bool is_usable(AuthenticatorBench& bench) {
  return bench.log_in(bench.trial.good()).is_accepted() && bench.log_in(bench.trial.bad()).is_refused();
}

bool have_own_answers(const std::vector<Login>& logins) {
  for (std::size_t i = 0; i < logins.size(); ++i) {
    if (!(i % 2 == 0 ? logins[i].is_accepted() : logins[i].is_refused())) return false;
  }
  return true;
}

bool keeps_apart(AuthenticatorBench& bench) {
  const auto authenticator = bench.fresh();
  const auto logins = many(bench, *authenticator, 20);
  for (const Login& login : logins) bench.wait(login);
  return have_own_answers(logins);
}

void keeps_logins_apart(AuthenticatorBench& bench) {
  if (!is_usable(bench)) return;
  expect(keeps_apart(bench), "a login gets another's answer, or none, where twenty are under way");
}

void takes_threads(AuthenticatorBench& bench) {
  if (!is_usable(bench) || !keeps_apart(bench)) return;
  const auto authenticator = bench.fresh();
  bench.wait(bench.begin(*authenticator, bench.trial.good()));
  constexpr int count = 4;
  std::vector<std::vector<Credentials>> shown(count);
  std::vector<std::vector<Login>> logins(count);
  for (auto& each : shown) {
    for (int i = 0; i < 20; ++i) each.push_back(i % 2 == 0 ? bench.trial.good() : bench.trial.bad());
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < count; ++t) {
    threads.emplace_back([&, t] {
      for (Credentials& each : shown[t]) logins[t].push_back(bench.begin(*authenticator, std::move(each)));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& each : logins) {
    for (const Login& login : each) bench.wait(login);
    expect(have_own_answers(each), "a login gets another's answer, or none, where four threads log in at once");
  }
}

struct Named {
  const char* name;
  void (*check)(AuthenticatorBench&);
};

constexpr Named all_checks[] = {
    {"good credentials are accepted", accepts_good},
    {"the identity is the one expected", names_identity},
    {"bad credentials are refused", refuses_bad},
    {"a refusal says why", says_why},
    {"every login is answered", answers_each},
    {"no login is answered twice", answers_once},
    {"authenticate does not block", does_not_block},
    {"nonsense is refused", refuses_garbage},
    {"nothing is thrown", throws_nothing},
    {"logins under way are kept apart", keeps_logins_apart},
    {"several threads log in at once", takes_threads},
};

}  // namespace

std::vector<Check> authenticator_conformance(AuthenticatorTrial trial) {
  const auto bench = std::make_shared<AuthenticatorBench>(std::move(trial));
  std::vector<Check> checks;
  for (const Named& each : all_checks) {
    checks.push_back(make_check(each.name, [bench, check = each.check] { check(*bench); }));
  }
  return checks;
}

}  // namespace v1
}  // namespace chatcore
