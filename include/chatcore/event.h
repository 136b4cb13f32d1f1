#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <chatcore/ids.h>

namespace chatcore {
inline namespace v1 {

// What a message says: text, or bytes of the host's own content type, or both.
struct Content {
  std::string text{};          // UTF-8
  std::string content_type{};  // of `data`, a media type such as "image/webp"; empty: text only
  Bytes data{};
  std::map<std::string, std::string> metadata{};  // the host's own; UTF-8

  friend bool operator==(const Content&, const Content&) = default;
};

// Numbers are frozen: stored and on the wire. Each may do what those before it may.
enum class Role : std::uint8_t {
  reader = 1,  // reads
  member = 2,  // sends; edits and deletes his own messages
  admin = 3,   // adds and removes members, changes settings, deletes anyone's message
  owner = 4,   // gives roles
};

struct Member {
  UserId user{};
  Role role = Role::member;
  friend bool operator==(const Member&, const Member&) = default;
};

// What a member who joins may read of the time before. Frozen numbers.
enum class NewcomersSee : std::uint8_t { all = 1, none = 2, last = 3 };

// A group has a bounded number of members, who talk; a channel any number, of whom those who join it read.
// `own` is a user's log of what he marked for himself (requests/own.h).
enum class ConversationKind : std::uint8_t { direct = 1, group = 2, channel = 3, own = 4 };

struct ConversationSettings {
  std::string title{};
  std::map<std::string, std::string> custom{};  // the host's own; UTF-8
  NewcomersSee newcomers_see = NewcomersSee::all;
  std::uint32_t newcomers_last = 0;  // how many events, where newcomers_see is `last`
  bool open = false;                 // anyone who knows the id may join
  bool notify_only = false;  // members are told that there is something new (HeadMoved), and read it if they like
  friend bool operator==(const ConversationSettings&, const ConversationSettings&) = default;
};

// ---- the bodies of events

// A kind that this version does not know: `type` is its number on the wire. Show nothing, count it as seen.
struct UnknownEvent {
  std::uint32_t type{};
};

// A message in its present state.
struct MessagePosted {
  Content content{};           // empty once deleted
  std::uint32_t revision = 0;  // how often it was changed
  bool deleted = false;
  TimePoint changed{};  // when it was last edited or deleted; the epoch: never
};

enum class ChangeKind : std::uint8_t { edited = 1, deleted = 2 };

// A message changed. Stored without content; delivered with the target's present state, which may be later than
// this change (then a later change with a higher revision follows).
struct MessageChanged {
  Seq target{};
  ChangeKind kind{};
  std::uint32_t revision{};
  std::optional<MessagePosted> now{};  // empty where the target is trimmed or not visible to the reader
};

// Who came, who went, whose role changed, in one step.
struct MembersChanged {
  std::vector<UserId> joined{}, left{};
  std::vector<Member> roles{};
};

struct SettingsChanged {
  ConversationSettings settings{};
};

// What a user has marked of one conversation.
struct Marks {
  ConversationId conversation{};
  Seq read{};               // his read cursor
  TimePoint muted_until{};  // the epoch: it is not muted
  bool pinned = false, archived = false, unread = false;
  friend bool operator==(const Marks&, const Marks&) = default;
};

// In a user's own log: his marks of some conversations, each as a whole, and his settings, as they are from here on.
struct OwnChanged {
  std::vector<Marks> marks{};
  bool hides_receipts = false;
};

// One of the bodies above; later versions add kinds, which arrive here as UnknownEvent.
class EventBody {
  using Kinds = std::variant<UnknownEvent, MessagePosted, MessageChanged, MembersChanged, SettingsChanged, OwnChanged>;

 public:
  EventBody() = default;
  template <class T>
    requires(!std::is_same_v<std::remove_cvref_t<T>, EventBody> && std::is_constructible_v<Kinds, T>)
  EventBody(T&& body) : body_(std::forward<T>(body)) {}

  template <class T>
  const T* as() const noexcept {
    return std::get_if<T>(&body_);
  }

 private:
  Kinds body_{};
};

// One entry of a conversation's log.
struct Event {
  ConversationId conversation{};
  Seq seq{};
  UserId sender{};  // empty: the host itself
  TimePoint time{};
  EventBody body{};
  IdempotencyKey key{};  // only where the reader is its sender

  template <class T>
  const T* as() const noexcept {
    return body.as<T>();
  }
};
using EventPtr = std::shared_ptr<const Event>;

// ---- what is pushed besides events

// From SendEphemeral: never stored, at most once.
struct Ephemeral {
  ConversationId conversation{};
  UserId sender{};
  Content content{};
};

// Who types in a conversation, all of them, in place of what was said before. It holds for Limits::typing; then, unless
// it was said anew, nobody does.
struct Typing {
  ConversationId conversation{};
  std::vector<UserId> users{};  // ascending
};

enum class PresenceState : std::uint8_t { offline = 1, away = 2, online = 3 };
struct Presence {
  UserId user{};
  PresenceState state = PresenceState::offline;  // the most of what his sessions say
  TimePoint last_seen{};                         // where he is offline; the epoch: nobody knows
  friend bool operator==(const Presence&, const Presence&) = default;
};
// Of users that a session watches (WatchPresence): those that changed since it was last told, or all where it was told
// nothing yet or may have missed something.
struct PresenceChanged {
  std::vector<Presence> users{};
};
// How many of a conversation's members are here, where they are too many to be named.
struct OnlineCount {
  ConversationId conversation{};
  std::uint32_t online{};
};

// Up to where a user has received and read a conversation.
struct Receipt {
  UserId user{};
  Seq delivered{}, read{};
  friend bool operator==(const Receipt&, const Receipt&) = default;
};
// Who has received or read more, in conversations of up to Limits::receipt_members.
struct Receipts {
  ConversationId conversation{};
  std::vector<Receipt> receipts{};
};

struct Profile {
  UserId user{};
  std::string display_name{};                   // UTF-8
  std::string avatar{};                         // a reference of the host's own
  std::map<std::string, std::string> custom{};  // the host's own; UTF-8
  friend bool operator==(const Profile&, const Profile&) = default;
};
// Of a user that a session watches.
struct ProfileChanged {
  Profile profile{};
};

// A signal this version does not know.
struct UnknownSignal {
  std::uint32_t type{};
};

// Something that is true now and is never stored; later versions add kinds.
class Signal {
  using Kinds = std::variant<UnknownSignal, Ephemeral, Typing, PresenceChanged, OnlineCount, Receipts, ProfileChanged>;

 public:
  Signal() = default;
  template <class T>
    requires(!std::is_same_v<std::remove_cvref_t<T>, Signal> && std::is_constructible_v<Kinds, T>)
  Signal(T&& signal) : signal_(std::forward<T>(signal)) {}

  template <class T>
  static constexpr bool is_kind = !std::is_same_v<T, Signal> && std::is_constructible_v<Kinds, T>;

  template <class T>
  const T* as() const noexcept {
    return std::get_if<T>(&signal_);
  }

 private:
  Kinds signal_{};
};

// Events of this conversation up to `head` were not pushed: the session takes too slowly, or the conversation is set to
// notify only. Read them with Sync until it says live_from, or has no more. A newer head comes in another one.
struct HeadMoved {
  ConversationId conversation{};
  Seq head{};
  std::chrono::milliseconds spread{};  // many were told: read after a random part of this. The Client does so by itself
};
// The place asked for no longer exists in this store: start again from the conversation list.
struct Reset {};
// The session is over; nothing follows.
struct Closed {
  Error why{};
};

// What a session or a client takes: one of these five, for ever.
struct Push : std::variant<EventPtr, Signal, HeadMoved, Reset, Closed> {
  using variant::variant;

  // Sees through: as<MessagePosted>() is the body of an event, as<Ephemeral>() a signal, as<Reset>() itself.
  template <class T>
  const T* as() const noexcept {
    const auto& self = static_cast<const variant&>(*this);
    if constexpr (std::is_same_v<T, EventPtr> || std::is_same_v<T, Signal> || std::is_same_v<T, HeadMoved> ||
                  std::is_same_v<T, Reset> || std::is_same_v<T, Closed>) {
      return std::get_if<T>(&self);
    } else if constexpr (Signal::is_kind<T>) {
      const Signal* signal = std::get_if<Signal>(&self);
      return signal ? signal->as<T>() : nullptr;
    } else {
      const Event* e = event();
      return e ? e->as<T>() : nullptr;
    }
  }

  // The event, or null.
  const Event* event() const noexcept {
    const EventPtr* event = std::get_if<EventPtr>(&static_cast<const variant&>(*this));
    return event ? event->get() : nullptr;
  }
};

// Decodes a record as a Storage holds it (StoredEvent::bytes), for a host that reads its own store or the feed.
// `corruption` where the checksum fails, `version_too_new` for a later record format. Any thread, does not block.
CHATCORE_API Result<Event> decode_event(std::span<const std::byte> stored);

}  // namespace v1
}  // namespace chatcore
