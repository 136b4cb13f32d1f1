#include <atomic>
#include <thread>

#include "support/answers.h"
#include "support/host.h"
#include "support/wire.h"

// What a policy lets pass, in which order it is asked, and what becomes of decisions that come late, twice or never.

using namespace chat;

namespace {

// A policy that the test answers for: what it was asked, and the decisions that are still open.
struct Court {
  struct Case {
    UserId user{};
    RequestId request{};
    std::string text{};
    Done<Decision> done{};
  };
  std::vector<Case> cases{};
  std::function<std::optional<Decision>(const Identity&, const RequestView&)> at_once{};  // nothing: later

  std::unique_ptr<Policy> policy() {
    return make_policy([this](const Identity& who, const RequestView& request, Done<Decision> done) {
      Case one{who.user, request.id()};
      if (const auto* send = request.as<Send>()) one.text = send->content.text;
      if (const auto* edit = request.as<EditMessage>()) one.text = edit->content.text;
      if (const auto* shown = request.as<SendEphemeral>()) one.text = shown->content.text;
      if (auto said = at_once ? at_once(who, request) : std::nullopt) {
        done(std::move(*said));
      } else {
        one.done = std::move(done);
      }
      cases.push_back(std::move(one));
    });
  }
  std::vector<std::string> texts() const {
    std::vector<std::string> all;
    for (const Case& one : cases) all.push_back(one.text);
    return all;
  }
  void passes_all() {
    at_once = [](const Identity&, const RequestView&) { return Decision{}; };
  }
};

EngineOptions with(Court& court, unsigned shards = 1) {
  EngineOptions options;
  options.shards = shards;
  options.policy = court.policy();
  return options;
}

using Lines = std::vector<std::string>;
constexpr auto is_forbidden = ErrorCode::forbidden;

Decision no(std::string reason = "no", ErrorCode code = is_forbidden) { return {.code = code, .reason = reason}; }

}  // namespace

// ---- what it is asked

TEST_CASE("A policy is asked for everything that makes or shows something, with the request as it was sent") {
  Court court;
  court.passes_all();
  Server server(with(court));
  const ConversationId room = server.group("room", {"alice", "bob"}, {.open = true});
  CHECK(court.cases.empty());  // the host itself is not asked
  Person alice(server, "alice"), carol(server, "carol");
  const Identity alice_user{.user = "alice"};
  REQUIRE(server.ask(alice_user, text(room, "one", "k1")));
  REQUIRE(server.ask(alice_user, EditMessage{room, 2, {.text = "two"}, "k2"}));
  REQUIRE(server.ask(alice_user, DeleteMessage{room, 2, "k3"}));
  REQUIRE(server.ask(alice_user, SendEphemeral{.to = room, .content = {.text = "three"}}));
  REQUIRE(server.ask(alice_user, CreateConversation{.settings = {.title = "new"}}));
  REQUIRE(server.ask(alice_user, ChangeSettings{room, {.title = "T", .open = true}}));
  REQUIRE(server.ask(alice_user, AddMembers{room, {{"dave", Role::member}}}));
  REQUIRE(server.ask(alice_user, RemoveMembers{room, {"dave"}}));
  REQUIRE(carol.asks(Join{room}));
  REQUIRE(server.ask(alice_user, SetRole{room, "carol", Role::admin}));
  REQUIRE(carol.asks(Leave{room}));
  const std::vector<RequestId> list{RequestId::send,
                                    RequestId::edit_message,
                                    RequestId::delete_message,
                                    RequestId::send_ephemeral,
                                    RequestId::create_conversation,
                                    RequestId::change_settings,
                                    RequestId::add_members,
                                    RequestId::remove_members,
                                    RequestId::join,
                                    RequestId::set_role,
                                    RequestId::leave};
  REQUIRE(court.cases.size() == list.size());
  for (std::size_t i = 0; i < list.size(); ++i) CHECK(court.cases[i].request == list[i]);
  CHECK(court.cases[0].text == "one");
  CHECK(court.cases[1].text == "two");
  CHECK(court.cases[3].text == "three");
  CHECK(court.cases[8].user == user("carol"));

  // Reads are membership's alone.
  REQUIRE(alice.asks(ReadHistory{room}));
  REQUIRE(alice.asks(Sync{room}));
  REQUIRE(alice.asks(GetConversation{room}));
  REQUIRE(alice.asks(ListMembers{room}));
  REQUIRE(alice.asks(ListConversations{}));
  REQUIRE(alice.asks(MarkRead{room, 1}));
  REQUIRE(server.ask(Identity::host(user("npc")), text(room, "the host's own")));
  CHECK(court.cases.size() == list.size());
}

TEST_CASE("A policy sees key, target and fields, and as() of another type is null") {
  bool seen = false;
  EngineOptions options;
  options.policy = make_policy([&](const Identity& who, const RequestView& request) -> Decision {
    const auto* send = request.as<Send>();
    CHECK(request.as<EditMessage>() == nullptr);
    REQUIRE(send);
    seen = send->key == IdempotencyKey("k") && send->to.direct()->peer == user("bob") &&
           who.device == DeviceId("phone") && send->content.metadata.at("a") == "b";
    return {};
  });
  Server server(std::move(options));
  REQUIRE(server.ask(Identity{.user = "alice", .device = "phone"},
                     Send{.to = Direct{"bob"}, .content = {.text = "hi", .metadata = {{"a", "b"}}}, .key = "k"}));
  CHECK(seen);
}

TEST_CASE("Order of checks: a known key, then membership, then the policy, then the role") {
  Court court;
  court.passes_all();
  Server server(with(court));
  const ConversationId room = server.group("room", {"alice", "bob"});
  Person bob(server, "bob");
  const auto first = server.ask("alice", text(room, "one", "k"));
  REQUIRE(first);
  CHECK(court.cases.size() == 1);
  court.at_once = [](const Identity&, const RequestView&) { return no(); };
  const auto again = server.ask("alice", text(room, "one", "k"));  // its key answers it
  REQUIRE(again);
  CHECK(again->duplicate);
  CHECK(again->seq == first->seq);
  CHECK(code(server.ask("alice", text(room, "other", "k"))) == ErrorCode::conflict);
  CHECK(code(server.ask("eve", text(room, "hi"))) == ErrorCode::no_such_conversation);  // membership
  CHECK(court.cases.size() == 1);
  CHECK(code(server.ask("bob", ChangeSettings{room, {.title = "bob's"}})) == ErrorCode::forbidden);
  CHECK(court.cases.size() == 2);  // asked, though his role would not allow it
  court.passes_all();
  CHECK(code(server.ask("bob", ChangeSettings{room, {.title = "bob's"}})) == ErrorCode::forbidden);
}

// ---- what it says

TEST_CASE("A refusal reaches the caller with code and reason, over the wire too, and nobody else hears of it") {
  Court court;
  court.at_once = [](const Identity&, const RequestView& request) {
    const auto* send = request.as<Send>();
    return send && send->content.text == "rude" ? no("be kind") : Decision{};
  };
  Server server(with(court));
  Person bob(server, "bob");
  Guest alice(server, "alice");
  const auto refused = alice.asks(text(Direct{"bob"}, "rude"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::forbidden);
  CHECK(refused.error().message == "be kind");
  alice.says(Direct{"bob"}, "sorry");  // its number is not waited for
  CHECK(bob.receives() == Lines{"sorry"});
}

TEST_CASE("A refusal says only what a policy may say") {
  const auto told = [](Decision decision) {
    Court court;
    court.at_once = [&](const Identity&, const RequestView&) { return decision; };
    Server server(with(court));
    const auto refused = server.ask("alice", hi("bob"));
    REQUIRE_FALSE(refused);
    return refused.error();
  };
  for (const ErrorCode code : {ErrorCode::forbidden, ErrorCode::no_such_conversation, ErrorCode::no_such_message,
                               ErrorCode::invalid, ErrorCode::too_large, ErrorCode::full_group, ErrorCode::rate_limited,
                               ErrorCode::overloaded, ErrorCode::timeout, ErrorCode::cancelled}) {
    CHECK(told({.code = code, .reason = "x"}).code == code);
  }
  for (const ErrorCode code : {ErrorCode::conflict, ErrorCode::key_expired, ErrorCode::corruption,
                               ErrorCode::not_logged_in, ErrorCode::unauthenticated, static_cast<ErrorCode>(999)}) {
    CHECK(told({.code = code, .reason = "x"}).code == ErrorCode::forbidden);
  }
  for (const ErrorCode code : {ErrorCode::unknown_outcome, ErrorCode::earlier_failed, ErrorCode::stopped,
                               ErrorCode::storage_full, ErrorCode::storage_unavailable}) {
    CHECK(told({.code = code, .reason = "x"}).code == ErrorCode::overloaded);
  }
  const Error slow = told({.code = ErrorCode::rate_limited, .reason = "slow mode", .retry_after = 30s});
  CHECK(slow.message == "slow mode");
  CHECK(slow.retry_after == 30s);
  CHECK(told({.code = is_forbidden, .reason = "x", .retry_after = 30s}).retry_after == 0ms);
  CHECK(told({.code = ErrorCode::overloaded, .reason = "x", .retry_after = -5ms}).retry_after == 0ms);
  for (const std::string& reason : {std::string(), std::string("\xff"), std::string(1025, 'x')}) {
    CHECK(told({.code = is_forbidden, .reason = reason}).message == "the policy of this server does not let this pass");
  }
  CHECK(told({.code = is_forbidden, .reason = std::string(1024, 'x')}).message == std::string(1024, 'x'));
}

TEST_CASE(
    "What a policy puts in the content's place is what is stored and shown, and the key stands for what was sent") {
  Court court;
  court.at_once = [](const Identity&, const RequestView& request) {
    Decision decision;
    if (!request.as<DeleteMessage>()) decision.replaced = Content{.text = "***"};
    return decision;
  };
  Server server(with(court));
  const ConversationId room = server.group("room", {"alice", "bob"});
  Person bob(server, "bob");
  REQUIRE(server.ask("alice", text(room, "damn", "k")));
  REQUIRE(server.ask("alice", EditMessage{room, 2, {.text = "damn again"}}));
  REQUIRE(server.ask("alice", SendEphemeral{.to = room, .content = {.text = "damn"}}));
  CHECK(bob.receives() == Lines{"***", "edited #2: ***", "~***"});
  const auto again = server.ask("alice", text(room, "damn", "k"));
  REQUIRE(again);
  CHECK(again->duplicate);
  CHECK(code(server.ask("alice", text(room, "***", "k"))) == ErrorCode::conflict);
  // Of other requests it is ignored.
  REQUIRE(server.ask("alice", ChangeSettings{room, {.title = "T"}}));
  CHECK(bob.receives() == Lines{"settings T"});
}

TEST_CASE("What a policy makes of a content is bound by the limits") {
  std::optional<Content> replaced;
  EngineOptions options;
  options.limits.text_bytes = 10;
  options.policy = make_policy([&](const Identity&, const RequestView&) { return Decision{.replaced = replaced}; });
  Server server(std::move(options));
  const ConversationId room = server.group("room", {"alice", "bob"});
  Person bob(server, "bob");
  REQUIRE(server.ask("alice", text(room, "hi")));
  CHECK(bob.receives() == Lines{"hi"});
  const std::pair<Content, ErrorCode> wrong[] = {{{.text = "longer than ten"}, ErrorCode::too_large},
                                                 {{}, ErrorCode::invalid},
                                                 {{.text = "\xff"}, ErrorCode::invalid}};
  for (const auto& [content, expected] : wrong) {
    replaced = content;
    CHECK(code(server.ask("alice", text(room, "a"))) == expected);
    CHECK(code(server.ask("alice", text(Direct{"carol"}, "a"))) == expected);  // and the conversation is not made
    CHECK(code(server.ask("alice", EditMessage{room, 2, {.text = "a"}})) == expected);
    const auto shown = server.ask("alice", SendEphemeral{.to = room, .content = {.text = "a"}});
    REQUIRE_FALSE(shown);
    CHECK(shown.error().code == expected);
    CHECK(shown.error().message.starts_with("what the policy of this server made of it: "));
  }
  CHECK(bob.receives().empty());
  CHECK(code(server.ask("alice", GetConversation{.of = Direct{"carol"}})) == ErrorCode::no_such_conversation);
}

// ---- when it says it

TEST_CASE("While a decision is pending only its sender waits, in that conversation, and his order is kept") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    Court court;
    court.at_once = [](const Identity&, const RequestView& request) -> std::optional<Decision> {
      const auto* send = request.as<Send>();
      return send && send->content.text == "slow" ? std::nullopt : std::optional<Decision>(Decision{});
    };
    Server server(with(court, shards));
    const ConversationId room = server.group("room", {"alice", "bob", "carol"});
    const ConversationId other = server.group("other", {"alice", "carol"});
    Person carol(server, "carol"), alice(server, "alice"), alice2(server, "alice");
    const auto slow = begin(alice, text(room, "slow"));
    const auto second = begin(alice, text(room, "second"));
    const auto shown = begin(alice2, SendEphemeral{.to = room, .content = {.text = "shown"}});
    const auto third = begin(alice2, text(room, "third"));
    const auto bobs = begin(server, "bob", text(room, "bob's"));
    const auto elsewhere = begin(alice, text(other, "elsewhere"));
    server.settle();
    CHECK_FALSE(slow.came());
    CHECK_FALSE(second.came());
    CHECK_FALSE(third.came());
    CHECK_FALSE(shown.came());
    CHECK(bobs.came());
    CHECK(elsewhere.came());
    Lines before = carol.receives();
    std::sort(before.begin(), before.end());
    CHECK(before == Lines{"bob's", "elsewhere"});
    for (auto& one : court.cases) {
      if (one.done) one.done(Decision{});
    }
    server.settle();
    CHECK(slow->seq < second->seq);
    CHECK(second->seq < third->seq);
    CHECK(shown->sessions >= 1);
    Lines said;
    for (const std::string& line : carol.receives()) {
      if (line != "~shown") said.push_back(line);
    }
    CHECK(said == Lines{"slow", "second", "third"});
  }
}

TEST_CASE("A repeat waits for the decision on the first attempt, and gets the same seq without asking again") {
  Court court;
  Server server(with(court));
  const ConversationId room = server.group("room", {"alice", "bob"});
  const auto first = begin(server, "alice", text(room, "hi", "k")),
             again = begin(server, "alice", text(room, "hi", "k"));
  server.settle();
  REQUIRE(court.cases.size() == 1);
  court.cases[0].done(Decision{});
  server.settle();
  CHECK(first->seq == 2);
  CHECK(again->seq == 2);
  CHECK(again->duplicate);
  CHECK(court.cases.size() == 1);
}

TEST_CASE("Membership and role are looked at again when the decision comes") {
  Court court;
  Server server(with(court));
  const ConversationId room = server.group("room", {"alice", "bob", "carol"});
  const auto bobs = begin(server, "bob", text(room, "bob's"));
  const auto carols = begin(server, "carol", text(room, "carol's"));
  const auto shown = begin(server, "bob", SendEphemeral{.to = room, .content = {.text = "x"}});
  server.settle();
  REQUIRE(server.ask(Identity::system(), RemoveMembers{room, {"bob"}}));
  REQUIRE(server.ask(Identity::system(), SetRole{room, "carol", Role::reader}));
  for (std::size_t i = 0; i < 2; ++i) court.cases[i].done(Decision{});
  server.settle();
  CHECK(bobs.code() == ErrorCode::forbidden);
  CHECK(bobs.result().error().message == "you are no longer in this conversation");
  CHECK(carols.code() == ErrorCode::forbidden);
  CHECK(shown.code() == ErrorCode::forbidden);  // it waited behind; membership came first: nobody was asked
  CHECK(court.cases.size() == 2);
  CHECK(lines_of(log_of(server, room)) ==
        Lines{"joined alice, joined bob, joined carol, role4 alice", "left bob", "role1 carol"});
}

TEST_CASE("A decision that comes after the conversation was read again is applied to what is there then") {
  Court court;
  Server server(with(court));
  const ConversationId room = server.group("room", {"alice", "bob"});
  const auto slow = begin(server, "alice", text(room, "slow", IdempotencyKey("phone", 1)));
  const auto behind = begin(server, "alice", text(room, "behind", IdempotencyKey("phone", 2)));
  server.settle();
  REQUIRE(court.cases.size() == 1);
  server.store->commits_fail = true;
  CHECK(code(server.ask(Identity::system(), text(room, "lost"))) == ErrorCode::storage_unavailable);
  server.store->commits_fail = false;
  server.settle();
  court.cases[0].done(Decision{});
  server.settle();
  REQUIRE(court.cases.size() == 2);  // the first one is not asked about again
  court.cases[1].done(Decision{});
  server.settle();
  CHECK(slow->seq < behind->seq);
  CHECK(court.cases.size() == 2);
}

TEST_CASE("The first completion counts: twice, late, from another thread, never") {
  Court court;
  Server server(with(court));
  const ConversationId room = server.group("room", {"alice", "bob"});

  const auto twice = begin(server, "alice", text(room, "twice"));
  server.settle();
  court.cases[0].done(no());
  court.cases[0].done(Decision{});
  server.settle();
  CHECK(twice.code() == is_forbidden);

  const auto thread = begin(server, "alice", text(room, "thread"));
  server.settle();
  std::thread([&] { court.cases[1].done(Decision{}); }).join();
  server.settle();
  CHECK(thread->seq == 2);

  const auto late = begin(server, "alice", text(room, "late"));
  server.advance(999ms);
  CHECK_FALSE(late.came());
  server.advance(1ms);
  CHECK(late.code() == ErrorCode::overloaded);
  CHECK(late.result().error().retry_after == 1s);
  court.cases[2].done(Decision{});  // by now the next one waits: it is not that one's
  const auto next = begin(server, "alice", text(room, "next"));
  server.settle();
  court.cases[2].done(Decision{});
  server.settle();
  CHECK_FALSE(next.came());

  court.cases[3].done = {};  // dropped
  server.settle();
  CHECK(next.code() == ErrorCode::overloaded);

  const auto failed = begin(server, "alice", text(room, "failed"));
  server.settle();
  court.cases[4].done(Error{ErrorCode::corruption, "the host's database", {}});
  server.settle();
  CHECK(failed.code() == ErrorCode::overloaded);
  CHECK(log_of(server, room).size() == 2);
}

TEST_CASE("Where a policy does not decide, the host's default does") {
  for (const bool passes : {false, true}) {
    CAPTURE(passes);
    int asked = 0;
    EngineOptions options;
    options.policy = make_policy([&](const Identity&, const RequestView&, Done<Decision> done) {
      if (++asked == 1) throw std::runtime_error("the host's policy");
      if (asked == 2) {
        done(Decision{});
        throw std::runtime_error("after it has decided");
      }
      static std::vector<Done<Decision>> kept;
      if (asked == 3) kept.push_back(std::move(done));
    });
    options.policy_deadline = 50ms;
    options.policy_default = passes ? Decision{} : no("closed for the night");
    Server server(std::move(options));
    for (int i = 0; i < 4; ++i) {
      const auto answer = server.ask("alice", hi("bob"));
      CHECK(code(answer) == (passes ? ErrorCode::ok : is_forbidden));
      if (!answer) CHECK(answer.error().message == "closed for the night");
    }
    CHECK(asked == 4);
    CHECK(server.engine().stats().callback_exceptions == 2);
  }
}

TEST_CASE("A number that was refused retryably is waited for; one that was refused for good is not") {
  Court court;
  Decision decision = no("later", ErrorCode::overloaded);
  court.at_once = [&](const Identity&, const RequestView&) { return decision; };
  Server server(with(court));
  const auto one = [&](std::uint64_t n) { return code(server.ask("alice", text(Direct{"bob"}, "x", {"phone", n}))); };
  CHECK(one(1) == ErrorCode::overloaded);
  CHECK(one(2) == ErrorCode::earlier_failed);
  CHECK(court.cases.size() == 1);
  decision = no();
  CHECK(one(1) == is_forbidden);
  decision = {};
  CHECK(one(2) == ErrorCode::ok);
}

TEST_CASE("A conversation with a pending decision stays in memory") {
  Court court;
  EngineOptions options = with(court);
  options.policy_deadline = 24h;
  Server server(std::move(options));
  const auto answer = begin(server, "alice", hi("bob"));  // of a conversation that does not exist yet
  server.advance(std::chrono::minutes(30));
  CHECK(server.engine().stats().conversations == 1);
  REQUIRE(court.cases.size() == 1);
  court.cases[0].done(Decision{});
  server.settle();
  CHECK(answer->seq == 1);
}

// ---- the end

TEST_CASE("A stop answers what is not decided with stopped, and tells it before it says goodbye") {
  Court court;
  EngineOptions options = with(court, 4);
  options.policy_deadline = 24h;
  Server server(std::move(options));
  std::vector<std::unique_ptr<Wire>> wires;
  int answers = 0;
  for (int i = 0; i < 8; ++i) {
    const std::string name = "user" + std::to_string(i);
    wires.push_back(std::make_unique<Wire>(server.engine(), AttachOptions{.identity = Identity{.user = user(name)}}));
    server.settle();
    CHECK(wires.back()->logs_in(server, name) == ErrorCode::ok);
    const Bytes body = protocol::encode(hi("bob"));
    wires.back()->says(frame(77, 1, {reinterpret_cast<const char*>(body.data()), body.size()}));
    server.engine().call({.user = user(name)}, hi("carol"), [&](Result<Sent> sent) {
      CHECK(code(sent) == ErrorCode::stopped);
      ++answers;
    });
  }
  server.settle();
  CHECK(court.cases.size() == 16);
  for (auto& wire : wires) (void)wire->hears();
  CHECK(server.engine().stop(400ms));
  CHECK(answers == 8);
  for (auto& wire : wires) {
    const auto heard = wire->hears();
    REQUIRE(heard.size() >= 2);
    CHECK(heard.front().call == 77);
    REQUIRE(heard.front().error);
    CHECK(heard.front().error->code == ErrorCode::stopped);
    CHECK(Wire::farewell(heard)->code == ErrorCode::stopped);
  }
  for (auto& one : court.cases) one.done(Decision{});  // into nothing
  server.test.reset();
  for (auto& one : court.cases) one.done(Decision{});
}

TEST_CASE("A completion that the host keeps for ever holds nothing of the engine's") {
  Court court;
  std::weak_ptr<int> held;
  {
    const auto token = std::make_shared<int>(0);
    held = token;
    Server server(with(court));
    server.engine().call(alice_is, hi("bob"), [token](Result<Sent>) {});
    server.settle();
    (void)server.engine().stop(0ms);
  }
  CHECK(court.cases.size() == 1);
  CHECK(held.expired());
  court.cases[0].done(Decision{});
}

TEST_CASE("Decisions from many threads, of engines with many threads: each request is answered once, in order") {
  std::mutex mutex;
  std::vector<Done<Decision>> open_cases;
  std::atomic<bool> over{false};
  std::vector<std::thread> judges;
  for (int i = 0; i < 3; ++i) {
    judges.emplace_back([&] {
      while (!over) {
        Done<Decision> done;
        {
          std::lock_guard lock(mutex);
          if (!open_cases.empty()) {
            done = std::move(open_cases.back());
            open_cases.pop_back();
          }
        }
        done ? done(Decision{}) : std::this_thread::yield();
      }
    });
  }
  EngineOptions options = in_memory(2, 4);
  options.policy_deadline = 1min;
  options.policy = make_policy([&](const Identity&, const RequestView& request, Done<Decision> done) {
    const auto* send = request.as<Send>();
    if (send && send->key.number % 3 == 0) return done(Decision{});
    std::lock_guard lock(mutex);
    open_cases.push_back(std::move(done));
  });
  {
    Engine engine = open(std::move(options));
    std::atomic<int> answers{0};
    constexpr int users = 6, each = 50;
    for (std::uint64_t n = 1; n <= each; ++n) {
      for (int u = 0; u < users; ++u) {
        Send send{.to = Direct{"hub"}, .content = {.text = std::to_string(n)}, .key = {"s", n}};
        engine.call({.user = user("u" + std::to_string(u))}, std::move(send), [&answers, n](Result<Sent> sent) {
          CHECK(code(sent) == ErrorCode::ok);
          if (sent) CHECK(sent->seq == n);
          ++answers;
        });
      }
    }
    CHECK(until([&] { return answers == users * each; }));
    CHECK(engine.stop(2s));
  }
  over = true;
  for (auto& judge : judges) judge.join();
}

TEST_CASE("The engine says which of a policy's options is out of range") {
  EngineOptions options = in_memory(0);
  options.policy_deadline = 0ms;
  const auto engine = Engine::open(std::move(options));
  REQUIRE_FALSE(engine);
  CHECK(engine.error().message.find("policy_deadline") != std::string::npos);
}

TEST_CASE("An empty function lets nothing pass") {
  for (const bool later : {false, true}) {
    EngineOptions options;
    options.policy = later ? make_policy(Function<void(const Identity&, const RequestView&, Done<Decision>)>())
                           : make_policy(Function<Decision(const Identity&, const RequestView&)>());
    Server server(std::move(options));
    CHECK(code(server.ask("alice", hi("bob"))) == is_forbidden);
  }
}
