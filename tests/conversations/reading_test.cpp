#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "support/chat.h"

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

template <class T>
ErrorCode code(const Result<T>& answer) {
  return answer ? ErrorCode::ok : answer.error().code;
}

Lines lines(const std::vector<EventPtr>& events) {
  Lines lines;
  for (const EventPtr& event : events) lines.push_back(line(*event));
  return lines;
}

std::vector<Seq> seqs(const std::vector<EventPtr>& events) {
  std::vector<Seq> seqs;
  for (const EventPtr& event : events) seqs.push_back(event->seq);
  return seqs;
}

HistoryPage reads(Server& server, std::string_view who, ReadHistory request) {
  auto page = server.ask(who, std::move(request));
  REQUIRE_MESSAGE(page, page.error().message);
  return std::move(*page);
}

ConversationsPage lists(Server& server, std::string_view who, ListConversations request = {}) {
  auto page = server.ask(who, std::move(request));
  REQUIRE_MESSAGE(page, page.error().message);
  return std::move(*page);
}

ConversationEntry entry(Server& server, std::string_view who, const ConversationId& id) {
  for (ConversationEntry& found : lists(server, who, {.limit = 200}).conversations) {
    if (found.info.conversation == id) return std::move(found);
  }
  FAIL("not in the list");
  return {};
}

bool in_gaps(const std::vector<Gap>& gaps, Seq seq) {
  return std::any_of(gaps.begin(), gaps.end(), [&](const Gap& gap) { return gap.from <= seq && seq <= gap.to; });
}

// What holds for every page, whatever was asked for. `changes`: the seqs of changes, which history does not show.
template <class Page>
void check_page(const Page& page, const std::set<Seq>& changes) {
  CHECK(page.oldest == 1);
  CHECK_FALSE(page.epoch.empty());
  if (page.covers_to == 0) {
    CHECK(page.covers_from == 0);
    CHECK(page.events.empty());
    CHECK(page.gaps.empty());
    return;
  }
  CHECK(page.covers_from <= page.covers_to);
  CHECK(page.covers_to <= page.head);
  Seq last = 0;
  for (const Gap& gap : page.gaps) {
    CHECK(gap.from <= gap.to);
    CHECK(gap.from > last);
    CHECK(gap.from >= page.covers_from);
    CHECK(gap.to <= page.covers_to);
    last = gap.to;
  }
  std::set<Seq> shown;
  for (const EventPtr& event : page.events) {
    CHECK(event->seq >= page.covers_from);
    CHECK(event->seq <= page.covers_to);
    CHECK(shown.insert(event->seq).second);
    CHECK_FALSE(in_gaps(page.gaps, event->seq));
  }
  for (Seq seq = page.covers_from; seq <= page.covers_to; ++seq) {
    INFO("seq ", seq);
    CHECK((shown.contains(seq) || changes.contains(seq) || in_gaps(page.gaps, seq)));
  }
}

// A log with messages, changes, people who come and go; what each may see is kept beside it.
struct Story {
  Server server;
  ConversationId group;
  std::set<Seq> changes;
  std::map<std::string, std::set<Seq>> visible;
  std::set<std::string> here{"alice", "bob"};
  Seq head = 1;

  explicit Story(std::uint64_t seed, NewcomersSee see) {
    group = server.group("log", {"alice", "bob"}, {.newcomers_see = see, .newcomers_last = 5, .open = true});
    for (const auto& who : here) visible[who].insert(1);
    std::mt19937_64 random(seed);
    std::vector<Seq> messages;
    for (int i = 0; i < 150; ++i) {
      const auto dice = random() % 20;
      if (dice < 9 || messages.empty()) {
        auto sent = server.ask("alice", Send{.to = group, .content = {.text = "m" + std::to_string(i)}});
        REQUIRE(sent);
        messages.push_back(sent->seq);
        happened(*sent);
      } else if (dice < 16) {
        const Seq target = messages[random() % messages.size()];
        auto done =
            dice == 15
                ? server.ask("alice", DeleteMessage{.conversation = group, .seq = target})
                : server.ask("alice", EditMessage{.conversation = group, .seq = target, .content = {.text = "e"}});
        if (done && done->seq > head) {
          changes.insert(done->seq);
          happened(*done);
        }
      } else {
        const std::string who = random() % 2 == 0 ? "bob" : "carol";
        if (here.contains(who)) {
          auto left = server.ask(who, Leave{.conversation = group});
          REQUIRE(left);
          happened(*left);
          here.erase(who);
        } else {
          auto joined = server.ask(who, Join{.conversation = group});
          REQUIRE(joined);
          here.insert(who);
          happened(*joined);
          const Seq from = see == NewcomersSee::all                        ? 1
                           : see == NewcomersSee::none || joined->seq <= 5 ? joined->seq
                                                                           : joined->seq - 5;
          for (Seq seq = see == NewcomersSee::last && joined->seq <= 5 ? 1 : from; seq <= joined->seq; ++seq) {
            visible[who].insert(seq);
          }
        }
      }
    }
  }
  void happened(const Accepted& accepted) {
    head = accepted.seq;
    for (const auto& who : here) visible[who].insert(head);
  }
};

}  // namespace

// ---- history

TEST_CASE("History begins at the newest backward, at the oldest forward, or anywhere") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice"});
  Person alice(server, "alice");
  for (int i = 2; i <= 10; ++i) alice.says(group, std::to_string(i));
  using Seqs = std::vector<Seq>;
  const auto ask = [&](Seq start, Direction direction, std::uint32_t limit) {
    return reads(server, "alice", {.conversation = group, .start = start, .direction = direction, .limit = limit});
  };
  HistoryPage page = ask(0, Direction::backward, 3);
  CHECK(seqs(page.events) == Seqs{10, 9, 8});
  CHECK(page.covers_from == 8);
  CHECK(page.covers_to == 10);
  CHECK(page.head == 10);
  CHECK(page.more);
  page = ask(0, Direction::forward, 3);
  CHECK(seqs(page.events) == Seqs{1, 2, 3});
  CHECK(page.covers_from == 1);
  CHECK(page.covers_to == 3);
  CHECK(page.more);
  page = ask(5, Direction::backward, 3);
  CHECK(seqs(page.events) == Seqs{5, 4, 3});
  page = ask(5, Direction::forward, 3);
  CHECK(seqs(page.events) == Seqs{5, 6, 7});
  page = ask(2, Direction::backward, 3);
  CHECK(seqs(page.events) == Seqs{2, 1});
  CHECK(page.covers_from == 1);
  CHECK_FALSE(page.more);
  page = ask(9, Direction::forward, 3);
  CHECK(seqs(page.events) == Seqs{9, 10});
  CHECK(page.covers_to == 10);
  CHECK_FALSE(page.more);
  page = ask(8, Direction::forward, 3);  // ends where its limit does
  CHECK(seqs(page.events) == Seqs{8, 9, 10});
  CHECK_FALSE(page.more);
  page = ask(3, Direction::backward, 3);
  CHECK(seqs(page.events) == Seqs{3, 2, 1});
  CHECK_FALSE(page.more);
  page = ask(11, Direction::forward, 3);
  CHECK(page.events.empty());
  CHECK(page.covers_to == 0);
  CHECK(page.covers_from == 0);
  CHECK_FALSE(page.more);
  CHECK(page.head == 10);
  page = ask(1000, Direction::backward, 2);
  CHECK(seqs(page.events) == Seqs{10, 9});
  CHECK(page.covers_to == 10);
  page = ask(~Seq{0}, Direction::forward, 2);
  CHECK(page.events.empty());
  page = ask(~Seq{0}, Direction::backward, 2);
  CHECK(seqs(page.events) == Seqs{10, 9});
}

TEST_CASE("Large messages make small pages, and nothing is lost between them") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice");
  for (int i = 0; i < 40; ++i) alice.says(group, std::string(15'000, static_cast<char>('a' + i % 26)));
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    std::vector<Seq> all;
    Seq start = 0;
    int pages = 0;
    for (bool more = true; more; ++pages) {
      REQUIRE(pages < 100);
      const HistoryPage page =
          reads(server, "bob", {.conversation = group, .start = start, .direction = direction, .limit = 50});
      check_page(page, {});
      for (const Seq seq : seqs(page.events)) all.push_back(seq);
      start = direction == Direction::forward ? page.covers_to + 1 : page.covers_from - 1;
      more = page.more;
    }
    if (direction == Direction::backward) std::reverse(all.begin(), all.end());
    REQUIRE(all.size() == 41);
    for (std::size_t i = 0; i < all.size(); ++i) CHECK(all[i] == i + 1);
    CHECK(pages > 2);
  }
  std::vector<Seq> all;
  for (Seq after = 0;;) {
    auto page = server.ask("bob", Sync{.conversation = group, .after = after, .limit = 50});
    REQUIRE(page);
    check_page(*page, {});
    for (const Seq seq : seqs(page->events)) all.push_back(seq);
    if (!page->more) break;
    CHECK(page->live_from == 0);
    after = page->covers_to;
  }
  CHECK(all.size() == 41);
}

TEST_CASE("Whatever happened, pages forward and backward show each visible event once and explain every seq") {
  for (const NewcomersSee see : {NewcomersSee::all, NewcomersSee::none, NewcomersSee::last}) {
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
      CAPTURE(static_cast<int>(see));
      CAPTURE(seed);
      Story story(seed, see);
      for (const std::string& who : {std::string("alice"), std::string("bob"), std::string("carol")}) {
        CAPTURE(who);
        std::set<Seq> expected = story.visible[who];
        if (expected.empty()) continue;
        for (const Seq change : story.changes) expected.erase(change);
        for (const std::uint32_t limit : {1u, 7u, 50u, 200u}) {
          CAPTURE(limit);
          for (const Direction direction : {Direction::forward, Direction::backward}) {
            std::set<Seq> seen;
            Seq start = 0, covered = 0;
            bool more = true;
            for (int pages = 0; more; ++pages) {
              REQUIRE(pages < 500);
              const HistoryPage page =
                  reads(story.server, who,
                        {.conversation = story.group, .start = start, .direction = direction, .limit = limit});
              check_page(page, story.changes);
              CHECK(page.events.size() <= limit);
              for (const EventPtr& event : page.events) CHECK(seen.insert(event->seq).second);
              covered += page.covers_to - page.covers_from + 1;
              const auto order = seqs(page.events);
              CHECK((direction == Direction::forward ? std::is_sorted(order.begin(), order.end())
                                                     : std::is_sorted(order.rbegin(), order.rend())));
              start = direction == Direction::forward ? page.covers_to + 1 : page.covers_from - 1;
              more = page.more;
            }
            CHECK(seen == expected);
            CHECK(covered >= *expected.rbegin());  // no seq twice, none left out
            CHECK(covered <= story.head);
          }
          // Sync shows the changes too.
          std::set<Seq> seen;
          Seq after = 0;
          for (int pages = 0;; ++pages) {
            REQUIRE(pages < 500);
            auto page = story.server.ask(who, Sync{.conversation = story.group, .after = after, .limit = limit});
            REQUIRE(page);
            check_page(*page, {});
            CHECK(page->covers_from == after + 1);
            CHECK(page->events.size() <= limit);
            for (const EventPtr& event : page->events) CHECK(seen.insert(event->seq).second);
            after = page->covers_to;
            CHECK((page->live_from == 0) == page->more);
            if (!page->more) break;
          }
          CHECK(seen == story.visible[who]);
        }
      }
    }
  }
}

TEST_CASE("A page of fifty messages is one page, whatever changed in between") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice"});
  Person alice(server, "alice");
  const Seq seq = alice.says(group, "0").seq;
  for (int i = 0; i < 100; ++i) {
    REQUIRE(alice.asks(EditMessage{.conversation = group, .seq = seq, .content = {.text = std::to_string(i)}}));
  }
  alice.says(group, "last");
  const HistoryPage page = reads(server, "alice", {.conversation = group, .limit = 3});
  CHECK(lines(page.events) == Lines{"last", "99", "joined alice, role4 alice"});
  CHECK(page.covers_from == 1);
  CHECK(page.covers_to == 103);
  CHECK_FALSE(page.more);
}

// ---- sync

TEST_CASE("Sync tells what happened after a seq: messages and changes, with the present state") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");
  const ConversationId pair = alice.says(Direct{"bob"}, "one").conversation;
  alice.says(pair, "two");
  REQUIRE(alice.asks(EditMessage{.conversation = pair, .seq = 1, .content = {.text = "one!"}}));
  REQUIRE(alice.asks(EditMessage{.conversation = pair, .seq = 1, .content = {.text = "one!!"}}));
  REQUIRE(alice.asks(DeleteMessage{.conversation = pair, .seq = 2}));
  auto page = bob.asks(Sync{.conversation = pair, .after = 1});
  REQUIRE(page);
  CHECK(lines(page->events) == Lines{"(deleted)", "edited #1: one!!", "edited #1: one!!", "deleted #2"});
  CHECK(page->covers_from == 2);
  CHECK(page->covers_to == 5);
  CHECK(page->head == 5);
  CHECK(page->live_from == 6);
  CHECK_FALSE(page->more);
  const auto* first = page->events[1]->as<MessageChanged>();
  REQUIRE(first);
  CHECK(first->revision == 1);
  REQUIRE(first->now);
  CHECK(first->now->revision == 2);  // later than this change; the next one says so

  page = bob.asks(Sync{.conversation = pair, .after = 1, .limit = 2});
  REQUIRE(page);
  CHECK(page->events.size() == 2);
  CHECK(page->covers_to == 3);
  CHECK(page->more);
  CHECK(page->live_from == 0);

  page = bob.asks(Sync{.conversation = pair, .after = 5});
  REQUIRE(page);
  CHECK(page->events.empty());
  CHECK(page->covers_from == 0);
  CHECK(page->covers_to == 0);
  CHECK(page->live_from == 6);
  CHECK(bob.asks(Sync{.conversation = pair, .after = ~Seq{0}})->events.empty());
}

TEST_CASE("From live_from on everything is pushed, nothing before it is missing") {
  Server server;
  Person alice(server, "alice");
  const ConversationId pair = alice.says(Direct{"bob"}, "1").conversation;
  Person bob(server, "bob");
  std::set<Seq> seen;
  std::optional<Result<SyncPage>> answer;
  for (int i = 2; i < 30; ++i) {
    alice.session().call(Send{.to = pair, .content = {.text = std::to_string(i)}});
    if (i == 10) {
      bob.session().call(Sync{.conversation = pair}, [&](Result<SyncPage> page) { answer.emplace(std::move(page)); });
    }
    server.engine().poll(0us);
  }
  server.settle();
  REQUIRE(answer);
  REQUIRE(*answer);
  const SyncPage& page = **answer;
  REQUIRE(page.live_from == page.covers_to + 1);
  for (const EventPtr& event : page.events) seen.insert(event->seq);
  for (const Push& push : bob.takes()) {
    if (push.event() && push.event()->seq >= page.live_from) seen.insert(push.event()->seq);
  }
  CHECK(seen.size() == 29);
}

// ---- mark read

TEST_CASE("The read cursor moves forward only, and not beyond the head") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");
  const ConversationId pair = alice.says(Direct{"bob"}, "1").conversation;
  for (int i = 2; i <= 5; ++i) alice.says(pair, std::to_string(i));
  const auto mark = [&](Seq seq) { return bob.asks(MarkRead{.conversation = pair, .seq = seq}); };
  CHECK(mark(0)->seq == 0);
  CHECK(mark(3)->seq == 3);
  CHECK(mark(2)->seq == 3);
  CHECK(mark(3)->seq == 3);
  CHECK(code(mark(6)) == ErrorCode::invalid);
  CHECK(code(mark(~Seq{0})) == ErrorCode::invalid);
  CHECK(entry(server, "bob", pair).read == 3);
  CHECK(entry(server, "alice", pair).read == 0);  // his alone
  CHECK(mark(5)->seq == 5);
  server.restart();
  CHECK(entry(server, "bob", pair).read == 5);
  CHECK(server.ask("bob", MarkRead{.conversation = pair, .seq = 1})->seq == 5);
}

TEST_CASE("Marks from several devices at once end at the furthest") {
  for (const unsigned shards : {1u, 4u}) {
    EngineOptions options;
    options.shards = shards;
    Server server(std::move(options));
    Person alice(server, "alice"), phone(server, "bob"), laptop(server, "bob");
    const ConversationId pair = alice.says(Direct{"bob"}, "1").conversation;
    for (int i = 2; i <= 20; ++i) alice.says(pair, std::to_string(i));
    std::vector<Seq> order;
    for (Seq seq = 1; seq <= 20; ++seq) order.push_back(seq);
    std::shuffle(order.begin(), order.end(), std::mt19937_64(7));
    std::size_t answers = 0;
    for (const Seq seq : order) {
      (seq % 2 ? phone : laptop)
          .session()
          .call(MarkRead{.conversation = pair, .seq = seq}, [&, seq](Result<ReadCursor> cursor) {
            REQUIRE(cursor);
            CHECK(cursor->seq >= seq);
            ++answers;
          });
    }
    server.settle();
    CHECK(answers == 20);
    CHECK(entry(server, "bob", pair).read == 20);
    CHECK(entry(server, "bob", pair).unread == 0);
  }
}

// ---- the conversation list

TEST_CASE("Conversations are listed by last activity, with the last message and what is unread") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    EngineOptions options;
    options.shards = shards;
    Server server(std::move(options));
    Person alice(server, "alice"), bob(server, "bob"), carol(server, "carol");
    CHECK(lists(server, "alice").conversations.empty());
    const ConversationId with_bob = bob.says(Direct{"alice"}, "from bob").conversation;
    server.advance(10ms);
    const ConversationId with_carol = carol.says(Direct{"alice"}, "from carol").conversation;
    server.advance(10ms);
    const ConversationId group = server.group("lunch", {"alice", "bob"}, {.title = "Lunch"});
    const auto order = [&] {
      std::vector<ConversationId> ids;
      for (const auto& e : lists(server, "alice").conversations) ids.push_back(e.info.conversation);
      return ids;
    };
    CHECK(order() == std::vector<ConversationId>{group, with_carol, with_bob});
    server.advance(10ms);
    alice.says(with_bob, "answer");
    CHECK(order() == std::vector<ConversationId>{with_bob, group, with_carol});

    ConversationEntry e = entry(server, "alice", with_bob);
    CHECK(e.info.peer.view() == "bob");
    CHECK(e.info.head == 2);
    REQUIRE(e.last);
    CHECK(line(*e.last) == "answer");
    CHECK(e.unread == 1);
    CHECK(e.active == e.last->time);
    e = entry(server, "bob", with_bob);
    CHECK(e.info.peer.view() == "alice");
    CHECK(e.unread == 1);
    e = entry(server, "alice", group);
    CHECK(e.info.settings.title == "Lunch");
    CHECK(e.info.role == Role::owner);
    CHECK_FALSE(e.last);  // nobody has said anything
    CHECK(e.unread == 0);
    server.advance(2s);
    CHECK(order() == std::vector<ConversationId>{with_bob, group, with_carol});
    server.restart();
    CHECK(order() == std::vector<ConversationId>{with_bob, group, with_carol});
  }
}

TEST_CASE("Unread are the messages of others after the cursor: not one's own, not deleted ones, no events") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob", "carol"});
  Person alice(server, "alice"), bob(server, "bob"), carol(server, "carol");
  const Seq one = bob.says(group, "one").seq;
  alice.says(group, "mine");
  const Seq two = carol.says(group, "two").seq;
  bob.says(group, "three");
  REQUIRE(alice.asks(ChangeSettings{.conversation = group, .settings = {.title = "t"}}));
  CHECK(entry(server, "alice", group).unread == 3);
  REQUIRE(carol.asks(DeleteMessage{.conversation = group, .seq = two}));
  CHECK(entry(server, "alice", group).unread == 2);
  REQUIRE(alice.asks(MarkRead{.conversation = group, .seq = one}));
  ConversationEntry e = entry(server, "alice", group);
  CHECK(e.unread == 1);
  CHECK_FALSE(e.unread_more);
  REQUIRE(e.last);
  CHECK(line(*e.last) == "three");  // the last message, though more has happened
  REQUIRE(bob.asks(EditMessage{.conversation = group, .seq = one, .content = {.text = "one!"}}));
  CHECK(entry(server, "alice", group).unread == 1);
  REQUIRE(alice.asks(MarkRead{.conversation = group, .seq = e.info.head}));
  CHECK(entry(server, "alice", group).unread == 0);
}

TEST_CASE("What was said before one came, or while he was away, is not unread") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice"}, {.newcomers_see = NewcomersSee::none, .open = true});
  Person alice(server, "alice"), bob(server, "bob");
  for (int i = 0; i < 5; ++i) alice.says(group, "before");
  REQUIRE(bob.asks(Join{.conversation = group}));
  CHECK(entry(server, "bob", group).unread == 0);
  CHECK_FALSE(entry(server, "bob", group).last);
  alice.says(group, "hi");
  REQUIRE(bob.asks(Leave{.conversation = group}));
  for (int i = 0; i < 3; ++i) alice.says(group, "away");
  REQUIRE(bob.asks(Join{.conversation = group}));
  alice.says(group, "again");
  CHECK(entry(server, "bob", group).unread == 2);
}

TEST_CASE("Unread is counted up to a hundred, and says that there is more") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice");
  for (int i = 0; i < 100; ++i) alice.says(group, std::to_string(i));
  ConversationEntry e = entry(server, "bob", group);
  CHECK(e.unread == 100);
  CHECK_FALSE(e.unread_more);
  alice.says(group, "one more");
  e = entry(server, "bob", group);
  CHECK(e.unread == 100);
  CHECK(e.unread_more);
  REQUIRE(server.ask("bob", MarkRead{.conversation = group, .seq = 50}));
  e = entry(server, "bob", group);
  CHECK(e.unread == 52);
  CHECK_FALSE(e.unread_more);
}

TEST_CASE("Unread is right where one's own messages, deleted ones and large ones lie in between") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  for (int i = 0; i < 60; ++i) {
    alice.says(group, "a");
    bob.says(group, "b");
    bob.says(group, "b");
  }
  CHECK(entry(server, "bob", group).unread == 60);
  CHECK_FALSE(entry(server, "bob", group).unread_more);
  CHECK(entry(server, "alice", group).unread == 100);
  CHECK(entry(server, "alice", group).unread_more);

  const ConversationId large = server.group("large", {"alice", "bob"});
  for (int i = 0; i < 40; ++i) alice.says(large, std::string(10'000, 'x'));
  CHECK(entry(server, "bob", large).unread == 40);
}

TEST_CASE("The preview is the last message, however much happened since, and shows its beginning") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice");
  std::string text;
  while (text.size() < 2000) text += "grüße ";
  alice.says(group, text);
  for (int i = 0; i < 30; ++i) {
    REQUIRE(alice.asks(ChangeSettings{.conversation = group, .settings = {.title = std::to_string(i)}}));
  }
  const ConversationEntry e = entry(server, "bob", group);
  REQUIRE(e.last);
  const std::string shown = line(*e.last);
  CHECK(text.starts_with(shown));
  CHECK(shown.size() <= 512);
  CHECK(shown.size() > 500);
  CHECK(is_utf8(shown));
}

TEST_CASE("A hundred and twenty conversations come in pages, each once, the latest first") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    EngineOptions options;
    options.shards = shards;
    Server server(std::move(options));
    Person hub(server, "hub");
    std::vector<std::string> expected;
    for (int i = 0; i < 120; ++i) {
      const std::string peer = "p" + std::to_string(1000 + i);
      auto sent = server.ask(peer, Send{.to = Direct{"hub"}, .content = {.text = "hi from " + peer}});
      REQUIRE(sent);
      server.clock().advance(1ms);
      expected.insert(expected.begin(), peer);
    }
    for (const std::uint32_t limit : {7u, 50u, 120u, 200u}) {
      CAPTURE(limit);
      std::vector<std::string> listed;
      std::string after;
      int pages = 0;
      do {
        REQUIRE(++pages < 50);
        const ConversationsPage page = lists(server, "hub", {.after = after, .limit = limit});
        CHECK(page.conversations.size() <= limit);
        for (const auto& e : page.conversations) {
          listed.push_back(e.info.peer.string());
          REQUIRE(e.last);
          CHECK(line(*e.last) == "hi from " + e.info.peer.string());
          CHECK(e.unread == 1);
        }
        after = page.next;
      } while (!after.empty());
      CHECK(listed == expected);
    }
  }
}

// ---- those who were members

TEST_CASE("A former member lists the conversation as he left it") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  alice.says(group, "seen");
  REQUIRE(alice.asks(RemoveMembers{.conversation = group, .users = {"bob"}}));
  alice.says(group, "secret");
  REQUIRE(alice.asks(ChangeSettings{.conversation = group, .settings = {.title = "without bob"}}));
  const ConversationEntry e = entry(server, "bob", group);
  CHECK(e.info.former);
  CHECK(e.info.head == 3);
  REQUIRE(e.last);
  CHECK(line(*e.last) == "seen");
  CHECK(e.unread == 1);
  REQUIRE(bob.asks(MarkRead{.conversation = group, .seq = 3}));
  CHECK(entry(server, "bob", group).unread == 0);
  // What goes on without him does not move it in his list.
  server.advance(10ms);
  const ConversationId other = alice.says(Direct{"bob"}, "hi").conversation;
  server.advance(10ms);
  alice.says(group, "more");
  server.advance(2s);
  CHECK(lists(server, "bob").conversations.front().info.conversation == other);
}

TEST_CASE("A former member pages through what he saw, both ways, and is told of nothing after it") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  for (int i = 0; i < 5; ++i) alice.says(group, "seen " + std::to_string(i));
  REQUIRE(bob.asks(Leave{.conversation = group}));  // 7
  for (int i = 0; i < 5; ++i) alice.says(group, "secret");
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    const HistoryPage page = reads(server, "bob", {.conversation = group, .direction = direction});
    CHECK(page.events.size() == 7);
    CHECK(page.head == 7);
    CHECK(page.covers_to == 7);
    CHECK(page.gaps.empty());
    CHECK_FALSE(page.more);
  }
  const HistoryPage two = reads(server, "bob", {.conversation = group, .limit = 2});
  CHECK(lines(two.events) == Lines{"left bob", "seen 4"});
  auto page = bob.asks(Sync{.conversation = group, .after = 6});
  REQUIRE(page);
  CHECK(lines(page->events) == Lines{"left bob"});
  CHECK(page->head == 7);
  CHECK(page->covers_to == 7);
  CHECK(code(bob.asks(MarkRead{.conversation = group, .seq = 8})) == ErrorCode::invalid);
}
