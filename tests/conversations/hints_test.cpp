#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "support/cluster.h"

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

TEST_CASE("What was said while the link was broken is found where nobody had the conversation in memory, too") {
  Cluster cluster;
  std::vector<ConversationId> groups;
  for (int i = 0; i < 5; ++i) groups.push_back(cluster.one.group("g" + std::to_string(i), {"alice", "bob"}));
  Person alice(cluster.one, "alice"), bob(cluster.two, "bob");
  cluster.time_passes();
  bob.receives();
  cluster.faults->break_link();
  Lines said;
  for (const ConversationId& group : groups) {
    said.push_back("in " + group.string());
    alice.says(group, said.back());
  }
  cluster.settle();
  CHECK(bob.receives() == Lines{});
  cluster.faults->mend_link();
  cluster.settle();
  Lines heard = bob.receives();
  std::sort(heard.begin(), heard.end());
  CHECK(heard == said);
}

TEST_CASE("Where only the link of the one that wrote was broken, the others hear of it when it is mended") {
  Cluster cluster(true);
  const ConversationId group = cluster.one.group("lunch", {"alice", "bob"});
  Person alice(cluster.one, "alice"), bob(cluster.two, "bob");
  cluster.time_passes();
  bob.receives();
  cluster.faults->break_link();
  alice.says(group, "one"), alice.says(group, "two");
  cluster.settle();
  CHECK(bob.receives() == Lines{});
  cluster.faults->mend_link();
  cluster.settle();
  CHECK(bob.receives() == Lines{"one", "two"});
}

TEST_CASE("And when it is mended for good, where it broke again before it could say so") {
  Cluster cluster(true);
  const ConversationId group = cluster.one.group("lunch", {"alice", "bob"}),
                       other = cluster.one.group("dinner", {"alice"});
  Person alice(cluster.one, "alice"), bob(cluster.two, "bob");
  cluster.time_passes();
  bob.receives();
  cluster.faults->break_link();
  alice.says(group, "one");
  cluster.time_passes();
  alice.says(other, "what it heard of itself is no sign that it was heard");
  cluster.time_passes();
  cluster.faults->next({PubSubFault::unnoticed});
  cluster.faults->mend_link();
  cluster.settle();
  CHECK(bob.receives() == Lines{});
  cluster.faults->break_link();
  cluster.faults->mend_link();
  cluster.settle();
  CHECK(bob.receives() == Lines{"one"});
}

TEST_CASE("What was read before its hint came is shown when that comes") {
  Cluster cluster;
  const ConversationId group = cluster.one.group("lunch", {"alice", "bob"});
  Person alice(cluster.one, "alice"), bob(cluster.two, "bob");
  cluster.settle();
  bob.receives();
  cluster.faults->next({PubSubFault::late});
  alice.says(group, "hi");
  cluster.settle();
  CHECK(cluster.two.ask("bob", ReadHistory{.conversation = group})->head == 2);  // now it is in memory there
  CHECK(bob.receives() == Lines{});
  CHECK(cluster.faults->release() == 1);
  cluster.settle();
  CHECK(bob.receives() == Lines{"hi"});
}

TEST_CASE("A hint that comes between a commit and its outcome is kept until that is known") {
  Cluster cluster;
  const ConversationId group = cluster.one.group("lunch", {"alice", "bob"});
  Person alice(cluster.one, "alice"), bob(cluster.two, "bob"), bobs_other(cluster.two, "bob");
  cluster.says(bob, group, "first");
  bob.receives();
  cluster.store->after_commit = [&] {
    for (int i = 0; i < 3; ++i) {  // the other engine reads again before it can write
      if (alice.asks(Send{.to = group, .content = {.text = "from alice"}, .key = "k"})) return;
    }
    FAIL("alice could not write");
  };
  CHECK(bob.asks(Send{.to = group, .content = {.text = "from bob"}}));
  CHECK_FALSE(cluster.store->after_commit);
  cluster.settle();
  CHECK(bob.receives() == Lines{"from alice"});
}

TEST_CASE("A hint whose conversation could not be read is not forgotten") {
  Cluster cluster;
  const ConversationId group = cluster.one.group("lunch", {"alice", "bob"});
  Person alice(cluster.one, "alice"), bob(cluster.two, "bob");
  cluster.settle();
  bob.receives();
  cluster.two.advance(10min);  // long unused, it is no longer in memory there
  cluster.one.settle();
  alice.says(group, "hi");
  cluster.store->reads_fail = true;
  cluster.two.settle();
  cluster.store->reads_fail = false;
  cluster.two.settle();
  CHECK(bob.receives() == Lines{});
  cluster.two.advance(2s);
  CHECK(bob.receives() == Lines{"hi"});
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
