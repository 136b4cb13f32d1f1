#include <doctest/doctest.h>

#include "protocol/samples.h"
#include "protocol/wire.h"

using namespace samples;

namespace {

Push push_in(const Bytes& frame) {
  auto decoded = decode_server_frame(frame);
  REQUIRE(decoded);
  auto* push = std::get_if<Push>(&*decoded);
  REQUIRE(push);
  return std::move(*push);
}

}  // namespace

TEST_CASE("envelope: a request") {
  const Bytes body = encode(MarkRead{.conversation = "c1", .seq = 9});
  const Bytes bytes = encode_client_frame(5, RequestId::mark_read, body);
  const auto frame = decode_client_frame(bytes);
  REQUIRE(frame);
  CHECK(frame->call == 5);
  CHECK(frame->request == 17);
  CHECK(hex(frame->body) == hex(body));
  CHECK(frame->body.data() >= bytes.data());  // not copied
}

TEST_CASE("envelope: a request's number may be unknown, and never wraps to a known one") {
  const Bytes bytes = written([](auto& out) {
    put_varint(out, 1, 1);
    put_varint(out, 2, 65'536 + 1);
  });
  const auto frame = decode_client_frame(bytes);
  REQUIRE(frame);
  CHECK(frame->request == 65'535);
}

TEST_CASE("envelope: a request needs a call number, or its answer would be a push") {
  const auto frame = decode_client_frame(encode_client_frame(0, RequestId::ping, {}));
  REQUIRE_FALSE(frame);
  CHECK(frame.error().code == ErrorCode::malformed_frame);
}

TEST_CASE("envelope: answers") {
  const Bytes body = encode(Pong{.time_ms = 12});
  const Bytes yes = encode_answer(5, body);
  auto frame = decode_server_frame(yes);
  REQUIRE(frame);
  const auto* answer = std::get_if<Answer>(&*frame);
  REQUIRE(answer);
  CHECK(answer->call == 5);
  CHECK_FALSE(answer->error);
  CHECK(hex(answer->body) == hex(body));

  frame = decode_server_frame(encode_answer(5, error()));
  REQUIRE(frame);
  answer = std::get_if<Answer>(&*frame);
  REQUIRE(answer);
  REQUIRE(answer->error);
  CHECK(answer->error->code == ErrorCode::rate_limited);
  CHECK(answer->error->message == "slow down");
  CHECK(answer->error->retry_after.count() == 1500);

  frame = decode_server_frame(encode_answer(5, View{}));  // the reply has no fields
  REQUIRE(frame);
  CHECK(std::holds_alternative<Answer>(*frame));
}

TEST_CASE("envelope: pushes") {
  Event stored = event();
  stored.key = {};
  const Bytes bytes = encode(stored);
  CHECK(hex(encode(*push_in(encode_event_push(bytes)).event())) == hex(bytes));
  CHECK(push_in(encode_event_push(bytes, key())).event()->key == key());
  CHECK(encode_event_push(bytes, {}) == encode_event_push(bytes));

  const Push signal = push_in(encode_signal_push(ephemeral()));
  REQUIRE(signal.as<Ephemeral>());
  CHECK(signal.as<Ephemeral>()->sender == UserId("alice"));
  CHECK(signal.as<Ephemeral>()->content == content());

  const Push moved = push_in(encode_head_moved({.conversation = "c1", .head = 9}));
  REQUIRE(moved.as<HeadMoved>());
  CHECK(moved.as<HeadMoved>()->conversation == ConversationId("c1"));
  CHECK(moved.as<HeadMoved>()->head == 9);

  CHECK(push_in(encode_reset()).as<Reset>());
  CHECK(push_in(encode_closed(error())).as<Closed>()->why.message == "slow down");
  CHECK(push_in(encode_closed({})).as<Closed>()->why.code == ErrorCode::ok);

  for (const char* opaque : {"", "\xfe\xff"}) {
    const auto frame = decode_server_frame(encode_checkpoint({opaque}));
    REQUIRE(frame);
    REQUIRE(std::get_if<Checkpoint>(&*frame));
    CHECK(std::get_if<Checkpoint>(&*frame)->opaque == opaque);
  }
}

TEST_CASE("envelope: a push of a later version is an unknown frame, broken bytes are malformed") {
  for (const char* later : {"", "5a0161", "5001"}) {  // nothing; field 11; field 10, a number
    const auto frame = decode_server_frame(unhex(later));
    REQUIRE(frame);
    CHECK(std::holds_alternative<UnknownFrame>(*frame));
  }
  for (const char* broken : {"08", "2205", "0000", "07", "0c", "220480010a05", "ffffffffffffffffffff01"}) {
    CAPTURE(broken);
    const auto from_server = decode_server_frame(unhex(broken));
    REQUIRE_FALSE(from_server);
    CHECK(from_server.error().code == ErrorCode::malformed_frame);
  }
  const auto from_client = decode_client_frame(unhex("080510111a05"));
  REQUIRE_FALSE(from_client);
  CHECK(from_client.error().code == ErrorCode::malformed_frame);
}
