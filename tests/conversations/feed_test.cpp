#include <algorithm>
#include <future>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "storage/scratch.h"
#include "support/answers.h"
#include "support/cluster.h"
#include "support/host.h"

// Everything that was committed, for hosts.

using namespace chat;
using Lines = std::vector<std::string>;
using Fate = SharedStorage::Fate;

namespace {

Answer<FeedEvents> begin_reading(Server& server, std::uint64_t after, std::uint32_t limit = 0,
                                 std::chrono::milliseconds wait = 0ms) {
  Answer<FeedEvents> answer;
  server.engine().read_feed(after, limit, wait, answer.take());
  return answer;
}

Result<FeedEvents> read(Server& server, std::uint64_t after, std::uint32_t limit = 0) {
  const auto answer = begin_reading(server, after, limit);
  CHECK_FALSE(answer.came());  // never inside the call
  server.settle();
  return answer.result();
}

// Someone who keeps `next`, and what he was given.
struct Reader {
  std::uint64_t next = 0;
  std::map<std::string, std::vector<EventPtr>> events{};  // by conversation
  std::size_t repeats = 0;

  // A page. False: there was nothing.
  bool reads(Server& server, std::uint32_t limit = 0) {
    auto page = read(server, next, limit);
    REQUIRE_MESSAGE(page, page.error().message);
    CHECK(page->next >= next);
    next = page->next;
    for (const EventPtr& event : page->events) takes(event);
    if (page->more) CHECK_FALSE(page->events.empty());
    return !page->events.empty();
  }
  void takes(const EventPtr& event) {
    auto& known = events[event->conversation.string()];
    const Seq last = known.empty() ? 0 : known.back()->seq;
    REQUIRE(event->seq <= last + 1);  // no hole
    if (event->seq <= last) {
      ++repeats;
      known.resize(event->seq - 1);
    }
    known.push_back(event);
  }
  void reads_all(Server& server, std::uint32_t limit = 0) {
    while (reads(server, limit)) {
    }
  }
  Lines lines(const ConversationId& id) const {
    const auto found = events.find(id.string());
    return found == events.end() ? Lines{} : lines_of(found->second);
  }
};

// What is stored of a message is no longer what was written.
void damage(Server& server, const ConversationId& id, Seq seq) {
  const std::string partition = "c:" + id.string();
  const auto page = server.store->inner().events(partition, Log::messages, seq, Direction::forward, {.rows = 1});
  REQUIRE(page);
  Bytes bytes = page->events.front().second;
  bytes.back() ^= std::byte{1};
  const StoredEvent event{Log::messages, seq, bytes};
  const Change change{
      .partition = partition, .expected_head = page->head, .new_head = page->head, .events = {&event, 1}};
  Status status(ErrorCode::unknown_outcome, "unset");
  server.store->inner().commit({&change, 1}, {&status, 1});
  REQUIRE(status);
}

}  // namespace

TEST_CASE("The feed has everything that was committed, in order, as it is now") {
  for (const unsigned shards : {1u, 4u}) {
    Server server(with_shards(shards));
    CHECK(read(server, 0)->events.empty());
    CHECK(read(server, 0)->next == 0);
    const ConversationId room = server.group("room", {"alice", "bob"});
    Person alice(server, "alice"), bob(server, "bob");
    const Accepted hi = alice.says(room, "hi", "a key of hers");
    alice.says(Direct{"carol"}, "psst");
    REQUIRE(alice.asks(EditMessage{.conversation = room, .seq = hi.seq, .content = {.text = "hi all"}}));
    bob.says(room, "hello");
    auto all = read(server, 0);
    REQUIRE(all);
    CHECK(lines_of(all->events) ==
          Lines{"joined alice, joined bob, role4 alice", "hi all", "psst", "edited #2", "hello"});
    CHECK_FALSE(all->more);
    CHECK(all->events[1]->sender == user("alice"));
    CHECK(all->events[1]->key.empty());  // hers alone
    CHECK(read(server, all->next)->events.empty());

    Reader one_by_one;
    one_by_one.reads_all(server, 1);
    CHECK(one_by_one.lines(room) == Lines{"joined alice, joined bob, role4 alice", "hi all", "edited #2", "hello"});
    CHECK(one_by_one.repeats == 0);
    CHECK(one_by_one.next == all->next);
  }
}

TEST_CASE("What is deleted comes as a change, and its message without content") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"});
  Person alice(server, "alice");
  const Accepted secret = alice.says(room, "secret");
  const std::uint64_t before = read(server, 0)->next;
  REQUIRE(alice.asks(DeleteMessage{.conversation = room, .seq = secret.seq}));
  auto news = read(server, before);
  REQUIRE(news->events.size() == 1);
  const auto* change = news->events[0]->as<MessageChanged>();
  REQUIRE(change);
  CHECK(change->target == secret.seq);
  CHECK(change->kind == ChangeKind::deleted);
  CHECK_FALSE(change->now);
  auto all = read(server, 0);
  REQUIRE(all->events.size() == 3);
  const auto* message = all->events[1]->as<MessagePosted>();
  REQUIRE(message);
  CHECK(message->deleted);
  CHECK(message->content == Content{});
}

TEST_CASE("Whoever keeps next has each event once, in order, under load and however small his pages are") {
  for (const std::uint32_t limit : {1u, 3u, 0u}) {
    CAPTURE(limit);
    Server server(with_shards(4));
    std::vector<ConversationId> rooms;
    for (int i = 0; i < 8; ++i) rooms.push_back(server.group(numbered("room", i), {"alice", "bob"}));
    Reader reader;
    std::mt19937 random(limit);
    std::size_t sent = 0;
    for (int round = 0; round < 60; ++round) {
      // While a commit is under way, what comes is written with the next one.
      std::vector<Answer<Accepted>> answers;
      const auto say = [&] {
        const auto& room = rooms[random() % rooms.size()];
        if (random() % 8 == 0) {
          server.engine().call({.user = "alice"},
                               EditMessage{.conversation = room, .seq = 2, .content = {.text = "e"}});
        } else {
          answers.push_back(begin(server, "alice", text(room, numbered("m", ++sent))));
        }
      };
      for (int i = 0; i < 4; ++i) say();
      in_next_commit(server, [&] {
        for (int i = 0; i < 4; ++i) say();
      });
      const auto page = begin_reading(server, reader.next, limit);
      for (unsigned items = random() % 200; items > 0 && one_item(server); --items) {
      }
      server.settle();
      REQUIRE(page.came());
      reader.next = page->next;
      for (const EventPtr& event : page->events) reader.takes(event);
    }
    reader.reads_all(server, limit);
    CHECK(reader.repeats == 0);
    std::size_t read = 0;
    for (const ConversationId& room : rooms) {
      CHECK(reader.lines(room).size() == log_of(server, room).size());
      for (const std::string& line : reader.lines(room)) read += line.starts_with("m") ? 1 : 0;
      CHECK(reader.events[room.string()].size() > 1);
    }
    CHECK(read <= sent);
  }
}

TEST_CASE("Over crashes and commits of unknown outcome nothing that landed is missing from the feed") {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    Server server(with_shards(1 + seed % 4));
    std::vector<ConversationId> rooms;
    for (int i = 0; i < 4; ++i) rooms.push_back(server.group(numbered("room", i), {"alice", "bob"}));
    Reader reader;
    std::vector<Answer<Accepted>> answers;
    for (int round = 0; round < 80; ++round) {
      for (unsigned i = random() % 4; i > 0; --i) {
        answers.push_back(begin(server, "alice", text(rooms[random() % rooms.size()], numbered("m", round))));
      }
      switch (random() % 8) {
        case 0:
          server.store->next({Fate::unknown_done, Fate::done, Fate::unknown_not_done});
          break;
        case 1:
          server.store->next({Fate::unknown_late, Fate::refused});
          break;
        case 2:
          server.store->land();
          break;
        case 3:
          for (unsigned items = random() % 60; items > 0 && one_item(server); --items) {
          }
          server.store->next({});
          server.crash();
          break;
        case 4:
          server.restart();
          break;
        default:
          break;
      }
      if (random() % 2 == 0) reader.reads(server, 1 + random() % 5);
      if (random() % 3 == 0) server.advance(50ms);
    }
    server.store->next({});
    server.settle();
    reader.reads_all(server);
    for (const ConversationId& room : rooms) CHECK(reader.lines(room) == lines_of(log_of(server, room)));
    CHECK(reader.repeats < 20);
  }
}

TEST_CASE("A page holds whole batches: one that is larger than its limit comes whole, and a page of 1 MiB ends") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"});
  std::vector<Answer<Accepted>> answers;
  for (int i = 0; i < 10; ++i) answers.push_back(begin(server, "alice", text(room, numbered("m", i))));
  server.settle();
  auto first = read(server, 0, 1);
  REQUIRE(first->events.size() == 1);
  CHECK(first->more);
  auto second = read(server, first->next, 3);
  REQUIRE(second->events.size() == 10);
  check_dense(second->events, 2);
  CHECK_FALSE(second->more);

  Person alice(server, "alice");
  const std::string large(16'000, 'x');
  for (int i = 0; i < 100; ++i) alice.says(room, large);
  auto third = read(server, second->next);
  CHECK(third->events.size() > 60);
  CHECK(third->events.size() < 70);
  CHECK(third->more);
  auto fourth = read(server, third->next);
  CHECK(third->events.size() + fourth->events.size() == 100);
  CHECK(fourth->events.front()->seq == third->events.back()->seq + 1);
}

TEST_CASE("A page is read in steps") {
  Server server(with_shards(4));
  for (int i = 0; i < 300; ++i) REQUIRE(server.ask("alice", text(Direct{user(numbered("bob", i))}, "hi")));
  const auto answer = begin_reading(server, 0, 10'000);
  std::uint64_t most = 0, before = server.store->reads;
  while (one_item(server)) {
    most = std::max(most, server.store->reads - before);
    before = server.store->reads;
  }
  CHECK(answer->events.size() == 300);
  CHECK(most <= 300);
}

TEST_CASE("Who asks for a batch that is not there, or for too much, is told") {
  Server server;
  server.group("room", {"alice", "bob"});
  auto future = read(server, 1000);
  REQUIRE_FALSE(future);
  CHECK(future.error().code == ErrorCode::invalid);
  CHECK(future.error().message.starts_with("after: there is no batch 1000, the newest is "));
  auto last = read(server, feed_end - 1);
  REQUIRE_FALSE(last);
  CHECK(last.error().code == ErrorCode::invalid);
  auto many = read(server, 0, 10'001);
  REQUIRE_FALSE(many);
  CHECK(many.error().code == ErrorCode::invalid);
  CHECK(many.error().message == "limit: at most 10000");
  CHECK(read(server, 0, 10'000));
}

TEST_CASE("Where there is nothing yet, a reader waits, reads nothing meanwhile, and is woken by a commit") {
  for (const unsigned shards : {1u, 4u}) {
    Server server(with_shards(shards));
    const ConversationId room = server.group("room", {"alice", "bob"});
    server.advance(3s);
    const std::uint64_t next = read(server, 0)->next;
    const auto waiting = begin_reading(server, next, 0, 10s);
    server.settle();
    const std::uint64_t reads = server.store->reads;
    server.clock().jump(24h);
    server.advance(5s);
    server.clock().jump(-48h);
    server.advance(4s);
    CHECK_FALSE(waiting.came());
    CHECK(server.store->reads == reads);
    REQUIRE(server.ask("alice", text(room, "hi")));
    CHECK(lines_of(waiting->events) == Lines{"hi"});

    const auto in_vain = begin_reading(server, waiting->next, 0, 10s);
    server.advance(9900ms);
    CHECK_FALSE(in_vain.came());
    server.advance(200ms);
    CHECK(in_vain->events.empty());
    CHECK(in_vain->next == waiting->next);
    CHECK_FALSE(in_vain->more);
  }
}

namespace {

// Something happens after the feed was read, and before what was read is told.
class SlowFeed final : public Storage {
 public:
  explicit SlowFeed(std::function<void()>& meanwhile) : meanwhile_(meanwhile) {}
  Result<StoreInfo> open(Durability wanted) override { return inner_->open(wanted); }
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    return inner_->commit(changes, outcome);
  }
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    return inner_->events(partition, log, start, direction, limit);
  }
  Result<std::optional<Row>> row(std::string_view partition, Table table, std::string_view key) override {
    return inner_->row(partition, table, key);
  }
  Result<RowPage> rows(std::string_view partition, Table table, std::string_view after, PageLimit limit) override {
    return inner_->rows(partition, table, after, limit);
  }
  Result<FeedPage> feed(std::uint64_t after, PageLimit limit) override {
    auto page = inner_->feed(after, limit);
    if (auto once = std::exchange(meanwhile_, {})) once();
    return page;
  }

 private:
  std::function<void()>& meanwhile_;
  const std::unique_ptr<Storage> inner_ = make_memory_storage();
};

}  // namespace

TEST_CASE("A commit that comes while a reader looks is not missed by him") {
  std::function<void()> meanwhile;
  EngineOptions options = in_memory(1);
  options.storage = std::make_unique<SlowFeed>(meanwhile);
  options.storage_threads = 3;
  options.runtime.clock = std::make_shared<ManualClock>();  // nothing else is written meanwhile
  auto engine = chat::open(std::move(options));
  meanwhile = [&] { CHECK(wait(engine, alice_is, hi("bob"))); };
  std::promise<Result<FeedEvents>> page;
  engine.read_feed(0, 0, 1h, [&page](Result<FeedEvents> result) { page.set_value(std::move(result)); });
  auto came = page.get_future();
  REQUIRE(came.wait_for(20s) == std::future_status::ready);
  CHECK(lines_of(came.get()->events) == Lines{"hi"});
}

TEST_CASE("Who waits is given what landed unnoticed, at the latest when his time is over") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"});
  const std::uint64_t next = read(server, 0)->next;
  server.store->next({Fate::unknown_done});
  const auto woken = begin_reading(server, next, 0, 10s);
  const auto sent = begin(server, "alice", text(room, "one"));
  server.settle();
  CHECK(sent.code() == ErrorCode::unknown_outcome);
  CHECK(lines_of(woken->events) == Lines{"one"});

  server.store->next({Fate::unknown_late});
  const auto lost = begin(server, "alice", text(room, "two"));
  server.settle();
  const auto late = begin_reading(server, woken->next, 0, 10s);
  server.advance(9s);
  const std::uint64_t commits = server.store->commits;
  server.store->land();
  server.advance(1s);
  CHECK(server.store->commits == commits);  // nothing else wakes him
  CHECK(lines_of(late->events) == Lines{"two"});
}

TEST_CASE("Who begins at the end is given what comes from then on, and the number to go on from") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"});
  Person alice(server, "alice");
  alice.says(room, "before");
  const auto end = read(server, feed_end);
  CHECK(end->events.empty());
  CHECK_FALSE(end->more);
  const auto waiting = begin_reading(server, feed_end, 0, 10s);
  alice.says(room, "after");
  CHECK(lines_of(waiting->events) == Lines{"after"});
  CHECK(lines_of(read(server, end->next)->events) == Lines{"after"});
}

TEST_CASE("What users mark for themselves is in the feed") {
  Server server(with_shards(4));
  const ConversationId room = server.group("room", {"alice", "bob"});
  const std::uint64_t next = read(server, feed_end)->next;
  REQUIRE(server.ask("bob", Mute{.conversation = room, .until = TimePoint::max()}));
  const auto page = read(server, next);
  REQUIRE(page->events.size() == 1);
  const auto* own = page->events.front()->as<OwnChanged>();
  REQUIRE(own);
  CHECK(page->events.front()->sender == user("bob"));
  REQUIRE(own->marks.size() == 1);
  CHECK(own->marks.front().conversation == room);
  CHECK(own->marks.front().muted_until == TimePoint::max());
}

TEST_CASE("What another engine commits is seen by who waits, within a second") {
  Cluster cluster;
  const ConversationId room = cluster.one.group("room", {"alice", "bob"});
  cluster.settle();
  const std::uint64_t next = read(cluster.one, 0)->next;
  const auto waiting = begin_reading(cluster.one, next, 0, 60s);
  cluster.settle();
  REQUIRE(cluster.two.ask("alice", text(room, "from elsewhere")));
  cluster.one.advance(1s);
  CHECK(lines_of(waiting->events) == Lines{"from elsewhere"});
  // Nor is it a batch of the future, for who came from there.
  CHECK(read(cluster.one, waiting->next)->events.empty());
}

TEST_CASE("A stop answers who waits, and who asks after it") {
  for (const bool polled : {true, false}) {
    auto engine = chat::open(in_memory(polled ? 0 : 2, 2));
    std::atomic<int> stopped{0};
    const auto count = [&](Result<FeedEvents> page) { stopped += !page && page.error().code == ErrorCode::stopped; };
    for (int i = 0; i < 10; ++i) engine.read_feed(0, 0, 1h, count);
    if (polled) engine.poll(100ms);
    CHECK(time_of([&] { CHECK(engine.stop(5s)); }) < 4s);
    CHECK(stopped == 10);
    engine.read_feed(0, 0, 1h, count);
    CHECK(stopped == 11);
  }
}

TEST_CASE("So many may read at once, and who has been answered makes room") {
  Server server;
  std::vector<Answer<FeedEvents>> waiting;
  for (int i = 0; i < 64; ++i) waiting.push_back(begin_reading(server, 0, 0, 10s));
  const auto refused = begin_reading(server, 0, 0, 10s);
  server.settle();
  CHECK(refused.code() == ErrorCode::overloaded);
  CHECK(refused.result().error().retry_after == 1s);
  server.group("room", {"alice", "bob"});
  for (const auto& answer : waiting) CHECK(answer->events.size() == 1);
  for (int i = 0; i < 200; ++i) CHECK(read(server, 0));
}

TEST_CASE("A damaged record is named, what came before it is given, and the feed goes on behind it") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"}), other = server.group("other", {"alice", "bob"});
  Person alice(server, "alice");
  alice.says(room, "before");
  const Accepted lost = alice.says(room, "lost");
  const std::uint64_t batch = read(server, 0)->next;
  alice.says(other, "behind");
  alice.says(room, "and behind");
  damage(server, room, lost.seq);

  auto page = read(server, 0);
  REQUIRE(page);
  CHECK(lines_of(page->events).back() == "before");
  CHECK(page->more);
  auto damaged = read(server, page->next);
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().code == ErrorCode::corruption);
  CHECK(damaged.error().message ==
        "conversation room, seq 3, batch " + std::to_string(batch) + ": a stored record fails its checksum");
  CHECK(lines_of(read(server, batch)->events) == Lines{"behind", "and behind"});
}

TEST_CASE("What was trimmed is passed over") {
  Server server;
  const ConversationId room = server.group("room", {"alice", "bob"});
  Person alice(server, "alice");
  for (int i = 0; i < 10; ++i) alice.says(room, numbered("m", i));
  server.store->trim(room, 8);
  CHECK(lines_of(read(server, 0, 1)->events) == Lines{"m7"});
  CHECK(lines_of(read(server, 0)->events) == Lines{"m7", "m8", "m9"});
  server.store->trim(room, 11);
  const auto waiting = begin_reading(server, 0, 0, 10s);
  server.settle();
  CHECK_FALSE(waiting.came());
  alice.says(room, "after all that");
  CHECK(lines_of(waiting->events) == Lines{"after all that"});
}

TEST_CASE("A storage that fails is said to, and nothing is lost by it") {
  Server server;
  server.group("room", {"alice", "bob"});
  server.store->reads_fail = true;
  auto failed = read(server, 0);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == ErrorCode::storage_unavailable);
  server.store->reads_fail = false;
  CHECK(read(server, 0)->events.size() == 1);
}

TEST_CASE("Where the storage no longer holds what came after a batch, that is gone; what it holds can be read") {
  const scratch::Directory directory;
  const auto options = [&] {
    EngineOptions of;
    of.storage = make_rocksdb_storage({.path = directory / "store", .feed_batches = 4});
    of.durability = Durability::process;
    return of;
  };
  const auto page_after = [](TestEngine& test, std::uint64_t after) {
    Answer<FeedEvents> answer;
    test.engine().read_feed(after, 0, 0ms, answer.take());
    test.settle();
    return answer;
  };
  std::uint64_t first = 0, last = 0;
  {
    TestEngine test = TestEngine::open(options());
    REQUIRE(test.status());
    for (int i = 0; i < 60; ++i) {
      test.engine().call(alice_is, hi("bob", numbered("m", i)));
      test.settle();
      if (i == 0) first = page_after(test, 0)->next;
    }
    const auto gone = page_after(test, first);
    CHECK(gone.code() == ErrorCode::gone);
    const std::string held = "after: the storage holds what came after batch ";
    REQUIRE(gone.result().error().message.starts_with(held));
    const auto rest = page_after(test, std::stoull(gone.result().error().message.substr(held.size())));
    CHECK(rest->events.size() >= 4);
    check_dense(rest->events, rest->events.front()->seq);
    CHECK(line(*rest->events.back()) == "m59");
    last = rest->next;
  }
  TestEngine test = TestEngine::open(options());
  REQUIRE(test.status());
  CHECK(page_after(test, first).code() == ErrorCode::gone);
  test.engine().call(alice_is, hi("bob", "after a restart"));
  test.settle();
  CHECK(lines_of(page_after(test, last)->events) == Lines{"after a restart"});
}

TEST_CASE("On threads of its own, an engine gives a reader who waits everything that others say") {
  auto engine = chat::open(in_memory(2, 4));
  constexpr int writers = 4, each = 250;
  std::vector<std::thread> threads;
  for (int w = 0; w < writers; ++w) {
    threads.emplace_back([&engine, w] {
      for (int i = 0; i < each; ++i) {
        const Identity who{.user = user(numbered("writer", static_cast<std::size_t>(w)))};
        CHECK(wait(engine, who, hi("bob", numbered("m", static_cast<std::size_t>(i)))));
      }
    });
  }
  std::map<ConversationId, Seq> heads;
  int said = 0;
  for (std::uint64_t next = 0; said < writers * each;) {
    std::promise<Result<FeedEvents>> page;
    engine.read_feed(next, 50, 20s, [&page](Result<FeedEvents> result) { page.set_value(std::move(result)); });
    const auto result = page.get_future().get();
    REQUIRE_MESSAGE(result, result.error().message);
    REQUIRE_FALSE(result->events.empty());
    next = result->next;
    for (const EventPtr& event : result->events) {
      REQUIRE(event->seq <= heads[event->conversation] + 1);
      if (event->seq == heads[event->conversation] + 1) said += event->as<MessagePosted>() ? 1 : 0;
      heads[event->conversation] = std::max(heads[event->conversation], event->seq);
    }
  }
  for (auto& thread : threads) thread.join();
  CHECK(said == writers * each);
}
