#pragma once

#include <concepts>
#include <cstdint>
#include <variant>

#include <chatcore/event.h>
#include <chatcore/ids.h>
#include <chatcore/storage.h>

namespace chatcore {
inline namespace v1 {

// One number a request, the same on the wire. Frozen: new requests take new numbers.
enum class RequestId : std::uint16_t {
  send = 1,
  send_ephemeral = 2,
  read_history = 3,
  sync = 4,
  edit_message = 5,
  delete_message = 6,
  abandon = 7,
  create_conversation = 8,
  change_settings = 9,
  get_conversation = 10,
  add_members = 11,
  remove_members = 12,
  join = 13,
  leave = 14,
  set_role = 15,
  list_members = 16,
  mark_read = 17,
  list_conversations = 18,
  set_typing = 19,
  set_presence = 20,
  get_presence = 21,
  watch_presence = 22,
  mark_delivered = 23,
  get_receipts = 24,
  share_receipts = 25,
  mute = 26,
  pin = 27,
  archive = 28,
  mark_unread = 29,
  get_unread = 30,
  list_sessions = 31,
  end_sessions = 32,
  set_profile = 33,
  get_profiles = 34,
  // of a connection, so not in requests/: see docs/protocol.md
  login = 64,
  ping = 65,
};

// A request is a struct with its number and the type of its answer. Every request can be answered with
// not_logged_in, overloaded, stopped, storage_unavailable, corruption and `invalid` (a field that its comment
// rules out); what else it can be answered with stands above it.
template <class R>
concept Request = requires {
  typename R::Reply;
  { R::id } -> std::convertible_to<RequestId>;
};

// The conversation with one other user. It comes into being with its first message.
struct Direct {
  UserId peer{};
};
// Where a request goes: a conversation by its id, or the direct one with a user.
class Target {
 public:
  Target() = default;
  Target(ConversationId conversation) : to_(conversation) {}
  Target(Direct direct) : to_(direct) {}

  const ConversationId* conversation() const noexcept { return std::get_if<ConversationId>(&to_); }
  const Direct* direct() const noexcept { return std::get_if<Direct>(&to_); }

 private:
  std::variant<ConversationId, Direct> to_{};
};

// The acknowledgement of everything that changes a conversation: the event is committed with this durability.
struct Accepted {
  ConversationId conversation{};
  Seq seq{};  // of the event that the request became; 0: there was nothing to change, so there is none
  TimePoint time{};
  Durability durability{};
  bool duplicate = false;  // the key had been used: this is the first answer again. A request that changed nothing
                           // keeps no key: a repeat of it is looked at anew
};
using Sent = Accepted;

}  // namespace v1
}  // namespace chatcore
