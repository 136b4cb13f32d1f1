#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include <chatcore/event.h>
#include <chatcore/transport.h>

#include "protocol/messages.h"

// Structs to Protobuf and back (chatcore.proto says the same in Protobuf's own words). The descriptions in
// describe.h drive it: one line a field. Nothing here throws but bad_alloc, or keeps a reference to its input unless
// it says so.

namespace chatcore {
inline namespace v1 {
namespace protocol {

using View = std::span<const std::byte>;

// Of every request, every Reply, Login, LoggedIn, Ping, Pong, Event, Content, ConversationSettings, Member, and,
// encode only, of Error and the Raw pages. Explicitly instantiated in codec_*.cpp.
template <class T>
Bytes encode(const T&);
// `invalid`, naming the field: not Protobuf, not UTF-8, no id, an enum out of range. Unknown fields are skipped.
template <class T>
Result<T> decode(View);

// ---- envelopes

struct ClientFrame {
  std::uint64_t call{};
  std::uint16_t request{};  // a RequestId, or one this version does not know
  View body{};              // into the frame
};
Bytes encode_client_frame(std::uint64_t call, RequestId, View body);
Result<ClientFrame> decode_client_frame(View frame);  // malformed_frame

Bytes encode_answer(std::uint64_t call, View body);
Bytes encode_answer(std::uint64_t call, const Error&);

// The same bytes for every session; made once. `event` is an encoded Event.
Bytes encode_event_push(View event);
Bytes encode_event_push(const Event&);
View event_in(View event_push);  // the encoded Event, in place
// What kind of push a frame is, and of an event its place, of a notice what it tells; the id points into the frame.
enum class PushKind { event, signal, head_moved, checkpoint, other };
struct PushPlace {
  PushKind kind{};
  std::string_view conversation{};
  Seq seq{};
};
PushPlace place_of(View frame);
Bytes encode_event_push(View event, const IdempotencyKey&);
Bytes push_with_key(View event_push, const IdempotencyKey&);  // for the sender's own sessions
Bytes encode_signal_push(const Signal&);
Bytes encode_head_moved(const HeadMoved&);
Bytes encode_reset();
Bytes encode_closed(const Error&);
Bytes encode_checkpoint(const Checkpoint&);

struct Answer {
  std::uint64_t call{};
  std::optional<Error> error{};
  View body{};  // into the frame
};
struct UnknownFrame {};  // of a later version: to be passed over
using ServerFrame = std::variant<UnknownFrame, Answer, Push, Checkpoint>;
Result<ServerFrame> decode_server_frame(View frame);  // malformed_frame

// Who sent an encoded Event, into its bytes; empty: the host, or it is none.
std::string_view sender_in(View event);
// The encoded Event with the key its sender may see.
Bytes with_key(View event, const IdempotencyKey&);

}  // namespace protocol
}  // namespace v1
}  // namespace chatcore
