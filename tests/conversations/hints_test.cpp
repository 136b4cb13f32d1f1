#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "support/chat.h"

using namespace chat;

// Several engines on one store: they tell each other by pub/sub that a head moved.

namespace {

using Lines = std::vector<std::string>;

// Says nothing by itself: a test speaks to the engine's sink.
class Quiet final : public PubSub {
 public:
  explicit Quiet(PubSubSink** sink) : sink_(sink) {}
  Status start(PubSubSink& sink) override {
    *sink_ = &sink;
    return {};
  }
  void publish(std::string_view, Frame) override {}
  void subscribe(std::string_view, Done<void> confirmed) override { confirmed(Status()); }
  void unsubscribe(std::string_view) override {}
  void stop() override {}

 private:
  PubSubSink** sink_;
};

struct Cluster {
  EngineOptions options(unsigned shards) const {
    EngineOptions options;
    options.shards = shards;
    options.pubsub = make_inprocess_pubsub(exchange);
    options.limits.fan_out_on_read = 8, options.limits.fan_out_on_write = 6;
    return options;
  }
  void settle() {
    for (int i = 0; i < 4; ++i) one.settle(), two.settle();
  }

  std::shared_ptr<InprocessExchange> exchange = std::make_shared<InprocessExchange>();
  std::shared_ptr<SharedStorage> store = std::make_shared<SharedStorage>();
  Server one{options(1), store}, two{options(2), store};
};

}  // namespace

TEST_CASE("What is said to one engine reaches those who are at another one on the same store") {
  Cluster cluster;
  const ConversationId group = cluster.one.group("lunch", {"alice", "bob"});
  Person bob(cluster.two, "bob");
  cluster.settle();
  bob.receives();
  Person alice(cluster.one, "alice");
  alice.says(group, "hi");  // the other engine does not have the conversation in memory
  cluster.settle();
  CHECK(bob.receives() == Lines{"hi"});
  alice.says(group, "and again"), alice.says(group, "and again");
  cluster.settle();
  CHECK(bob.receives() == Lines{"and again", "and again"});
  Person at_two(cluster.two, "alice");
  CHECK(bob.asks(Send{.to = group, .content = {.text = "from here"}}));
  cluster.settle();
  CHECK(alice.receives() == Lines{"from here"});
}

TEST_CASE("In a channel as well, and who joins at one engine is told at the other") {
  Cluster cluster;
  std::vector<std::string> names{"editor"};
  for (int i = 0; i < 12; ++i) names.push_back("reader-" + std::to_string(i));
  const ConversationId group = cluster.one.group("crowd", names);
  cluster.one.advance(2s);  // what he is in is written behind the commits
  Person bob(cluster.two, "reader-3");
  cluster.settle();
  bob.receives();
  Person editor(cluster.one, "editor");
  editor.says(group, "news");
  cluster.settle();
  CHECK(bob.receives() == Lines{"news"});
}

TEST_CASE("After the link was broken what was missed is found") {
  Cluster cluster;
  const ConversationId group = cluster.one.group("lunch", {"alice", "bob"});
  Person alice(cluster.one, "alice"), bob(cluster.two, "bob");
  cluster.settle();
  alice.says(group, "one");
  cluster.settle();
  CHECK(bob.receives() == Lines{"one"});
  cluster.one.advance(11s), cluster.two.advance(11s);  // what was heard of long ago need not be looked for
  cluster.exchange->break_link();
  alice.says(group, "missed");
  cluster.settle();
  CHECK(bob.receives().empty());
  cluster.exchange->mend_link();
  cluster.settle();
  CHECK(bob.receives() == Lines{"missed"});
}

TEST_CASE(
    "Two engines that write to one conversation give no seq twice: the second one reads again, and a retry lands") {
  Cluster cluster;
  const ConversationId group = cluster.one.group("lunch", {"alice", "bob"});
  Person alice(cluster.one, "alice");
  cluster.exchange->break_link();
  CHECK(cluster.two.ask("bob", GetConversation{.of = group})->head == 1);
  alice.says(group, "first");
  Result<Sent> second = cluster.two.ask("bob", Send{.to = group, .content = {.text = "second"}, .key = "k"});
  for (int i = 0; i < 3 && !second; ++i) {
    CHECK(second.error().retryable());
    second = cluster.two.ask("bob", Send{.to = group, .content = {.text = "second"}, .key = "k"});
  }
  REQUIRE(second);
  CHECK(second->seq == 3);
}

TEST_CASE("Hints that are none are passed over") {
  PubSubSink* sink = nullptr;
  EngineOptions options;
  options.pubsub = std::make_unique<Quiet>(&sink);
  Server server(std::move(options));
  Person here(server, "alice");
  REQUIRE(sink);
  const auto hint = [](std::string_view text) {
    const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
    return std::make_shared<const Bytes>(bytes, bytes + text.size());
  };
  for (const char* text : {"", "1", "1 ", "1 2", "1 2 3", "1 2 3 4", "1 2 3 4 ", "3 9 1 2 c", "1 9 x 2 c", "1 9 5 2 c",
                           "1 9 1 2 \x01", "2", "2 x"}) {
    sink->received("chatcore/heads", hint(text));
    sink->received("other", hint("1 9 1 2 c"));
  }
  sink->received("chatcore/heads", nullptr);
  server.settle();
  CHECK(server.engine().stats().conversations == 0);
  sink->received("chatcore/heads", hint("1 9 1 2 c"));  // one that is
  server.settle();
  CHECK(server.engine().stats().conversations == 1);
}
