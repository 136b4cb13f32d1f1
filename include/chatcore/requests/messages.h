#pragma once

#include <chatcore/request.h>

namespace chatcore {
inline namespace v1 {

// The errors of every request that carries a key:
//   conflict (the key was used for another request), key_expired, earlier_failed, unknown_outcome, storage_full.
// The errors of every request that names a conversation:
//   no_such_conversation (there is none, or the caller was never in it), forbidden (he has left it, or his role or
//   the kind of conversation does not allow it).

// Sends a message. Text or data must not be empty. Needs the role `member`.
// too_large: over Limits::text_bytes, content_bytes or metadata_bytes.
// Direct to oneself is a notebook.
struct Send {
  using Reply = Sent;
  static constexpr auto id = RequestId::send;
  Target to{};
  Content content{};
  IdempotencyKey key{};
};

// Replaces a message's content. Only its sender may, while he is a member; and the host.
// no_such_message: nothing there, no message, or deleted. too_large as Send.
struct EditMessage {
  using Reply = Accepted;
  static constexpr auto id = RequestId::edit_message;
  ConversationId conversation{};
  Seq seq{};
  Content content{};
  IdempotencyKey key{};
};

// Removes a message's content for all, for good: no answer has it from then on; the storage's files lose it when the
// storage next compacts them. Its sender may, an admin of the group, and the host. Deleting what
// is deleted is accepted and changes nothing. no_such_message as EditMessage.
struct DeleteMessage {
  using Reply = Accepted;
  static constexpr auto id = RequestId::delete_message;
  ConversationId conversation{};
  Seq seq{};
  IdempotencyKey key{};
};

struct Delivered {
  std::uint32_t sessions{};
};
// Shows content to the members' sessions that are there now; it is stored nowhere, has no seq, and is dropped where a
// session has no room. `only`: to these members alone. Needs the role `member`. too_large as Send.
struct SendEphemeral {
  using Reply = Delivered;
  static constexpr auto id = RequestId::send_ephemeral;
  Target to{};
  Content content{};
  std::vector<UserId> only{};
};

struct Nothing {};
// Says that a numbered key that failed will not come again, so that later numbers of its source may go on.
struct Abandon {
  using Reply = Nothing;
  static constexpr auto id = RequestId::abandon;
  Target to{};
  IdempotencyKey key{};
};

}  // namespace v1
}  // namespace chatcore
