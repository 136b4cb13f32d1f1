#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <chatcore/chatcore.h>

namespace simulation {

using namespace chatcore;

// What a disk holds, in plain words: the truth that everything is compared with. It is kept from the bytes that reach
// the disk, and knows nothing of the engine.
struct Entry {
  enum class Kind { message, change, members, settings, marks, other } kind{};
  Log log{};
  ConversationId says{};  // the conversation and seq that stand in the bytes
  Seq seq{};
  UserId sender{};
  IdempotencyKey key{};
  std::vector<std::string> texts{};           // of a message: all it ever said
  std::optional<std::uint64_t> deleted_at{};  // step
  Seq target{};                               // of a change
  std::optional<ChangeKind> change{};
  std::vector<UserId> joined{}, left{};
  std::vector<Marks> marks{};
  std::uint64_t written_at{};  // step
  TimePoint time{};            // when its seq was given out

  bool has_said(const std::string& text) const;
};

// When a user was in a team of the host's: from, and up to, not included.
struct Presence {
  TimePoint from{}, to = TimePoint::max();
};

struct Interval {
  Seq from{}, to{};  // both included; to 0: open
};

struct Book {  // of a conversation
  std::map<Seq, Entry> entries{};
  Seq head{}, oldest = 1;
  std::vector<std::string> wrong{};  // what no log may do: a seq twice, a hole

  const Entry* find(Seq) const;
};

class Ledger {
 public:
  void apply(std::string_view partition, std::span<const StoredEvent>, Seq new_head, Seq trim_to, std::uint64_t step);
  void clear() { books_.clear(); }

  const Book* find(const std::string& conversation) const;
  const std::map<std::string, Book>& books() const { return books_; }

  // The group's rule for who joins.
  struct Rule {
    NewcomersSee newcomers_see = NewcomersSee::all;
    Seq last = 0;
  };
  std::map<std::string, Rule> rules{};
  // Of a direct conversation: who its two are, by who said something in it. Of a user's own log: he.
  std::map<std::string, std::set<UserId>> pairs{};

  // Of a team of the host's: who was in it when. Clocks never go back here, and move on before the table changes.
  std::map<std::string, std::map<UserId, std::vector<Presence>>> teams{};
  static bool is_own_log(const std::string& conversation) { return conversation.starts_with("~~"); }
  bool is_team(const std::string& conversation) const { return teams.contains(conversation); }
  const std::vector<Presence>& presences(const std::string& team, const UserId&) const;
  bool is_in(const std::string& team, const UserId&) const;

  // What a user may see; and what he was a member for, from his coming to his going. Of a team the second is
  // what he has been in it for since he last came.
  std::vector<Interval> visible(const std::string& conversation, const UserId&) const;
  std::vector<Interval> stays(const std::string& conversation, const UserId&) const;

 private:
  std::map<std::string, Book> books_;
};

bool within(const std::vector<Interval>&, Seq);

}  // namespace simulation
