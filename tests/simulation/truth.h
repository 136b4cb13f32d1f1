#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <chatcore/chatcore.h>

#include "simulation/disk.h"
#include "simulation/plan.h"

// What was promised, and whether it was kept: from what everyone was told and what the disk holds.

namespace simulation {

// The six of quality.md, and what follows from them.
enum class Promise { seqs = 1, acknowledged, once, resume, crash, retention, privacy, deletion, list, liveness };
std::string_view name_of(Promise);

struct Violation {
  Promise promise{};
  std::string what{};
};

// A request that changes something, as its application sees it: sent again, under its key, until it is answered.
struct Attempt {
  enum class State { waiting, under_way, acknowledged, refused, lost };  // lost: with its application, or with power
  unsigned op = 0;
  Do what{};
  unsigned device = 0, life = 0;  // of the application
  UserId user{};
  Target to{};
  UserId about{};         // whom it adds or removes
  std::string text{};     // what stands of it: "<m7>", or what the policy makes of that; nowhere else
  std::string sent{};     // what it said
  Seq target = 0;         // what it edits or deletes
  IdempotencyKey key{};   // empty: the library makes one
  bool in_doubt = false;  // it may have been done, for all that the application knows
  State state{};
  Accepted ack{};
};

// What one device was shown.
struct Watch {
  struct Conversation {
    Seq begins = 0;          // what comes after is due
    Seq last = 0;            // pushed
    std::set<Seq> pushed{};  // to the application
    std::set<Seq> known{};   // acknowledged, read after a notice, or said to be read
  };
  std::map<std::string, Conversation> conversations{};
  bool begun = false;
  unsigned epoch = 0;  // losses of the disk that it knows of

  Seq highest(const std::string& conversation) const;
};

class Truth {
 public:
  Truth(const Plan& plan, Disk& disk) : plan_(plan), disk_(disk) {}

  const std::optional<Violation>& violation() const { return violation_; }
  void broken(Promise promise, std::string what);

  // ---- attempts
  std::deque<Attempt> attempts{};
  void acknowledged(Attempt&, const Accepted&);
  void refused(Attempt&, const Error&);
  void power_was_lost();
  void server_crashed();
  unsigned crashes = 0;
  void power_was_lost(Watch&) const;

  // ---- what a device sees
  void begins(Watch&) const;
  void pushed(Watch&, const Attempt* own, const std::string& who, const UserId&, bool exactly_once, const Event&,
              std::uint64_t since);
  void shown_after(std::uint64_t revoked, const std::string& who, const Event&);
  void shown(const std::string& who, const UserId&, const ConversationId&);  // a signal
  void shown(const std::string& who, const UserId&, const Receipts&);
  // Something of a conversation leaves the server, for him.
  void leaves(const std::string& who, const UserId&, const std::string& conversation, Seq);
  void was_reset(Watch&, const std::string& who);
  template <class Page>
  void page(const std::string& who, const UserId&, const std::string& conversation, const Page&, bool changes_too,
            std::uint64_t asked_at);
  // The application's own message, if this event is one.
  const Attempt* sent_as(const Event&) const;

  Seq may_be_trimmed(const std::string& conversation) const;

  // ---- in the end
  void check_disk(Storage&);
  void check_attempts();
  void check_watch(const Watch&, unsigned device, const std::string& who, const UserId&);
  void check_list(const UserId&, const std::vector<ConversationEntry>&);
  void check_badge(const UserId&, const std::vector<ConversationEntry>&, const UnreadTotal&);
  void check_feed(const std::vector<EventPtr>&);
  void check_profile(const Profile&);
  // What each user has called himself.
  struct Names {
    std::set<std::string> tried{};
    bool any_done = false;  // and is not lost
  };
  std::map<UserId, Names> names{};
  void read_to(const UserId& user, const std::string& conversation, Seq seq, bool acknowledged);
  std::vector<std::string> conversations_of(const UserId&);
  std::map<std::string, Marks> marks_of(const UserId&);
  std::set<UserId> pair_of(const std::string& conversation);  // of a direct one; else nobody

 private:
  void learn_pairs();
  void check_book(const std::string& conversation, const Book&);
  void check_content(const std::string& who, const UserId&, const std::string& conversation, const Event&,
                     std::uint64_t asked_at, bool key_shown);
  bool may_say(const std::string& conversation, Seq, const std::string& text) const;
  const Attempt* by_text(const std::string& text) const;

  const Plan& plan_;
  Disk& disk_;
  std::optional<Violation> violation_;
  std::map<std::pair<UserId, std::string>, std::pair<Seq, Seq>> cursors_;  // acknowledged, tried
  std::map<std::string, Receipt> receipts_;  // by who was told of whose, in which conversation
};

template <class Page>
void Truth::page(const std::string& who, const UserId& user, const std::string& conversation, const Page& page,
                 bool changes_too, std::uint64_t asked_at) {
  learn_pairs();
  const Book* book = disk_.ledger.find(conversation);
  const std::string where = " of " + conversation + " that " + who + " read";
  if (!book && page.head == 0 && page.events.empty()) return;  // a team where nothing was said yet
  if (!book || page.head > book->head)
    return broken(Promise::acknowledged, "a page" + where + " names a head above the disk's");
  const auto visible = disk_.ledger.visible(conversation, user);
  // Of a team: whether it was seen that he was away in between, nobody can know.
  const auto due = disk_.ledger.is_team(conversation) ? disk_.ledger.stays(conversation, user) : visible;
  std::set<Seq> shown;
  Seq before = 0;
  for (const EventPtr& event : page.events) {
    check_content(who, user, conversation, *event, asked_at, true);
    if (event->seq < page.covers_from || event->seq > page.covers_to) {
      return broken(Promise::resume, "a page" + where + " has #" + std::to_string(event->seq) + " outside its range");
    }
    if (changes_too && event->seq <= before) return broken(Promise::seqs, "a page" + where + " is out of order");
    before = event->seq;
    if (!shown.insert(event->seq).second) return broken(Promise::once, "a page" + where + " has a seq twice");
  }
  for (const auto& [seq, entry] : book->entries) {
    if (seq < page.covers_from || seq > page.covers_to || seq < book->oldest || shown.contains(seq)) continue;
    if ((changes_too || entry.log == Log::messages) && within(due, seq)) {
      return broken(Promise::resume, "a page" + where + " leaves out #" + std::to_string(seq));
    }
  }
}

}  // namespace simulation
