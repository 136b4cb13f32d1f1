#pragma once

#include <string>
#include <vector>

#include <chatcore/request.h>

namespace chatcore {
inline namespace v1 {

// Errors common to keys and to conversations: see requests/messages.h.

// Makes a group or a channel; the caller becomes its owner (the host itself does not: it names an owner among the
// members). More members than one request may name join, or are added, afterwards.
// `conversation`: an id of the host's own, not beginning with '~'; empty: one is made here (a UUIDv7; with a key, a
// UUIDv8 of it, so that a repeat finds it). A client may not choose ids unless Limits::clients_choose_ids.
// conflict: the id is taken. full_group: more members than Limits::group_members. `invalid`: the id belongs to the
// host's own Membership, where nothing has to be created.
struct CreateConversation {
  using Reply = Accepted;
  static constexpr auto id = RequestId::create_conversation;
  ConversationId conversation{};
  ConversationSettings settings{};
  std::vector<Member> members{};
  IdempotencyKey key{};
  ConversationKind kind = ConversationKind::group;  // or channel
};

// Who is in a conversation of the host's own Membership is changed there: AddMembers, RemoveMembers, Join, Leave and
// SetRole are `forbidden` then.

// Replaces the settings of a group, all of them. Needs the role `admin`.
struct ChangeSettings {
  using Reply = Accepted;
  static constexpr auto id = RequestId::change_settings;
  ConversationId conversation{};
  ConversationSettings settings{};
  IdempotencyKey key{};
};

struct ConversationInfo {
  ConversationId conversation{};
  ConversationKind kind{};
  ConversationSettings settings{};
  std::uint32_t members{};
  Seq oldest{}, head{};
  Role role{};          // the caller's; of a former member, his last
  bool former = false;  // the caller has left: then settings and members are left out
  UserId peer{};        // of a direct conversation: the other one
};
// What a member, or a former one, may know of a conversation.
struct GetConversation {
  using Reply = ConversationInfo;
  static constexpr auto id = RequestId::get_conversation;
  Target of{};
};

// Adds members to a group or a channel; those who are members already stay as they are. Needs the role `admin`; nobody
// gives a role above his own. full_group: nobody was added. At most Limits::group_members at once.
struct AddMembers {
  using Reply = Accepted;
  static constexpr auto id = RequestId::add_members;
  ConversationId conversation{};
  std::vector<Member> members{};
  IdempotencyKey key{};
};

// Removes members; who is no member is passed over. Needs the role `admin`, and a role above that of each removed;
// an owner removes anyone.
struct RemoveMembers {
  using Reply = Accepted;
  static constexpr auto id = RequestId::remove_members;
  ConversationId conversation{};
  std::vector<UserId> users{};
  IdempotencyKey key{};
};

// Enters an open group, as `member`, or again as `reader` who was one; an open channel as `reader`. Of one that is not
// open: no_such_conversation to a stranger, forbidden to a former member. full_group.
struct Join {
  using Reply = Accepted;
  static constexpr auto id = RequestId::join;
  ConversationId conversation{};
  IdempotencyKey key{};
};

// Leaves a group; what was visible stays so. Where the last owner leaves, the longest-standing member of the highest
// role becomes owner; but of a conversation that is fanned out on read (Limits::fan_out_on_read) the last owner can't
// go before he has named another one: forbidden.
struct Leave {
  using Reply = Accepted;
  static constexpr auto id = RequestId::leave;
  ConversationId conversation{};
  IdempotencyKey key{};
};

// Gives a member of a group another role. Needs the role `owner`. `invalid`: no such member. forbidden: he is the
// last owner.
struct SetRole {
  using Reply = Accepted;
  static constexpr auto id = RequestId::set_role;
  ConversationId conversation{};
  UserId user{};
  Role role{};
  IdempotencyKey key{};
};

struct MembersPage {
  std::vector<Member> members{};  // ascending by user id
  UserId next{};                  // give as `after` to go on; empty: this was the last page
  std::uint32_t total{};
};
// The members of a conversation. Needs to be one. too_large: they are the host's own, who does not list so many.
struct ListMembers {
  using Reply = MembersPage;
  static constexpr auto id = RequestId::list_members;
  ConversationId conversation{};
  UserId after{};
  std::uint32_t limit = 100;  // at most Limits::page_items
};

}  // namespace v1
}  // namespace chatcore
