#include <map>

#include "storage/child.h"
#include "storage/scratch.h"
#include "support/answers.h"

// After any crash, history is a prefix of what was committed. A commit with an unknown outcome may appear once, under
// its key, and is found by the retry; one that was refused never appears.

using namespace chat;
using Lines = std::vector<std::string>;
using Fate = SharedStorage::Fate;

namespace {

struct Said {
  Send send{};
  Answer<Accepted> answer{};
};

// What each of them said is there from the first on without one left out, and where it was acknowledged.
void check_prefix(Server& server, const ConversationId& id, const std::map<std::string, std::vector<Said>>& said) {
  const auto events = log_of(server, id);
  check_dense(events);
  std::map<std::string, std::size_t> count;
  std::map<std::string, Seq> found;
  for (const EventPtr& event : events) {
    if (!event->as<MessagePosted>()) continue;
    const auto& list = said.at(event->sender.string());
    const std::size_t n = count[event->sender.string()]++;
    REQUIRE(n < list.size());
    CHECK(line(*event) == list[n].send.content.text);
    CHECK(found.emplace(line(*event), event->seq).second);
  }
  for (const auto& [who, list] : said) {
    for (const Said& each : list) {
      if (each.answer.came() && each.answer.result()) CHECK(found[each.send.content.text] == each.answer->seq);
    }
  }
}

}  // namespace

TEST_CASE("Crashed at any moment, history is a prefix, and the retries complete it") {
  for (const Fate fate : {Fate::done, Fate::unknown_done, Fate::unknown_not_done, Fate::unknown_late}) {
    for (std::size_t items = 0; items < 150; items += 4) {
      CAPTURE(static_cast<int>(fate));
      CAPTURE(items);
      Server server(with_shards(items % 8 == 0 ? 1 : 3));
      const ConversationId id = server.group("room", {"alice", "bob"});
      server.store->next({Fate::done, Fate::done, fate});
      std::map<std::string, std::vector<Said>> said{{"alice", {}}, {"bob", {}}};
      const auto say = [&](const std::string& who) {
        const std::string words = who + numbered(" ", said[who].size() + 1);
        const Send send = text(id, words, IdempotencyKey(who + "'s phone", said[who].size() + 1));
        said[who].push_back({send, begin(server, who, send)});
      };
      for (std::size_t i = 0; i < items; ++i) {
        if (i % 5 == 0 && said["alice"].size() < 12) say("alice");
        if (i % 7 == 0 && said["bob"].size() < 12) say("bob");
        one_item(server);
      }
      server.crash();
      if (items % 3 == 0) server.store->land();
      check_prefix(server, id, said);
      for (int crashes = 0; crashes < 2; ++crashes) {
        for (auto& [who, list] : said) {
          for (Said& each : list) {
            for (int tries = 0;; ++tries) {
              REQUIRE(tries < 5);
              auto again = server.ask(who, each.send);
              if (!again) {
                REQUIRE(again.error().retryable());
                continue;
              }
              if (each.answer.came() && each.answer.result()) CHECK(again->seq == each.answer->seq);
              if (crashes > 0) CHECK(again->duplicate);
              break;
            }
          }
        }
        server.crash();
        check_prefix(server, id, said);
        CHECK(log_of(server, id).size() == 1 + said["alice"].size() + said["bob"].size());
      }
    }
  }
}

TEST_CASE("What was refused before a crash never appears after it") {
  for (const Fate fate : {Fate::refused, Fate::full, Fate::unknown_not_done}) {
    Server server;
    const ConversationId id = server.group("room", {"alice", "bob"});
    server.store->next({fate});
    CHECK_FALSE(server.ask("alice", text(id, "lost", "k")));
    server.crash();
    CHECK(log_of(server, id).size() == 1);
    CHECK(server.ask("bob", text(id, "other"))->seq == 2);
    CHECK(log_of(server, id).size() == 2);
    CHECK_FALSE(server.ask("alice", text(id, "lost", "k"))->duplicate);
  }
}

TEST_CASE("An unknown commit appears once, under its key, and its retry finds it in the next life") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"});
  server.store->next({Fate::unknown_done});
  auto first = server.ask("alice", text(id, "maybe", "k"));
  REQUIRE_FALSE(first);
  CHECK(first.error().code == ErrorCode::unknown_outcome);
  server.crash();
  auto again = server.ask("alice", text(id, "maybe", "k"));
  REQUIRE(again);
  CHECK(again->duplicate);
  CHECK(again->seq == 2);
  CHECK(log_of(server, id).size() == 2);
}

TEST_CASE("A change of several rows is there whole or not at all") {
  for (std::size_t items = 0; items < 40; ++items) {
    CAPTURE(items);
    Server server;
    const ConversationId id = server.group("room", {"alice", "bob"});
    REQUIRE(server.ask("alice", text(id, "draft")));
    begin(server, "alice", EditMessage{id, 2, {.text = "final"}});
    begin(server, "alice", AddMembers{id, {{user("carol")}}});
    begin(server, "alice", ChangeSettings{id, {.title = "Tea"}});
    for (std::size_t i = 0; i < items; ++i) one_item(server);
    server.crash();
    const auto events = log_of(server, id);
    const auto lines = lines_of(events);
    const auto has = [&](std::string_view what) { return std::find(lines.begin(), lines.end(), what) != lines.end(); };
    CHECK(has("edited #2: final") == (lines[1] == "final"));
    CHECK(has("joined carol") == static_cast<bool>(server.ask("carol", ReadHistory{id})));
    CHECK(has("settings Tea") == (server.ask("alice", GetConversation{id})->settings.title == "Tea"));
  }
}

// ---- on RocksDB, in a process that is killed

namespace {

struct Written {
  unsigned writer{};
  std::uint64_t number{};
  Seq seq{};
};

constexpr unsigned writers = 8;

// Checks what the lives before acknowledged, then writes on and says on `out` what is acknowledged, until it is killed.
// The exit code names what was wrong.
int life(const std::string& path, const std::vector<Written>& acknowledged, int out, bool last,
         const std::function<void()>& ready) {
  EngineOptions options;
  options.storage = make_rocksdb_storage({.path = path});
  options.threads = 2;
  options.shards = 2;
  auto engine = Engine::open(std::move(options));
  if (!engine) return 1;
  const ConversationId id = conversation("room");
  CreateConversation create{.conversation = id, .key = "create"};
  for (unsigned w = 0; w < writers; ++w) create.members.push_back({user(numbered("writer", w)), Role::owner});
  if (!wait(*engine, Identity::system(), create)) return 2;

  std::map<Seq, std::string> log;
  std::vector<std::uint64_t> count(writers, 0);
  for (Seq after = 0;;) {
    auto page = wait(*engine, Identity::system(), Sync{id, after, 200});
    if (!page) return 3;
    for (const EventPtr& event : page->events) {
      if (event->seq != log.size() + 1) return 4;  // a hole, or an inversion
      log[event->seq] = line(*event);
      if (!event->as<MessagePosted>()) continue;
      const auto writer = static_cast<unsigned>(std::stoul(event->sender.string().substr(6)));
      if (line(*event) != std::to_string(++count[writer])) return 5;  // not what he said next: a duplicate, or a loss
    }
    after = page->covers_to;
    if (!page->more) break;
  }
  for (const Written& w : acknowledged) {
    if (log[w.seq] != std::to_string(w.number)) return 6;  // acknowledged and lost
    if (w.number % 7 != 0) continue;
    auto again = wait(*engine, Identity{.user = user(numbered("writer", w.writer))},
                      text(id, std::to_string(w.number), {"w", w.number}));
    if (!again || again->seq != w.seq || !again->duplicate) return 7;
  }
  ready();
  if (last) return engine->stop(5s) ? 0 : 8;
  // Each keeps three under way.
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<unsigned> under_way(writers, 0);
  for (;;) {
    for (unsigned w = 0; w < writers; ++w) {
      std::unique_lock lock(mutex);
      if (under_way[w] >= 3) continue;
      ++under_way[w];
      const std::uint64_t number = ++count[w];
      lock.unlock();
      engine->call(Identity{.user = user(numbered("writer", w))}, text(id, std::to_string(number), {"w", number}),
                   [&, w, number](Result<Accepted> result) {
                     if (!result) ::_exit(9);
                     const Written written{w, number, result->seq};
                     (void)!::write(out, &written, sizeof written);
                     std::lock_guard inside(mutex);
                     --under_way[w];
                     changed.notify_one();
                   });
    }
    std::unique_lock lock(mutex);
    changed.wait(lock,
                 [&] { return std::any_of(under_way.begin(), under_way.end(), [](unsigned n) { return n < 3; }); });
  }
}

}  // namespace

TEST_CASE("Killed in the middle of writing to RocksDB, life after life, nothing acknowledged is lost or doubled") {
  const scratch::Directory directory;
  std::vector<Written> acknowledged;
  for (int round = 0; round <= 6; ++round) {
    CAPTURE(round);
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    // Everything that opens the store is a child: this process has no threads of RocksDB's when it forks.
    scratch::Child child([&](auto ready) {
      ::close(ends[0]);
      return life(directory / "store", acknowledged, ends[1], round == 6, ready);
    });
    ::close(ends[1]);
    const bool is_ready = child.wait_ready();
    Written written;
    for (int n = 0; is_ready && round < 6 && n < 40 + round * 23; ++n) {
      if (::read(ends[0], &written, sizeof written) != sizeof written) break;
      acknowledged.push_back(written);
    }
    if (is_ready && round < 6) child.kill();
    while (::read(ends[0], &written, sizeof written) == sizeof written) acknowledged.push_back(written);
    ::close(ends[0]);
    if (!is_ready || round == 6) REQUIRE(child.join() == 0);
  }
  CHECK(acknowledged.size() >= 240);
}
