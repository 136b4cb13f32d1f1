#include "core/inbox.h"
#include "core/conversation.h"
#include "core/hub.h"
#include "core/local_session.h"
#include "core/shard.h"
#include "features/table.h"
#include "support/answers.h"

// A user's inbox entries: what resuming and the conversation list stand on.

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

std::vector<Row> rows_of(Storage& storage, const std::string& partition, Table table) {
  auto page = storage.rows(partition, table, "", {.rows = 1000, .bytes = 1 << 20});
  REQUIRE(page);
  return page->rows;
}
std::size_t entries_of(Server& server, std::string_view who) {
  const std::string partition = "u:" + std::string(who);
  const std::size_t entries = rows_of(server.store->inner(), partition, Table::inbox).size();
  CHECK(rows_of(server.store->inner(), partition, Table::inbox_order).size() == entries);
  return entries;
}

// His list in short: "room 5 (3)" is head and unread.
Lines list_of(Server& server, std::string_view who) {
  Lines list;
  std::string after;
  do {
    auto page = server.ask(who, ListConversations{.after = after, .limit = 7});
    REQUIRE_MESSAGE(page, page.error().message);
    for (const ConversationEntry& entry : page->conversations) {
      list.push_back(entry.info.conversation.string() + " " + std::to_string(entry.info.head) + " (" +
                     std::to_string(entry.unread) + ")");
    }
    after = page->next;
  } while (!after.empty());
  return list;
}

}  // namespace

TEST_CASE("Entries are written about a second later, one for however many messages") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"});
  server.advance(3s);
  REQUIRE(entries_of(server, "bob") == 1);
  const auto entry = [&] {
    const auto rows = rows_of(server.store->inner(), "u:bob", Table::inbox);
    return protocol::decode_row<protocol::InboxRow>(*rows.front().value)->head;
  };
  for (int i = 0; i < 50; ++i) REQUIRE(server.ask("alice", text(id, "hi")));
  CHECK(entry() == 1);
  const std::uint64_t before = server.store->commits;
  server.advance(500ms);
  CHECK(server.store->commits == before);
  server.advance(700ms);
  CHECK(entry() == 51);
  CHECK(entries_of(server, "bob") == 1);
  CHECK(server.store->commits <= before + 2);  // the entries of all, and how far they are written
  server.advance(60s);
  CHECK(server.store->commits <= before + 2);  // then there is nothing to do
  server.store->next({SharedStorage::Fate::unknown_done});
  CHECK_FALSE(server.ask("alice", text(id, "maybe")));
  REQUIRE(server.ask("alice", text(id, "surely")));
  server.advance(60s);
  CHECK(server.store->commits <= before + 8);  // nor after a commit of which nobody said what became of it
}

TEST_CASE("The list shows what was acknowledged, before its entries are due") {
  Server server(with_shards(4));
  const ConversationId one = server.group("one", {"alice", "bob"}), two = server.group("two", {"alice", "bob"});
  REQUIRE(server.ask("alice", text(one, "hi")));
  CHECK(list_of(server, "bob") == Lines{"one 2 (1)", "two 1 (0)"});
  server.advance(10ms);
  REQUIRE(server.ask("alice", text(two, "hi")));
  REQUIRE(server.ask("alice", text(two, "hi")));
  CHECK(list_of(server, "bob") == Lines{"two 3 (2)", "one 2 (1)"});
  CHECK(list_of(server, "alice") == Lines{"two 3 (0)", "one 2 (0)"});
}

TEST_CASE("After a kill within their second the entries are whole again, and so are list and resume") {
  for (const unsigned shards : {1u, 2u, 4u}) {
    for (const auto waited : {0ms, 300ms, 900ms, 1000ms, 1200ms}) {
      CAPTURE(shards);
      CAPTURE(waited.count());
      Server server(with_shards(shards));
      std::vector<ConversationId> rooms;
      for (std::size_t i = 0; i < 12; ++i) rooms.push_back(server.group(numbered("room", i), {"alice", "bob"}));
      Checkpoint place;
      {
        Person bob(server, "bob");
        server.advance(2s);
        bob.takes();
        place = bob.checkpoint();
      }
      for (std::size_t i = 0; i < rooms.size(); i += 2) {
        server.advance(1ms);
        for (std::size_t n = 0; n <= i; ++n) REQUIRE(server.ask("alice", text(rooms[i], "hi")));
      }
      server.advance(1ms);
      REQUIRE(server.ask("alice", text(Direct{"bob"}, "psst")));
      server.advance(waited);
      server.crash();
      const Lines list = list_of(server, "bob");
      REQUIRE(list.size() == 13);
      CHECK(list[0].ends_with(" 1 (1)"));
      CHECK(list[1] == "room10 12 (11)");
      CHECK(list[2] == "room8 10 (9)");
      CHECK(list[6] == "room0 2 (1)");
      CHECK(entries_of(server, "bob") == 13);
      CHECK(Person(server, "bob", place).takes().size() == 1 + 1 + 3 + 5 + 7 + 9 + 11);
      const Lines again = [&] {
        server.crash();
        return list_of(server, "bob");
      }();
      CHECK(again == list);
    }
  }
}

TEST_CASE("Entries that could not be written are written once they can") {
  Server server(with_shards(2));
  const ConversationId id = server.group("room", {"alice", "bob"}), other = server.group("other", {"alice", "bob"});
  server.advance(3s);
  server.store->inbox_commits_fail = true;
  REQUIRE(server.ask("alice", text(id, "one")));
  server.advance(3s);
  REQUIRE(server.ask("alice", text(id, "two")));
  REQUIRE(server.ask("alice", text(other, "three")));
  server.advance(3s);
  CHECK(list_of(server, "bob").size() == 2);  // reads go on, in the order that was written last
  SUBCASE("in this life") { server.store->inbox_commits_fail = false; }
  SUBCASE("in the next") {
    server.store->inbox_commits_fail = false;
    server.crash();
  }
  CHECK(list_of(server, "bob") == Lines{"other 2 (1)", "room 3 (2)"});
  server.advance(3s);
  CHECK(entries_of(server, "bob") == 2);
}

TEST_CASE("While entries can't be written, who comes back still misses nothing") {
  for (const unsigned shards : {1u, 3u}) {
    CAPTURE(shards);
    Server server(with_shards(shards));
    const ConversationId id = server.group("room", {"alice", "bob"}), other = server.group("other", {"alice", "carol"});
    Checkpoint place;
    {
      Person bob(server, "bob");
      server.advance(3s);
      bob.takes();
      place = bob.checkpoint();
    }
    server.store->inbox_commits_fail = true;
    REQUIRE(server.ask("alice", text(id, "one")));
    REQUIRE(server.ask("alice", text(other, "not for Bob")));
    server.advance(3s);
    REQUIRE(server.ask("alice", text(id, "two")));
    Person bob(server, "bob", place);
    CHECK(bob.receives() == Lines{"one", "two"});
    REQUIRE(server.ask("alice", text(id, "three")));
    CHECK(bob.receives() == Lines{"three"});
    server.store->inbox_commits_fail = false;
    server.advance(3s);
    CHECK(Person(server, "bob", place).receives() == Lines{"one", "two", "three"});
  }
}

TEST_CASE("The next life may have more shards, or fewer") {
  const std::pair<unsigned, unsigned> changes[] = {{1, 4}, {4, 1}, {2, 3}, {3, 2}, {4, 4}};
  for (const auto& [before, after] : changes) {
    for (const bool clean : {false, true}) {
      CAPTURE(before);
      CAPTURE(after);
      CAPTURE(clean);
      auto store = std::make_shared<SharedStorage>();
      std::vector<ConversationId> rooms;
      std::vector<std::string> people = {"alice"};
      for (std::size_t i = 0; i < 10; ++i) people.push_back(numbered("user", i));
      std::vector<Checkpoint> places;
      {
        Server server(with_shards(before), store);
        for (std::size_t i = 0; i < 10; ++i) rooms.push_back(server.group(numbered("room", i), people));
        for (std::size_t i = 0; i < 10; ++i) {
          Person person(server, people[i + 1]);
          server.advance(i == 0 ? 2s : 0s);
          person.takes();
          places.push_back(person.checkpoint());
        }
        for (const ConversationId& room : rooms) REQUIRE(server.ask("alice", text(room, "hi", "k")));
        if (clean) {
          REQUIRE(server.engine().stop(1s));
        } else {
          store->commits_fail = true;  // what it would still write does not arrive
        }
      }
      store->commits_fail = false;
      Server server(with_shards(after), store);
      CHECK(rows_of(store->inner(), "e:engine", Table::engine).size() <= after + 1);  // and the time
      for (std::size_t i = 0; i < 10; ++i) {
        CHECK(list_of(server, people[i + 1]).size() == 10);
        CHECK(Person(server, people[i + 1], places[i]).receives() == Lines(10, "hi"));
      }
      for (const ConversationId& room : rooms) {
        CHECK(server.ask("alice", text(room, "hi", "k"))->seq == 2);
        CHECK(server.ask("alice", text(room, "ho", "k2"))->seq == 3);
      }
      check_dense(log_of(server, rooms.front()));
    }
  }
}

// ---- shard by shard

namespace {

// Shards that the test runs by hand, so that it can hold one of them.
class Shards {
 public:
  Shards() {
    core->clock = clock;
    core->durability = Durability::disk;
    core->epoch = "epoch";
    core->requests = &features::wire_table;
    REQUIRE(core::recover_inbox(*storage, 0, 4));
    core->first_batch = 1;
    core->time.start(*clock, 0);
    for (unsigned i = 0; i < 4; ++i) core->shards.push_back(std::make_unique<core::Shard>(*core, i));
    core->store = std::make_unique<core::Store>(*core, storage, 0);
  }
  ~Shards() {
    for (auto& shard : core->shards) shard->drop_all();
    core->store.reset();
  }

  void run(std::optional<unsigned> but = {}) {
    for (bool did = true; did;) {
      did = core->store->run_one();
      for (auto& shard : core->shards) {
        if (shard->index() == but) continue;
        while (shard->run_one(clock->steady())) did = true;
      }
    }
  }
  // Runs one until its change has reached the store, and the store until that is done; the shard does not hear of it.
  void commit_unheard(unsigned index) {
    core::Shard& shard = *core->shards[index];
    for (int reads = 0; reads < 5; ++reads) {
      while (shard.run_one(clock->steady())) {
      }
      const std::uint64_t before = core->store->last_conversation_batch();
      core->store->run_one();
      if (core->store->last_conversation_batch() != before) return;
    }
    FAIL("nothing was committed");
  }
  template <Request R>
  Answer<typename R::Reply> begins(Identity as, R request) {
    Answer<typename R::Reply> answer;
    features::run<R>(*core, {std::move(as)}, std::move(request), answer.take(), features::Way::posted);
    return answer;
  }
  std::shared_ptr<chatcore::detail::LocalSession> session(UserId who, std::optional<Checkpoint> resume = {}) {
    auto session = std::make_shared<chatcore::detail::LocalSession>(
        *core, ++core->last_session, SessionOptions{.identity = {.user = who}, .resume = std::move(resume)});
    core->home(who).post([session] { session->start(); });
    return session;
  }
  // A name that lives on a shard.
  template <class Id>
  Id living_on(unsigned shard) const {
    for (std::size_t n = 0;; ++n) {
      const Id id = *Id::make(numbered("name", n));
      if (core->home(id).index() == shard) return id;
    }
  }
  static Lines taken(chatcore::detail::LocalSession& session) {
    Lines lines;
    while (auto push = session.take()) lines.push_back(line(*push));
    return lines;
  }

  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
  std::shared_ptr<Storage> storage = [] {
    std::shared_ptr<Storage> made = make_memory_storage();
    REQUIRE(made->open(Durability::memory));
    return made;
  }();
  std::shared_ptr<core::Core> core = std::make_shared<core::Core>();
};

// Items, until there is something to do behind them.
void begin_work(core::Shard& shard, SteadyTime now) {
  for (int items = 0; items < 100 && !(shard.run_one(now) && shard.runnable()); ++items) {
  }
}

std::uint64_t batch_of(const Checkpoint& checkpoint) {
  const auto place = core::to_place(checkpoint);
  REQUIRE(place);
  return place->batch;
}

}  // namespace

TEST_CASE("A shard that is dropped in the middle of its work has nothing more to do") {
  Shards shards;
  for (std::size_t i = 0; i < 8; ++i) shards.begins({.user = user(numbered("user", i))}, text(Direct{"bob"}, "hi"));
  for (auto& shard : shards.core->shards) begin_work(*shard, shards.clock->steady());
  for (auto& shard : shards.core->shards) shard->drop_all();
  for (auto& shard : shards.core->shards) {
    CHECK_FALSE(shard->runnable());
    CHECK_FALSE(shard->run_one(shards.clock->steady()));
  }
}

TEST_CASE("While one shard is held back, no checkpoint passes what it has not said yet") {
  Shards shards;
  const UserId bob = shards.living_on<UserId>(0), alice = shards.living_on<UserId>(3);
  const ConversationId held = shards.living_on<ConversationId>(1), other = shards.living_on<ConversationId>(2);
  for (const ConversationId& id : {held, other}) {
    shards.begins(Identity::system(), CreateConversation{.conversation = id, .members = {{alice, Role::owner}, {bob}}});
  }
  auto session = shards.session(bob);
  shards.run();
  shards.clock->advance(2s);
  shards.run();
  shards.taken(*session);
  const std::uint64_t before = shards.core->store->last_batch();

  const auto unheard = shards.begins({.user = alice}, text(held, "unheard"));
  shards.commit_unheard(1);
  const std::uint64_t batch = shards.core->store->last_conversation_batch();
  REQUIRE(batch > before);
  const auto heard = shards.begins({.user = alice}, text(other, "heard"));
  for (int i = 0; i < 10; ++i) {
    shards.run(1);
    shards.clock->advance(1s);
  }
  CHECK(heard->seq == 2);
  CHECK_FALSE(unheard.came());
  CHECK(shards.taken(*session) == Lines{"heard"});
  CHECK(batch_of(session->checkpoint_taken()) < batch);
  const Checkpoint place = session->checkpoint_taken();

  // Nor is it noted that the entries are written up to there: were it to end now, the next life would write them.
  for (const Row& row : rows_of(*shards.storage, "e:engine", Table::engine)) {
    if (row.key.starts_with("inbox/")) CHECK(protocol::decode_row<protocol::NumberRow>(*row.value)->number < batch);
  }
  auto known = core::changed_since(*shards.storage, bob, before);
  REQUIRE(known);
  CHECK(*known == std::vector<ConversationId>{other});

  SUBCASE("the shard goes on") {
    shards.run();
    shards.clock->advance(2s);
    shards.run();
    CHECK(unheard->seq == 2);
    CHECK(shards.taken(*session) == Lines{"unheard"});
    CHECK(batch_of(session->checkpoint_taken()) >= batch);
  }
  SUBCASE("someone resumes meanwhile") {
    auto again = shards.session(bob, place);
    shards.run(1);
    CHECK(shards.taken(*again) == Lines{"heard"});
    shards.run();
    CHECK(shards.taken(*again) == Lines{"unheard"});
  }
  SUBCASE("it ends, and the next life has two shards") {
    REQUIRE(core::recover_inbox(*shards.storage, shards.core->store->last_batch(), 2));
    auto recovered = core::changed_since(*shards.storage, bob, batch - 1);
    REQUIRE(recovered);
    CHECK(std::count(recovered->begin(), recovered->end(), held) == 1);
  }
}

TEST_CASE("Whichever shard lags behind, and however far, a resume from the last checkpoint completes what was heard") {
  for (unsigned lagging = 0; lagging < 4; ++lagging) {
    for (unsigned items = 0; items < 40; items += 3) {
      CAPTURE(lagging);
      CAPTURE(items);
      Shards shards;
      const UserId bob = shards.living_on<UserId>(0), alice = shards.living_on<UserId>(3);
      std::vector<ConversationId> rooms;
      for (unsigned i = 0; i < 4; ++i) {
        rooms.push_back(shards.living_on<ConversationId>(i));
        shards.begins(Identity::system(),
                      CreateConversation{.conversation = rooms.back(), .members = {{alice, Role::owner}, {bob}}});
      }
      auto session = shards.session(bob);
      shards.run();
      std::map<ConversationId, Seq> seen;
      const auto takes = [&](chatcore::detail::LocalSession& from) {
        while (auto push = from.take()) {
          REQUIRE(push->event());
          Seq& last = seen[push->event()->conversation];
          CHECK(push->event()->seq <= last + 1);
          last = std::max(last, push->event()->seq);
        }
      };
      for (int round = 0; round < 6; ++round) {
        for (const ConversationId& room : rooms) shards.begins({.user = alice}, text(room, "hi"));
        for (unsigned i = 0; i < items; ++i) shards.core->shards[lagging]->run_one(shards.clock->steady());
        shards.run(lagging);
        shards.clock->advance(400ms);
        takes(*session);
      }
      const Checkpoint place = session->checkpoint_taken();
      session->close_from_outside();
      auto again = shards.session(bob, place);
      shards.run();
      takes(*again);
      for (const ConversationId& room : rooms) CHECK(seen[room] == 7);
    }
  }
}
