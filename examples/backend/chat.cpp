#include "chat.h"

#include <algorithm>
#include <map>

using namespace chatcore;

namespace backend {

Status Teller::tell(std::string_view group) {
  const auto conversation = conversation_of(group);
  if (!conversation) return conversation.error();
  const std::lock_guard lock(mutex_);
  const std::int64_t version = groups_.version(group);
  if (Status made = make_members(group, *conversation); !made) return made;
  groups_.told(group, version);
  return {};
}

Status Teller::tell_all() {
  for (const std::string& group : groups_.untold()) {
    if (Status told = tell(group); !told) return told;
  }
  return {};
}

Status Teller::make_members(std::string_view group, const ConversationId& conversation) {
  const std::vector<Member> wanted = groups_.members(group);
  std::map<UserId, Role> here;
  for (UserId after;;) {
    auto page = answer(engine_, Identity::system(), ListMembers{.conversation = conversation, .after = after});
    if (!page && page.error().code == ErrorCode::no_such_conversation) {
      const auto made =
          answer(engine_, Identity::system(),
                 CreateConversation{
                     .conversation = conversation, .settings = {.title = groups_.title(group)}, .members = wanted});
      return made ? Status() : made.error();
    }
    if (!page) return page.error();
    for (const Member& member : page->members) here[member.user] = member.role;
    after = page->next;
    if (after.empty()) break;
  }

  std::vector<Member> missing;
  for (const Member& member : wanted) {
    if (here.erase(member.user) == 0) missing.push_back(member);
  }
  std::vector<UserId> gone;
  for (const auto& [user, role] : here) gone.push_back(user);
  if (!gone.empty()) {
    const auto done = answer(engine_, Identity::system(), RemoveMembers{.conversation = conversation, .users = gone});
    if (!done) return done.error();
  }
  if (!missing.empty()) {
    const auto done = answer(engine_, Identity::system(), AddMembers{.conversation = conversation, .members = missing});
    if (!done) return done.error();
  }
  return {};
}

}  // namespace backend
