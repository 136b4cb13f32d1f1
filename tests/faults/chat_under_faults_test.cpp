#include <doctest/doctest.h>

#include "support/chat.h"

// A chat as a host would test his own: an engine, clients, and orders to fail.

using namespace chat;

namespace {

struct Town {
  Town() {
    EngineOptions options;
    options.durability = Durability::memory;
    options.storage = make_faulty_storage(make_memory_storage(), storage);
    options.authenticator = make_faulty_authenticator(make_insecure_dev_authenticator(), logins);
    test.emplace(TestEngine::open(std::move(options)));
    REQUIRE(test->status());
    REQUIRE(test->engine().listen(make_faulty_transport(loopback.transport(), network)));
  }
  Client client(std::string name) {
    ClientOptions options;
    options.token = [name] { return name; };
    options.threads = 0;
    options.dialer = loopback.dialer();
    options.runtime.clock = std::shared_ptr<Clock>(std::shared_ptr<void>(), &test->clock());
    auto opened = Client::open(std::move(options));
    REQUIRE(opened);
    return std::move(*opened);
  }
  // Until `over`, or an hour has passed.
  template <class Over>
  bool until(std::initializer_list<Client*> clients, Over over) {
    for (int i = 0; i < 36'000 && !over(); ++i) {
      for (Client* each : clients) each->poll(1s);
      test->advance(100ms);
    }
    return over();
  }

  std::shared_ptr<StorageFaults> storage = std::make_shared<StorageFaults>();
  std::shared_ptr<ConnectionFaults> network = std::make_shared<ConnectionFaults>();
  std::shared_ptr<AuthenticatorFaults> logins = std::make_shared<AuthenticatorFaults>();
  Loopback loopback{};
  std::optional<TestEngine> test{};
};

}  // namespace

TEST_CASE("whatever fails on the way, each message comes once and in order") {
  Town town;
  Client alice = town.client("alice"), bob = town.client("bob");
  REQUIRE(town.until({&alice, &bob}, [&] { return alice.status().connected && bob.status().connected; }));
  town.network->take_at_most(1);
  town.network->delay(2);
  std::vector<std::string> wanted;
  int answers = 0, cuts = 0;
  for (int i = 0; i < 30; ++i) {
    if (i % 3 == 0) town.storage->add({.call = StorageCall::commit, .kind = StorageFault::Kind::unanswered});
    if (i % 5 == 0) town.storage->add({.call = StorageCall::commit, .code = ErrorCode::unknown_outcome});
    if (i % 7 == 0) town.storage->add({.call = StorageCall::events});
    if (i % 4 == 0) town.network->cut_after(2), ++cuts;
    wanted.push_back("m" + std::to_string(i));
    alice.call(Send{.to = Direct{"bob"}, .content = {.text = wanted.back()}}, [&](Result<Sent> sent) {
      CHECK_MESSAGE(sent, sent.error().message);
      ++answers;
    });
    CHECK(town.until({&alice, &bob}, [&] { return answers == i + 1; }));
  }
  std::map<Seq, std::string> got;
  const auto keep = [&](const Event& event) {
    if (const auto* said = event.as<MessagePosted>()) got[event.seq] = said->content.text;
  };
  Seq last = 0;
  const auto read = [&](const ConversationId& id, Seq head) {  // what an unknown outcome left is not pushed
    bob.call(Sync{.conversation = id}, [&, head](Result<SyncPage> page) {
      REQUIRE_MESSAGE(page, page.error().message);
      for (const EventPtr& event : page->events) {
        if (event->seq <= head) keep(*event);
      }
    });
  };
  CHECK(town.until({&alice, &bob}, [&] {
    while (auto push = bob.take()) {
      if (const auto* moved = push->as<HeadMoved>()) read(moved->conversation, moved->head);
      if (!push->event()) continue;
      CHECK(push->event()->seq > last);
      last = push->event()->seq;
      keep(*push->event());
    }
    return got.size() >= wanted.size();
  }));
  std::vector<std::string> texts;
  for (const auto& [seq, text] : got) texts.push_back(text);
  CHECK(texts == wanted);
  CHECK(got.rbegin()->first == wanted.size());
  CHECK(cuts == 8);
  CHECK(town.test->engine().stats().failed_changes > 5);
}

TEST_CASE("a client comes in though logins are dropped, answered late, or never") {
  Town town;
  using Fault = AuthenticatorFault;
  town.logins->next({Fault::dropped, Fault::never, Fault::twice, Fault::late});
  Client alice = town.client("alice");
  REQUIRE(town.until({&alice}, [&] { return alice.status().connected; }));
  CHECK(alice.status().user == user("alice"));  // not the one that the second answer named
  Client bob = town.client("bob");
  for (int i = 0; i < 20; ++i) {
    bob.poll(1s);
    town.test->advance(10ms);
  }
  CHECK(town.logins->waiting() == 1);
  CHECK_FALSE(bob.status().connected);
  CHECK(town.logins->release() == 1);
  CHECK(town.until({&bob}, [&] { return bob.status().connected; }));
}

TEST_CASE("a login fails on order") {
  using Fault = AuthenticatorFault;
  const auto faults = std::make_shared<AuthenticatorFaults>();
  const auto door = make_faulty_authenticator(make_insecure_dev_authenticator(), faults);
  std::vector<std::string> answers;
  const auto log_in = [&] {
    answers.clear();
    door->authenticate({.token = "alice"}, [&](Result<Identity> who) {
      answers.push_back(who ? who->user.string() : who.error().message);
    });
  };
  const std::vector<std::string> once{"alice"}, twice{"alice", "somebody else"}, none;
  faults->next({Fault::none, Fault::twice, Fault::late, Fault::never, Fault::dropped, Fault::throws});
  log_in();
  CHECK(answers == once);
  log_in();
  CHECK(answers == twice);
  log_in();
  CHECK(answers == none);
  CHECK(faults->waiting() == 1);
  CHECK(faults->release() == 1);
  CHECK(answers == once);
  CHECK(faults->release() == 0);
  for (int i = 0; i < 2; ++i) {
    log_in();
    CHECK(answers == none);
  }
  CHECK_THROWS(log_in());
  CHECK(answers == none);
  log_in();
  CHECK(answers == once);
}
