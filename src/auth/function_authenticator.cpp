#include <utility>

#include <chatcore/auth.h>

namespace chatcore {
inline namespace v1 {
namespace {

class FunctionAuthenticator final : public Authenticator {
 public:
  explicit FunctionAuthenticator(Function<void(Credentials, Done<Identity>)> function)
      : function_(std::move(function)) {}
  void authenticate(Credentials credentials, Done<Identity> done) override {
    if (function_) return function_(std::move(credentials), std::move(done));
    done(Error{ErrorCode::unauthenticated, "the authenticator's function is empty", {}});
  }

 private:
  Function<void(Credentials, Done<Identity>)> function_;
};

}  // namespace

std::unique_ptr<Authenticator> make_authenticator(Function<void(Credentials, Done<Identity>)> function) {
  return std::make_unique<FunctionAuthenticator>(std::move(function));
}

std::unique_ptr<Authenticator> make_insecure_dev_authenticator() {
  return make_authenticator([](Credentials credentials, Done<Identity> done) {
    auto user = UserId::make(credentials.token);
    if (!user)
      return done(Error{ErrorCode::unauthenticated, "the token is to be a user id: " + user.error().message, {}});
    done(Identity{.user = *user});
  });
}

}  // namespace v1
}  // namespace chatcore
