#include <algorithm>
#include <utility>

#include <chatcore/membership.h>

namespace chatcore {
inline namespace v1 {
namespace {

class FunctionMembership final : public Membership {
 public:
  explicit FunctionMembership(MembershipFunctions functions) : functions_(std::move(functions)) {}

  bool owns(const ConversationId& id) const override {
    return !functions_.prefix.empty() && id.view().starts_with(functions_.prefix);
  }

  void members(const ConversationId& id, Done<std::vector<Member>> done) override {
    std::vector<Member> members = functions_.members(id);
    if (functions_.too_large != 0 && members.size() > functions_.too_large) {
      return done(Error{ErrorCode::too_large, "more members than are held in memory", {}});
    }
    done(std::move(members));
  }

  void role(const ConversationId& id, const UserId& user, Done<std::optional<Role>> done) override {
    if (functions_.role) return done(functions_.role(id, user));
    const std::vector<Member> members = functions_.members(id);
    const auto found = std::find_if(members.begin(), members.end(), [&](const Member& m) { return m.user == user; });
    done(found == members.end() ? std::optional<Role>() : found->role);
  }

  void conversations(const UserId& user, Done<std::vector<ConversationId>> done) override {
    done(functions_.conversations(user));
  }

 private:
  MembershipFunctions functions_;
};

}  // namespace

std::unique_ptr<Membership> make_membership(MembershipFunctions functions) {
  return std::make_unique<FunctionMembership>(std::move(functions));
}

}  // namespace v1
}  // namespace chatcore
