#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <chatcore/event.h>
#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/ids.h>

namespace chatcore {
inline namespace v1 {

// Who is in a conversation, where that is the host's own table: a guild, a team, who is near. Nothing of it is copied:
// the engine asks, keeps the answers in memory until Engine::membership_changed says that they are old, and stores only
// from where to where someone who has left could see. A conversation that it owns needs no CreateConversation: it
// exists as long as members() or role() knows anyone in it. Its members can't be changed by requests (`forbidden`).
//
// What is seen: a member sees everything from the first seq, who has left sees up to where he left. One who comes back
// sees from where he came back.
//
// Threads: called on engine threads, must not block, may complete at once or later, from any thread. The engine takes
// the first completion; one that is dropped counts as `cancelled`, one that has not come within
// EngineOptions::membership_deadline as `timeout`; then what needed the answer fails retryably, and nothing is shown.
// May be called again for the same question before the first answer has come. Ids are valid during the call.
// Exceptions: what it throws counts as `cancelled`.
// Ownership: the engine owns it and destroys it after stop().
class CHATCORE_API Membership {
 public:
  virtual ~Membership();

  // Whether this table says who is in that conversation. The same answer every time; any thread, several at once.
  // Direct conversations are never asked about.
  virtual bool owns(const ConversationId&) const = 0;

  // All members, in any order. `too_large` where they are more than the host likes to list: then role() is asked for
  // each one who does something or is online, and the conversation is fanned out on read. An empty list: nobody.
  virtual void members(const ConversationId&, Done<std::vector<Member>>) = 0;

  // One user's role; empty: he is not in it.
  virtual void role(const ConversationId&, const UserId&, Done<std::optional<Role>>) = 0;

  // The conversations of this table that a user is in, up to a few hundred.
  virtual void conversations(const UserId&, Done<std::vector<ConversationId>>) = 0;
};

// A table as functions of the host's, which answer at once. They are called on engine threads (inside poll() with
// threads = 0); what they throw counts as `cancelled`.
struct MembershipFunctions {
  std::string prefix{};                                                  // of the conversations that it owns; not empty
  Function<std::vector<Member>(const ConversationId&)> members{};        // required
  Function<std::vector<ConversationId>(const UserId&)> conversations{};  // required
  Function<std::optional<Role>(const ConversationId&, const UserId&)> role{};  // unset: looked for among `members`
  std::size_t too_large = 0;  // above so many members a conversation is fanned out on read; 0: as for stored ones
};
CHATCORE_API std::unique_ptr<Membership> make_membership(MembershipFunctions);

}  // namespace v1
}  // namespace chatcore
