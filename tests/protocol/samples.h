#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "protocol/codec.h"

// One value of every type with an encoding, with every field filled in.

namespace samples {

using namespace chatcore;
using namespace chatcore::protocol;

inline Bytes bytes(std::string_view text) {
  const auto* at = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(at, at + text.size());
}
inline std::string text(View bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

inline std::string hex(View bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (std::byte b : bytes) {
    out += digits[static_cast<unsigned>(b) >> 4];
    out += digits[static_cast<unsigned>(b) & 15];
  }
  return out;
}
inline Bytes unhex(std::string_view hex) {
  const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
  Bytes out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<std::byte>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  }
  return out;
}

inline TimePoint at_ms(std::int64_t ms) { return TimePoint(std::chrono::milliseconds(ms)); }

inline IdempotencyKey key() { return {"phone", 7}; }
inline Content content() {
  return {.text = "h\xc3\xa9", .content_type = "image/webp", .data = bytes("\1\2"), .metadata = {{"a", "b"}}};
}
inline Member member() { return {.user = "bob", .role = Role::admin}; }
inline ConversationSettings settings() {
  return {.title = "T", .custom = {{"c", ""}}, .newcomers_see = NewcomersSee::last, .newcomers_last = 9, .open = true};
}
inline MessagePosted posted() { return {.content = content(), .revision = 2, .deleted = true, .changed = at_ms(-5)}; }
inline Event event(EventBody body = posted()) {
  return {.conversation = "c1",
          .seq = 300,
          .sender = "alice",
          .time = at_ms(1'800'000'000'000),
          .body = std::move(body),
          .key = key()};
}
inline EventPtr event_ptr(EventBody body = posted()) { return std::make_shared<const Event>(event(std::move(body))); }
inline MessageChanged changed() { return {.target = 3, .kind = ChangeKind::deleted, .revision = 4, .now = posted()}; }
inline MembersChanged members_changed() { return {.joined = {"a", "b"}, .left = {"c"}, .roles = {member()}}; }
inline Marks marks() {
  return {.conversation = "c1",
          .read = 9,
          .muted_until = at_ms(1'800'000'000'000),
          .pinned = true,
          .archived = true,
          .unread = true};
}
inline OwnChanged own_changed() { return {.marks = {marks(), {.conversation = "c2"}}, .hides_receipts = true}; }
inline Typing typing() { return {.conversation = "c1", .users = {"alice", "bob"}}; }
inline Presence presence() { return {.user = "bob", .state = PresenceState::away, .last_seen = at_ms(77)}; }
inline Presence here() { return {.user = "alice", .state = PresenceState::online}; }
inline PresenceChanged presence_changed() { return {.users = {presence(), here()}}; }
inline OnlineCount online_count() { return {.conversation = "c1", .online = 300}; }
inline Receipt receipt() { return {.user = "bob", .delivered = 300, .read = 9}; }
inline Receipts receipts() { return {.conversation = "c1", .receipts = {receipt(), receipt()}}; }
inline Profile profile() {
  return {.user = "bob", .display_name = "B\xc3\xb6", .avatar = "a/1", .custom = {{"c", ""}}};
}
inline ProfileChanged profile_changed() { return {.profile = profile()}; }
inline Ephemeral ephemeral() { return {.conversation = "c1", .sender = "alice", .content = content()}; }
inline Gap gap() { return {.from = 4, .to = 6, .why = Gap::Why::not_visible}; }
inline ConversationInfo info() {
  return {.conversation = "c1",
          .kind = ConversationKind::group,
          .settings = settings(),
          .members = 5,
          .oldest = 2,
          .head = 8,
          .role = Role::owner,
          .former = true,
          .peer = "bob"};
}
inline Error error() { return {ErrorCode::rate_limited, "slow down", std::chrono::milliseconds(1500)}; }
inline HistoryPage history_page() {
  return {.events = {event_ptr(), event_ptr(members_changed())},
          .covers_from = 1,
          .covers_to = 2,
          .oldest = 3,
          .head = 4,
          .gaps = {gap()},
          .epoch = "e",
          .more = true};
}
inline SyncPage sync_page() {
  return {.events = {event_ptr(changed()), event_ptr(SettingsChanged{settings()})},
          .covers_from = 1,
          .covers_to = 2,
          .oldest = 3,
          .head = 4,
          .gaps = {gap(), gap()},
          .epoch = "e",
          .more = true,
          .live_from = 5};
}

// Shows `visit` the name and the sample of each type that is both written and read.
template <class Visit>
void for_each(Visit&& visit) {
  visit("Send", Send{.to = ConversationId("c1"), .content = content(), .key = key()});
  visit("Send to a user", Send{.to = Direct{"bob"}, .content = content(), .key = key()});
  visit("SendEphemeral", SendEphemeral{.to = Direct{"bob"}, .content = content(), .only = {"a", "b"}});
  visit("ReadHistory", ReadHistory{.conversation = "c1", .start = 9, .direction = Direction::forward, .limit = 10});
  visit("Sync", Sync{.conversation = "c1", .after = 9, .limit = 10});
  visit("EditMessage", EditMessage{.conversation = "c1", .seq = 9, .content = content(), .key = key()});
  visit("DeleteMessage", DeleteMessage{.conversation = "c1", .seq = 9, .key = key()});
  visit("Abandon", Abandon{.to = ConversationId("c1"), .key = key()});
  visit("CreateConversation", CreateConversation{.conversation = "c1",
                                                 .settings = settings(),
                                                 .members = {member()},
                                                 .key = key(),
                                                 .kind = ConversationKind::channel});
  visit("ChangeSettings", ChangeSettings{.conversation = "c1", .settings = settings(), .key = key()});
  visit("GetConversation", GetConversation{.of = ConversationId("c1")});
  visit("AddMembers", AddMembers{.conversation = "c1", .members = {member(), member()}, .key = key()});
  visit("RemoveMembers", RemoveMembers{.conversation = "c1", .users = {"a", "b"}, .key = key()});
  visit("Join", Join{.conversation = "c1", .key = key()});
  visit("Leave", Leave{.conversation = "c1", .key = key()});
  visit("SetRole", SetRole{.conversation = "c1", .user = "bob", .role = Role::owner, .key = key()});
  visit("ListMembers", ListMembers{.conversation = "c1", .after = "bob", .limit = 10});
  visit("MarkRead", MarkRead{.conversation = "c1", .seq = 9});
  visit("ListConversations", ListConversations{.after = "\xff\x01", .limit = 10});
  visit("SetTyping", SetTyping{.to = ConversationId("c1"), .typing = false});
  visit("SetTyping to a user", SetTyping{.to = Direct{"bob"}, .typing = true});
  visit("SetPresence", SetPresence{.state = PresenceState::away});
  visit("GetPresence", GetPresence{.users = {"a", "b"}});
  visit("WatchPresence", WatchPresence{.users = {"a", "b"}, .conversations = {"c1", "c2"}});
  visit("MarkDelivered", MarkDelivered{.conversation = "c1", .seq = 9});
  visit("GetReceipts", GetReceipts{.conversation = "c1", .after = "bob", .limit = 10});
  visit("ShareReceipts", ShareReceipts{.share = false});
  visit("Mute", Mute{.conversation = "c1", .until = at_ms(78)});
  visit("Mute for good", Mute{.conversation = "c1", .until = TimePoint::max()});
  visit("Pin", Pin{.conversation = "c1", .pinned = false});
  visit("Archive", Archive{.conversation = "c1", .archived = false});
  visit("MarkUnread", MarkUnread{.conversation = "c1", .unread = false});
  visit("GetUnread", GetUnread{});
  visit("ListSessions", ListSessions{});
  visit("EndSessions", EndSessions{.sessions = {"1", "2"}});
  visit("SetProfile", SetProfile{.profile = profile()});
  visit("GetProfiles", GetProfiles{.users = {"a", "b"}});
  visit("Login", Login{.version = 1, .token = "t", .device = "d", .resume = {"\xff"}});
  visit("Ping", Ping{});

  visit("Accepted",
        Accepted{.conversation = "c1", .seq = 9, .time = at_ms(77), .durability = Durability::disk, .duplicate = true});
  visit("Nothing", Nothing{});
  visit("Delivered", Delivered{.sessions = 3});
  visit("HistoryPage", history_page());
  visit("SyncPage", sync_page());
  visit("ConversationInfo", info());
  visit("MembersPage", MembersPage{.members = {member()}, .next = "bob", .total = 6});
  visit("ReadCursor", ReadCursor{.seq = 9});
  visit("ConversationsPage", ConversationsPage{.conversations = {{.info = info(),
                                                                  .active = at_ms(78),
                                                                  .last = event_ptr(),
                                                                  .unread = 100,
                                                                  .unread_more = true,
                                                                  .read = 9,
                                                                  .marks = marks()}},
                                               .next = "\xff"});
  visit("PresencePage", PresencePage{.users = {presence(), here()}});
  visit("ReceiptsPage", ReceiptsPage{.receipts = {receipt()}, .next = "bob"});
  visit("Marks", marks());
  visit("UnreadTotal", UnreadTotal{.messages = 1000, .conversations = 3, .more = true});
  visit("SessionsPage",
        SessionsPage{
            .sessions = {
                {.session = "s1", .device = "d", .since = at_ms(79), .peer_address = "192.0.2.1:5", .mine = true}}});
  visit("SessionsEnded", SessionsEnded{.sessions = 3});
  visit("ProfilesPage", ProfilesPage{.profiles = {profile(), profile()}});
  visit("LoggedIn", LoggedIn{.version = 1,
                             .user = "alice",
                             .device = "d",
                             .epoch = "e",
                             .heartbeat_ms = 30'000,
                             .frame_bytes = 262'144,
                             .session_requests = 64,
                             .reset = true,
                             .checkpoint = {"\xfe"}});
  visit("Pong", Pong{.time_ms = 12});

  visit("MessagePosted", event());
  visit("MessageChanged", event(changed()));
  visit("MembersChanged", event(members_changed()));
  visit("SettingsChanged", event(SettingsChanged{settings()}));
  visit("OwnChanged", event(own_changed()));
  visit("UnknownEvent", event(UnknownEvent{77}));
  visit("Content", content());
  ConversationSettings of_a_channel = settings();
  of_a_channel.notify_only = true;
  visit("ConversationSettings", of_a_channel);
  visit("Member", member());
}

}  // namespace samples
