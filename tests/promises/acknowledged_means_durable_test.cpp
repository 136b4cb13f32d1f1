#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "support/answers.h"

// An acknowledgement comes only at the configured durability, and nothing is readable before it. A retry gets the same
// seq.

using namespace chat;
using Lines = std::vector<std::string>;
using Fate = SharedStorage::Fate;

namespace {

// A server whose commits can be held while it goes on with everything else: the storage has threads of its own here.
class HeldServer {
 public:
  explicit HeldServer(unsigned shards) {
    store_->before_commit = [this] {
      std::unique_lock lock(mutex_);
      ++waiting_;
      changed_.notify_all();
      changed_.wait(lock, [&] { return !hold_; });
      --waiting_;
    };
    EngineOptions options;
    options.storage = store_->handle();
    options.threads = 0;
    options.storage_threads = 2;
    options.shards = shards;
    options.runtime.clock = clock_;
    auto opened = Engine::open(std::move(options));
    REQUIRE(opened);
    engine_.emplace(std::move(*opened));
  }
  ~HeldServer() {
    hold(false);
    (void)engine_->stop(1s);
  }

  void hold(bool on) {
    std::lock_guard lock(mutex_);
    hold_ = on;
    changed_.notify_all();
  }
  bool is_held() {
    std::lock_guard lock(mutex_);
    return hold_ && waiting_ > 0;
  }
  template <class Over>
  void until(Over over) {
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (!over()) {
      if (engine_->poll(10ms).handled == 0) std::this_thread::yield();
      REQUIRE(std::chrono::steady_clock::now() < end);
    }
  }
  template <Request R>
  Answer<typename R::Reply> begins(std::string_view who, R request) {
    Answer<typename R::Reply> answer;
    engine_->call(who.empty() ? Identity::system() : Identity{.user = user(who)}, std::move(request), answer.take());
    return answer;
  }
  template <Request R>
  Result<typename R::Reply> asks(std::string_view who, R request) {
    const auto answer = begins(who, std::move(request));
    until([&] { return answer.came(); });
    return answer.result();
  }
  void passes(std::chrono::milliseconds time) {
    clock_->advance(time);
    const std::uint64_t commits = engine_->stats().commits;
    for (int i = 0; i < 100 || engine_->stats().commits == commits; ++i) {
      if (engine_->poll(10ms).handled == 0) std::this_thread::yield();
      if (i > 10'000) return;
    }
  }
  Session session(std::string_view who) { return engine_->open_session({.identity = {.user = user(who)}}); }
  Engine& engine() { return *engine_; }

 private:
  std::shared_ptr<SharedStorage> store_ = std::make_shared<SharedStorage>();
  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  std::mutex mutex_;
  std::condition_variable changed_;
  bool hold_ = false;
  int waiting_ = 0;
  std::optional<Engine> engine_;
};

Lines taken(Session& session) {
  Lines lines;
  while (auto push = session.take()) lines.push_back(line(*push));
  return lines;
}

// Everything that Bob can find out about the room, in words.
Lines what_bob_knows(HeldServer& server, const ConversationId& id) {
  Lines known;
  auto history = server.asks("bob", ReadHistory{.conversation = id});
  REQUIRE(history);
  for (const EventPtr& event : history->events) known.push_back(line(*event));
  known.push_back("head " + std::to_string(history->head));
  auto sync = server.asks("bob", Sync{.conversation = id});
  REQUIRE(sync);
  for (const EventPtr& event : sync->events) known.push_back(line(*event));
  known.push_back("head " + std::to_string(sync->head));
  auto members = server.asks("bob", ListMembers{.conversation = id});
  REQUIRE(members);
  for (const Member& member : members->members) {
    known.push_back(member.user.string() + " " + std::to_string(static_cast<int>(member.role)));
  }
  auto info = server.asks("bob", GetConversation{.of = id});
  REQUIRE(info);
  known.push_back(info->settings.title + " " + std::to_string(info->members) + " " + std::to_string(info->head));
  auto list = server.asks("bob", ListConversations{});
  REQUIRE(list);
  for (const ConversationEntry& entry : list->conversations) {
    known.push_back(entry.info.conversation.string() + " " + std::to_string(entry.info.head) + " " +
                    std::to_string(entry.unread) + " " + (entry.last ? line(*entry.last) : ""));
  }
  auto read = server.asks("bob", MarkRead{id, sync->head + 1});
  known.push_back(read ? "readable beyond" : "not readable beyond");
  return known;
}

}  // namespace

TEST_CASE("Until its commit is over, nothing of a change is shown, listed, counted, readable or acknowledged") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    HeldServer server(shards);
    const ConversationId id = conversation("room");
    REQUIRE(server.asks("", CreateConversation{.conversation = id,
                                               .settings = {.title = "Tea"},
                                               .members = {{user("alice"), Role::owner}, {user("bob")}}}));
    REQUIRE(server.asks("alice", text(id, "first")));
    Session bob = server.session("bob"), carol = server.session("carol");
    server.passes(2s);

    const auto held = [&](auto request, Lines bob_hears) {
      CAPTURE(bob_hears);
      server.passes(2s);
      const Lines before = what_bob_knows(server, id);
      (void)taken(bob);
      server.hold(true);
      const auto answer = server.begins("alice", std::move(request));
      server.until([&] { return server.is_held(); });
      CHECK(what_bob_knows(server, id) == before);
      auto strangers = server.asks("carol", ReadHistory{.conversation = id});
      const bool carol_reads = static_cast<bool>(strangers);
      CHECK(taken(bob).empty());
      CHECK(taken(carol).empty());
      CHECK_FALSE(answer.came());
      server.hold(false);
      server.until([&] { return answer.came(); });
      REQUIRE(answer.result());
      CHECK(taken(bob) == bob_hears);
      CHECK(what_bob_knows(server, id) != before);
      return carol_reads;
    };
    CHECK_FALSE(held(text(id, "second"), {"second"}));
    CHECK_FALSE(held(EditMessage{id, 2, {.text = "First"}}, {"edited #2: First"}));
    CHECK_FALSE(held(DeleteMessage{id, 3}, {"deleted #3"}));
    CHECK_FALSE(held(ChangeSettings{id, {.title = "Coffee"}}, {"settings Coffee"}));
    CHECK_FALSE(held(AddMembers{id, {{user("carol")}}}, {"joined carol"}));
    CHECK(taken(carol) == Lines{"joined carol"});
    CHECK(server.asks("carol", ReadHistory{.conversation = id}));
    CHECK(held(SetRole{id, user("bob"), Role::admin}, {"role3 bob"}));
    (void)taken(carol);
  }
}

TEST_CASE("A conversation does not exist before its first commit is over") {
  HeldServer server(2);
  Session bob = server.session("bob");
  server.hold(true);
  const auto sent = server.begins("alice", text(Direct{"bob"}, "hi"));
  server.until([&] { return server.is_held(); });
  auto info = server.asks("bob", GetConversation{.of = Direct{"alice"}});
  REQUIRE_FALSE(info);
  CHECK(info.error().code == ErrorCode::no_such_conversation);
  CHECK(server.asks("bob", ListConversations{})->conversations.empty());
  CHECK(taken(bob).empty());
  // What he says meanwhile comes behind it.
  const auto reply = server.begins("bob", text(Direct{"alice"}, "hello"));
  server.hold(false);
  server.until([&] { return sent.came() && reply.came(); });
  CHECK(sent->seq == 1);
  CHECK(reply->seq == 2);
  CHECK(taken(bob) == Lines{"hi", "hello"});  // he did not say it through this session
}

TEST_CASE("The acknowledgement names the durability that the host asked for") {
  for (const Durability durability : {Durability::memory, Durability::process, Durability::disk}) {
    auto store = std::make_shared<SharedStorage>();
    store->durability = durability;
    Server server({}, store);
    const ConversationId id = server.group("room", {"alice", "bob"});
    CHECK(server.ask("alice", text(id, "hi", "k"))->durability == durability);
    CHECK(server.ask("alice", text(id, "hi", "k"))->durability == durability);
    CHECK(server.ask("alice", EditMessage{id, 2, {.text = "ho"}})->durability == durability);
  }
  EngineOptions options;
  options.storage = make_memory_storage();
  options.threads = 0;
  auto engine = Engine::open(std::move(options));  // `disk` on what can't give it
  REQUIRE_FALSE(engine);
  CHECK(engine.error().code == ErrorCode::invalid);
}

TEST_CASE("A retry of anything gets its seq again, in this life and in the next") {
  Server server;
  const ConversationId id = server.group("room", {"alice", "bob"});
  std::vector<std::pair<Accepted, std::function<Result<Accepted>()>>> done;
  const auto does = [&](std::string_view who, auto request) {
    const auto again = [&server, who, request] { return server.ask(who, request); };
    auto first = again();
    REQUIRE_MESSAGE(first, first.error().message);
    CHECK_FALSE(first->duplicate);
    done.emplace_back(*first, again);
  };
  does("alice", text(id, "one", "1"));
  does("alice", text(id, "two", IdempotencyKey("phone", 1)));
  does("alice", text(Direct{"bob"}, "psst", "3"));
  does("alice", EditMessage{id, 2, {.text = "One"}, "4"});
  does("alice", DeleteMessage{id, 3, IdempotencyKey("phone", 2)});
  does("alice", AddMembers{id, {{user("carol")}}, "6"});
  does("carol", Leave{id, "7"});
  does("alice", ChangeSettings{id, {.title = "Open", .open = true}, "8"});
  does("carol", Join{id, "9"});
  does("alice", SetRole{id, user("carol"), Role::admin, "10"});
  does("carol", RemoveMembers{id, {user("bob")}, "11"});
  does("dave", CreateConversation{.members = {{user("bob")}}, .key = "12"});
  for (int life = 0; life < 4; ++life) {
    CAPTURE(life);
    for (const auto& [first, again] : done) {
      auto repeat = again();
      REQUIRE_MESSAGE(repeat, repeat.error().message);
      CHECK(repeat->duplicate);
      CHECK(repeat->conversation == first.conversation);
      CHECK(repeat->seq == first.seq);
      CHECK(repeat->time == first.time);
    }
    life % 2 == 0 ? server.restart() : server.crash();
  }
  CHECK(log_of(server, id).size() == 11);
}

TEST_CASE("What was acknowledged is there after a crash at any moment; what was refused never appears") {
  for (std::size_t items = 0; items < 60; ++items) {
    CAPTURE(items);
    Server server(with_shards(items % 2 == 0 ? 1 : 3));
    const ConversationId id = server.group("room", {"alice", "bob"});
    server.store->next({Fate::done, Fate::refused});
    std::vector<std::pair<std::string, Answer<Accepted>>> sent;
    for (std::size_t i = 0; i < items; ++i) {
      if (i % 2 == 0) {
        const std::string words = numbered("m", i);
        sent.emplace_back(words, begin(server, i % 4 == 0 ? "alice" : "bob", text(id, words)));
      }
      one_item(server);
    }
    server.crash();
    std::map<std::string, Seq> there;
    for (const EventPtr& event : log_of(server, id)) CHECK(there.emplace(line(*event), event->seq).second);
    for (const auto& [words, answer] : sent) {
      if (!answer.came()) continue;  // dropped: `stopped`, or on its way
      if (answer.result()) {
        CHECK(there[words] == answer->seq);
      } else if (answer.code() == ErrorCode::storage_unavailable) {
        CHECK_FALSE(there.contains(words));
      }
    }
  }
}
