#include <algorithm>
#include <map>
#include <string>

#include "support/cluster.h"

// What engines tell each other, where it is lost, late or comes twice.

using namespace chat;

namespace {

using Fault = PubSubFault;
using Lines = std::vector<std::string>;

Frame frame(std::string_view text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const Bytes>(bytes, bytes + text.size());
}

struct Diary : PubSubSink {
  void received(std::string_view, Frame got) override {
    lines.emplace_back(reinterpret_cast<const char*>(got->data()), got->size());
  }
  void link_lost() override { lines.push_back("lost"); }
  void link_back() override { lines.push_back("back"); }
  Done<void> answer(std::string what) {
    return [this, what](Status status) {
      lines.push_back(status ? what : what + " " + std::string(name(status.error().code)));
    };
  }
  Lines take() { return std::exchange(lines, {}); }
  Lines lines;
};

// Two on one exchange, of which the first one's frames go wrong, and both links.
struct Pair {
  explicit Pair(std::uint64_t seed = 1) : faults(std::make_shared<PubSubFaults>(seed)) {
    a = make_faulty_pubsub(make_inprocess_pubsub(exchange), faults);
    b = make_faulty_pubsub(make_inprocess_pubsub(exchange), faults);
    REQUIRE(a->start(to_a));
    REQUIRE(b->start(to_b));
    b->subscribe("t", {});
  }
  Lines publishes(std::string_view text) {
    a->publish("t", frame(text));
    return to_b.take();
  }
  std::shared_ptr<PubSubFaults> faults;
  std::shared_ptr<InprocessExchange> exchange = std::make_shared<InprocessExchange>();
  Diary to_a, to_b;
  std::unique_ptr<PubSub> a, b;
};

}  // namespace

TEST_CASE("a frame fails on order") {
  Pair pair;
  pair.faults->next(
      {Fault::none, Fault::lost, Fault::unnoticed, Fault::twice, Fault::late, Fault::late, Fault::throws});
  CHECK(pair.publishes("1") == Lines{"1"});
  CHECK(pair.publishes("2") == Lines{"lost", "back"});
  CHECK(pair.to_a.take() == Lines{"lost", "back"});
  CHECK(pair.publishes("3") == Lines{});
  CHECK(pair.publishes("4") == Lines{"4", "4"});
  CHECK(pair.publishes("5") == Lines{});
  CHECK(pair.publishes("6") == Lines{});
  CHECK_THROWS(pair.publishes("7"));
  CHECK(pair.publishes("8") == Lines{"8"});
  CHECK(pair.faults->waiting() == 2);
  CHECK(pair.faults->release() == 2);
  CHECK(pair.faults->release() == 0);
  CHECK(pair.to_b.take() == Lines{"5", "6"});
  CHECK(pair.faults->published() == 8);
  CHECK(pair.faults->spoiled() == 6);
  pair.faults->next({Fault::late});
  pair.publishes("9");
  pair.a.reset();
  CHECK(pair.faults->release() == 1);  // nobody is there to publish it
  CHECK(pair.to_b.take() == Lines{});
}

TEST_CASE("a share of the frames fails by chance, the same for the same seed") {
  const auto play = [](std::uint64_t seed) {
    Pair pair(seed);
    pair.faults->some(0.25, {Fault::unnoticed, Fault::twice});
    std::string all;
    for (int i = 0; i < 1000; ++i) all += std::to_string(pair.publishes("x").size());
    return all;
  };
  const std::string one = play(1);
  CHECK(one == play(1));
  CHECK(one != play(2));
  const auto count = [&](char what) { return std::count(one.begin(), one.end(), what); };
  CHECK(count('1') > 700);
  CHECK(count('1') < 800);
  CHECK(count('0') > 80);
  CHECK(count('2') > 80);
}

TEST_CASE("a link that is broken by order loses all there is, whatever the one behind it does") {
  Pair pair;
  pair.faults->break_link();
  pair.b->subscribe("u", pair.to_b.answer("u"));
  pair.b->subscribe("v", pair.to_b.answer("v"));
  pair.b->unsubscribe("v");
  CHECK(pair.publishes("1") == Lines{"lost", "v cancelled"});
  pair.exchange->break_link();  // nobody notices
  pair.faults->mend_link();
  pair.a->subscribe("w", pair.to_a.answer("w"));
  CHECK(pair.to_b.take() == Lines{"u"});  // it had been confirmed
  pair.exchange->mend_link();
  CHECK(pair.to_b.take() == Lines{"back"});
  CHECK(pair.to_a.take() == Lines{"lost", "w", "back"});
  CHECK(pair.publishes("2") == Lines{"2"});
  pair.faults->break_link();
  pair.b->subscribe("x", pair.to_b.answer("x"));
  pair.b->stop();
  CHECK(pair.to_b.take() == Lines{"lost", "x stopped"});
  pair.faults->mend_link();
  CHECK(pair.publishes("3") == Lines{});
}

TEST_CASE("whatever happens to half of what two engines tell each other, each message comes, in order") {
  Cluster cluster;
  const ConversationId group = cluster.one.group("lunch", {"alice", "bob"});
  Person alice(cluster.one, "alice"), bob(cluster.two, "bob");
  cluster.settle();
  bob.receives();
  alice.receives();
  cluster.faults->some(0.5, {Fault::lost, Fault::unnoticed, Fault::late, Fault::twice, Fault::throws});
  Lines said, to_alice, to_bob;
  for (int i = 0; i < 60; ++i) {
    said.push_back("m" + std::to_string(i));
    cluster.says(i % 3 ? alice : bob, group, said.back());
    if (i % 7 == 0) cluster.faults->release();
    cluster.settle();
  }
  CHECK(cluster.faults->spoiled() > 20);
  cluster.faults->some(0, {});
  said.push_back("all is well");  // what nobody heard of is read with the next that is
  cluster.says(alice, group, said.back());
  const auto texts = [](std::vector<Push> pushes) {
    std::map<Seq, std::string> all;
    for (const Push& push : pushes) {
      if (!push.event() || !push.as<MessagePosted>() || push.event()->sender == UserId("bob")) continue;
      const Seq seq = push.event()->seq;
      const bool is_new = all.emplace(seq, line(push)).second;  // some come twice
      if (is_new) CHECK(all.rbegin()->first == seq);
    }
    return all;
  };
  const auto by_bob = texts(bob.takes());
  Lines heard;
  for (const auto& [seq, text] : by_bob) heard.push_back(text);
  Lines of_alice;
  for (std::size_t i = 0; i < said.size(); ++i) {
    if (i % 3 || i == 60) of_alice.push_back(said[i]);
  }
  std::erase_if(heard,
                [&](const std::string& text) { return std::count(of_alice.begin(), of_alice.end(), text) == 0; });
  CHECK(heard == of_alice);
  const auto page = cluster.two.ask("bob", ReadHistory{.conversation = group, .limit = 100});
  REQUIRE(page);
  CHECK(page->head == said.size() + 1);
}
