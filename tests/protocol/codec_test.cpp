#include <doctest/doctest.h>

#include <string>

#include "protocol/samples.h"
#include "protocol/wire.h"

using namespace samples;

namespace {

// A message of one field, for what no encoder of ours writes.
Bytes field(std::uint32_t number, std::uint64_t value) {
  return written([&](auto& out) { put_varint(out, number, value); });
}
Bytes field(std::uint32_t number, View value) {
  return written([&](auto& out) { put_bytes(out, number, value); });
}
Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

template <class T>
std::string refusal(View bytes) {
  auto message = decode<T>(bytes);
  if (message) return "taken";
  CHECK(message.error().code == ErrorCode::invalid);
  return message.error().message;
}

}  // namespace

TEST_CASE("codec: every type comes back as it went") {
  samples::for_each([](const char* name, const auto& sample) {
    CAPTURE(name);
    const Bytes bytes = encode(sample);
    const auto back = decode<std::decay_t<decltype(sample)>>(bytes);
    REQUIRE(back);
    CHECK(hex(encode(*back)) == hex(bytes));
  });
}

TEST_CASE("codec: what comes back has its values in the right members") {
  const auto send = decode<Send>(encode(Send{.to = Direct{"bob"}, .content = content(), .key = key()}));
  REQUIRE(send);
  REQUIRE(send->to.direct());
  CHECK(send->to.direct()->peer == UserId("bob"));
  CHECK(send->content == content());
  CHECK(send->key == key());

  const auto back = decode<Event>(encode(event(changed())));
  REQUIRE(back);
  CHECK(back->conversation == ConversationId("c1"));
  CHECK(back->seq == 300);
  CHECK(back->sender == UserId("alice"));
  CHECK(back->time == at_ms(1'800'000'000'000));
  const auto* change = back->as<MessageChanged>();
  REQUIRE(change);
  CHECK(change->target == 3);
  CHECK(change->kind == ChangeKind::deleted);
  CHECK(change->revision == 4);
  REQUIRE(change->now);
  CHECK(change->now->content == content());
  CHECK(change->now->changed == at_ms(-5));
}

TEST_CASE("codec: a message at its defaults is empty, and empty bytes are the defaults") {
  CHECK(encode(Send{}).empty());
  CHECK(encode(Event{}).empty());
  CHECK(encode(Accepted{}).empty());
  const auto read = decode<ReadHistory>({});
  REQUIRE(read);
  CHECK(read->limit == 50);
  CHECK(read->direction == Direction::backward);
  const auto member = decode<Member>({});
  REQUIRE(member);
  CHECK(member->role == Role::member);
}

TEST_CASE("codec: where the default is not zero, a zero is written") {
  const auto read = decode<Sync>(encode(Sync{.conversation = "c", .limit = 0}));
  REQUIRE(read);
  CHECK(read->limit == 0);
}

TEST_CASE("codec: an event without a key has none on the wire") {
  Event without = event();
  without.key = {};
  const Bytes bytes = encode(without);
  CHECK(with_key(bytes, {}) == bytes);
  const auto back = decode<Event>(with_key(bytes, key()));
  REQUIRE(back);
  CHECK(back->key == key());
  CHECK(hex(encode(*back)) == hex(encode(event())));
}

TEST_CASE("codec: a page of stored bytes is the page of its events") {
  RawHistoryPage history;
  static_cast<HistoryPage&>(history) = history_page();
  RawSyncPage sync;
  static_cast<SyncPage&>(sync) = sync_page();
  for (const EventPtr& e : history.events) history.raw.push_back(encode(*e));
  for (const EventPtr& e : sync.events) sync.raw.push_back(encode(*e));
  CHECK(hex(encode(history)) == hex(encode(history_page())));
  CHECK(hex(encode(sync)) == hex(encode(sync_page())));
}

TEST_CASE("codec: text must be UTF-8, and the answer names the field") {
  Send send{.to = Direct{"bob"}, .content = {.text = "\xff"}};
  CHECK(refusal<Send>(encode(send)) == "content.text is not UTF-8");
  send.content = {.metadata = {{"a", "\xc3"}}};
  CHECK(refusal<Send>(encode(send)) == "content.metadata is not UTF-8");
  send.content = {.data = bytes("\xff")};
  CHECK(refusal<Send>(encode(send)) == "taken");
  CHECK(refusal<Event>(encode(event(SettingsChanged{{.title = "\x80"}}))) ==
        "settings_changed.settings.title is not UTF-8");
  CHECK(refusal<HistoryPage>(encode(HistoryPage{.events = {event_ptr(MessagePosted{.content = {.text = "\xff"}})}})) ==
        "events.message_posted.content.text is not UTF-8");
}

TEST_CASE("codec: ids are checked, and empty means none") {
  CHECK(refusal<Join>(field(1, bytes(std::string(64, 'x')))) ==
        "conversation: an id has at most 63 bytes, this one has 64");
  CHECK(refusal<Join>(field(1, bytes("a\n"))) == "conversation: an id must not hold a control character");
  CHECK(refusal<RemoveMembers>(field(2, bytes("\xff"))) == "users: an id must be UTF-8");
  const auto none = decode<Join>(field(1, bytes("x")) + field(1, bytes("")));
  REQUIRE(none);
  CHECK(none->conversation.empty());
}

TEST_CASE("codec: a request's enums must be known") {
  for (std::uint64_t role : {0u, 5u, 255u, 256u + 4u, 0xffffffffu}) {
    CAPTURE(role);
    CHECK(refusal<SetRole>(field(3, role)) == "role is missing or out of range");
    CHECK(refusal<AddMembers>(field(2, field(2, role))) == "members.role is missing or out of range");
  }
  CHECK(refusal<SetRole>({}) == "role is missing or out of range");
  CHECK(refusal<SetRole>(field(3, 4u)) == "taken");
  CHECK(refusal<ReadHistory>(field(3, 3u)) == "direction is missing or out of range");
  CHECK(refusal<CreateConversation>(field(2, field(3, 4u))) == "settings.newcomers_see is missing or out of range");
}

TEST_CASE("codec: an answer's enums may be of a later version, and never wrap to one of ours") {
  const auto page = decode<MembersPage>(field(1, field(2, 77u)) + field(1, field(2, 256u + 4u)));
  REQUIRE(page);
  REQUIRE(page->members.size() == 2);
  CHECK(static_cast<int>(page->members[0].role) == 77);
  CHECK(static_cast<int>(page->members[1].role) == 255);
}

TEST_CASE("codec: unknown fields are passed over, of any wire type") {
  // varint, fixed64, bytes, a group with a field in it, fixed32: all number 1000
  const Bytes unknown = unhex(
      "c03e01"
      "c13e0102030405060708"
      "c23e03616263"
      "c33e0801c43e"
      "c53e01020304");
  samples::for_each([&](const char* name, const auto& sample) {
    using T = std::decay_t<decltype(sample)>;
    if constexpr (!std::is_same_v<T, Event>) {  // there, 1000 is a body
      CAPTURE(name);
      const auto back = decode<T>(unknown + encode(sample) + unknown);
      REQUIRE(back);
      CHECK(hex(encode(*back)) == hex(encode(sample)));
    }
  });
  // A known number with another wire type is an unknown field too.
  const auto back = decode<MarkRead>(field(1, 5u) + field(2, bytes("x")));
  REQUIRE(back);
  CHECK(back->seq == 0);
}

TEST_CASE("codec: the last of several wins") {
  const auto mark = decode<MarkRead>(field(2, 5u) + field(2, 6u));
  REQUIRE(mark);
  CHECK(mark->seq == 6);
  const auto last = decode<Event>(field(16, encode(Ping{})) + field(18, encode(Ping{})));
  REQUIRE(last);
  CHECK(last->as<MembersChanged>());
  const auto map = decode<Content>(field(4, field(1, bytes("k")) + field(2, bytes("1"))) +
                                   field(4, field(1, bytes("k")) + field(2, bytes("2"))));
  REQUIRE(map);
  CHECK(map->metadata == std::map<std::string, std::string>{{"k", "2"}});
}

TEST_CASE("codec: a later kind of event or signal is known by its number") {
  const auto later = decode<Event>(field(2, 9u) + field(2000, bytes("anything")));
  REQUIRE(later);
  CHECK(later->seq == 9);
  REQUIRE(later->as<UnknownEvent>());
  CHECK(later->as<UnknownEvent>()->type == 2000);
  const auto below = decode<Event>(field(6, bytes("x")));
  REQUIRE(below);
  CHECK(below->as<UnknownEvent>()->type == 0);

  const auto frame = decode_server_frame(field(5, field(2000, bytes("x"))));
  REQUIRE(frame);
  const auto* push = std::get_if<Push>(&*frame);
  REQUIRE(push);
  REQUIRE(push->as<UnknownSignal>());
  CHECK(push->as<UnknownSignal>()->type == 2000);
}

TEST_CASE("codec: numbers at their ends") {
  for (std::int64_t ms : {std::int64_t{0}, std::int64_t{-1}, INT64_MAX, INT64_MIN}) {
    const auto accepted = decode<Accepted>(encode(Accepted{.seq = UINT64_MAX, .time = at_ms(ms)}));
    REQUIRE(accepted);
    CHECK(accepted->time == at_ms(ms));
    CHECK(accepted->seq == UINT64_MAX);
  }
  const auto frame = decode_server_frame(field(8, field(1, 99'999u) + field(3, UINT64_MAX)));
  REQUIRE(frame);
  const auto* closed = std::get<Push>(*frame).as<Closed>();
  REQUIRE(closed);
  CHECK(static_cast<int>(closed->why.code) == 65'535);
  CHECK(closed->why.retry_after.count() == INT64_MAX);
}
