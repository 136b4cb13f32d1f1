#include <deque>
#include <mutex>
#include <stdexcept>
#include <utility>

#include <chatcore/testing.h>

namespace chatcore {
inline namespace v1 {

struct PolicyFaults::State {
  std::mutex mutex;
  Fault fault = Fault::none;
  std::deque<std::pair<Done<Decision>, Result<Decision>>> kept;
  std::vector<Done<Decision>> never;

  void keep(Done<Decision> done, Result<Decision> decision) {
    std::lock_guard lock(mutex);
    kept.emplace_back(std::move(done), std::move(decision));
  }
};

PolicyFaults::PolicyFaults() : state_(std::make_shared<State>()) {}
PolicyFaults::~PolicyFaults() = default;

std::unique_ptr<Policy> PolicyFaults::wrap(std::unique_ptr<Policy> policy) {
  return make_policy([state = state_, inner = std::shared_ptr<Policy>(std::move(policy))](
                         const Identity& who, const RequestView& request, Done<Decision> done) {
    Fault fault;
    {
      std::lock_guard lock(state->mutex);
      fault = state->fault;
      if (fault == Fault::never) return state->never.push_back(std::move(done));
    }
    if (fault == Fault::throws) throw std::runtime_error("a policy's fault");
    if (fault == Fault::dropped) return;
    inner->decide(who, request, [state, fault, done = std::move(done)](Result<Decision> decision) mutable {
      if (fault == Fault::late) return state->keep(std::move(done), std::move(decision));
      done(std::move(decision));
      if (fault == Fault::twice) done(Decision{.code = ErrorCode::forbidden, .reason = "decided a second time"});
    });
  });
}

void PolicyFaults::set(Fault fault) {
  std::lock_guard lock(state_->mutex);
  state_->fault = fault;
}

std::size_t PolicyFaults::late() const {
  std::lock_guard lock(state_->mutex);
  return state_->kept.size();
}

void PolicyFaults::release() {
  std::deque<std::pair<Done<Decision>, Result<Decision>>> kept;
  {
    std::lock_guard lock(state_->mutex);
    kept.swap(state_->kept);
  }
  for (auto& [done, decision] : kept) done(std::move(decision));
}

}  // namespace v1
}  // namespace chatcore
