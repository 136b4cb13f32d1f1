#include "client/fake_server.h"

namespace chatcore::client_tests {
namespace {

SyncPage page(std::vector<EventPtr> events, Seq from, Seq to, Seq head) {
  return {.events = std::move(events),
          .covers_from = from,
          .covers_to = to,
          .oldest = 1,
          .head = head,
          .more = to != 0 && to < head,
          .live_from = to == 0 || to == head ? head + 1 : 0};
}

}  // namespace

TEST_CASE("alice hears bob, each conversation from where it begins for her") {
  int ready = 0;
  Alice alice(ClientOptions{.on_ready = [&] { ++ready; }});
  alice.settles();
  alice.server.says(41, "one");
  alice.server.says(42, "two");
  alice.server.says(7, "elsewhere", random_talk);
  alice.settles();
  CHECK(ready == 1);
  CHECK(alice.hears() == texts({"one", "two", "elsewhere"}));
  alice.server.say(protocol::encode_signal_push(Ephemeral{general, "bob", {.text = "waves"}}));
  CHECK(alice.hears() == texts({"ephemeral waves"}));
  CHECK(ready == 2);
}

TEST_CASE("what comes twice is heard once, also after a cut") {
  Alice alice;
  alice.settles();
  for (const Seq seq : {1, 2, 2, 1, 3}) alice.server.says(seq, std::to_string(seq));
  CHECK(alice.hears() == texts({"1", "2", "3"}));
  alice.server.cut();
  alice.waits(200ms);
  for (Seq seq = 1; seq <= 4; ++seq) alice.server.says(seq, std::to_string(seq));
  CHECK(alice.hears() == texts({"4"}));
}

TEST_CASE("what follows a hole waits until the hole is filled") {
  Alice alice;
  alice.settles();
  for (const Seq seq : {1, 5, 6}) alice.server.says(seq, std::to_string(seq));
  CHECK(alice.hears() == texts({"1"}));
  const auto [first, sync] = alice.server.expect<Sync>();
  CHECK(sync.conversation == general);
  CHECK(sync.after == 1);
  CHECK(alice.server.waiting() == 0);
  alice.server.answer(first, page({message(2, "2"), message(3, "3")}, 2, 3, 6));
  CHECK(alice.hears() == texts({"2", "3"}));
  const auto [second, rest] = alice.server.expect<Sync>();
  CHECK(rest.after == 3);
  alice.server.answer(second, page({message(4, "4"), message(5, "5")}, 4, 5, 6));
  CHECK(alice.hears() == texts({"4", "5", "6"}));
  // The server was not yet done, so it is asked once more whether it pushes again.
  alice.server.answer(alice.server.expect<Sync>().first, page({}, 0, 0, 6));
  alice.server.says(7, "7");
  CHECK(alice.hears() == texts({"7"}));
  CHECK(alice.server.waiting() == 0);
  CHECK(alice.status().unanswered == 0);
}

TEST_CASE("what nobody may see is no hole for ever") {
  Alice alice;
  alice.settles();
  for (const Seq seq : {1, 9}) alice.server.says(seq, std::to_string(seq));
  alice.settles();
  SyncPage gap = page({}, 2, 9, 9);
  gap.gaps = {{2, 8, Gap::Why::not_visible}};
  gap.events = {message(9, "9")};
  alice.server.answer(alice.server.expect<Sync>().first, gap);
  CHECK(alice.hears() == texts({"1", "9"}));
}

TEST_CASE("a Sync that fails is asked again; one refused for good lets go what is held") {
  Alice alice;
  alice.settles();
  for (const Seq seq : {1, 3}) alice.server.says(seq, std::to_string(seq));
  for (int i = 0; i < 10; ++i) {
    alice.waits(11s);
    alice.server.refuse(alice.server.expect<Sync>().first, ErrorCode::storage_unavailable);
  }
  alice.waits(11s);
  CHECK(alice.hears() == texts({"1"}));
  alice.server.refuse(alice.server.expect<Sync>().first, ErrorCode::forbidden);
  CHECK(alice.hears() == texts({"3"}));
}

TEST_CASE("a hole is filled across a cut") {
  Alice alice;
  alice.settles();
  for (const Seq seq : {1, 3}) alice.server.says(seq, std::to_string(seq));
  alice.settles();
  alice.server.cut();
  alice.waits(200ms);
  alice.server.answer(alice.server.expect<Sync>().first, page({message(2, "2"), message(3, "3")}, 2, 3, 3));
  CHECK(alice.hears() == texts({"1", "2", "3"}));
}

TEST_CASE("alice is not told what she said herself") {
  Alice alice;
  FakeServer& server = alice.server;
  alice.settles();
  server.says(1, "bob: 1");
  alice.sends("mine: 2");
  alice.settles();
  const auto [call, send] = server.expect<Send>();

  SUBCASE("it is acknowledged") { server.accept(call, 2); }
  SUBCASE("it is pushed, as after a resume") {
    server.says(2, "mine: 2", general, send.key);
    server.accept(call, 2);
  }
  SUBCASE("the acknowledgement comes late: the hole is filled meanwhile") {
    server.says(3, "bob: 3");
    alice.settles();
    server.answer(server.expect<Sync>().first,
                  page({message(2, "mine: 2", general, send.key), message(3, "bob: 3")}, 2, 3, 3));
    server.accept(call, 2);
  }
  SUBCASE("it was acknowledged as a repeat") { server.accept(call, 2, general, true); }
  server.says(3, "bob: 3");
  CHECK(alice.hears() == texts({"bob: 1", "bob: 3"}));
  CHECK(server.waiting() == 0);
}

TEST_CASE("an acknowledgement that overtakes other events loses none of them") {
  Alice alice;
  alice.settles();
  SUBCASE("in a conversation that alice follows") { alice.server.says(5, "5"); }
  SUBCASE("in one she has heard nothing of") {}
  const auto before = alice.hears();
  alice.sends("mine");
  alice.settles();
  alice.server.accept(alice.server.expect<Send>().first, 7);
  alice.settles();
  alice.server.says(6, "6");
  alice.server.says(8, "8");
  CHECK(alice.hears() == texts({"6", "8"}));
  CHECK(alice.server.waiting() == 0);
}

TEST_CASE("what alice creates she follows from its beginning") {
  Alice alice;
  alice.settles();
  alice.client->call(CreateConversation{.settings = {.title = "general"}});
  alice.settles();
  alice.server.accept(alice.server.expect<CreateConversation>().first, 1);
  alice.server.says(3, "3");
  CHECK(alice.hears().empty());
  alice.server.answer(alice.server.expect<Sync>().first, page({message(2, "2"), message(3, "3")}, 2, 3, 3));
  CHECK(alice.hears() == texts({"2", "3"}));
}

TEST_CASE("where nothing had to be changed there is no event, and nothing is taken for seen") {
  Alice alice;
  alice.settles();
  alice.server.says(1, "1");
  alice.client->call(Join{.conversation = general});
  alice.settles();
  alice.server.accept(alice.server.expect<Join>().first, 0);
  alice.server.says(2, "2");
  CHECK(alice.hears() == texts({"1", "2"}));
}

TEST_CASE("a head that moved is followed") {
  Alice alice;
  alice.settles();
  alice.server.says(1, "1");
  alice.server.say(protocol::encode_head_moved({general, 3}));
  alice.settles();
  alice.server.answer(alice.server.expect<Sync>().first, page({message(2, "2"), message(3, "3")}, 2, 3, 3));
  CHECK(alice.hears() == texts({"1", "2", "3"}));
  alice.server.says(4, "4");
  CHECK(alice.hears() == texts({"4"}));
}

TEST_CASE("a head that moved in a conversation not known is the application's to read") {
  Alice alice;
  alice.settles();
  alice.server.say(protocol::encode_head_moved({general, 100}));
  CHECK(alice.hears() == texts({"head 100"}));
  const auto [call, sync] = alice.server.expect<Sync>();  // only to be pushed to again
  CHECK(sync.after == 100);
  alice.server.answer(call, page({}, 0, 0, 100));
  alice.server.says(101, "101");
  CHECK(alice.hears() == texts({"101"}));
}

TEST_CASE("a Sync that brings nothing is not asked again at once") {
  Alice alice;
  alice.settles();
  alice.server.says(1, "1");
  alice.server.say(protocol::encode_head_moved({general, 3}));
  int asked = 0;
  for (int i = 0; i < 100; ++i) {
    alice.waits(100ms);
    if (alice.server.waiting() == 0) continue;
    ++asked;
    alice.server.answer(alice.server.expect<Sync>().first, SyncPage{.head = 1});
  }
  CHECK(asked > 5);
  CHECK(asked < 15);
}

TEST_CASE("after a reset everything is new") {
  Alice alice;
  alice.settles();
  for (const Seq seq : {5, 9}) alice.server.says(seq, "old " + std::to_string(seq));
  alice.server.say(protocol::encode_reset());
  alice.server.says(2, "new 2");
  CHECK(alice.hears() == texts({"old 5", "reset", "new 2"}));
  alice.server.answer(alice.server.expect<Sync>().first, page({message(6, "old 6")}, 6, 6, 6));
  CHECK(alice.hears().empty());
}

TEST_CASE("a login that cannot resume is a reset") {
  Alice alice;
  alice.settles();
  alice.server.says(5, "5");
  alice.server.cut();
  alice.server.welcome.reset = true;
  alice.server.welcome.checkpoint = {"another life"};
  alice.waits(200ms);
  alice.server.says(1, "1");
  CHECK(alice.hears().back() == "1");
  alice.server.cut();
  alice.waits(200ms);
  CHECK(alice.server.logins().back().resume.opaque == "another life");
}

TEST_CASE("a reset is told once, also where the connection is lost between the login and the push that says so") {
  for (const bool lost : {false, true}) {
    CAPTURE(lost);
    Alice alice;
    alice.settles();
    alice.server.says(5, "5");
    CHECK(alice.hears() == texts({"5"}));
    alice.server.cut();
    alice.server.welcome.reset = true;
    alice.server.welcome.checkpoint = {"another life"};
    alice.waits(200ms);
    if (lost) {
      alice.server.cut();
      alice.server.welcome.reset = false;
      alice.waits(200ms);
      CHECK(alice.server.logins().back().resume.opaque == "another life");
    } else {
      alice.server.say(protocol::encode_reset());
    }
    alice.server.says(1, "1");
    CHECK(alice.hears() == texts({"reset", "1"}));
    alice.server.say(protocol::encode_reset());  // another one
    CHECK(alice.hears() == texts({"reset"}));
  }
}

TEST_CASE("who does not take is not read from, and is not taken for dead") {
  Alice alice(ClientOptions{.inbox_bytes = 1000});
  alice.settles();
  for (Seq seq = 1; seq <= 20; ++seq) alice.server.says(seq, std::string(100, 'x'));
  alice.settles();
  CHECK(!alice.server.reading());
  alice.waits(200s);
  CHECK(alice.server.logins().size() == 1);
  CHECK(alice.server.pings() > 5);  // but she shows that she is there
  for (int i = 0; i < 2; ++i) CHECK(alice.client->take());
  alice.settles();
  CHECK(!alice.server.reading());  // not yet down to half
  CHECK(alice.hears().size() == 18);
  CHECK(alice.server.reading());
  alice.server.answers_pings = false;
  alice.waits(200s);
  CHECK(alice.server.logins().size() > 1);
}

TEST_CASE("more is held back than there is room for: it is pulled again") {
  Alice alice(ClientOptions{.inbox_bytes = 100});
  alice.settles();
  std::vector<EventPtr> all;
  for (Seq seq = 1; seq <= 9; ++seq) {
    all.push_back(message(seq, std::to_string(seq)));
    if (seq != 2) alice.server.says(seq, std::to_string(seq));
  }
  std::vector<std::string> heard = alice.hears();
  CHECK(heard == texts({"1"}));
  int pages = 0;
  for (; alice.server.waiting() > 0; ++pages) {
    const auto [call, sync] = alice.server.expect<Sync>();
    alice.server.answer(call, page({all[sync.after]}, sync.after + 1, sync.after + 1, 9));
    for (const auto& text : alice.hears()) heard.push_back(text);
  }
  CHECK(heard == texts({"1", "2", "3", "4", "5", "6", "7", "8", "9"}));
  CHECK(pages > 3);
}

}  // namespace chatcore::client_tests
