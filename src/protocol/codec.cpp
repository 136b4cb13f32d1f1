#include "protocol/codec.h"

#include <utility>

#include "protocol/wire.h"

// The envelopes: what a frame holds. Their fields are few and their bodies are encoded already, so they are written
// here by hand.

namespace chatcore {
inline namespace v1 {
namespace protocol {
namespace {

namespace client_frame {
enum : std::uint32_t { call = 1, request = 2, body = 3 };
}
namespace server_frame {
enum : std::uint32_t {
  call = 1,
  error = 2,
  body = 3,
  event = 4,
  signal = 5,
  head_moved = 6,
  reset = 7,
  closed = 8,
  checkpoint = 9,
};
}
constexpr std::uint32_t event_conversation = 1, event_seq = 2, event_sender = 3, event_key = 5;

void put_submessage(auto& out, std::uint32_t number, const auto& message) {
  put_tag(out, number, WireType::bytes);
  out.varint(size_of(message));
  put_message(out, message);
}

Bytes push_of(std::uint32_t number, const auto& message) {
  return written([&](auto& out) { put_submessage(out, number, message); });
}

Error malformed(std::string_view why) { return {ErrorCode::malformed_frame, std::string(why), {}}; }

// A push's message, which a later version's server may send with more in it, but not broken.
template <class T>
Status read_part(View bytes, T& message) {
  Decoding decoding;
  read_message(bytes, message, decoding);
  if (decoding.fault.set()) return malformed(decoding.fault.error().message);
  return {};
}

template <class T>
Result<ServerFrame> push_from(View bytes) {
  T message{};
  if (Status read = read_part(bytes, message); !read) return read.error();
  return ServerFrame(std::in_place_type<Push>, std::move(message));
}

Result<ServerFrame> decode_push(const WireField& field) {
  switch (field.number) {
    case server_frame::event: {
      auto event = std::make_shared<Event>();
      if (Status read = read_part(field.bytes, *event); !read) return read.error();
      return ServerFrame(std::in_place_type<Push>, EventPtr(std::move(event)));
    }
    case server_frame::signal:
      return push_from<Signal>(field.bytes);
    case server_frame::head_moved:
      return push_from<HeadMoved>(field.bytes);
    case server_frame::reset:
      return push_from<Reset>(field.bytes);
    case server_frame::closed: {
      Closed closed;
      if (Status read = read_part(field.bytes, closed.why); !read) return read.error();
      return ServerFrame(std::in_place_type<Push>, std::move(closed));
    }
    case server_frame::checkpoint:
      return ServerFrame(Checkpoint{std::string(text_of(field.bytes))});
    default:
      return ServerFrame(UnknownFrame{});
  }
}

}  // namespace

// ---- from the client

Bytes encode_client_frame(std::uint64_t call, RequestId request, View body) {
  return written([&](auto& out) {
    put_varint(out, client_frame::call, call);
    put_varint(out, client_frame::request, static_cast<std::uint64_t>(request));
    if (!body.empty()) put_bytes(out, client_frame::body, body);
  });
}

Result<ClientFrame> decode_client_frame(View bytes) {
  ClientFrame frame;
  Reader reader(bytes);
  for (WireField field; reader.next(field);) {
    if (field.number == client_frame::call && field.type == WireType::varint) {
      frame.call = field.value;
    } else if (field.number == client_frame::request && field.type == WireType::varint) {
      RequestId request{};
      from_wire(field.value, request);
      frame.request = static_cast<std::uint16_t>(request);
    } else if (field.number == client_frame::body && field.type == WireType::bytes) {
      frame.body = field.bytes;
    }
  }
  if (reader.malformed()) return malformed("the frame is not Protobuf");
  if (frame.call == 0) return malformed("the frame has no call number");
  return frame;
}

// ---- from the server

Bytes encode_answer(std::uint64_t call, View body) {
  return written([&](auto& out) {
    put_varint(out, server_frame::call, call);
    if (!body.empty()) put_bytes(out, server_frame::body, body);
  });
}

Bytes encode_answer(std::uint64_t call, const Error& error) {
  return written([&](auto& out) {
    put_varint(out, server_frame::call, call);
    put_submessage(out, server_frame::error, error);
  });
}

Bytes encode_event_push(const Event& event) { return push_of(server_frame::event, event); }

View event_in(View push) {
  WireField event;
  Reader(push).next(event);
  return event.bytes;
}

PushPlace place_of(View frame) {
  WireField field;
  if (!Reader(frame).next(field)) return {PushKind::other, {}, 0};
  switch (field.number) {
    case server_frame::event:
    case server_frame::head_moved: {  // the first two fields of both are conversation and seq
      PushPlace place{field.number == server_frame::event ? PushKind::event : PushKind::head_moved, {}, 0};
      Reader parts(field.bytes);
      for (WireField part; parts.next(part) && part.number <= event_seq;) {
        if (part.number == event_conversation) place.conversation = text_of(part.bytes);
        if (part.number == event_seq) place.seq = part.value;
      }
      return place;
    }
    case server_frame::signal:
      return {PushKind::signal, {}, 0};
    case server_frame::checkpoint:
      return {PushKind::checkpoint, {}, 0};
    default:
      return {PushKind::other, {}, 0};
  }
}

Bytes encode_event_push(View event) {
  return written([&](auto& out) { put_bytes(out, server_frame::event, event); });
}

Bytes encode_event_push(View event, const IdempotencyKey& key) {
  if (key.empty()) return encode_event_push(event);
  Counter key_size;
  put_submessage(key_size, event_key, key);
  return written([&](auto& out) {
    put_tag(out, server_frame::event, WireType::bytes);
    out.varint(event.size() + key_size.total());
    out.raw(event);
    put_submessage(out, event_key, key);
  });
}

Bytes push_with_key(View event_push, const IdempotencyKey& key) { return encode_event_push(event_in(event_push), key); }

std::string_view sender_in(View event) {
  Reader reader(event);
  for (WireField field; reader.next(field);) {
    if (field.number == event_sender && field.type == WireType::bytes) return text_of(field.bytes);
  }
  return {};
}

Bytes with_key(View event, const IdempotencyKey& key) {
  return written([&](auto& out) {
    out.raw(event);
    if (!key.empty()) put_submessage(out, event_key, key);  // fields may come in any order
  });
}

Bytes encode_signal_push(const Signal& signal) { return push_of(server_frame::signal, signal); }
Bytes encode_head_moved(const HeadMoved& moved) { return push_of(server_frame::head_moved, moved); }
Bytes encode_reset() { return push_of(server_frame::reset, Reset{}); }
Bytes encode_closed(const Error& why) { return push_of(server_frame::closed, why); }

Bytes encode_checkpoint(const Checkpoint& checkpoint) {
  return written([&](auto& out) { put_bytes(out, server_frame::checkpoint, view_of(checkpoint)); });
}

Result<ServerFrame> decode_server_frame(View bytes) {
  Answer answer;
  WireField push;
  Reader reader(bytes);
  for (WireField field; reader.next(field);) {
    if (field.number == server_frame::call && field.type == WireType::varint) {
      answer.call = field.value;
    } else if (field.type != WireType::bytes) {
      continue;
    } else if (field.number == server_frame::error) {
      if (Status read = read_part(field.bytes, answer.error.emplace()); !read) return read.error();
    } else if (field.number == server_frame::body) {
      answer.body = field.bytes;
    } else if (field.number <= server_frame::checkpoint) {
      push = field;
    }
  }
  if (reader.malformed()) return malformed("the frame is not Protobuf");
  if (answer.call != 0) return ServerFrame(std::move(answer));
  return decode_push(push);
}

}  // namespace protocol
}  // namespace v1
}  // namespace chatcore
