#include <utility>

#include <chatcore/policy.h>

namespace chatcore {
inline namespace v1 {
namespace {

constexpr const char* no_function = "the policy's function is empty: nothing passes";

class LaterPolicy final : public Policy {
 public:
  explicit LaterPolicy(Function<void(const Identity&, const RequestView&, Done<Decision>)> function)
      : function_(std::move(function)) {}
  void decide(const Identity& who, const RequestView& request, Done<Decision> done) override {
    if (function_) return function_(who, request, std::move(done));
    done(Decision{.code = ErrorCode::forbidden, .reason = no_function});
  }

 private:
  Function<void(const Identity&, const RequestView&, Done<Decision>)> function_;
};

class AtOncePolicy final : public Policy {
 public:
  explicit AtOncePolicy(Function<Decision(const Identity&, const RequestView&)> function)
      : function_(std::move(function)) {}
  void decide(const Identity& who, const RequestView& request, Done<Decision> done) override {
    if (function_) return done(function_(who, request));
    done(Decision{.code = ErrorCode::forbidden, .reason = no_function});
  }

 private:
  Function<Decision(const Identity&, const RequestView&)> function_;
};

}  // namespace

std::unique_ptr<Policy> make_policy(Function<void(const Identity&, const RequestView&, Done<Decision>)> function) {
  return std::make_unique<LaterPolicy>(std::move(function));
}

std::unique_ptr<Policy> make_policy(Function<Decision(const Identity&, const RequestView&)> function) {
  return std::make_unique<AtOncePolicy>(std::move(function));
}

}  // namespace v1
}  // namespace chatcore
