#include <deque>
#include <mutex>
#include <stdexcept>
#include <variant>

#include <chatcore/testing.h>

#include "faults/orders.h"

namespace chatcore {
inline namespace v1 {

struct MembershipFaults::State {
  explicit State(std::uint64_t seed) : orders(seed) {}

  std::mutex mutex{};
  detail::Orders<MembershipFault> orders;
  std::deque<Function<void()>> late{};
  std::vector<std::variant<Done<std::vector<Member>>, Done<std::optional<Role>>, Done<std::vector<ConversationId>>>>
      never{};
};

MembershipFaults::MembershipFaults(std::uint64_t seed) : state_(std::make_shared<State>(seed)) {}
MembershipFaults::~MembershipFaults() = default;

void MembershipFaults::next(std::vector<MembershipFault> faults) {
  std::lock_guard lock(state_->mutex);
  state_->orders.next(std::move(faults));
}
void MembershipFaults::some(double share, std::vector<MembershipFault> faults) {
  std::lock_guard lock(state_->mutex);
  state_->orders.some(share, std::move(faults));
}
std::size_t MembershipFaults::release() {
  std::deque<Function<void()>> late;
  {
    std::lock_guard lock(state_->mutex);
    late.swap(state_->late);
  }
  for (auto& answer : late) answer();
  return late.size();
}
std::size_t MembershipFaults::waiting() const {
  std::lock_guard lock(state_->mutex);
  return state_->late.size();
}
std::size_t MembershipFaults::asked() const {
  std::lock_guard lock(state_->mutex);
  return state_->orders.calls();
}
std::size_t MembershipFaults::spoiled() const {
  std::lock_guard lock(state_->mutex);
  return state_->orders.spoiled();
}

namespace detail {

class FaultyMembership final : public Membership {
 public:
  FaultyMembership(std::unique_ptr<Membership> inner, const MembershipFaults& faults)
      : inner_(std::move(inner)), state_(faults.state_) {}

  bool owns(const ConversationId& id) const override { return inner_->owns(id); }
  void members(const ConversationId& id, Done<std::vector<Member>> done) override {
    suffer(std::move(done), [&](auto then) { inner_->members(id, std::move(then)); });
  }
  void role(const ConversationId& id, const UserId& user, Done<std::optional<Role>> done) override {
    suffer(std::move(done), [&](auto then) { inner_->role(id, user, std::move(then)); });
  }
  void conversations(const UserId& user, Done<std::vector<ConversationId>> done) override {
    suffer(std::move(done), [&](auto then) { inner_->conversations(user, std::move(then)); });
  }

 private:
  template <class T, class Ask>
  void suffer(Function<void(Result<T>)> done, Ask ask) {
    switch (draw()) {
      case MembershipFault::none:
        return ask(std::move(done));
      case MembershipFault::fails:
        return done(Error{ErrorCode::overloaded, "a fault on order", {}});
      case MembershipFault::late:
        return ask(Done<T>([state = state_, done = std::move(done)](Result<T> result) mutable {
          std::lock_guard lock(state->mutex);
          state->late.push_back(
              [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
        }));
      case MembershipFault::twice:
        return ask(Done<T>([done = std::move(done)](Result<T> result) mutable {
          done(std::move(result));
          done(T{});
        }));
      case MembershipFault::never: {
        std::lock_guard lock(state_->mutex);
        state_->never.emplace_back(std::move(done));
        return;
      }
      case MembershipFault::dropped:
        return;
      case MembershipFault::throws:
        throw std::runtime_error("a fault on order");
    }
  }
  MembershipFault draw() {
    std::lock_guard lock(state_->mutex);
    return state_->orders.draw();
  }

  const std::unique_ptr<Membership> inner_;
  const std::shared_ptr<MembershipFaults::State> state_;
};

}  // namespace detail

std::unique_ptr<Membership> make_faulty_membership(std::unique_ptr<Membership> inner,
                                                   std::shared_ptr<MembershipFaults> faults) {
  return std::make_unique<detail::FaultyMembership>(std::move(inner), *faults);
}

}  // namespace v1
}  // namespace chatcore
