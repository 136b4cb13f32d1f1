#include "client/fake_server.h"
#include "client/place.h"

namespace chatcore::client_tests {
namespace {

ClientOptions resumed(const Checkpoint& at) {
  ClientOptions options;
  options.resume = at;
  return options;
}

client::Place place(const Checkpoint& checkpoint) {
  const auto place = client::decode_place(checkpoint);
  REQUIRE(place);
  return *place;
}

}  // namespace

TEST_CASE("a checkpoint comes back as it was") {
  client::Place before{{std::string("\0\xff", 2)}, {{general, 1}, {random_talk, ~Seq{0}}}};
  const Checkpoint checkpoint = client::encode_place(before);
  const client::Place after = place(checkpoint);
  CHECK(after.server.opaque == before.server.opaque);
  CHECK(after.seen == before.seen);
  for (std::size_t size = 0; size < checkpoint.opaque.size(); ++size) {
    CHECK(!client::decode_place({checkpoint.opaque.substr(0, size)}));
  }
  for (std::size_t i = 0; i < checkpoint.opaque.size(); ++i) {
    Checkpoint damaged = checkpoint;
    damaged.opaque[i] ^= 4;
    CHECK(!client::decode_place(damaged));
  }
  CHECK(!client::decode_place({checkpoint.opaque + "x"}));
}

TEST_CASE("a checkpoint covers what was taken, not what lies there") {
  Alice alice;
  CHECK(alice.client->checkpoint().empty());
  alice.settles();
  CHECK(place(alice.client->checkpoint()).server.opaque == "start");
  alice.server.says(1, "1");
  alice.server.say(protocol::encode_checkpoint({"after 1"}));
  alice.server.says(2, "2");
  alice.settles();
  CHECK(place(alice.client->checkpoint()).server.opaque == "start");
  CHECK(place(alice.client->checkpoint()).seen.empty());
  CHECK(described(*alice.client->take()) == "1");
  CHECK(place(alice.client->checkpoint()).server.opaque == "after 1");
  CHECK(place(alice.client->checkpoint()).seen == std::vector<std::pair<ConversationId, Seq>>{{general, 1}});
  CHECK(described(*alice.client->take()) == "2");
  CHECK(place(alice.client->checkpoint()).seen == std::vector<std::pair<ConversationId, Seq>>{{general, 2}});
}

TEST_CASE("the next run hears what this one did not take, and nothing twice") {
  Checkpoint checkpoint;
  {
    Alice alice;
    alice.settles();
    for (Seq seq = 1; seq <= 3; ++seq) alice.server.says(seq, std::to_string(seq));
    alice.settles();
    alice.client->take();
    alice.client->take();
    checkpoint = alice.client->checkpoint();
  }
  Alice alice(resumed(checkpoint));
  alice.settles();
  CHECK(alice.server.logins().front().resume.opaque == "start");
  for (Seq seq = 1; seq <= 4; ++seq) alice.server.says(seq, std::to_string(seq));
  CHECK(alice.hears() == texts({"3", "4"}));
}

TEST_CASE("each run has an instance of its own") {
  std::string source;
  Checkpoint checkpoint;
  {
    Alice alice;
    alice.sends("hi");
    alice.settles();
    source = alice.server.expect<Send>().second.key.source;
    checkpoint = alice.client->checkpoint();
  }
  Alice alice(resumed(checkpoint));
  alice.sends("hi again");
  alice.settles();
  CHECK(alice.server.expect<Send>().second.key.source != source);
}

TEST_CASE("what alice said counts as taken once everything before it was") {
  Alice alice;
  alice.settles();
  alice.server.says(1, "1");
  alice.sends("mine");
  alice.settles();
  alice.server.accept(alice.server.expect<Send>().first, 2);
  alice.settles();
  CHECK(place(alice.client->checkpoint()).seen.empty());
  CHECK(alice.hears() == texts({"1"}));
  CHECK(place(alice.client->checkpoint()).seen == std::vector<std::pair<ConversationId, Seq>>{{general, 2}});
}

TEST_CASE("the server's checkpoint waits for what is held back") {
  Alice alice;
  alice.settles();
  for (const Seq seq : {1, 3}) alice.server.says(seq, std::to_string(seq));
  alice.server.say(protocol::encode_checkpoint({"after 3"}));
  CHECK(alice.hears() == texts({"1"}));
  CHECK(place(alice.client->checkpoint()).server.opaque == "start");
  alice.server.answer(
      alice.server.expect<Sync>().first,
      SyncPage{.events = {message(2, "2")}, .covers_from = 2, .covers_to = 2, .head = 3, .live_from = 4});
  CHECK(alice.hears() == texts({"2", "3"}));
  CHECK(place(alice.client->checkpoint()).server.opaque == "after 3");
}

TEST_CASE("a checkpoint that cannot be read is a reset") {
  Alice alice(resumed({"damaged"}));
  CHECK(alice.hears() == texts({"reset"}));
  CHECK(alice.server.logins().front().resume.empty());
  CHECK(place(alice.client->checkpoint()).server.opaque == "start");
}

TEST_CASE("after a reset was taken nothing of the time before is kept") {
  Alice alice;
  alice.settles();
  alice.server.says(9, "9");
  alice.hears();
  alice.server.say(protocol::encode_reset());
  alice.server.say(protocol::encode_checkpoint({"new"}));
  CHECK(alice.hears() == texts({"reset"}));
  CHECK(place(alice.client->checkpoint()).seen.empty());
  CHECK(place(alice.client->checkpoint()).server.opaque == "new");
}

TEST_CASE("a checkpoint remembers the thousand conversations that moved last") {
  Alice alice;
  alice.settles();
  for (int i = 0; i < 1100; ++i) alice.server.says(1, "hi", *ConversationId::make("c" + std::to_string(i)));
  alice.hears();
  alice.server.says(2, "again", "c500");
  alice.hears();
  const auto seen = place(alice.client->checkpoint()).seen;
  CHECK(seen.size() == 1000);
  CHECK(seen.front() == std::pair(ConversationId("c500"), Seq{2}));
  CHECK(seen.back().first == ConversationId("c100"));
}

}  // namespace chatcore::client_tests
