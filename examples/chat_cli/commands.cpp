#include <algorithm>
#include <charconv>
#include <cstdio>
#include <sstream>

#include "chat.h"
#include "words.h"

using namespace chatcore;

namespace {

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::optional<Role> role_of(const std::string& text) {
  for (Role role : {Role::reader, Role::member, Role::admin, Role::owner}) {
    if (name_of(role) == text) return role;
  }
  return std::nullopt;
}

void print_events(const char* what, const std::vector<EventPtr>& events) {
  for (const EventPtr& event : events) std::printf("%s %s\n", what, line_of(*event).c_str());
}

// "one two three" -> "two three"
std::string behind_first(const std::string& text) {
  const std::size_t space = text.find(' ');
  return space == std::string::npos ? "" : text.substr(space + 1);
}

}  // namespace

std::optional<std::uint64_t> number_of(const std::vector<std::string>& words, std::size_t index) {
  if (index >= words.size()) return std::nullopt;
  const std::string& text = words[index];
  std::uint64_t number = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (wrong != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<std::vector<UserId>> users_of(const std::vector<std::string>& words, std::size_t first) {
  std::vector<UserId> users;
  for (std::size_t i = first; i < words.size(); ++i) {
    auto user = UserId::make(words[i]);
    if (!user) return std::nullopt;
    users.push_back(*user);
  }
  return users;
}

// One row a command: a new one is a row and a method.
struct Chat::Command {
  const char *name, *usage, *help;
  void (Chat::*run)(const Words&, const std::string& rest);
};
const Chat::Command Chat::commands[] = {
    {"to", "@USER | CONVERSATION", "choose the target", &Chat::to},
    {"edit", "SEQ TEXT", "replace a message of yours", &Chat::edit},
    {"delete", "SEQ", "delete a message for all", &Chat::remove_message},
    {"ephemeral", "TEXT", "show it to those who are there; it is not stored", &Chat::ephemeral},
    {"key", "KEY TEXT", "send with this idempotency key: a repeat gets the first answer", &Chat::send_with_key},
    {"history", "[N]", "the newest N messages (20), oldest first", &Chat::history},
    {"sync", "SEQ", "everything after SEQ, changes too", &Chat::sync},
    {"read", "[SEQ]", "mark as read up to SEQ; without it: who has read up to where", &Chat::mark_read},
    {"list", "", "your conversations", &Chat::list},
    {"create", "TITLE [USER...]", "a group; it becomes the target", &Chat::create},
    {"add", "USER...", "to the group", &Chat::add},
    {"remove", "USER...", "from the group", &Chat::remove},
    {"role", "USER ROLE", "reader, member, admin or owner", &Chat::role},
    {"open", "yes|no", "whether anyone may join the group", &Chat::open},
    {"join", "CONVERSATION", "enter an open group; it becomes the target", &Chat::join},
    {"leave", "", "leave the group", &Chat::leave},
    {"members", "", "who is in it", &Chat::members},
    {"typing", "[no]", "say that you type, or have stopped", &Chat::typing},
    {"who", "", "who of its members is here; from then on you are told who comes and goes", &Chat::who},
    {"away", "[no]", "say that you are away, or here again", &Chat::away},
    {"mute", "[MINUTES]", "no notifications; without MINUTES: until /unmute", &Chat::mute},
    {"unmute", "", "notifications again", &Chat::unmute},
    {"pin", "[no]", "at the top of your list, or not", &Chat::pin},
    {"archive", "[no]", "put it away, or take it out again", &Chat::archive},
    {"unread", "[no]", "show it as unread, or not", &Chat::mark_unread},
    {"badge", "", "how much is unread in all", &Chat::badge},
    {"receipts", "yes|no", "whether others see what you have read", &Chat::share_receipts},
    {"devices", "", "where you are logged in", &Chat::devices},
    {"end", "[SESSION...]", "log out there; without SESSION: everywhere but here", &Chat::end_sessions},
    {"profile", "NAME", "how others see you, in place of what was there", &Chat::profile},
    {"whois", "USER...", "how they are to be shown", &Chat::whois},
    {"wait", "N [SECONDS]", "go on once N more events have come (30 s)", &Chat::wait_pushes},
    {"status", "", "the connection, and what is under way", &Chat::status},
    {"help", "", "this list", &Chat::help},
    {"quit", "", "leave", &Chat::quit},
};

std::string Chat::commands_help() {
  std::string text = "A line is a message to the target; one that begins with / is a command:\n";
  for (const Command& command : commands) {
    std::string form = std::string("  /") + command.name + " " + command.usage;
    form.resize(std::max<std::size_t>(form.size() + 1, 28), ' ');
    text += form + command.help + "\n";
  }
  return text;
}

void Chat::do_line(const std::string& line) {
  if (!line.starts_with('/')) return send(line);
  const std::string rest = behind_first(line), name = line.substr(1, line.find(' ') - 1);
  for (const Command& command : commands) {
    if (name == command.name) return (this->*command.run)(words_of(rest), rest);
  }
  fail("no command /" + name + "; /help shows them");
}

void Chat::send(const std::string& text, IdempotencyKey key) {
  if (!target_) return fail(no_target);
  Send message{.to = *target_, .content = {.text = text}, .key = std::move(key)};
  ask(
      std::move(message), [](const Sent& sent) { std::printf("sent %s\n", line_of(sent).c_str()); }, sends_);
}

template <Request R>
void Chat::change(R request) {
  ask(std::move(request), [](const Accepted& accepted) { std::printf("ok %s\n", line_of(accepted).c_str()); });
}

// ---- messages

void Chat::send_with_key(const Words& words, const std::string& rest) {
  if (words.size() < 2) return fail("/key KEY TEXT");
  send(behind_first(rest), IdempotencyKey(words.front()));
}

void Chat::edit(const Words& words, const std::string& rest) {
  const auto seq = number_of(words, 0);
  if (!seq || words.size() < 2) return fail("/edit SEQ TEXT");
  with_conversation([this, seq = *seq, text = behind_first(rest)](const ConversationId& id) {
    change(EditMessage{.conversation = id, .seq = seq, .content = {.text = text}});
  });
}

void Chat::remove_message(const Words& words, const std::string&) {
  const auto seq = number_of(words, 0);
  if (!seq) return fail("/delete SEQ");
  with_conversation(
      [this, seq = *seq](const ConversationId& id) { change(DeleteMessage{.conversation = id, .seq = seq}); });
}

void Chat::ephemeral(const Words&, const std::string& rest) {
  if (!target_) return fail(no_target);
  ask(SendEphemeral{.to = *target_, .content = {.text = rest}},
      [](Delivered delivered) { std::printf("ok shown to %u sessions\n", delivered.sessions); });
}

// ---- reading

void Chat::history(const Words& words, const std::string&) {
  const auto limit = static_cast<std::uint32_t>(number_of(words, 0).value_or(20));
  with_conversation([this, limit](const ConversationId& id) {
    ask(ReadHistory{.conversation = id, .limit = limit}, [](HistoryPage page) {
      std::reverse(page.events.begin(), page.events.end());
      print_events("history", page.events);
      std::printf("ok %zu of %llu\n", page.events.size(), static_cast<unsigned long long>(page.head));
    });
  });
}

void Chat::sync(const Words& words, const std::string&) {
  const auto after = number_of(words, 0);
  if (!after) return fail("/sync SEQ");
  with_conversation([this, after = *after](const ConversationId& id) { sync_after(id, after); });
}

void Chat::sync_after(const ConversationId& id, Seq after) {
  ask(Sync{.conversation = id, .after = after}, [this, id](const SyncPage& page) {
    print_events("sync", page.events);
    if (page.more) return sync_after(id, page.covers_to);
    std::printf("ok up to #%llu\n", static_cast<unsigned long long>(page.head));
  });
}

void Chat::mark_read(const Words& words, const std::string&) {
  if (words.empty()) return with_conversation([this](const ConversationId& id) { receipts_after(id, {}); });
  const auto seq = number_of(words, 0);
  if (!seq) return fail("/read [SEQ]");
  with_conversation([this, seq = *seq](const ConversationId& id) {
    ask(MarkRead{.conversation = id, .seq = seq},
        [](ReadCursor cursor) { std::printf("ok read up to #%llu\n", static_cast<unsigned long long>(cursor.seq)); });
  });
}

void Chat::list(const Words&, const std::string&) { list_after({}); }

void Chat::list_after(std::string after) {
  ask(ListConversations{.after = std::move(after)}, [this](const ConversationsPage& page) {
    for (const ConversationEntry& entry : page.conversations) std::printf("list %s\n", line_of(entry).c_str());
    if (!page.next.empty()) return list_after(page.next);
    std::puts("ok");
  });
}

// ---- groups

void Chat::create(const Words& words, const std::string&) {
  const auto users = users_of(words, 1);
  if (words.empty() || !users) return fail("/create TITLE [USER...]");
  CreateConversation request;
  request.settings.title = words.front();
  for (const UserId& user : *users) request.members.push_back({.user = user});
  ask(std::move(request), [this](const Accepted& created) {
    target_ = created.conversation;
    std::printf("ok %s\n", line_of(created).c_str());
  });
}

void Chat::add(const Words& words, const std::string&) {
  const auto users = users_of(words, 0);
  if (words.empty() || !users) return fail("/add USER...");
  with_conversation([this, users = *users](const ConversationId& id) {
    AddMembers request{.conversation = id};
    for (const UserId& user : users) request.members.push_back({.user = user});
    change(std::move(request));
  });
}

void Chat::remove(const Words& words, const std::string&) {
  const auto users = users_of(words, 0);
  if (words.empty() || !users) return fail("/remove USER...");
  with_conversation(
      [this, users = *users](const ConversationId& id) { change(RemoveMembers{.conversation = id, .users = users}); });
}

void Chat::role(const Words& words, const std::string&) {
  const auto user = UserId::make(words.empty() ? "" : words[0]);
  const auto role = role_of(words.size() == 2 ? words[1] : "");
  if (!user || !role) return fail("/role USER reader|member|admin|owner");
  with_conversation([this, user = *user, role = *role](const ConversationId& id) {
    change(SetRole{.conversation = id, .user = user, .role = role});
  });
}

// Settings are replaced as a whole, so they are read first.
void Chat::open(const Words& words, const std::string&) {
  if (words.size() != 1 || (words[0] != "yes" && words[0] != "no")) return fail("/open yes|no");
  with_conversation([this, open = words[0] == "yes"](const ConversationId& id) {
    ask(GetConversation{.of = id}, [this, id, open](ConversationInfo info) {
      info.settings.open = open;
      change(ChangeSettings{.conversation = id, .settings = std::move(info.settings)});
    });
  });
}

void Chat::join(const Words& words, const std::string&) {
  const auto id = ConversationId::make(words.empty() ? "" : words[0]);
  if (!id) return fail("/join CONVERSATION");
  target_ = *id;
  change(Join{.conversation = *id});
}

void Chat::leave(const Words&, const std::string&) {
  with_conversation([this](const ConversationId& id) { change(Leave{.conversation = id}); });
}

void Chat::members(const Words&, const std::string&) {
  with_conversation([this](const ConversationId& id) { members_after(id, {}); });
}

void Chat::members_after(const ConversationId& id, const UserId& after) {
  ask(ListMembers{.conversation = id, .after = after}, [this, id](const MembersPage& page) {
    for (const Member& member : page.members) {
      std::printf("member %s %s\n", escaped(member.user.view()).c_str(), std::string(name_of(member.role)).c_str());
    }
    if (!page.next.empty()) return members_after(id, page.next);
    std::printf("ok %u members\n", page.total);
  });
}

// ---- the program itself

void Chat::to(const Words& words, const std::string&) { aim(words.empty() ? "" : words[0]); }

void Chat::aim(const std::string& to) {
  if (to.starts_with('@')) {
    auto user = UserId::make(std::string_view(to).substr(1));
    if (!user) return fail(line_of(user.error()));
    target_ = Direct{*user};
  } else {
    auto conversation = ConversationId::make(to);
    if (!conversation) return fail(line_of(conversation.error()));
    target_ = *conversation;
  }
}

void Chat::with_conversation(Then then) {
  if (!target_) return fail(no_target);
  if (const ConversationId* id = target_->conversation()) return then(*id);
  ask(GetConversation{.of = *target_}, [then](const ConversationInfo& info) { then(info.conversation); });
}

void Chat::wait_pushes(const Words& words, const std::string&) {
  const auto count = number_of(words, 0);
  const auto seconds = words.size() > 1 ? number_of(words, 1) : 30;
  if (!count || !seconds || *count == 0) return fail("/wait N [SECONDS]");
  wait_until_ = waited_ + *count;
  deadline_ = std::chrono::steady_clock::now() + std::chrono::seconds(*seconds);
}

void Chat::status(const Words&, const std::string&) {
  const ClientStatus status = client_->status();
  std::printf("status connected=%s user=%s unanswered=%zu pushes=%llu last_error=%s\n", status.connected ? "yes" : "no",
              status.user.string().c_str(), status.unanswered, static_cast<unsigned long long>(pushes_),
              std::string(name(status.last_error.code)).c_str());
}

void Chat::help(const Words&, const std::string&) { std::fputs(commands_help().c_str(), stdout); }

void Chat::quit(const Words&, const std::string&) { quit_ = true; }
