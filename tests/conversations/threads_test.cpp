#include <atomic>
#include <thread>

#include "support/host.h"
#include "support/troubled_storage.h"

// Two engines, many threads, and waiting.

using namespace chat;

namespace {

// A coroutine that runs at once and is over when it is over.
struct Fire {
  struct promise_type {
    Fire get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { FAIL("an exception in a coroutine"); }
  };
};

}  // namespace

TEST_CASE("Two engines in one process talk to each other from their callbacks") {
  for (const unsigned threads : {0u, 1u}) {
    CAPTURE(threads);
    Engine here = open(in_memory(threads)), there = open(in_memory(threads));
    Session listener = there.open_session({.identity = {.user = "bob"}});
    std::atomic<int> bridged{0};
    for (int i = 0; i < 50; ++i) {
      here.call(alice_is, hi("bob", std::to_string(i)), [&](Result<Sent> sent) {
        CHECK(sent);
        there.call(Identity::host("bridge"), hi("bob", "bridged"), [&](Result<Sent> other) {
          CHECK(other);
          here.call(alice_is, ListConversations{}, [&](Result<ConversationsPage> page) {
            CHECK(page);
            ++bridged;
          });
        });
        there.poll(1ms);  // one engine may be polled from the callback of another
      });
    }
    CHECK(until([&] {
      here.poll(1ms);
      there.poll(1ms);
      return bridged == 50;
    }));
    int received = 0;
    while (auto push = listener.take(received < 50 ? 5s : 0s)) received += line(*push) == "bridged" ? 1 : 0;
    CHECK(received == 50);
    CHECK(here.stats().messages == 50);
    CHECK(there.stats().messages == 50);
    CHECK(here.stop(1s));
    CHECK(wait(there, alice_is, hi("bob")));
  }
}

// ---- wait and ask

TEST_CASE("wait waits, with threads and without, and gives up at its deadline") {
  for (const unsigned threads : {0u, 1u}) {
    auto faults = std::make_shared<StorageFaults>();
    EngineOptions options = in_memory(threads);
    options.storage = troubled(faults);
    Engine engine = open(std::move(options));
    const auto sent = wait(engine, alice_is, hi("bob"));
    REQUIRE(sent);
    CHECK(sent->seq == 1);
    CHECK(code(wait(engine, alice_is, ReadHistory{.conversation = "nowhere"})) == ErrorCode::no_such_conversation);
    if (threads == 0) continue;
    faults->add({.call = StorageCall::commit, .kind = StorageFault::Kind::hangs, .times = 0});
    CHECK(code(wait(engine, alice_is, hi("bob"), 20ms)) == ErrorCode::timeout);
    faults->clear();
    CHECK(wait(engine, alice_is, hi("bob"))->seq == 3);  // it was done after all
  }
}

TEST_CASE("co_await ask goes on with the answer") {
  for (const unsigned threads : {0u, 1u}) {
    CAPTURE(threads);
    Engine engine = open(in_memory(threads));
    std::atomic<Seq> last{0};
    const auto talk = [](Engine& on, std::atomic<Seq>& to) -> Fire {
      for (int i = 0; i < 20; ++i) {
        Send request = hi("bob", std::to_string(i));
        const Result<Sent> sent = co_await ask(on, alice_is, std::move(request));
        CHECK(sent);
        if (sent) to = sent->seq;
      }
      Send bad = hi("bob", "");
      const Result<Sent> refused = co_await ask(on, alice_is, std::move(bad));
      CHECK(code(refused) == ErrorCode::invalid);
      to = 1000;
    };
    talk(engine, last);
    CHECK(until([&] {
      engine.poll(1ms);
      return last == 1000;
    }));
    Send dropped = hi("bob", "nobody waits");
    { auto asked = ask(engine, alice_is, std::move(dropped)); }
    CHECK(until([&] {
      engine.poll(1ms);
      return engine.stats().messages == 21;
    }));
  }
}

// ---- many threads

TEST_CASE("Eight threads send at once: everything arrives once, in order, with any number of shards and threads") {
  constexpr int senders = 8, each = 40;
  for (const unsigned shards : {1u, 2u, 4u}) {
    for (const unsigned threads : {0u, 1u, 2u, 4u}) {
      CAPTURE(shards);
      CAPTURE(threads);
      Engine engine = open(in_memory(threads, shards));
      const std::vector<ConversationId> groups{"g0", "g1", "g2"};
      std::vector<Member> members;
      for (int i = 0; i < senders; ++i) members.push_back({user("s" + std::to_string(i))});
      for (int i = 0; i < 4; ++i) members.push_back({user("r" + std::to_string(i))});
      for (const auto& group : groups)
        REQUIRE(wait(engine, Identity::system(), CreateConversation{.conversation = group, .members = members}));

      std::vector<Session> receivers;
      for (int i = 0; i < 4; ++i)
        receivers.push_back(engine.open_session({.identity = {.user = user("r" + std::to_string(i))}}));
      for (auto& receiver : receivers) {  // each is there before the first message
        std::atomic<bool> there{false};
        receiver.call(ListConversations{}, [&](Result<ConversationsPage>) { there = true; });
        REQUIRE(until([&] {
          engine.poll(1ms);
          return there.load();
        }));
      }
      std::thread runner;
      if (threads == 0) runner = std::thread([&] { engine.run(); });
      std::atomic<int> accepted{0}, failed{0};
      std::vector<std::thread> crowd;
      for (int s = 0; s < senders; ++s) {
        crowd.emplace_back([&, s] {
          Session own = engine.open_session({.identity = {.user = user("s" + std::to_string(s))}});
          for (int i = 0; i < each; ++i) {
            const ConversationId& to = groups[static_cast<std::size_t>(i) % groups.size()];
            Send send{.to = to,
                      .content = {.text = std::to_string(s) + " " + std::to_string(i)},
                      .key = IdempotencyKey("s" + std::to_string(s), static_cast<std::uint64_t>(i) + 1)};
            engine.call(Identity{.user = user("s" + std::to_string(s))}, std::move(send),
                        [&](Result<Sent> sent) { ++(sent ? accepted : failed); });
            (void)own.take();
          }
        });
      }
      constexpr std::size_t total = senders * each;
      const auto end = steady_clock::now() + 20s;
      for (auto& receiver : receivers) {
        std::map<ConversationId, Seq> seqs;
        std::map<std::pair<std::string, ConversationId>, int> from;
        std::size_t received = 0;
        while (received < total && steady_clock::now() < end) {
          const auto push = receiver.take(100ms);
          if (!push || !push->event()) continue;
          const Event& event = *push->event();
          Seq& seq = seqs.try_emplace(event.conversation, event.seq - 1).first->second;
          REQUIRE(event.seq == ++seq);
          if (event.seq == 1) continue;  // who came: the session may be there before that is published
          ++received;
          const std::string text = line(event);
          const int number = std::stoi(text.substr(text.find(' ') + 1));
          int& last = from.try_emplace({event.sender.string(), event.conversation}, -1).first->second;
          REQUIRE(number > last);
          last = number;
        }
        CHECK(received == total);
      }
      for (auto& thread : crowd) thread.join();
      CHECK(until([&] { return accepted + failed == static_cast<int>(total); }));
      CHECK(failed == 0);
      CHECK(engine.stop(5s));
      if (runner.joinable()) runner.join();
      CHECK(engine.stats().sessions == 0);
    }
  }
}

TEST_CASE("Sessions come and go on many threads while others talk") {
  Engine engine = open(in_memory(2, 4));
  REQUIRE(wait(engine, Identity::system(),
               CreateConversation{.conversation = "g", .members = {{"a"}, {"b"}, {"c"}, {"d"}}}));
  std::atomic<bool> over{false};
  std::vector<std::thread> crowd;
  for (const char* name : {"a", "b", "c", "d"}) {
    crowd.emplace_back([&, name] {
      Checkpoint place;
      for (int i = 0; i < 40; ++i) {
        std::atomic<int> ready{0};
        Session session =
            engine.open_session({.identity = {.user = user(name)}, .resume = place, .on_ready = [&] { ++ready; }});
        session.call(Send{.to = ConversationId("g"), .content = {.text = "hi"}});
        if (auto push = session.take(1ms); push && i % 3 == 0) (void)session.take(1ms);
        if (!session.checkpoint().empty()) place = session.checkpoint();
      }
    });
  }
  for (auto& thread : crowd) thread.join();
  CHECK(engine.stop(5s));
  CHECK(engine.stats().sessions == 0);
  CHECK(engine.stats().outbox_bytes == 0);
}

TEST_CASE("Engines are opened and closed many times, in the middle of their work") {
  for (int i = 0; i < 100; ++i) {
    Engine engine = open(in_memory(static_cast<unsigned>(i) % 4, 1u << (i % 3)));
    Session bob = engine.open_session({.identity = {.user = "bob"}});
    std::atomic<int> answers{0};
    for (int n = 0; n < 10; ++n) engine.call(alice_is, hi("bob"), [&](Result<Sent>) { ++answers; });
    if (i % 2 == 0) {
      CHECK(engine.stop(2s));
      CHECK(answers == 10);
    } else {
      Engine gone = std::move(engine);
      { Engine last = std::move(gone); }
      CHECK(answers == 10);
    }
  }
}
