#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "judge.h"

// Can the judge fail? A chat of two in which all is well, and the same with one thing wrong.

using namespace crash;

namespace {

// Alice sends three messages to the conversation "ab"; bob receives them, and reads them when all is over.
struct Chat {
  Chat() {
    alice = journal.name("alice");
    bob = journal.name("bob");
    room = journal.name("ab");
    journal.members[room] = {alice, bob};
    journal.clients = {{.user = alice}, {.user = bob}};
    journal.streams = {{.name = "alice", .user = alice, .clients = {0}}, {.name = "bob", .user = bob, .clients = {1}}};
    for (Said i = 0; i < 3; ++i) {
      journal.sends.push_back({.client = 0,
                               .number = i + 1,
                               .conversation = room,
                               .text = std::to_string(i) + " hi",
                               .acknowledged = i + 1});
      received().push_back(entry(i));
    }
    journal.histories = {{.conversation = room, .reader = bob, .last = true, .from = 1, .to = 3, .head = 3}};
    journal.histories[0].entries = received();
  }
  Entry entry(Said said) const { return {.conversation = room, .seq = said + 1, .said = said, .sender = alice}; }
  std::vector<Entry>& received() { return journal.streams[1].entries; }
  std::vector<Entry>& kept() { return journal.histories[0].entries; }
  Verdict verdict() const { return judge(journal); }

  Journal journal;
  Name alice{}, bob{}, room{};
};

}  // namespace

TEST_CASE("Where all is well nothing is wrong") {
  const Verdict verdict = Chat().verdict();
  CHECK(verdict.holds());
  CHECK(verdict.acknowledged == 3);
}

TEST_CASE("A message that was acknowledged and is not in the history is lost") {
  Chat chat;
  chat.kept().pop_back();
  chat.journal.histories[0].head = chat.journal.histories[0].to = 2;
  CHECK(chat.verdict().lost == 1);
}

TEST_CASE("Another message at the seq that was acknowledged is a loss") {
  Chat chat;
  std::swap(chat.kept()[0].said, chat.kept()[1].said);
  CHECK(chat.verdict().lost == 2);
}

TEST_CASE("A message that is in the history twice is a duplicate") {
  Chat chat;
  chat.kept().push_back(chat.entry(2));
  chat.kept().back().seq = 4;
  chat.journal.histories[0].head = chat.journal.histories[0].to = 4;
  CHECK(chat.verdict().duplicates == 1);
}

TEST_CASE("A message that an application receives twice is a duplicate") {
  Chat chat;
  chat.received().push_back(chat.entry(2));
  CHECK(chat.verdict().duplicates == 1);
}

TEST_CASE("Messages of one sender in another order than he sent them are an inversion") {
  Chat chat;
  std::swap(chat.journal.sends[0].number, chat.journal.sends[1].number);
  CHECK(chat.verdict().inversions > 0);
}

TEST_CASE("A seq that goes back at a reader is wrong") {
  Chat chat;
  std::swap(chat.received()[0], chat.received()[1]);
  CHECK(chat.verdict().duplicates + chat.verdict().inversions > 0);
  CHECK(chat.verdict().holes > 0);
}

TEST_CASE("A seq that is missing in the history is a hole") {
  Chat chat;
  chat.kept().erase(chat.kept().begin() + 1);
  CHECK(chat.verdict().holes > 0);
}

TEST_CASE("A seq that a reader never received is a hole, also at the end") {
  Chat chat;
  chat.received().pop_back();
  CHECK(chat.verdict().holes == 1);
}

TEST_CASE("A message that was never answered, and a text that nobody sent, are told") {
  Chat chat;
  chat.journal.sends.push_back({.client = 0, .number = 4, .conversation = chat.room, .text = "3 hi"});
  CHECK(chat.verdict().unanswered == 1);
  chat.received()[0].said = strange;
  CHECK(chat.verdict().strange > 0);
}
