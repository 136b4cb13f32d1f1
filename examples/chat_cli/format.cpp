#include "format.h"

#include <cstdio>
#include <ctime>

using namespace chatcore;

namespace {

std::string place(const ConversationId& conversation, Seq seq) {
  return "[" + conversation.string() + " #" + std::to_string(seq) + "] ";
}

std::string who(const UserId& user) { return user.empty() ? "(the host)" : escaped(user.view()); }

std::string text_of(const Content& content) {
  std::string line;
  if (!content.data.empty()) {
    line = "<" + escaped(content.content_type) + ", " + std::to_string(content.data.size()) + " bytes> ";
  }
  return line + escaped(content.text);
}

std::string text_of(const MessagePosted& message) {
  if (message.deleted) return "(deleted)";
  return text_of(message.content) + (message.revision > 0 ? " (edited)" : "");
}

std::string list_of(const std::vector<UserId>& users) {
  std::string line;
  for (const UserId& user : users) line += (line.empty() ? "" : ", ") + who(user);
  return line;
}

std::string time_of(TimePoint at) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(at);
  std::tm utc{};
  char text[32] = "?";
  if (gmtime_r(&seconds, &utc)) std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%SZ", &utc);
  return text;
}

std::string_view word_of(PresenceState state) {
  if (state == PresenceState::online) return "online";
  return state == PresenceState::away ? "away" : "offline";
}

std::string flags_of(const Marks& marks) {
  std::string line;
  if (marks.muted_until == TimePoint::max()) {
    line += " muted";
  } else if (marks.muted_until != TimePoint()) {
    line += " muted until " + time_of(marks.muted_until);
  }
  if (marks.pinned) line += " pinned";
  if (marks.archived) line += " archived";
  if (marks.unread) line += " unread";
  return line;
}

template <class T>
std::string lines_of(const std::vector<T>& all) {
  std::string line;
  for (const T& each : all) line += (line.empty() ? "" : "; ") + line_of(each);
  return line;
}

std::string happened(const OwnChanged& own) {
  return "marked " + (own.marks.empty() ? "nothing" : lines_of(own.marks)) +
         (own.hides_receipts ? "; hides receipts" : "");
}

// A line that begins with a conversation and is no event.
std::string live(const ConversationId& conversation, const std::string& text) {
  return "[" + conversation.string() + " ~] " + text;
}

std::string happened(const Event& event, const MembersChanged& changed) {
  const auto only_sender = [&](const std::vector<UserId>& users) {
    return users.size() == 1 && users.front() == event.sender;
  };
  std::string line;
  const auto add = [&](const std::string& part) { line += (line.empty() ? "" : "; ") + part; };
  if (!changed.joined.empty()) add(only_sender(changed.joined) ? "joined" : "added " + list_of(changed.joined));
  if (!changed.left.empty()) add(only_sender(changed.left) ? "left" : "removed " + list_of(changed.left));
  for (const Member& member : changed.roles) add("made " + who(member.user) + " " + std::string(name_of(member.role)));
  return line;
}

std::string happened(const Event& event) {
  if (const auto* change = event.as<MessageChanged>()) {
    const std::string target = " #" + std::to_string(change->target);
    if (change->kind == ChangeKind::deleted) return "deleted" + target;
    return "edited" + target + (change->now ? ": " + text_of(change->now->content) : "");
  }
  if (const auto* members = event.as<MembersChanged>()) return happened(event, *members);
  if (const auto* settings = event.as<SettingsChanged>()) {
    return "changed the settings: " + escaped(settings->settings.title);
  }
  if (const auto* own = event.as<OwnChanged>()) return happened(*own);
  const auto* unknown = event.as<UnknownEvent>();
  return "did something this version does not know (" + std::to_string(unknown ? unknown->type : 0) + ")";
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string line;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c1 = c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c == '\n') {
      line += "\\n";
    } else if (c == '\t') {
      line += "\\t";
    } else if (c < 0x20 || c == 0x7f || c1) {
      char code[8];
      std::snprintf(code, sizeof code, "\\x%02x", c1 ? static_cast<unsigned char>(text[++i]) : c);
      line += code;
    } else {
      line += text[i];
    }
  }
  return line;
}

std::string line_of(const Event& event) {
  const std::string start = place(event.conversation, event.seq);
  if (const auto* message = event.as<MessagePosted>()) return start + who(event.sender) + ": " + text_of(*message);
  return start + "* " + who(event.sender) + " " + happened(event);
}

std::string line_of(const Push& push) {
  if (const Event* event = push.event()) return line_of(*event);
  if (const auto* shown = push.as<Ephemeral>()) {
    return live(shown->conversation, who(shown->sender) + ": " + text_of(shown->content));
  }
  if (const auto* typing = push.as<Typing>()) {
    return live(typing->conversation, "* typing: " + (typing->users.empty() ? "nobody" : list_of(typing->users)));
  }
  if (const auto* count = push.as<OnlineCount>()) {
    return live(count->conversation, "* here: " + std::to_string(count->online));
  }
  if (const auto* moved = push.as<Receipts>()) return live(moved->conversation, "* " + lines_of(moved->receipts));
  if (const auto* presence = push.as<PresenceChanged>()) return "* " + lines_of(presence->users);
  if (const auto* changed = push.as<ProfileChanged>()) return "* " + line_of(changed->profile);
  if (const auto* moved = push.as<HeadMoved>()) return place(moved->conversation, moved->head) + "! not shown; /sync";
  if (push.as<Reset>()) return "! reset: start again from /list";
  if (const auto* closed = push.as<Closed>()) return "! closed: " + line_of(closed->why);
  return "! something this version does not know";
}

std::string line_of(const Accepted& accepted) {
  static constexpr const char* durabilities[] = {"?", "memory", "process", "disk"};
  const auto durability = static_cast<std::size_t>(accepted.durability);
  return place(accepted.conversation, accepted.seq) + durabilities[durability < 4 ? durability : 0] +
         (accepted.duplicate ? " duplicate" : "");
}

std::string line_of(const ConversationEntry& entry) {
  std::string line = entry.info.conversation.string() + " unread " + std::to_string(entry.unread) +
                     (entry.unread_more ? "+" : "") + " head " + std::to_string(entry.info.head) + " ";
  line += entry.info.kind == ConversationKind::direct ? "@" + who(entry.info.peer) : escaped(entry.info.settings.title);
  if (const std::string flags = flags_of(entry.marks); !flags.empty()) line += " (" + flags.substr(1) + ")";
  if (entry.last) line += " | " + line_of(*entry.last);
  return line;
}

std::string line_of(const Marks& marks) {
  return marks.conversation.string() + " read #" + std::to_string(marks.read) + flags_of(marks);
}

std::string line_of(const Presence& presence) {
  std::string line = who(presence.user) + " " + std::string(word_of(presence.state));
  if (presence.last_seen != TimePoint()) line += ", last seen " + time_of(presence.last_seen);
  return line;
}

std::string line_of(const Receipt& receipt) {
  return who(receipt.user) + " received #" + std::to_string(receipt.delivered) + ", read #" +
         std::to_string(receipt.read);
}

std::string line_of(const Profile& profile) {
  const bool any = !profile.display_name.empty() || !profile.avatar.empty() || !profile.custom.empty();
  std::string line = who(profile.user) + (any ? " is " + escaped(profile.display_name) : " has no profile");
  if (!profile.avatar.empty()) line += ", avatar " + escaped(profile.avatar);
  for (const auto& [key, value] : profile.custom) line += ", " + escaped(key) + "=" + escaped(value);
  return line;
}

std::string line_of(const SessionInfo& session) {
  std::string line = escaped(session.session) + " " + (session.device.empty() ? "-" : escaped(session.device.view())) +
                     " since " + time_of(session.since);
  if (!session.peer_address.empty()) line += " from " + escaped(session.peer_address);
  return line + (session.mine ? ", this one" : "");
}

bool is_live_state(const Push& push) { return std::get_if<Signal>(&push) && !push.as<Ephemeral>(); }

std::string line_of(const Error& error) { return std::string(name(error.code)) + ": " + escaped(error.message); }

std::string_view name_of(Role role) {
  switch (role) {
    case Role::reader:
      return "reader";
    case Role::member:
      return "member";
    case Role::admin:
      return "admin";
    case Role::owner:
      return "owner";
  }
  return "?";
}
