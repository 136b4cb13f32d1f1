#include <deque>
#include <mutex>
#include <stdexcept>

#include <chatcore/testing.h>

namespace chatcore {
inline namespace v1 {

struct AuthenticatorFaults::State {
  AuthenticatorFault next() {
    std::lock_guard lock(mutex);
    if (faults.empty()) return AuthenticatorFault::none;
    const AuthenticatorFault fault = faults.front();
    faults.pop_front();
    return fault;
  }

  std::mutex mutex{};
  std::deque<AuthenticatorFault> faults{};
  std::deque<Function<void()>> late{};
  std::deque<Done<Identity>> never{};
};

AuthenticatorFaults::AuthenticatorFaults() : state_(std::make_shared<State>()) {}
AuthenticatorFaults::~AuthenticatorFaults() = default;

void AuthenticatorFaults::next(std::vector<AuthenticatorFault> faults) {
  std::lock_guard lock(state_->mutex);
  state_->faults.assign(faults.begin(), faults.end());
}
std::size_t AuthenticatorFaults::release() {
  std::deque<Function<void()>> late;
  {
    std::lock_guard lock(state_->mutex);
    late.swap(state_->late);
  }
  for (auto& answer : late) answer();
  return late.size();
}
std::size_t AuthenticatorFaults::waiting() const {
  std::lock_guard lock(state_->mutex);
  return state_->late.size();
}

namespace detail {

class FaultyAuthenticator final : public Authenticator {
 public:
  FaultyAuthenticator(std::unique_ptr<Authenticator> inner, const AuthenticatorFaults& faults)
      : inner_(std::move(inner)), state_(faults.state_) {}

  void authenticate(Credentials credentials, Done<Identity> done) override {
    switch (state_->next()) {
      case AuthenticatorFault::none:
        return inner_->authenticate(std::move(credentials), std::move(done));
      case AuthenticatorFault::late:
        return inner_->authenticate(
            std::move(credentials), [state = state_, done = std::move(done)](auto result) mutable {
              std::lock_guard lock(state->mutex);
              state->late.push_back(
                  [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
            });
      case AuthenticatorFault::twice:
        return inner_->authenticate(std::move(credentials), [done = std::move(done)](auto result) mutable {
          done(std::move(result));
          done(Identity{.user = "somebody else"});
        });
      case AuthenticatorFault::never: {
        std::lock_guard lock(state_->mutex);
        return state_->never.push_back(std::move(done));
      }
      case AuthenticatorFault::dropped:
        return;
      case AuthenticatorFault::throws:
        throw std::runtime_error("a fault on order");
    }
  }

 private:
  const std::unique_ptr<Authenticator> inner_;
  const std::shared_ptr<AuthenticatorFaults::State> state_;
};

}  // namespace detail

std::unique_ptr<Authenticator> make_faulty_authenticator(std::unique_ptr<Authenticator> inner,
                                                         std::shared_ptr<AuthenticatorFaults> faults) {
  return std::make_unique<detail::FaultyAuthenticator>(std::move(inner), *faults);
}

}  // namespace v1
}  // namespace chatcore
