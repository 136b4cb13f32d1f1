#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

#include "protocol/messages.h"

// What each type is made of, once: a line a field, with its number and name in chatcore.proto and its member. An
// encoding is a visitor that is shown these lines, of a const value to write it, of a mutable one to read into it:
//
//   field(number, name, member)             a member at Protobuf's default is not written
//   field(number, name, member, defaulted)  its default here is not zero: always written; absent, it stays
//   field(number, name, member, opaque)     a std::string that holds bytes, not text
//   field.body(member, Unknown{}, Kind<T>{number, name}...)  one of several messages; another number is an Unknown
//
// What a member's type says for itself is not said again: an Id is checked text, a Checkpoint bytes, a TimePoint
// signed milliseconds, an enum a number in a known range.

namespace chatcore {
inline namespace v1 {
namespace protocol {

template <class T, class U>
concept Is = std::same_as<std::remove_const_t<T>, U>;

struct Plain {};
struct Defaulted {};
struct Opaque {};
inline constexpr Defaulted defaulted{};
inline constexpr Opaque opaque{};

inline constexpr std::uint32_t first_body = 16;  // a field from here on is a body, known or of a later version

template <class T>
struct Kind {
  using Type = T;
  std::uint32_t number;
  const char* name;
};

// ---- enums: each counts from 1 to its last

constexpr Role last(Role) { return Role::owner; }
constexpr NewcomersSee last(NewcomersSee) { return NewcomersSee::last; }
constexpr ConversationKind last(ConversationKind) { return ConversationKind::own; }
constexpr PresenceState last(PresenceState) { return PresenceState::online; }
constexpr ChangeKind last(ChangeKind) { return ChangeKind::deleted; }
constexpr Durability last(Durability) { return Durability::disk; }
constexpr Direction last(Direction) { return Direction::forward; }
constexpr Gap::Why last(Gap::Why) { return Gap::Why::not_visible; }

template <class E>
constexpr bool is_known(E value) {
  if constexpr (std::same_as<E, ErrorCode>) {
    return true;  // a later version's error is still an error
  } else {
    return static_cast<std::uint64_t>(value) >= 1 && value <= last(value);
  }
}

// ---- what is talked about

void describe(Is<Error> auto& self, auto&& field) {
  field(1, "code", self.code);
  field(2, "message", self.message);
  field(3, "retry_after_ms", self.retry_after);
}
void describe(Is<IdempotencyKey> auto& self, auto&& field) {
  field(1, "source", self.source);
  field(2, "number", self.number);
}
void describe(Is<Content> auto& self, auto&& field) {
  field(1, "text", self.text);
  field(2, "content_type", self.content_type);
  field(3, "data", self.data);
  field(4, "metadata", self.metadata);
}
void describe(Is<Member> auto& self, auto&& field) {
  field(1, "user", self.user);
  field(2, "role", self.role, defaulted);
}
void describe(Is<ConversationSettings> auto& self, auto&& field) {
  field(1, "title", self.title);
  field(2, "custom", self.custom);
  field(3, "newcomers_see", self.newcomers_see, defaulted);
  field(4, "newcomers_last", self.newcomers_last);
  field(5, "open", self.open);
  field(6, "notify_only", self.notify_only);
}
template <Is<Target> Self>
void describe(Self& self, auto&& field) {
  ConversationId conversation = self.conversation() ? *self.conversation() : ConversationId{};
  UserId direct = self.direct() ? self.direct()->peer : UserId{};
  field(1, "conversation", conversation);
  field(2, "direct", direct);
  if constexpr (!std::is_const_v<Self>) {  // where both are given, the user counts
    self = direct.empty() ? Target(conversation) : Target(Direct{direct});
  }
}

// ---- events

void describe(Is<MessagePosted> auto& self, auto&& field) {
  field(1, "content", self.content);
  field(2, "revision", self.revision);
  field(3, "deleted", self.deleted);
  field(4, "changed_ms", self.changed);
}
void describe(Is<MessageChanged> auto& self, auto&& field) {
  field(1, "target", self.target);
  field(2, "kind", self.kind);
  field(3, "revision", self.revision);
  field(4, "now", self.now);
}
void describe(Is<MembersChanged> auto& self, auto&& field) {
  field(1, "joined", self.joined);
  field(2, "left", self.left);
  field(3, "roles", self.roles);
}
void describe(Is<SettingsChanged> auto& self, auto&& field) { field(1, "settings", self.settings); }

void describe(Is<Marks> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "read", self.read);
  field(3, "muted_until_ms", self.muted_until);
  field(4, "pinned", self.pinned);
  field(5, "archived", self.archived);
  field(6, "unread", self.unread);
}
void describe(Is<OwnChanged> auto& self, auto&& field) {
  field(1, "marks", self.marks);
  field(2, "hides_receipts", self.hides_receipts);
}

void describe(Is<Event> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "seq", self.seq);
  field(3, "sender", self.sender);
  field(4, "time_ms", self.time);
  field(5, "key", self.key);
  field.body(self.body, UnknownEvent{}, Kind<MessagePosted>{16, "message_posted"},
             Kind<MessageChanged>{17, "message_changed"}, Kind<MembersChanged>{18, "members_changed"},
             Kind<SettingsChanged>{19, "settings_changed"}, Kind<OwnChanged>{20, "own_changed"});
}

// ---- what is pushed besides

void describe(Is<Ephemeral> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "sender", self.sender);
  field(3, "content", self.content);
}
void describe(Is<Typing> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "users", self.users);
}
void describe(Is<Presence> auto& self, auto&& field) {
  field(1, "user", self.user);
  field(2, "state", self.state, defaulted);
  field(3, "last_seen_ms", self.last_seen);
}
void describe(Is<PresenceChanged> auto& self, auto&& field) { field(1, "users", self.users); }
void describe(Is<OnlineCount> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "online", self.online);
}
void describe(Is<Receipt> auto& self, auto&& field) {
  field(1, "user", self.user);
  field(2, "delivered", self.delivered);
  field(3, "read", self.read);
}
void describe(Is<Receipts> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "receipts", self.receipts);
}
void describe(Is<Profile> auto& self, auto&& field) {
  field(1, "user", self.user);
  field(2, "display_name", self.display_name);
  field(3, "avatar", self.avatar);
  field(4, "custom", self.custom);
}
void describe(Is<ProfileChanged> auto& self, auto&& field) { field(1, "profile", self.profile); }
void describe(Is<Signal> auto& self, auto&& field) {
  field.body(self, UnknownSignal{}, Kind<Ephemeral>{16, "ephemeral"}, Kind<Typing>{17, "typing"},
             Kind<PresenceChanged>{18, "presence_changed"}, Kind<OnlineCount>{19, "online_count"},
             Kind<Receipts>{20, "receipts"}, Kind<ProfileChanged>{21, "profile_changed"});
}
void describe(Is<HeadMoved> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "head", self.head);
  field(3, "spread_ms", self.spread);
}
void describe(Is<Reset> auto&, auto&&) {}

// ---- of a connection

void describe(Is<Login> auto& self, auto&& field) {
  field(1, "version", self.version, defaulted);
  field(2, "token", self.token);
  field(3, "device", self.device);
  field(4, "resume", self.resume);
}
void describe(Is<LoggedIn> auto& self, auto&& field) {
  field(1, "version", self.version);
  field(2, "user", self.user);
  field(3, "device", self.device);
  field(4, "epoch", self.epoch);
  field(5, "heartbeat_ms", self.heartbeat_ms);
  field(6, "frame_bytes", self.frame_bytes);
  field(7, "session_requests", self.session_requests);
  field(8, "reset", self.reset);
  field(9, "checkpoint", self.checkpoint);
}
void describe(Is<Ping> auto&, auto&&) {}
void describe(Is<Pong> auto& self, auto&& field) { field(1, "time_ms", self.time_ms); }

// ---- messages: requests and replies

void describe(Is<Accepted> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "seq", self.seq);
  field(3, "time_ms", self.time);
  field(4, "durability", self.durability);
  field(5, "duplicate", self.duplicate);
}
void describe(Is<Nothing> auto&, auto&&) {}

void describe(Is<Send> auto& self, auto&& field) {
  field(1, "to", self.to);
  field(2, "content", self.content);
  field(3, "key", self.key);
}
void describe(Is<SendEphemeral> auto& self, auto&& field) {
  field(1, "to", self.to);
  field(2, "content", self.content);
  field(3, "only", self.only);
}
void describe(Is<Delivered> auto& self, auto&& field) { field(1, "sessions", self.sessions); }
void describe(Is<EditMessage> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "seq", self.seq);
  field(3, "content", self.content);
  field(4, "key", self.key);
}
void describe(Is<DeleteMessage> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "seq", self.seq);
  field(3, "key", self.key);
}
void describe(Is<Abandon> auto& self, auto&& field) {
  field(1, "to", self.to);
  field(2, "key", self.key);
}

// ---- conversations and their members

void describe(Is<CreateConversation> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "settings", self.settings);
  field(3, "members", self.members);
  field(4, "key", self.key);
  field(5, "kind", self.kind, defaulted);
}
void describe(Is<ChangeSettings> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "settings", self.settings);
  field(3, "key", self.key);
}
void describe(Is<GetConversation> auto& self, auto&& field) { field(1, "of", self.of); }
void describe(Is<ConversationInfo> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "kind", self.kind);
  field(3, "settings", self.settings);
  field(4, "members", self.members);
  field(5, "oldest", self.oldest);
  field(6, "head", self.head);
  field(7, "role", self.role);
  field(8, "former", self.former);
  field(9, "peer", self.peer);
}
void describe(Is<AddMembers> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "members", self.members);
  field(3, "key", self.key);
}
void describe(Is<RemoveMembers> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "users", self.users);
  field(3, "key", self.key);
}
void describe(Is<Join> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "key", self.key);
}
void describe(Is<Leave> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "key", self.key);
}
void describe(Is<SetRole> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "user", self.user);
  field(3, "role", self.role);
  field(4, "key", self.key);
}
void describe(Is<ListMembers> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "after", self.after);
  field(3, "limit", self.limit, defaulted);
}
void describe(Is<MembersPage> auto& self, auto&& field) {
  field(1, "members", self.members);
  field(2, "next", self.next);
  field(3, "total", self.total);
}

// ---- reading

void describe(Is<Gap> auto& self, auto&& field) {
  field(1, "from", self.from);
  field(2, "to", self.to);
  field(3, "why", self.why);
}
void describe(Is<ReadHistory> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "start", self.start);
  field(3, "direction", self.direction, defaulted);
  field(4, "limit", self.limit, defaulted);
}
void describe(Is<Sync> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "after", self.after);
  field(3, "limit", self.limit, defaulted);
}

// Both kinds of page; `events` is a page's events, or the bytes they were stored as.
void describe_page(auto& self, auto& events, auto&& field) {
  field(1, "events", events);
  field(2, "covers_from", self.covers_from);
  field(3, "covers_to", self.covers_to);
  field(4, "oldest", self.oldest);
  field(5, "head", self.head);
  field(6, "gaps", self.gaps);
  field(7, "epoch", self.epoch);
  field(8, "more", self.more);
  if constexpr (requires { self.live_from; }) field(9, "live_from", self.live_from);
}
void describe(Is<HistoryPage> auto& self, auto&& field) { describe_page(self, self.events, field); }
void describe(Is<SyncPage> auto& self, auto&& field) { describe_page(self, self.events, field); }
void describe(Is<RawHistoryPage> auto& self, auto&& field) { describe_page(self, self.raw, field); }
void describe(Is<RawSyncPage> auto& self, auto&& field) { describe_page(self, self.raw, field); }

void describe(Is<MarkRead> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "seq", self.seq);
}
void describe(Is<ReadCursor> auto& self, auto&& field) { field(1, "seq", self.seq); }
void describe(Is<ListConversations> auto& self, auto&& field) {
  field(1, "after", self.after, opaque);
  field(2, "limit", self.limit, defaulted);
}
void describe(Is<ConversationEntry> auto& self, auto&& field) {
  field(1, "info", self.info);
  field(2, "active_ms", self.active);
  field(3, "last", self.last);
  field(4, "unread", self.unread);
  field(5, "unread_more", self.unread_more);
  field(6, "read", self.read);
  field(7, "marks", self.marks);
}
void describe(Is<ConversationsPage> auto& self, auto&& field) {
  field(1, "conversations", self.conversations);
  field(2, "next", self.next, opaque);
}

// ---- live state

void describe(Is<SetTyping> auto& self, auto&& field) {
  field(1, "to", self.to);
  field(2, "typing", self.typing, defaulted);
}
void describe(Is<SetPresence> auto& self, auto&& field) { field(1, "state", self.state, defaulted); }
void describe(Is<GetPresence> auto& self, auto&& field) { field(1, "users", self.users); }
void describe(Is<PresencePage> auto& self, auto&& field) { field(1, "users", self.users); }
void describe(Is<WatchPresence> auto& self, auto&& field) {
  field(1, "users", self.users);
  field(2, "conversations", self.conversations);
}

void describe(Is<MarkDelivered> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "seq", self.seq);
}
void describe(Is<GetReceipts> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "after", self.after);
  field(3, "limit", self.limit, defaulted);
}
void describe(Is<ReceiptsPage> auto& self, auto&& field) {
  field(1, "receipts", self.receipts);
  field(2, "next", self.next);
}
void describe(Is<ShareReceipts> auto& self, auto&& field) { field(1, "share", self.share, defaulted); }

// ---- what is a user's own

void describe(Is<Mute> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "until_ms", self.until);
}
void describe(Is<Pin> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "pinned", self.pinned, defaulted);
}
void describe(Is<Archive> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "archived", self.archived, defaulted);
}
void describe(Is<MarkUnread> auto& self, auto&& field) {
  field(1, "conversation", self.conversation);
  field(2, "unread", self.unread, defaulted);
}
void describe(Is<GetUnread> auto&, auto&&) {}
void describe(Is<UnreadTotal> auto& self, auto&& field) {
  field(1, "messages", self.messages);
  field(2, "conversations", self.conversations);
  field(3, "more", self.more);
}
void describe(Is<ListSessions> auto&, auto&&) {}
void describe(Is<SessionInfo> auto& self, auto&& field) {
  field(1, "session", self.session);
  field(2, "device", self.device);
  field(3, "since_ms", self.since);
  field(4, "peer_address", self.peer_address);
  field(5, "mine", self.mine);
}
void describe(Is<SessionsPage> auto& self, auto&& field) { field(1, "sessions", self.sessions); }
void describe(Is<EndSessions> auto& self, auto&& field) { field(1, "sessions", self.sessions); }
void describe(Is<SessionsEnded> auto& self, auto&& field) { field(1, "sessions", self.sessions); }
void describe(Is<SetProfile> auto& self, auto&& field) { field(1, "profile", self.profile); }
void describe(Is<GetProfiles> auto& self, auto&& field) { field(1, "users", self.users); }
void describe(Is<ProfilesPage> auto& self, auto&& field) { field(1, "profiles", self.profiles); }

}  // namespace protocol
}  // namespace v1
}  // namespace chatcore
