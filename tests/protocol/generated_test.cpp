#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wrestrict"  // GCC 12 sees it where a literal is assigned to a string (bug 105329)
#endif
#include <doctest/doctest.h>

#include <string>

#include "chatcore.pb.h"
#include "protocol/record.h"
#include "protocol/samples.h"

// The descriptions against the classes that protoc makes of chatcore.proto. Each message is filled in twice, as a
// struct and as a generated class, with the same values in every field: the bytes must be the same, and ours must come
// back from theirs.

using namespace samples;
namespace pb = chatcore::wire::v1;

namespace {

void fill(pb::Key& theirs) {
  theirs.set_source("phone");
  theirs.set_number(7);
}
void fill(pb::Content& theirs) {
  theirs.set_text("h\xc3\xa9");
  theirs.set_content_type("image/webp");
  theirs.set_data("\1\2");
  (*theirs.mutable_metadata())["a"] = "b";
}
void fill(pb::Member& theirs) {
  theirs.set_user("bob");
  theirs.set_role(3);
}
void fill(pb::Settings& theirs) {
  theirs.set_title("T");
  (*theirs.mutable_custom())["c"] = "";
  theirs.set_newcomers_see(3);
  theirs.set_newcomers_last(9);
  theirs.set_open(true);
}
void fill(pb::MessagePosted& theirs) {
  fill(*theirs.mutable_content());
  theirs.set_revision(2);
  theirs.set_deleted(true);
  theirs.set_changed_ms(-5);
}
void fill(pb::MessageChanged& theirs) {
  theirs.set_target(3);
  theirs.set_kind(2);
  theirs.set_revision(4);
  fill(*theirs.mutable_now());
}
void fill(pb::MembersChanged& theirs) {
  theirs.add_joined("a");
  theirs.add_joined("b");
  theirs.add_left("c");
  fill(*theirs.add_roles());
}
void fill(pb::SettingsChanged& theirs) { fill(*theirs.mutable_settings()); }
void fill_event(pb::Event& theirs) {  // all but its body
  theirs.set_conversation("c1");
  theirs.set_seq(300);
  theirs.set_sender("alice");
  theirs.set_time_ms(1'800'000'000'000);
  fill(*theirs.mutable_key());
}
void fill(pb::Event& theirs) {
  fill_event(theirs);
  fill(*theirs.mutable_message_posted());
}
void fill(pb::Marks& theirs) {
  theirs.set_conversation("c1");
  theirs.set_read(9);
  theirs.set_muted_until_ms(1'800'000'000'000);
  theirs.set_pinned(true);
  theirs.set_archived(true);
  theirs.set_unread(true);
}
void fill(pb::OwnChanged& theirs) {
  fill(*theirs.add_marks());
  theirs.add_marks()->set_conversation("c2");
  theirs.set_hides_receipts(true);
}
void fill(pb::Presence& theirs) {
  theirs.set_user("bob");
  theirs.set_state(2);
  theirs.set_last_seen_ms(77);
}
void fill_users(auto& theirs) {
  fill(*theirs.add_users());
  pb::Presence& second = *theirs.add_users();
  second.set_user("alice");
  second.set_state(3);
}
void fill(pb::Receipt& theirs) {
  theirs.set_user("bob");
  theirs.set_delivered(300);
  theirs.set_read(9);
}
void fill(pb::Profile& theirs) {
  theirs.set_user("bob");
  theirs.set_display_name("B\xc3\xb6");
  theirs.set_avatar("a/1");
  (*theirs.mutable_custom())["c"] = "";
}
void fill(pb::Ephemeral& theirs) {
  theirs.set_conversation("c1");
  theirs.set_sender("alice");
  fill(*theirs.mutable_content());
}
void fill(pb::Gap& theirs) {
  theirs.set_from(4);
  theirs.set_to(6);
  theirs.set_why(2);
}
void fill(pb::Error& theirs) {
  theirs.set_code(8);
  theirs.set_message("slow down");
  theirs.set_retry_after_ms(1500);
}
void fill(pb::ConversationInfo& theirs) {
  theirs.set_conversation("c1");
  theirs.set_kind(2);
  fill(*theirs.mutable_settings());
  theirs.set_members(5);
  theirs.set_oldest(2);
  theirs.set_head(8);
  theirs.set_role(4);
  theirs.set_former(true);
  theirs.set_peer("bob");
}
void fill_page(auto& theirs) {  // all but its events
  theirs.set_covers_from(1);
  theirs.set_covers_to(2);
  theirs.set_oldest(3);
  theirs.set_head(4);
  fill(*theirs.add_gaps());
  theirs.set_epoch("e");
  theirs.set_more(true);
}

void same(const char* name, const Bytes& ours, const google::protobuf::MessageLite& theirs) {
  CAPTURE(name);
  CHECK(hex(ours) == hex(bytes(theirs.SerializeAsString())));
}

// Theirs, filled in by `set`, against the sample of that name.
template <class Theirs>
struct Pair {
  void operator()(const char* name, auto&& set) const {
    Theirs theirs;
    set(theirs);
    const std::string bytes_of_theirs = theirs.SerializeAsString();
    bool found = false;
    samples::for_each([&](const char* sample_name, const auto& ours) {
      if (std::string_view(sample_name) != name) return;
      found = true;
      CAPTURE(name);
      CHECK(hex(encode(ours)) == hex(bytes(bytes_of_theirs)));
      const auto back = decode<std::decay_t<decltype(ours)>>(bytes(bytes_of_theirs));
      REQUIRE(back);
      CHECK(hex(encode(*back)) == hex(encode(ours)));
    });
    CHECK(found);
  }
};

}  // namespace

TEST_CASE("generated: requests that write") {
  Pair<pb::Send>{}("Send", [](auto& m) {
    m.mutable_to()->set_conversation("c1");
    fill(*m.mutable_content());
    fill(*m.mutable_key());
  });
  Pair<pb::Send>{}("Send to a user", [](auto& m) {
    m.mutable_to()->set_direct("bob");
    fill(*m.mutable_content());
    fill(*m.mutable_key());
  });
  Pair<pb::SendEphemeral>{}("SendEphemeral", [](auto& m) {
    m.mutable_to()->set_direct("bob");
    fill(*m.mutable_content());
    m.add_only("a");
    m.add_only("b");
  });
  Pair<pb::EditMessage>{}("EditMessage", [](auto& m) {
    m.set_conversation("c1");
    m.set_seq(9);
    fill(*m.mutable_content());
    fill(*m.mutable_key());
  });
  Pair<pb::DeleteMessage>{}("DeleteMessage", [](auto& m) {
    m.set_conversation("c1");
    m.set_seq(9);
    fill(*m.mutable_key());
  });
  Pair<pb::Abandon>{}("Abandon", [](auto& m) {
    m.mutable_to()->set_conversation("c1");
    fill(*m.mutable_key());
  });
}

TEST_CASE("generated: requests about conversations") {
  Pair<pb::CreateConversation>{}("CreateConversation", [](auto& m) {
    m.set_conversation("c1");
    fill(*m.mutable_settings());
    fill(*m.add_members());
    fill(*m.mutable_key());
    m.set_kind(3);
  });
  Pair<pb::ChangeSettings>{}("ChangeSettings", [](auto& m) {
    m.set_conversation("c1");
    fill(*m.mutable_settings());
    fill(*m.mutable_key());
  });
  Pair<pb::GetConversation>{}("GetConversation", [](auto& m) { m.mutable_of()->set_conversation("c1"); });
  Pair<pb::AddMembers>{}("AddMembers", [](auto& m) {
    m.set_conversation("c1");
    fill(*m.add_members());
    fill(*m.add_members());
    fill(*m.mutable_key());
  });
  Pair<pb::RemoveMembers>{}("RemoveMembers", [](auto& m) {
    m.set_conversation("c1");
    m.add_users("a");
    m.add_users("b");
    fill(*m.mutable_key());
  });
  const auto join_or_leave = [](auto& m) {
    m.set_conversation("c1");
    fill(*m.mutable_key());
  };
  Pair<pb::Join>{}("Join", join_or_leave);
  Pair<pb::Leave>{}("Leave", join_or_leave);
  Pair<pb::SetRole>{}("SetRole", [](auto& m) {
    m.set_conversation("c1");
    m.set_user("bob");
    m.set_role(4);
    fill(*m.mutable_key());
  });
}

TEST_CASE("generated: requests that read") {
  Pair<pb::ReadHistory>{}("ReadHistory", [](auto& m) {
    m.set_conversation("c1");
    m.set_start(9);
    m.set_direction(2);
    m.set_limit(10);
  });
  Pair<pb::Sync>{}("Sync", [](auto& m) {
    m.set_conversation("c1");
    m.set_after(9);
    m.set_limit(10);
  });
  Pair<pb::ListMembers>{}("ListMembers", [](auto& m) {
    m.set_conversation("c1");
    m.set_after("bob");
    m.set_limit(10);
  });
  Pair<pb::MarkRead>{}("MarkRead", [](auto& m) {
    m.set_conversation("c1");
    m.set_seq(9);
  });
  Pair<pb::ListConversations>{}("ListConversations", [](auto& m) {
    m.set_after("\xff\x01");
    m.set_limit(10);
  });
}

TEST_CASE("generated: requests of live state") {
  Pair<pb::SetTyping>{}("SetTyping", [](auto& m) {
    m.mutable_to()->set_conversation("c1");
    m.set_typing(false);
  });
  Pair<pb::SetTyping>{}("SetTyping to a user", [](auto& m) {
    m.mutable_to()->set_direct("bob");
    m.set_typing(true);
  });
  Pair<pb::SetPresence>{}("SetPresence", [](auto& m) { m.set_state(2); });
  const auto two_users = [](auto& m) {
    m.add_users("a");
    m.add_users("b");
  };
  Pair<pb::GetPresence>{}("GetPresence", two_users);
  Pair<pb::WatchPresence>{}("WatchPresence", [&](auto& m) {
    two_users(m);
    m.add_conversations("c1");
    m.add_conversations("c2");
  });
  Pair<pb::MarkDelivered>{}("MarkDelivered", [](auto& m) {
    m.set_conversation("c1");
    m.set_seq(9);
  });
  Pair<pb::GetReceipts>{}("GetReceipts", [](auto& m) {
    m.set_conversation("c1");
    m.set_after("bob");
    m.set_limit(10);
  });
  Pair<pb::ShareReceipts>{}("ShareReceipts", [](auto& m) { m.set_share(false); });
  Pair<pb::SetProfile>{}("SetProfile", [](auto& m) { fill(*m.mutable_profile()); });
  Pair<pb::GetProfiles>{}("GetProfiles", two_users);
}

TEST_CASE("generated: requests about what is a user's own") {
  Pair<pb::Mute>{}("Mute", [](auto& m) {
    m.set_conversation("c1");
    m.set_until_ms(78);
  });
  Pair<pb::Mute>{}("Mute for good", [](auto& m) {
    m.set_conversation("c1");
    m.set_until_ms(INT64_MAX);
  });
  Pair<pb::Pin>{}("Pin", [](auto& m) {
    m.set_conversation("c1");
    m.set_pinned(false);
  });
  Pair<pb::Archive>{}("Archive", [](auto& m) {
    m.set_conversation("c1");
    m.set_archived(false);
  });
  Pair<pb::MarkUnread>{}("MarkUnread", [](auto& m) {
    m.set_conversation("c1");
    m.set_unread(false);
  });
  Pair<pb::GetUnread>{}("GetUnread", [](auto&) {});
  Pair<pb::ListSessions>{}("ListSessions", [](auto&) {});
  Pair<pb::EndSessions>{}("EndSessions", [](auto& m) {
    m.add_sessions("1");
    m.add_sessions("2");
  });
}

TEST_CASE("generated: of a connection") {
  Pair<pb::Login>{}("Login", [](auto& m) {
    m.set_version(1);
    m.set_token("t");
    m.set_device("d");
    m.set_resume("\xff");
  });
  Pair<pb::LoggedIn>{}("LoggedIn", [](auto& m) {
    m.set_version(1);
    m.set_user("alice");
    m.set_device("d");
    m.set_epoch("e");
    m.set_heartbeat_ms(30'000);
    m.set_frame_bytes(262'144);
    m.set_session_requests(64);
    m.set_reset(true);
    m.set_checkpoint("\xfe");
  });
  Pair<pb::Ping>{}("Ping", [](auto&) {});
  Pair<pb::Pong>{}("Pong", [](auto& m) { m.set_time_ms(12); });
}

TEST_CASE("generated: replies") {
  Pair<pb::Accepted>{}("Accepted", [](auto& m) {
    m.set_conversation("c1");
    m.set_seq(9);
    m.set_time_ms(77);
    m.set_durability(3);
    m.set_duplicate(true);
  });
  Pair<pb::Nothing>{}("Nothing", [](auto&) {});
  Pair<pb::Delivered>{}("Delivered", [](auto& m) { m.set_sessions(3); });
  Pair<pb::HistoryPage>{}("HistoryPage", [](auto& m) {
    fill(*m.add_events());
    pb::Event& second = *m.add_events();
    fill_event(second);
    fill(*second.mutable_members_changed());
    fill_page(m);
  });
  Pair<pb::SyncPage>{}("SyncPage", [](auto& m) {
    pb::Event& first = *m.add_events();
    fill_event(first);
    fill(*first.mutable_message_changed());
    pb::Event& second = *m.add_events();
    fill_event(second);
    fill(*second.mutable_settings_changed());
    fill_page(m);
    fill(*m.add_gaps());
    m.set_live_from(5);
  });
  Pair<pb::ConversationInfo>{}("ConversationInfo", [](auto& m) { fill(m); });
  Pair<pb::MembersPage>{}("MembersPage", [](auto& m) {
    fill(*m.add_members());
    m.set_next("bob");
    m.set_total(6);
  });
  Pair<pb::ReadCursor>{}("ReadCursor", [](auto& m) { m.set_seq(9); });
  Pair<pb::ConversationsPage>{}("ConversationsPage", [](auto& m) {
    pb::ConversationEntry& entry = *m.add_conversations();
    fill(*entry.mutable_info());
    entry.set_active_ms(78);
    fill(*entry.mutable_last());
    entry.set_unread(100);
    entry.set_unread_more(true);
    entry.set_read(9);
    fill(*entry.mutable_marks());
    m.set_next("\xff");
  });
}

TEST_CASE("generated: replies about live state and what is a user's own") {
  Pair<pb::PresencePage>{}("PresencePage", [](auto& m) { fill_users(m); });
  Pair<pb::ReceiptsPage>{}("ReceiptsPage", [](auto& m) {
    fill(*m.add_receipts());
    m.set_next("bob");
  });
  Pair<pb::Marks>{}("Marks", [](auto& m) { fill(m); });
  Pair<pb::UnreadTotal>{}("UnreadTotal", [](auto& m) {
    m.set_messages(1000);
    m.set_conversations(3);
    m.set_more(true);
  });
  Pair<pb::SessionsPage>{}("SessionsPage", [](auto& m) {
    pb::SessionInfo& session = *m.add_sessions();
    session.set_session("s1");
    session.set_device("d");
    session.set_since_ms(79);
    session.set_peer_address("192.0.2.1:5");
    session.set_mine(true);
  });
  Pair<pb::SessionsEnded>{}("SessionsEnded", [](auto& m) { m.set_sessions(3); });
  Pair<pb::ProfilesPage>{}("ProfilesPage", [](auto& m) {
    fill(*m.add_profiles());
    fill(*m.add_profiles());
  });
}

TEST_CASE("generated: events and what they hold") {
  Pair<pb::Event>{}("MessagePosted", [](auto& m) { fill(m); });
  Pair<pb::Event>{}("MessageChanged", [](auto& m) {
    fill_event(m);
    fill(*m.mutable_message_changed());
  });
  Pair<pb::Event>{}("MembersChanged", [](auto& m) {
    fill_event(m);
    fill(*m.mutable_members_changed());
  });
  Pair<pb::Event>{}("SettingsChanged", [](auto& m) {
    fill_event(m);
    fill(*m.mutable_settings_changed());
  });
  Pair<pb::Event>{}("OwnChanged", [](auto& m) {
    fill_event(m);
    fill(*m.mutable_own_changed());
  });
  Pair<pb::Content>{}("Content", [](auto& m) { fill(m); });
  Pair<pb::Settings>{}("ConversationSettings", [](auto& m) {
    fill(m);
    m.set_notify_only(true);
  });
  Pair<pb::Member>{}("Member", [](auto& m) { fill(m); });
}

TEST_CASE("generated: a body that is there but empty is still there") {
  Event event{.seq = 1, .body = SettingsChanged{{.newcomers_see = {}}}};
  pb::Event theirs;
  REQUIRE(theirs.ParseFromString(text(encode(event))));
  CHECK(theirs.has_settings_changed());
  theirs.Clear();
  theirs.mutable_members_changed();
  const auto back = decode<Event>(bytes(theirs.SerializeAsString()));
  REQUIRE(back);
  CHECK(back->as<MembersChanged>());
}

TEST_CASE("generated: what is true where it is absent") {
  pb::Pin theirs;
  theirs.set_conversation("c1");
  const auto back = decode<Pin>(bytes(theirs.SerializeAsString()));
  REQUIRE(back);
  CHECK(back->pinned);
  REQUIRE(theirs.ParseFromString(text(encode(Pin{.conversation = "c1"}))));
  CHECK(theirs.pinned());
  CHECK(decode<SetTyping>(Bytes())->typing);
  CHECK(decode<ShareReceipts>(Bytes())->share);
  CHECK(decode<Archive>(Bytes())->archived);
  CHECK(decode<MarkUnread>(Bytes())->unread);
  CHECK(decode<SetPresence>(Bytes())->state == PresenceState::online);
}

TEST_CASE("generated: maps of several entries") {
  Content ours{.metadata = {{"a", "1"}, {"b", ""}, {"", "3"}}};
  pb::Content theirs;
  REQUIRE(theirs.ParseFromString(text(encode(ours))));
  CHECK(theirs.metadata().size() == 3);
  const auto back = decode<Content>(bytes(theirs.SerializeAsString()));
  REQUIRE(back);
  CHECK(*back == ours);
}

TEST_CASE("generated: envelopes") {
  pb::ClientFrame from_client;
  from_client.set_call(5);
  from_client.set_request(17);
  from_client.set_body("xyz");
  same("ClientFrame", encode_client_frame(5, RequestId::mark_read, bytes("xyz")), from_client);

  const auto frame = [](const char* name, const Bytes& ours, auto&& set) {
    pb::ServerFrame theirs;
    set(theirs);
    same(name, ours, theirs);
  };
  frame("yes", encode_answer(5, bytes("xyz")), [](auto& f) {
    f.set_call(5);
    f.set_body("xyz");
  });
  frame("no", encode_answer(5, error()), [](auto& f) {
    f.set_call(5);
    fill(*f.mutable_error());
  });
  frame("event", encode_event_push(encode(event())), [](auto& f) { fill(*f.mutable_event()); });
  frame("ephemeral", encode_signal_push(ephemeral()), [](auto& f) { fill(*f.mutable_signal()->mutable_ephemeral()); });
  frame("typing", encode_signal_push(typing()), [](auto& f) {
    pb::Typing& typing = *f.mutable_signal()->mutable_typing();
    typing.set_conversation("c1");
    typing.add_users("alice");
    typing.add_users("bob");
  });
  frame("presence_changed", encode_signal_push(presence_changed()),
        [](auto& f) { fill_users(*f.mutable_signal()->mutable_presence_changed()); });
  frame("online_count", encode_signal_push(online_count()), [](auto& f) {
    f.mutable_signal()->mutable_online_count()->set_conversation("c1");
    f.mutable_signal()->mutable_online_count()->set_online(300);
  });
  frame("receipts", encode_signal_push(receipts()), [](auto& f) {
    pb::Receipts& receipts = *f.mutable_signal()->mutable_receipts();
    receipts.set_conversation("c1");
    fill(*receipts.add_receipts());
    fill(*receipts.add_receipts());
  });
  frame("profile_changed", encode_signal_push(profile_changed()),
        [](auto& f) { fill(*f.mutable_signal()->mutable_profile_changed()->mutable_profile()); });
  frame("head_moved", encode_head_moved({.conversation = "c1", .head = 9}), [](auto& f) {
    f.mutable_head_moved()->set_conversation("c1");
    f.mutable_head_moved()->set_head(9);
  });
  frame("reset", encode_reset(), [](auto& f) { f.mutable_reset(); });
  frame("closed", encode_closed(error()), [](auto& f) { fill(*f.mutable_closed()); });
  frame("checkpoint", encode_checkpoint({"\xfe"}), [](auto& f) { f.set_checkpoint("\xfe"); });

  Event stored = event();
  stored.key = {};
  pb::ServerFrame with_key_in_it;
  REQUIRE(with_key_in_it.ParseFromString(text(encode_event_push(encode(stored), key()))));
  CHECK(with_key_in_it.event().key().source() == "phone");
  CHECK(with_key_in_it.event().key().number() == 7);
  CHECK(with_key_in_it.event().seq() == 300);
}

TEST_CASE("generated: the stored record") {
  Origin origin{.key = key(), .age = 1000, .floor = 20, .base = 299};
  origin.digest.fill(std::byte{5});
  const Bytes ours = encode_record(encode(event()), origin);
  pb::StoredRecord theirs;
  REQUIRE(theirs.ParseFromString(text(ours)));
  CHECK(theirs.event() == text(encode(event())));
  CHECK(theirs.key().source() == "phone");
  CHECK(theirs.digest() == std::string(16, '\5'));
  CHECK(theirs.age_ms() == 1000);
  CHECK(theirs.floor() == 20);
  CHECK(theirs.base() == 299);
  CHECK(theirs.format() == 0);
  same("StoredRecord", ours, theirs);
}
