#include "format.h"

#include <cstdio>

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
    return "[" + shown->conversation.string() + " ~] " + who(shown->sender) + ": " + text_of(shown->content);
  }
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
  if (entry.last) line += " | " + line_of(*entry.last);
  return line;
}

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
