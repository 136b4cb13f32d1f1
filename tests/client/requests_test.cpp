#include "client/fake_server.h"

namespace chatcore::client_tests {
namespace {

std::vector<std::string> heard(FakeServer& server) {  // the texts of all that was sent, in order
  std::vector<std::string> texts;
  while (server.waiting() > 0) texts.push_back(server.expect<Send>().second.content.text);
  return texts;
}

std::vector<std::string> numbered(int from, int to) {
  std::vector<std::string> texts;
  for (; from <= to; ++from) texts.push_back(std::to_string(from));
  return texts;
}

}  // namespace

TEST_CASE("alice says hi, and hears where it stands") {
  Alice alice;
  alice.settles();
  alice.sends("hi");
  CHECK(alice.acknowledged().empty());
  alice.settles();
  const auto [call, send] = alice.server.expect<Send>();
  CHECK(send.content.text == "hi");
  CHECK(send.key.source.size() == 16);
  CHECK(send.key.number == 1);
  CHECK(alice.status().unanswered == 1);
  alice.server.accept(call, 7);
  alice.settles();
  CHECK(alice.acknowledged() == texts({"hi: 7"}));
  CHECK(alice.status().unanswered == 0);
}

TEST_CASE("what was said before there was a connection goes out in order") {
  Alice alice;
  for (const auto& text : numbered(1, 5)) alice.sends(text);
  alice.settles();
  CHECK(heard(alice.server) == numbered(1, 5));
}

TEST_CASE("no more is under way than the server allows") {
  Alice alice;
  alice.server.welcome.session_requests = 3;
  for (const auto& text : numbered(1, 5)) alice.sends(text);
  alice.settles();
  CHECK(alice.server.waiting() == 3);
  alice.server.accept(alice.server.expect<Send>().first, 1);
  alice.settles();
  CHECK(heard(alice.server) == numbered(2, 4));
}

TEST_CASE("cut after each frame of a window: the order stays and each is acknowledged once") {
  for (std::size_t before = 0; before <= 16; ++before) {
    CAPTURE(before);
    Alice alice;
    FakeServer& server = alice.server;
    alice.settles();
    for (const auto& text : numbered(1, 20)) alice.sends(text);
    server.room(before);
    alice.settles();

    // What arrived is committed; the acknowledgements of half of it arrive.
    Seq head = 0;
    std::map<std::uint64_t, Seq> keys;
    const auto commit = [&](bool tell) {
      const auto [call, send] = server.expect<Send>();
      const auto [it, fresh] = keys.try_emplace(send.key.number, head + 1);
      if (fresh) {
        CHECK(send.content.text == std::to_string(++head));
        CHECK(send.key.number == head);
      }
      if (tell) server.accept(call, it->second, general, !fresh);
    };
    for (std::size_t i = 0; i < before; ++i) commit(i < before / 2);
    alice.settles();
    server.cut();
    server.room(SIZE_MAX);
    alice.waits(200ms);
    CHECK(server.logins().size() == 2);
    CHECK(server.logins().back().resume.opaque == "start");
    while (server.waiting() > 0) {
      commit(true);
      alice.settles();
    }
    std::vector<std::string> expected;
    for (const auto& text : numbered(1, 20)) expected.push_back(text + ": " + text);
    CHECK(alice.acknowledged() == expected);
    CHECK(alice.hears().empty());
  }
}

TEST_CASE("a repeat carries the same key and the same body") {
  Alice alice;
  alice.sends("hi");
  alice.settles();
  const auto first = alice.server.asked();
  alice.server.cut();
  alice.waits(200ms);
  const auto second = alice.server.asked();
  REQUIRE((first && second));
  CHECK(first->body == second->body);
}

TEST_CASE("a key of the caller's own stays") {
  Alice alice;
  alice.client->call(Send{.to = general, .content = {.text = "kick-off"}, .key = "match-7"});
  alice.sends("hi");
  alice.settles();
  CHECK(alice.server.expect<Send>().second.key == IdempotencyKey("match-7"));
  CHECK(alice.server.expect<Send>().second.key.number == 1);
}

TEST_CASE("number 2 fails for a while: it comes first, then those behind it, in order") {
  Alice alice;
  FakeServer& server = alice.server;
  for (const auto& text : numbered(1, 4)) alice.sends(text);
  alice.settles();
  server.accept(server.expect<Send>().first, 1);
  server.refuse(server.expect<Send>().first, ErrorCode::storage_unavailable, 500ms);
  server.refuse(server.expect<Send>().first, ErrorCode::earlier_failed);
  alice.settles();
  alice.sends("5");
  alice.settles();
  server.refuse(server.expect<Send>().first, ErrorCode::earlier_failed);
  alice.waits(499ms);
  CHECK(server.waiting() == 0);
  alice.waits(1ms);
  for (Seq seq = 2; seq <= 5; ++seq) {
    const auto [call, send] = server.expect<Send>();
    CHECK(send.content.text == std::to_string(seq));
    CHECK(send.key.number == seq);
    server.accept(call, seq);
  }
  alice.settles();
  CHECK(alice.acknowledged() == texts({"1: 1", "2: 2", "3: 3", "4: 4", "5: 5"}));
}

TEST_CASE("repeats of what fails again and again become rare") {
  ClientOptions options{.backoff_first = 100ms, .backoff_most = 400ms};
  options.runtime.random = [] { return std::uint64_t{400} * 201 * 101 + 400; };
  Alice alice(std::move(options));
  alice.sends("hi");
  alice.settles();
  int repeats = 0;
  for (auto elapsed = 0ms; elapsed < 10s; elapsed += 1ms) {
    if (alice.server.waiting() > 0) {
      ++repeats;
      alice.server.refuse(alice.server.expect<Send>().first, ErrorCode::overloaded);
    }
    alice.waits(1ms);
  }
  CHECK(repeats > 10);
  CHECK(repeats < 300);
  CHECK(alice.acknowledged().empty());
}

TEST_CASE("a limit on the rate is waited out") {
  Alice alice;
  alice.sends("hi");
  alice.settles();
  alice.server.refuse(alice.server.expect<Send>().first, ErrorCode::rate_limited, 2s);
  alice.waits(1'999ms);
  CHECK(alice.server.waiting() == 0);
  alice.waits(1ms);
  CHECK(alice.server.waiting() == 1);
}

TEST_CASE("a refusal for good reaches the caller, and those behind it go on") {
  Alice alice;
  alice.sends("psst");
  alice.sends("hi");
  alice.settles();
  alice.server.refuse(alice.server.expect<Send>().first, ErrorCode::forbidden);
  alice.server.accept(alice.server.expect<Send>().first, 1);
  alice.sends("again");
  alice.settles();
  CHECK(alice.acknowledged() == texts({"psst: forbidden", "hi: 1"}));
  CHECK(alice.server.expect<Send>().second.key.number == 3);
}

TEST_CASE("reads do not wait for writes that do") {
  Alice alice;
  alice.sends("hi");
  alice.settles();
  alice.server.refuse(alice.server.expect<Send>().first, ErrorCode::storage_unavailable, 5s);
  alice.settles();
  alice.client->call(ReadHistory{.conversation = general});
  alice.settles();
  CHECK(alice.server.expect<ReadHistory>().second.conversation == general);
}

TEST_CASE("a read that fails is asked again, five times in all") {
  Alice alice;
  std::optional<ErrorCode> answer;
  alice.client->call(ReadHistory{.conversation = general}, [&](Result<HistoryPage> page) {
    CHECK(!page);
    answer = page.error().code;
  });
  for (int i = 1; i <= 5; ++i) {
    alice.waits(5s);
    CHECK(!answer);
    alice.server.refuse(alice.server.expect<ReadHistory>().first, ErrorCode::storage_unavailable);
  }
  alice.settles();
  CHECK(answer == ErrorCode::storage_unavailable);
}

TEST_CASE("a read is asked again after a cut, something fleeting is not") {
  Alice alice;
  std::optional<ErrorCode> shown;
  alice.settles();
  alice.client->call(ReadHistory{.conversation = general});
  alice.client->call(SendEphemeral{.to = general, .content = {.text = "looks up"}},
                     [&](Result<Delivered> delivered) { shown = delivered ? ErrorCode::ok : delivered.error().code; });
  alice.settles();
  alice.server.cut();
  alice.waits(200ms);
  alice.server.expect<ReadHistory>();
  CHECK(alice.server.waiting() == 0);
  CHECK(shown == ErrorCode::transport_failed);
}

TEST_CASE("too much that is not answered is overloaded, and said so later") {
  Alice alice(ClientOptions{.queue_bytes = 4096});
  alice.server.reachable(false);
  alice.sends(std::string(2000, 'a'));
  alice.sends(std::string(2000, 'b'));
  CHECK(alice.acknowledged().empty());
  alice.settles();
  CHECK(alice.acknowledged() == std::vector<std::string>{std::string(2000, 'b') + ": overloaded"});
  alice.server.reachable(true);
  alice.waits(10s);
  alice.server.accept(alice.server.expect<Send>().first, 1);
  alice.settles();
  alice.sends("c");  // there is room again, and no number was used up
  alice.settles();
  CHECK(alice.server.expect<Send>().second.key.number == 2);
}

TEST_CASE("what no frame can hold is refused here") {
  Alice alice;
  alice.server.welcome.frame_bytes = 1000;
  alice.sends(std::string(1000, 'x'));
  alice.sends("hi");
  alice.settles();
  CHECK(alice.acknowledged() == std::vector<std::string>{std::string(1000, 'x') + ": too_large"});
  CHECK(heard(alice.server) == texts({"hi"}));
}

TEST_CASE("a connection that takes no more is waited for") {
  Alice alice;
  alice.settles();
  alice.server.room(2);
  for (const auto& text : numbered(1, 4)) alice.sends(text);
  alice.settles();
  CHECK(heard(alice.server) == numbered(1, 2));
  alice.server.room(SIZE_MAX);
  alice.settles();
  CHECK(heard(alice.server) == numbered(3, 4));
}

TEST_CASE("callbacks that throw, call and close do no harm") {
  Alice alice(ClientOptions{.on_ready = [] { throw 1; }});
  alice.settles();
  alice.client->call(Send{.to = general, .content = {.text = "1"}}, [](Result<Sent>) { throw 1; });
  alice.client->call(Send{.to = general, .content = {.text = "2"}}, [&](Result<Sent>) {
    alice.sends("3");
    CHECK(alice.client->poll(1s).handled == 0);
    CHECK(!alice.client->take(1s));
    alice.client->close();
    alice.sends("4");
  });
  alice.settles();
  for (Seq seq = 1; seq <= 2; ++seq) alice.server.accept(alice.server.expect<Send>().first, seq);
  alice.settles();
  CHECK(alice.acknowledged() == texts({"3: stopped", "4: stopped"}));
}

TEST_CASE("closing answers everything with stopped") {
  Alice alice;
  alice.sends("under way");
  alice.settles();
  alice.server.welcome.session_requests = 1;
  alice.sends("waiting");
  alice.client->close();
  CHECK(alice.acknowledged() == texts({"under way: stopped", "waiting: stopped"}));
  alice.sends("late");
  CHECK(alice.acknowledged().size() == 2);
  alice.settles();
  CHECK(alice.acknowledged().back() == "late: stopped");
  CHECK(alice.hears() == texts({"closed: stopped"}));
  alice.sends("too late to poll");
  const auto answers = [&] { return alice.acknowledged(); };
  alice.client.reset();
  CHECK(answers().back() == "too late to poll: stopped");
}

TEST_CASE("a client may be destroyed by its own callback") {
  Alice alice;
  alice.settles();
  alice.client->call(Send{.to = general, .content = {.text = "last"}}, [&](Result<Sent>) { alice.client.reset(); });
  alice.sends("behind");
  alice.settles();
  alice.server.accept(alice.server.expect<Send>().first, 1);
  alice.client->poll(1s);
  CHECK(!alice.client);
  CHECK(alice.acknowledged() == texts({"behind: stopped"}));
}

template <class R>
void round_trip(Alice& alice, R request, typename R::Reply reply = {}) {
  CAPTURE(static_cast<int>(R::id));
  bool answered = false;
  alice.client->call(std::move(request), [&](Result<typename R::Reply> result) { answered = bool(result); });
  alice.settles();
  const auto next = alice.server.asked();
  REQUIRE(next);
  CHECK(next->id == R::id);
  CHECK(protocol::decode<R>(next->body));
  if constexpr (requires { request.key; } && !std::is_same_v<R, Abandon>) {
    CHECK(protocol::decode<R>(next->body)->key.number > 0);
  }
  alice.server.answer(next->call, reply);
  alice.settles();
  CHECK(answered);
}

TEST_CASE("every request can be made") {
  Alice alice;
  const Accepted accepted{general, 1, {}, Durability::disk};
  round_trip(alice, Send{.to = Direct{"bob"}, .content = {.text = "hi"}}, accepted);
  round_trip(alice, SendEphemeral{.to = general, .content = {.text = "hi"}});
  round_trip(alice, EditMessage{.conversation = general, .seq = 1, .content = {.text = "ho"}}, accepted);
  round_trip(alice, DeleteMessage{.conversation = general, .seq = 1}, accepted);
  round_trip(alice, Abandon{.to = general, .key = {"elsewhere", 3}});
  round_trip(alice, CreateConversation{.settings = {.title = "general"}}, accepted);
  round_trip(alice, ChangeSettings{.conversation = general}, accepted);
  round_trip(alice, GetConversation{.of = general},
             ConversationInfo{.conversation = general, .kind = ConversationKind::group, .role = Role::owner});
  round_trip(alice, AddMembers{.conversation = general, .members = {{"bob", Role::member}}}, accepted);
  round_trip(alice, RemoveMembers{.conversation = general, .users = {"bob"}}, accepted);
  round_trip(alice, Join{.conversation = general}, accepted);
  round_trip(alice, Leave{.conversation = general}, accepted);
  round_trip(alice, SetRole{.conversation = general, .user = "bob", .role = Role::admin}, accepted);
  round_trip(alice, ListMembers{.conversation = general});
  round_trip(alice, ReadHistory{.conversation = general});
  round_trip(alice, Sync{.conversation = general});
  round_trip(alice, MarkRead{.conversation = general, .seq = 1});
  round_trip(alice, ListConversations{});
  round_trip(alice, SetTyping{.to = general});
  round_trip(alice, SetPresence{.state = PresenceState::away});
  round_trip(alice, GetPresence{.users = {"bob"}}, PresencePage{.users = {{"bob", PresenceState::online, {}}}});
  round_trip(alice, WatchPresence{.users = {"bob"}, .conversations = {general}});
  round_trip(alice, MarkDelivered{.conversation = general, .seq = 1});
  round_trip(alice, GetReceipts{.conversation = general}, ReceiptsPage{.receipts = {{"bob", 2, 1}}});
  round_trip(alice, ShareReceipts{.share = false});
  round_trip(alice, Mute{.conversation = general, .until = TimePoint::max()}, Marks{.conversation = general});
  round_trip(alice, Pin{.conversation = general}, Marks{.conversation = general, .pinned = true});
  round_trip(alice, Archive{.conversation = general}, Marks{.conversation = general, .archived = true});
  round_trip(alice, MarkUnread{.conversation = general}, Marks{.conversation = general, .unread = true});
  round_trip(alice, GetUnread{}, UnreadTotal{.messages = 3, .conversations = 1});
  round_trip(alice, ListSessions{}, SessionsPage{.sessions = {{.session = "1", .mine = true}}});
  round_trip(alice, EndSessions{.sessions = {"2"}}, SessionsEnded{.sessions = 1});
  round_trip(alice, SetProfile{.profile = {.display_name = "Alice"}});
  round_trip(alice, GetProfiles{.users = {"bob"}}, ProfilesPage{.profiles = {{.user = "bob"}}});
}

}  // namespace chatcore::client_tests
