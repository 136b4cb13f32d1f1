#include <cstdio>

#include "chat.h"
#include "words.h"

// The commands about live state, and about what is a user's own.

using namespace chatcore;

namespace {

bool is_no(const std::vector<std::string>& words) { return !words.empty() && words[0] == "no"; }
bool is_yes_or_no(const std::vector<std::string>& words) {
  return words.empty() || (words.size() == 1 && is_no(words));
}

template <class T>
void print_each(const char* what, const std::vector<T>& all) {
  for (const T& each : all) std::printf("%s %s\n", what, line_of(each).c_str());
}

void print_ok(const Nothing&) { std::puts("ok"); }

}  // namespace

// ---- who types, who is here, who has read

void Chat::typing(const Words& words, const std::string&) {
  if (!is_yes_or_no(words)) return fail("/typing [no]");
  if (!target_) return fail(no_target);
  ask(SetTyping{.to = *target_, .typing = !is_no(words)}, print_ok);
}

void Chat::who(const Words&, const std::string&) {
  with_conversation([this](const ConversationId& id) {
    ask(ListMembers{.conversation = id}, [this, id](const MembersPage& page) {
      GetPresence request;
      for (const Member& member : page.members) request.users.push_back(member.user);
      ask(std::move(request), [this, id](const PresencePage& presence) {
        print_each("here", presence.users);
        ask(WatchPresence{.conversations = {id}}, print_ok);
      });
    });
  });
}

void Chat::away(const Words& words, const std::string&) {
  if (!is_yes_or_no(words)) return fail("/away [no]");
  ask(SetPresence{.state = is_no(words) ? PresenceState::online : PresenceState::away}, print_ok);
}

void Chat::receipts_after(const ConversationId& id, const UserId& after) {
  ask(GetReceipts{.conversation = id, .after = after}, [this, id](const ReceiptsPage& page) {
    print_each("receipt", page.receipts);
    page.next.empty() ? print_ok({}) : receipts_after(id, page.next);
  });
}

void Chat::share_receipts(const Words& words, const std::string&) {
  if (words.size() != 1 || (words[0] != "yes" && words[0] != "no")) return fail("/receipts yes|no");
  ask(ShareReceipts{.share = words[0] == "yes"}, print_ok);
}

// ---- marks

template <Request R>
void Chat::mark(R request) {
  with_conversation([this, request](const ConversationId& id) mutable {
    request.conversation = id;
    ask(std::move(request), [](const Marks& marks) { std::printf("ok %s\n", line_of(marks).c_str()); });
  });
}

void Chat::mute(const Words& words, const std::string&) {
  const auto minutes = number_of(words, 0);
  constexpr std::uint64_t century = 100ull * 365 * 24 * 60;
  if (words.size() > 1 || (!words.empty() && (!minutes || *minutes > century))) return fail("/mute [MINUTES]");
  if (!minutes) return mute_until(TimePoint::max());
  const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  mute_until(now + std::chrono::minutes(*minutes));
}

void Chat::unmute(const Words&, const std::string&) { mute_until({}); }

void Chat::mute_until(TimePoint until) { mark(Mute{.until = until}); }

void Chat::pin(const Words& words, const std::string&) {
  is_yes_or_no(words) ? mark(Pin{.pinned = !is_no(words)}) : fail("/pin [no]");
}

void Chat::archive(const Words& words, const std::string&) {
  is_yes_or_no(words) ? mark(Archive{.archived = !is_no(words)}) : fail("/archive [no]");
}

void Chat::mark_unread(const Words& words, const std::string&) {
  is_yes_or_no(words) ? mark(MarkUnread{.unread = !is_no(words)}) : fail("/unread [no]");
}

void Chat::badge(const Words&, const std::string&) {
  ask(GetUnread{}, [](const UnreadTotal& total) {
    std::printf("ok %u%s unread in %u conversations\n", total.messages, total.more ? "+" : "", total.conversations);
  });
}

// ---- sessions and profiles

void Chat::devices(const Words&, const std::string&) {
  ask(ListSessions{}, [](const SessionsPage& page) {
    print_each("session", page.sessions);
    std::printf("ok %zu sessions\n", page.sessions.size());
  });
}

void Chat::end_sessions(const Words& words, const std::string&) {
  ask(EndSessions{.sessions = words}, [](SessionsEnded ended) { std::printf("ok %u ended\n", ended.sessions); });
}

void Chat::profile(const Words& words, const std::string& rest) {
  if (words.empty()) return fail("/profile NAME");
  ask(SetProfile{.profile = {.display_name = rest}}, print_ok);
}

void Chat::whois(const Words& words, const std::string&) {
  auto users = users_of(words, 0);
  if (words.empty() || !users) return fail("/whois USER...");
  ask(GetProfiles{.users = std::move(*users)}, [](const ProfilesPage& page) {
    print_each("profile", page.profiles);
    std::puts("ok");
  });
}
