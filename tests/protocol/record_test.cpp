#include <doctest/doctest.h>

#include <algorithm>

#include "protocol/record.h"
#include "protocol/samples.h"
#include "protocol/wire.h"

using namespace samples;

namespace {

Origin origin() {
  Origin origin{.key = key(), .age = 1000, .floor = 20, .base = 299};
  for (std::size_t i = 0; i < origin.digest.size(); ++i) origin.digest[i] = static_cast<std::byte>(i + 1);
  return origin;
}

Bytes stored_event() {
  Event stored = event();
  stored.key = {};
  return encode(stored);
}

}  // namespace

TEST_CASE("record: comes back as it was written") {
  const Bytes bytes = encode_record(stored_event(), origin());
  const auto record = decode_record(bytes);
  REQUIRE(record);
  CHECK(hex(record->event) == hex(stored_event()));
  CHECK(record->origin.key == key());
  CHECK(record->origin.digest == origin().digest);
  CHECK(record->origin.age == 1000);
  CHECK(record->origin.floor == 20);
  CHECK(record->origin.base == 299);

  const auto plain = decode_record(encode_record({}, {}));
  REQUIRE(plain);
  CHECK(plain->event.empty());
  CHECK(plain->origin.key.empty());
  CHECK(plain->origin.digest == Digest{});
}

TEST_CASE("record: decode_event gives the event without the key") {
  const auto back = decode_event(encode_record(stored_event(), origin()));
  REQUIRE(back);
  CHECK(back->seq == 300);
  CHECK(back->key.empty());
  REQUIRE(back->as<MessagePosted>());
  CHECK(back->as<MessagePosted>()->content == content());

  const auto broken = decode_event(encode_record(bytes("\x08"), origin()));
  REQUIRE_FALSE(broken);
  CHECK(broken.error().code == ErrorCode::corruption);
}

TEST_CASE("record: any bit that flips, and any byte that is missing, is corruption") {
  const Bytes good = encode_record(stored_event(), origin());
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    const auto record = decode_record(bad);
    REQUIRE_FALSE(record);
    CHECK(record.error().code == ErrorCode::corruption);
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    const auto record = decode_event(View(good).first(size));
    REQUIRE_FALSE(record);
    CHECK(record.error().code == ErrorCode::corruption);
  }
}

TEST_CASE("record: a later format is told from damage") {
  // an empty event and format 2; then with the checksum before it
  const Bytes rest = written([](auto& out) {
    put_bytes(out, 2, {});
    put_varint(out, 8, 2);
  });
  CHECK(hex(rest) == "12004002");
  const auto record = decode_record(unhex("0d94d0a57f12004002"));
  REQUIRE_FALSE(record);
  CHECK(record.error().code == ErrorCode::version_too_new);
}

TEST_CASE("record: digests tell requests apart") {
  const Bytes body = encode(Send{.to = Direct{"bob"}, .content = content()});
  CHECK(digest_of(RequestId::send, body) == digest_of(RequestId::send, body));
  CHECK(digest_of(RequestId::send, body) != digest_of(RequestId::send_ephemeral, body));
  CHECK(digest_of(RequestId::send, body) != digest_of(RequestId::send, encode(Send{.to = Direct{"bo"}})));
}
