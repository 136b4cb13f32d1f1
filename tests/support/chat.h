#pragma once

#include <doctest/doctest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <chatcore/chatcore.h>
#include <chatcore/testing.h>

#include "support/shared_storage.h"

namespace doctest {
template <>
struct StringMaker<std::vector<std::string>> {
  static String convert(const std::vector<std::string>& lines) {
    std::string text = "{";
    for (const std::string& line : lines) text += (text.size() > 1 ? ", \"" : "\"") + line + "\"";
    return (text + "}").c_str();
  }
};
}  // namespace doctest

// A chat that a test reads as a conversation: people say things, and what each of them receives is looked at.
// Everything happens on the calling thread, on a manual clock.

namespace chat {

using namespace chatcore;
using namespace std::chrono_literals;

inline UserId user(std::string_view name) { return *UserId::make(name); }
inline ConversationId conversation(std::string_view name) { return *ConversationId::make(name); }

// One line for what came: "hi", "edited #3: text", "deleted #3", "joined bob", "left bob", "settings Title", "reset",
// "closed overloaded", "pull 7", "~text" (ephemeral), "typing: alice, bob", "typing: nobody".
std::string line(const Push&);
std::string line(const Event&);
std::string line(const Marks&);     // "room read 3 muted pinned archived unread"
std::string line(const Receipts&);  // "alice 3/2, bob 3/3": delivered and read

// People in a test speak as fast as they like.
Limits without_rates(Limits = {});

struct Server {
  // Rates are off unless `options` names others than the library's. A policy of `options` serves the first life only;
  // `policy` makes one for each.
  explicit Server(EngineOptions options = {}, std::shared_ptr<SharedStorage> store = std::make_shared<SharedStorage>(),
                  std::function<std::unique_ptr<Policy>()> policy = {});

  Engine& engine() { return test->engine(); }
  void settle() { test->settle(); }
  void advance(std::chrono::milliseconds time) { test->advance(time); }
  void restart();  // stops cleanly, opens again on the same data
  void crash();    // stops without a word to the storage, opens again on the same data
  ManualClock& clock() { return *clock_; }

  template <Request R>
  Result<typename R::Reply> ask(Identity as, R request) {
    std::optional<Result<typename R::Reply>> answer;
    engine().call(std::move(as), std::move(request),
                  [&answer](Result<typename R::Reply> result) { answer.emplace(std::move(result)); });
    for (int i = 0; !answer && i < 100; ++i) {
      settle();
      if (!answer) advance(20ms);
    }
    REQUIRE(answer);
    return std::move(*answer);
  }
  template <Request R>
  Result<typename R::Reply> ask(std::string_view as, R request) {
    return ask(Identity{.user = user(as)}, std::move(request));
  }

  // A group of the host's, with an id of its own; the first is its owner.
  ConversationId group(std::string_view id, const std::vector<std::string>& members, ConversationSettings = {});

  std::shared_ptr<SharedStorage> store;
  std::unique_ptr<Loopback> network = std::make_unique<Loopback>();
  std::optional<TestEngine> test;

 private:
  void open();
  EngineOptions fresh_options();
  const Limits limits_;
  const unsigned shards_;
  std::unique_ptr<PubSub> first_pubsub_;  // this and the next serve the first life only
  const std::size_t memory_bytes_;
  std::unique_ptr<Membership> first_membership_;  // serves the first life only
  const std::chrono::milliseconds policy_deadline_;
  const Decision policy_default_;
  std::unique_ptr<Policy> first_policy_;
  Function<bool(const Identity&, const ConversationId&)> first_exempt_;  // serves the first life only
  const std::function<std::unique_ptr<Policy>()> policy_;
  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  bool listening_ = false;

 public:
  void listen();  // on `network`, with the insecure authenticator
};

// Someone in the server's process.
class Person {
 public:
  Person(Server&, std::string_view name, std::optional<Checkpoint> resume = {}, std::size_t outbox_bytes = 1 << 20);

  Accepted says(Target to, std::string_view text, IdempotencyKey key = {});  // it must be accepted
  template <Request R>
  Result<typename R::Reply> asks(R request) {
    std::optional<Result<typename R::Reply>> answer;
    session_.call(std::move(request),
                  [&answer](Result<typename R::Reply> result) { answer.emplace(std::move(result)); });
    for (int i = 0; !answer && i < 100; ++i) {
      server_->settle();
      if (!answer) server_->advance(20ms);
    }
    REQUIRE(answer);
    return std::move(*answer);
  }

  std::vector<std::string> receives();  // the lines of everything that came since the last time
  std::vector<Push> takes();            // the same, whole
  Checkpoint checkpoint() const { return session_.checkpoint(); }
  Session& session() { return session_; }
  void leaves() { session_.close(); }

 private:
  Server* server_;
  Session session_;
};

// Someone with a client library, over the network in memory.
class Guest {
 public:
  Guest(Server&, std::string_view name, std::optional<Checkpoint> resume = {});

  Accepted says(Target to, std::string_view text, IdempotencyKey key = {});
  template <Request R>
  Result<typename R::Reply> asks(R request) {
    std::optional<Result<typename R::Reply>> answer;
    client_.call(std::move(request),
                 [&answer](Result<typename R::Reply> result) { answer.emplace(std::move(result)); });
    for (int i = 0; !answer && i < 2000; ++i) {
      settle();
      if (!answer) server_->advance(20ms);
    }
    REQUIRE(answer);
    return std::move(*answer);
  }
  std::vector<std::string> receives();
  Checkpoint checkpoint() const { return client_.checkpoint(); }
  Client& client() { return client_; }
  void settle();  // client and server, until neither has anything to do

 private:
  Server* server_;
  Client client_;
};

// Lets clients and the server run until `time` has passed.
void together(Server&, std::initializer_list<Guest*>, std::chrono::milliseconds time = 0ms);

}  // namespace chat
