#include <atomic>
#include <condition_variable>
#include <mutex>

#include "support/host.h"
#include "support/troubled_storage.h"
#include "support/wire.h"

// stop(deadline) while something of the host's hangs for ever: it returns in time, and says so; what hung finds all it
// needs when it comes back, and nothing it does then is felt.

using namespace chat;

namespace {

// Faults that cancel() does not end.
std::shared_ptr<StorageFaults> stubborn() {
  auto faults = std::make_shared<StorageFaults>();
  faults->cancel_releases(false);
  return faults;
}
void hang(StorageFaults& faults, StorageCall at) {
  faults.add({.call = at, .kind = StorageFault::Kind::hangs, .times = 0});
}

// Where a thread hangs until it is let go.
class Trap {
 public:
  ~Trap() { release(); }
  void hang() {
    std::unique_lock lock(mutex_);
    inside_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return released_; });
    gone_ = true;
    changed_.notify_all();
  }
  void wait_until_caught() {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, 20s, [&] { return inside_; }));
  }
  void release() {
    std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool inside_ = false, released_ = false, gone_ = false;
};

void stops_late(Engine& engine) {
  Status stopped;
  const auto took = time_of([&] { stopped = engine.stop(200ms); });
  CHECK(took < 5s);  // a busy machine is no hang
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().code == ErrorCode::timeout);
  CHECK(engine.stop(5s).error().code == ErrorCode::timeout);  // says the same again
}

// Destroyed last, by whichever thread holds the engine last.
struct Gone {
  std::atomic<bool>& gone;
  ~Gone() { gone = true; }
};

// A host's thread that polls, until it is told to end; joined at the end of the scope.
class Poller {
 public:
  explicit Poller(Engine& engine, bool runs = false)
      : thread_([this, &engine, runs] {
          if (runs) return engine.run();
          while (!over_) engine.poll(1ms);
        }) {}
  ~Poller() {
    over_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> over_{false};
  std::thread thread_;
};

class HangingTransport final : public Transport {
 public:
  HangingTransport(Trap& trap, std::atomic<bool>& stopped) : trap_(trap), stopped_(stopped) {}
  Result<Endpoint> start(Acceptor&) override { return Endpoint{}; }
  bool poll(std::chrono::microseconds) override {
    trap_.hang();
    CHECK_FALSE(stopped_);  // not while it is in here
    return false;
  }
  void stop() override { stopped_ = true; }

 private:
  Trap& trap_;
  std::atomic<bool>& stopped_;
};

class HangingConnection final : public Connection {
 public:
  explicit HangingConnection(Trap& trap) : trap_(trap) {}
  void attached(Link link) override {
    std::lock_guard lock(mutex_);
    link_ = std::move(link);
  }
  SendResult send(std::span<const Frame> frames) override {
    trap_.hang();
    return {.taken = frames.size()};
  }
  void pause_reading(bool) override {}
  void close(const Error&) override {}
  std::optional<Link> link() {
    std::lock_guard lock(mutex_);
    return link_;
  }

 private:
  Trap& trap_;
  std::mutex mutex_;
  std::optional<Link> link_;
};

}  // namespace

// ---- the storage

TEST_CASE("stop returns in time though a call of the storage hangs for ever, with one storage thread and with two") {
  for (const StorageCall at : calls_of_an_engine) {
    for (const unsigned storage_threads : {1u, 2u}) {
      CAPTURE(static_cast<int>(at));
      CAPTURE(storage_threads);
      auto orders = stubborn();
      std::atomic<int> answers{0};
      {
        EngineOptions options = in_memory(1, 2);
        options.storage = troubled(orders);
        options.storage_threads = storage_threads;
        Engine engine = open(std::move(options));
        REQUIRE(wait(engine, alice_is, hi("bob")));
        hang(*orders, at);
        for (int i = 0; i < 5; ++i) {
          engine.call(alice_is, hi("p" + std::to_string(i)), [&](Result<Sent>) { ++answers; });
          engine.call(alice_is, ListConversations{}, [&](Result<ConversationsPage>) { ++answers; });
        }
        REQUIRE(orders->wait_for([&] { return orders->hanging() > 0; }, 20s));
        stops_late(engine);
        CHECK(answers == 10);
      }
      CHECK(orders->storages() == 1);
      orders->clear();
      REQUIRE(orders->wait_for([&] { return orders->storages() == 0; }, 20s));
      CHECK(answers == 10);
    }
  }
}

TEST_CASE("stop returns in time though the host's own poll hangs in the storage, and everyone is answered") {
  for (const StorageCall at : calls_of_an_engine) {
    for (const bool runs : {false, true}) {
      CAPTURE(static_cast<int>(at));
      CAPTURE(runs);
      auto orders = stubborn();
      std::atomic<int> answers{0};
      std::unique_ptr<Poller> poller;
      {
        EngineOptions options = in_memory(0, 2);
        options.storage = troubled(orders);
        Engine engine = open(std::move(options));
        REQUIRE(wait(engine, alice_is, hi("bob")));
        hang(*orders, at);
        poller = std::make_unique<Poller>(engine, runs);
        for (int i = 0; i < 5; ++i) {
          engine.call(alice_is, hi("p" + std::to_string(i)), [&](Result<Sent> sent) {
            CHECK((at == StorageCall::rows || !sent));
            ++answers;
          });
          engine.call(alice_is, ListConversations{}, [&](Result<ConversationsPage>) { ++answers; });
        }
        REQUIRE(orders->wait_for([&] { return orders->hanging() > 0; }, 20s));
        stops_late(engine);
        CHECK(answers == 10);
        CHECK(engine.poll(1ms).handled == 0);
        CHECK(orders->storages() == 1);
        orders->clear();
        REQUIRE(orders->wait_for([&] { return orders->storages() == 0; }, 20s));
        poller.reset();
      }
      CHECK(answers == 10);
    }
  }
}

TEST_CASE("stop returns in time though the storage hangs in the poll that stop makes, and everyone is answered") {
  for (const StorageCall at : calls_of_an_engine) {
    CAPTURE(static_cast<int>(at));
    auto orders = stubborn();
    int answers = 0;  // all on this thread
    {
      EngineOptions options = in_memory(0, 2);
      options.storage = troubled(orders);
      Engine engine = open(std::move(options));
      REQUIRE(wait(engine, alice_is, hi("bob")));
      hang(*orders, at);
      for (int i = 0; i < 5; ++i) {
        engine.call(alice_is, hi("p" + std::to_string(i)), [&](Result<Sent> sent) {
          CHECK((at == StorageCall::rows || !sent));
          ++answers;
        });
        engine.call(alice_is, ListConversations{}, [&](Result<ConversationsPage>) { ++answers; });
      }
      stops_late(engine);
      CHECK(answers == 10);
      CHECK(orders->hanging() > 0);
      CHECK(orders->storages() == 1);
      CHECK(engine.poll(1ms).handled == 0);
    }
    orders->clear();
    REQUIRE(orders->wait_for([&] { return orders->storages() == 0; }, 20s));
    CHECK(answers == 10);
  }
}

TEST_CASE("A storage that lets go when it is asked to, in the host's own poll, is stopped cleanly") {
  auto orders = std::make_shared<StorageFaults>();
  EngineOptions options = in_memory(0);
  options.storage = troubled(orders);
  Engine engine = open(std::move(options));
  REQUIRE(wait(engine, alice_is, hi("bob")));
  hang(*orders, StorageCall::commit);
  Poller poller(engine);
  std::atomic<int> answers{0};
  engine.call(alice_is, hi("bob"), [&](Result<Sent>) { ++answers; });
  REQUIRE(orders->wait_for([&] { return orders->hanging() > 0; }, 20s));
  Status stopped(ErrorCode::invalid, "");
  CHECK(time_of([&] { stopped = engine.stop(2s); }) < 7s);
  CHECK(stopped);
  CHECK(answers == 1);
  CHECK(orders->storages() == 0);
}

// ---- the host's callbacks, on an engine thread or in the host's own poll

TEST_CASE("stop returns in time though an authenticator, a policy, a connection or a transport hangs") {
  enum class In { authenticator, policy, send, transport, callback };
  for (const In in : {In::authenticator, In::policy, In::send, In::transport, In::callback}) {
    for (const unsigned threads : {0u, 1u, 2u}) {
      CAPTURE(static_cast<int>(in));
      CAPTURE(threads);
      Trap trap;
      std::atomic<bool> transport_stopped{false}, gone{false};
      std::atomic<int> answers{0};
      auto orders = stubborn();
      auto connection = std::make_shared<HangingConnection>(trap);
      std::unique_ptr<Poller> poller;
      {
        EngineOptions options = in_memory(threads, 2);
        options.storage = troubled(orders);
        options.authenticator = make_authenticator([&](Credentials, Done<Identity> done) {
          if (in == In::authenticator) trap.hang();
          done(alice_is);
        });
        options.policy =
            make_policy([&, held = std::make_shared<Gone>(gone)](const Identity&, const RequestView& request) {
              const auto* send = request.as<Send>();
              if (in == In::policy && send && send->content.text == "trap") trap.hang();
              return Decision{};
            });
        Engine engine = open(std::move(options));
        if (threads == 0) poller = std::make_unique<Poller>(engine);
        REQUIRE(until([&] {
          if (!connection->link() && in != In::transport) engine.attach(connection, {});
          return connection->link() || in == In::transport;
        }));
        if (in == In::authenticator || in == In::send) {
          connection->link()->receive(frame(1, 64, number(1, 1) + text(2, "x")));
        } else if (in == In::policy) {
          engine.call(alice_is, hi("bob", "trap"), [&](Result<Sent>) { ++answers; });
        } else if (in == In::transport) {
          REQUIRE(engine.listen(std::make_unique<HangingTransport>(trap, transport_stopped)));
        } else {
          engine.call(alice_is, ListConversations{}, [&](Result<ConversationsPage>) {
            trap.hang();
            ++answers;
          });
        }
        trap.wait_until_caught();
        for (int i = 0; i < 4; ++i) {
          engine.call(alice_is, hi("p" + std::to_string(i)), [&](Result<Sent>) { ++answers; });
        }
        stops_late(engine);
        if (in == In::transport) CHECK_FALSE(transport_stopped);
        if (threads != 0) CHECK_FALSE(gone);
        if (threads == 0) {
          trap.release();
          poller.reset();
        }
      }
      trap.release();
      const int expected = in == In::policy || in == In::callback ? 5 : 4;
      CHECK(until([&] { return answers == expected; }));  // those behind it too, when it has gone
      if (in == In::transport) CHECK(until([&] { return transport_stopped.load(); }));
      connection.reset();
      CHECK(until([&] { return gone.load(); }));  // and nothing of the engine is left
    }
  }
}

TEST_CASE("A second stop that comes while the first one waits says so at its own deadline") {
  auto orders = stubborn();
  EngineOptions options = in_memory(1);
  options.storage = troubled(orders);
  Engine engine = open(std::move(options));
  REQUIRE(wait(engine, alice_is, hi("bob")));
  hang(*orders, StorageCall::commit);
  engine.call(alice_is, hi("bob"));
  REQUIRE(orders->wait_for([&] { return orders->hanging() > 0; }, 20s));
  std::thread first([&] { CHECK(engine.stop(20s)); });
  REQUIRE(until([&] { return code(wait(engine, alice_is, hi("bob"), 1s)) == ErrorCode::stopped; }));
  Status second;
  CHECK(time_of([&] { second = engine.stop(50ms); }) < 5s);
  CHECK_FALSE(second);
  orders->clear();
  first.join();
  CHECK(engine.stop(1s));
}

// ---- without a hang

TEST_CASE(
    "A stop under load: what was acknowledged is stored, each request is answered once, everyone is told, in time") {
  for (const unsigned threads : {0u, 1u, 2u}) {
    CAPTURE(threads);
    auto store = std::make_shared<SharedStorage>();
    EngineOptions options = in_memory(threads, 4);
    options.storage = store->handle();
    options.durability = store->durability;
    std::atomic<bool> over{false};
    std::atomic<int> asked{0}, answers{0};
    std::mutex mutex;
    std::vector<std::string> acknowledged;
    std::vector<Session> sessions;
    {
      Engine engine = open(std::move(options));
      for (int i = 0; i < 8; ++i) {
        sessions.push_back(engine.open_session({.identity = {.user = user("peer" + std::to_string(i))}}));
      }
      std::unique_ptr<Poller> poller = threads == 0 ? std::make_unique<Poller>(engine) : nullptr;
      std::vector<std::thread> writers;
      for (int w = 0; w < 3; ++w) {
        writers.emplace_back([&, w] {
          for (int i = 0; !over; ++i) {
            if (asked - answers > 500) {
              std::this_thread::yield();
              continue;
            }
            ++asked;
            const std::string said = std::to_string(w) + "." + std::to_string(i);
            engine.call({.user = user("writer" + std::to_string(w))}, hi("peer" + std::to_string(i % 8), said),
                        [&, said](Result<Sent> sent) {
                          ++answers;
                          if (!sent) return;
                          std::lock_guard lock(mutex);
                          acknowledged.push_back(said);
                        });
          }
        });
      }
      REQUIRE(until([&] { return answers > 2000; }));
      Status stopped(ErrorCode::invalid, "");
      CHECK(time_of([&] { stopped = engine.stop(30s); }) < 31s);
      CHECK(stopped);
      over = true;
      for (auto& writer : writers) writer.join();
      poller.reset();
      CHECK(answers == asked);
    }
    for (Session& session : sessions) {
      std::string last;
      while (auto push = session.take()) last = line(*push);
      CHECK(last == "closed stopped");
    }
    Server after({}, store);
    std::vector<std::string> stored;
    for (int p = 0; p < 8; ++p) {
      const std::string peer = "peer" + std::to_string(p);
      const auto list = after.ask(peer, ListConversations{});
      REQUIRE(list);
      for (const auto& entry : list->conversations) {
        for (Seq next = 1; next != 0;) {
          const auto page = after.ask(peer, ReadHistory{entry.info.conversation, next, Direction::forward, 200});
          REQUIRE(page);
          for (const EventPtr& event : page->events) stored.push_back(line(*event));
          next = page->more ? page->covers_to + 1 : 0;
        }
      }
    }
    std::sort(stored.begin(), stored.end());
    std::sort(acknowledged.begin(), acknowledged.end());
    CHECK(std::includes(stored.begin(), stored.end(), acknowledged.begin(), acknowledged.end()));
    CHECK(std::adjacent_find(stored.begin(), stored.end()) == stored.end());
  }
}
