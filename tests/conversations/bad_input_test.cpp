#include <functional>
#include <stdexcept>

#include "support/chat.h"
#include "support/wire.h"

using namespace chat;

namespace {

template <class T>
ErrorCode code(const Result<T>& answer) {
  return answer ? ErrorCode::ok : answer.error().code;
}

EngineOptions with(Limits limits) {
  EngineOptions options;
  options.limits = limits;
  return options;
}

const std::string bad("\xc3\x28", 2);
constexpr auto ok = ErrorCode::ok, invalid = ErrorCode::invalid, too_large = ErrorCode::too_large;

// A storage that says what the test tells it to when it is opened.
struct Stubborn final : Storage {
  explicit Stubborn(Durability most = Durability::disk)
      : opens([most] { return StoreInfo{.format = 1, .epoch = "e", .durability = most, .last_batch = 0}; }) {}
  std::function<Result<StoreInfo>()> opens;
  Error reads{};
  bool reads_throw = false;
  std::unique_ptr<Storage> inner = make_memory_storage();

  Result<StoreInfo> open(Durability) override {
    (void)inner->open(Durability::memory);
    return opens();
  }
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    if (reads.code == ErrorCode::ok) return inner->commit(changes, outcome);
    for (Status& status : outcome) status = reads;
    return {};
  }
  template <class F>
  auto read(F f) -> decltype(f()) {
    if (reads_throw) throw std::runtime_error("no disk");
    if (reads.code != ErrorCode::ok) return reads;
    return f();
  }
  Result<EventPage> events(std::string_view p, chatcore::Log l, Seq s, Direction d, PageLimit n) override {
    return read([&] { return inner->events(p, l, s, d, n); });
  }
  Result<std::optional<Row>> row(std::string_view p, Table t, std::string_view k) override {
    return read([&] { return inner->row(p, t, k); });
  }
  Result<RowPage> rows(std::string_view p, Table t, std::string_view a, PageLimit n) override {
    return read([&] { return inner->rows(p, t, a, n); });
  }
  Result<FeedPage> feed(std::uint64_t a, PageLimit n) override {
    return read([&] { return inner->feed(a, n); });
  }
};

// Every request that names a conversation, as (name, what it is answered with).
struct Named {
  const char* name;
  std::function<Error(Person&, const ConversationId&)> ask;
};
template <Request R>
Error error_of(Person& who, R request) {
  auto answer = who.asks(std::move(request));
  return answer ? Error{} : answer.error();
}
const std::vector<Named>& all_named() {
  using C = const ConversationId&;
  static const std::vector<Named> all{
      {"Send", [](Person& p, C c) { return error_of(p, Send{.to = c, .content = {.text = "x"}}); }},
      {"Send with a key",
       [](Person& p, C c) {
         return error_of(p, Send{.to = c, .content = {.text = "x"}, .key = {"i", 7}});
       }},
      {"SendEphemeral", [](Person& p, C c) { return error_of(p, SendEphemeral{.to = c, .content = {.text = "x"}}); }},
      {"ReadHistory", [](Person& p, C c) { return error_of(p, ReadHistory{.conversation = c}); }},
      {"Sync", [](Person& p, C c) { return error_of(p, Sync{.conversation = c}); }},
      {"EditMessage",
       [](Person& p, C c) { return error_of(p, EditMessage{.conversation = c, .seq = 2, .content = {.text = "x"}}); }},
      {"EditMessage beyond",
       [](Person& p, C c) { return error_of(p, EditMessage{.conversation = c, .seq = 99, .content = {.text = "x"}}); }},
      {"DeleteMessage", [](Person& p, C c) { return error_of(p, DeleteMessage{.conversation = c, .seq = 2}); }},
      {"Abandon",
       [](Person& p, C c) {
         return error_of(p, Abandon{.to = c, .key = {"i", 3}});
       }},
      {"ChangeSettings", [](Person& p, C c) { return error_of(p, ChangeSettings{.conversation = c}); }},
      {"GetConversation", [](Person& p, C c) { return error_of(p, GetConversation{.of = c}); }},
      {"AddMembers", [](Person& p, C c) { return error_of(p, AddMembers{.conversation = c, .members = {{"eve"}}}); }},
      {"AddMembers of nobody", [](Person& p, C c) { return error_of(p, AddMembers{.conversation = c}); }},
      {"RemoveMembers",
       [](Person& p, C c) { return error_of(p, RemoveMembers{.conversation = c, .users = {"alice"}}); }},
      {"RemoveMembers of nobody", [](Person& p, C c) { return error_of(p, RemoveMembers{.conversation = c}); }},
      {"Join", [](Person& p, C c) { return error_of(p, Join{.conversation = c}); }},
      {"Leave", [](Person& p, C c) { return error_of(p, Leave{.conversation = c}); }},
      {"SetRole",
       [](Person& p, C c) { return error_of(p, SetRole{.conversation = c, .user = "alice", .role = Role::owner}); }},
      {"ListMembers", [](Person& p, C c) { return error_of(p, ListMembers{.conversation = c}); }},
      {"MarkRead", [](Person& p, C c) { return error_of(p, MarkRead{.conversation = c, .seq = 1}); }},
      {"MarkRead beyond", [](Person& p, C c) { return error_of(p, MarkRead{.conversation = c, .seq = 99}); }},
  };
  return all;
}

}  // namespace

// ---- strangers

TEST_CASE("A stranger can't tell a conversation that exists from one that does not") {
  Server server;
  const ConversationId group = server.group("there", {"alice", "bob"});
  Person alice(server, "alice"), eve(server, "eve");
  alice.says(group, "hi");
  const ConversationId pair = alice.says(Direct{"bob"}, "hi").conversation;
  for (const Named& request : all_named()) {
    CAPTURE(request.name);
    const Error nothing = request.ask(eve, "nowhere");
    for (const ConversationId& there : {group, pair}) {
      const Error stranger = request.ask(eve, there);
      CHECK(stranger.code == nothing.code);
      CHECK(stranger.message == nothing.message);
      CHECK(stranger.retry_after == nothing.retry_after);
    }
    if (std::string_view(request.name) != "Abandon") CHECK(nothing.code == ErrorCode::no_such_conversation);
  }
  CHECK(alice.asks(GetConversation{.of = group})->head == 2);
}

TEST_CASE("The host, too, is told that there is no such conversation") {
  Server server;
  CHECK(code(server.ask(Identity::system(), Send{.to = ConversationId("nowhere"), .content = {.text = "x"}})) ==
        ErrorCode::no_such_conversation);
  CHECK(code(server.ask(Identity::system(), ReadHistory{.conversation = "nowhere"})) ==
        ErrorCode::no_such_conversation);
  CHECK(code(server.ask(Identity::host("npc"), SendEphemeral{.to = Direct{"bob"}, .content = {.text = "x"}})) ==
        ErrorCode::no_such_conversation);
}

TEST_CASE("The host itself has no direct conversations, no list, no cursors, and joins nothing") {
  Server server;
  const ConversationId group = server.group("there", {"alice"}, {.open = true});
  const Identity host = Identity::system();
  CHECK(code(server.ask(host, Send{.to = Direct{"bob"}, .content = {.text = "x"}})) == invalid);
  CHECK(code(server.ask(host, SendEphemeral{.to = Direct{"bob"}, .content = {.text = "x"}})) == invalid);
  CHECK(code(server.ask(host, GetConversation{.of = Direct{"bob"}})) == invalid);
  CHECK(code(server.ask(host, ListConversations{})) == invalid);
  CHECK(code(server.ask(host, MarkRead{.conversation = group, .seq = 1})) == invalid);
  CHECK(code(server.ask(host, Join{.conversation = group})) == invalid);
  CHECK(code(server.ask(host, Leave{.conversation = group})) == invalid);
}

TEST_CASE("An identity without a user that is not the host's has no rights at all") {
  Server server;
  const ConversationId group = server.group("there", {"alice"}, {.open = true});
  const Identity nobody{};
  CHECK(code(server.ask(nobody, Send{.to = group, .content = {.text = "x"}})) != ok);
  CHECK(code(server.ask(nobody, Send{.to = Direct{"alice"}, .content = {.text = "x"}})) == invalid);
  CHECK(code(server.ask(nobody, ReadHistory{.conversation = group})) == ErrorCode::no_such_conversation);
  CHECK(code(server.ask(nobody, Join{.conversation = group})) == invalid);
  CHECK(code(server.ask(nobody, CreateConversation{})) == invalid);
}

// ---- what a field must not be

TEST_CASE("Text, bytes, their type and metadata have limits: at the limit they pass, one more is too large") {
  Server server(with(
      {.frame_bytes = 16 << 10, .text_bytes = 100, .content_bytes = 200, .metadata_bytes = 50, .group_members = 60}));
  Person alice(server, "alice");
  const ConversationId group = server.group("lunch", {"alice"});
  const Seq seq = alice.says(group, "x").seq;
  const auto three = [&](const Content& content, ErrorCode expected, std::string_view names) {
    CAPTURE(names);
    const Error errors[] = {error_of(alice, Send{.to = group, .content = content}),
                            error_of(alice, EditMessage{.conversation = group, .seq = seq, .content = content}),
                            error_of(alice, SendEphemeral{.to = group, .content = content})};
    for (const Error& error : errors) {
      CHECK(error.code == expected);
      CHECK(error.message.find(names) != std::string::npos);
    }
  };
  three({.text = std::string(100, 'x')}, ok, "");
  three({.text = std::string(101, 'x')}, too_large, "text");
  three({.data = Bytes(200)}, ok, "");
  three({.data = Bytes(201)}, too_large, "data");
  three({.content_type = std::string(255, 't'), .data = Bytes(1)}, ok, "");
  three({.content_type = std::string(256, 't'), .data = Bytes(1)}, too_large, "content_type");
  three({.text = "x", .metadata = {{std::string(20, 'k'), std::string(30, 'v')}}}, ok, "");
  three({.text = "x", .metadata = {{std::string(20, 'k'), std::string(31, 'v')}}}, too_large, "metadata");
  three({.text = "x", .metadata = {{std::string(20, 'k'), "v"}, {"l", std::string(29, 'v')}}}, too_large, "metadata");
  three({}, invalid, "content");
  three({.content_type = "text/plain", .metadata = {{"a", "b"}}}, invalid, "content");
  three({.text = bad}, invalid, "text");
  three({.content_type = bad, .data = Bytes(1)}, invalid, "content_type");
  three({.text = "x", .metadata = {{bad, "v"}}}, invalid, "metadata");
  three({.text = "x", .metadata = {{"k", bad}}}, invalid, "metadata");
  three({.data = to_bytes(bad)}, ok, "");  // bytes are the host's
}

TEST_CASE("Settings have limits and are UTF-8") {
  Server server(with({.metadata_bytes = 50}));
  Person alice(server, "alice");
  const ConversationId group = server.group("lunch", {"alice"});
  const auto both = [&](const ConversationSettings& settings, ErrorCode expected, std::string_view names) {
    CAPTURE(names);
    const Error errors[] = {error_of(alice, CreateConversation{.settings = settings}),
                            error_of(alice, ChangeSettings{.conversation = group, .settings = settings})};
    for (const Error& error : errors) {
      CHECK(error.code == expected);
      CHECK(error.message.find(names) != std::string::npos);
    }
  };
  both({.title = std::string(255, 't')}, ok, "");
  both({.title = std::string(256, 't')}, too_large, "title");
  both({.custom = {{std::string(20, 'k'), std::string(30, 'v')}}}, ok, "");
  both({.custom = {{std::string(20, 'k'), std::string(31, 'v')}}}, too_large, "custom");
  both({.title = bad}, invalid, "title");
  both({.custom = {{bad, "v"}}}, invalid, "custom");
  both({.custom = {{"k", bad}}}, invalid, "custom");
  both({.newcomers_see = static_cast<NewcomersSee>(4)}, invalid, "newcomers_see");
  both({.newcomers_see = static_cast<NewcomersSee>(0)}, invalid, "newcomers_see");
  both({.newcomers_see = NewcomersSee::last, .newcomers_last = ~0u}, ok, "");
}

TEST_CASE("A key's source has at most 128 bytes, is UTF-8, and a number needs one") {
  Server server;
  Person alice(server, "alice");
  const ConversationId group = server.group("lunch", {"alice", "bob"}, {.open = true});
  const Seq seq = alice.says(group, "x").seq;
  for (const auto& [key, expected] :
       std::vector<std::pair<IdempotencyKey, ErrorCode>>{{{std::string(129, 'k')}, invalid},
                                                         {{bad}, invalid},
                                                         {{"", 7}, invalid},
                                                         {{std::string(128, 'k'), 1}, ok}}) {
    CAPTURE(key.source);
    CHECK(code(alice.asks(Send{.to = group, .content = {.text = "x"}, .key = key})) == expected);
    if (expected == ok) continue;
    CHECK(code(alice.asks(EditMessage{.conversation = group, .seq = seq, .content = {.text = "x"}, .key = key})) ==
          invalid);
    CHECK(code(alice.asks(DeleteMessage{.conversation = group, .seq = seq, .key = key})) == invalid);
    CHECK(code(alice.asks(CreateConversation{.key = key})) == invalid);
    CHECK(code(alice.asks(ChangeSettings{.conversation = group, .key = key})) == invalid);
    CHECK(code(alice.asks(AddMembers{.conversation = group, .key = key})) == invalid);
    CHECK(code(alice.asks(RemoveMembers{.conversation = group, .key = key})) == invalid);
    CHECK(code(alice.asks(Join{.conversation = group, .key = key})) == invalid);
    CHECK(code(alice.asks(Leave{.conversation = group, .key = key})) == invalid);
    CHECK(code(alice.asks(SetRole{.conversation = group, .user = "bob", .role = Role::admin, .key = key})) == invalid);
    CHECK(code(alice.asks(Abandon{.to = group, .key = key})) == invalid);
  }
  CHECK(code(alice.asks(Abandon{.to = group, .key = "free"})) == invalid);  // a free string can't be abandoned
  CHECK(code(alice.asks(Abandon{.to = group, .key = {"i", 7}})) == ok);
}

TEST_CASE("Ids must not be empty") {
  Server server;
  Person alice(server, "alice");
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  for (const Named& request : all_named()) {
    CAPTURE(request.name);
    CHECK(request.ask(alice, ConversationId{}).code == invalid);
  }
  CHECK(code(alice.asks(Send{.to = Direct{}, .content = {.text = "x"}})) == invalid);
  CHECK(code(alice.asks(SendEphemeral{.to = Direct{}, .content = {.text = "x"}})) == invalid);
  CHECK(code(alice.asks(GetConversation{.of = Direct{}})) == invalid);
  CHECK(code(alice.asks(Abandon{.to = Direct{}, .key = {"i", 1}})) == invalid);
  CHECK(code(alice.asks(CreateConversation{.members = {{UserId{}}}})) == invalid);
  CHECK(code(alice.asks(AddMembers{.conversation = group, .members = {{"carol"}, {UserId{}}}})) == invalid);
  CHECK(code(alice.asks(RemoveMembers{.conversation = group, .users = {UserId{}}})) == invalid);
  CHECK(code(alice.asks(SetRole{.conversation = group, .user = {}, .role = Role::admin})) == invalid);
  CHECK(code(alice.asks(SendEphemeral{.to = group, .content = {.text = "x"}, .only = {UserId{}}})) == invalid);
}

TEST_CASE("What is no id is told why") {
  for (const auto& [text, names] : std::vector<std::pair<std::string, std::string_view>>{{"", "empty"},
                                                                                         {std::string(64, 'x'), "63"},
                                                                                         {"a\nb", "control"},
                                                                                         {"\x7f", "control"},
                                                                                         {"\xc2\x80", "control"},
                                                                                         {bad, "UTF-8"}}) {
    CAPTURE(text);
    const auto id = UserId::make(text);
    CHECK(code(id) == invalid);
    CHECK(id.error().message.find(names) != std::string::npos);
  }
  CHECK(UserId::make(std::string(63, 'x')));
  CHECK(UserId::make("\xe2\x82\xac"));
}

TEST_CASE("Roles, directions, seqs and page limits are in range") {
  Server server(with({.page_items = 20}));
  Person alice(server, "alice");
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  for (const int role : {0, 5, 255}) {
    CHECK(code(alice.asks(SetRole{.conversation = group, .user = "bob", .role = static_cast<Role>(role)})) == invalid);
    CHECK(code(alice.asks(AddMembers{.conversation = group, .members = {{"carol", static_cast<Role>(role)}}})) ==
          invalid);
    CHECK(code(alice.asks(CreateConversation{.members = {{"carol", static_cast<Role>(role)}}})) == invalid);
  }
  for (const int direction : {0, 3}) {
    CHECK(code(alice.asks(ReadHistory{.conversation = group, .direction = static_cast<Direction>(direction)})) ==
          invalid);
  }
  CHECK(code(alice.asks(EditMessage{.conversation = group, .seq = 0, .content = {.text = "x"}})) == invalid);
  CHECK(code(alice.asks(DeleteMessage{.conversation = group, .seq = 0})) == invalid);
  CHECK(code(alice.asks(EditMessage{.conversation = group, .seq = ~Seq{0}, .content = {.text = "x"}})) ==
        ErrorCode::no_such_message);
  CHECK(code(alice.asks(DeleteMessage{.conversation = group, .seq = ~Seq{0}})) == ErrorCode::no_such_message);
  for (const auto& [limit, expected] :
       std::vector<std::pair<std::uint32_t, ErrorCode>>{{0, ok}, {1, ok}, {20, ok}, {21, invalid}, {~0u, invalid}}) {
    CAPTURE(limit);
    CHECK(code(alice.asks(ReadHistory{.conversation = group, .limit = limit})) == expected);
    CHECK(code(alice.asks(Sync{.conversation = group, .limit = limit})) == expected);
    CHECK(code(alice.asks(ListMembers{.conversation = group, .limit = limit})) == expected);
    CHECK(code(alice.asks(ListConversations{.limit = limit})) == expected);
  }
  CHECK(code(alice.asks(ListConversations{.after = std::string(257, 'x'), .limit = 1})) == invalid);
  CHECK(code(alice.asks(ListConversations{.after = std::string(256, '\xff'), .limit = 1})) == ok);
}

// ---- on the wire

TEST_CASE("Before the login nothing is done but the login and the ping") {
  Server server;
  server.group("lunch", {"alice"});
  Wire wire(server.engine());
  for (std::uint64_t request = 1; request <= 34; ++request)
    CHECK(wire.code(server, request, "") == ErrorCode::not_logged_in);
  CHECK(wire.code(server, 4711, "") == ErrorCode::not_logged_in);
  CHECK(wire.code(server, 65, "") == ok);
  CHECK(wire.logs_in(server, "alice") == ok);
  CHECK(wire.asks(server, ReadHistory{.conversation = "lunch"}));
}

TEST_CASE("A request that this server does not know is answered, and the session goes on") {
  Server server;
  server.group("lunch", {"alice"});
  Wire wire(server.engine());
  REQUIRE(wire.logs_in(server, "alice") == ok);
  for (const std::uint64_t request : {0u, 35u, 63u, 66u, 4711u, 65535u}) {
    CHECK(wire.code(server, request, "whatever") == ErrorCode::unknown_request);
  }
  CHECK(static_cast<int>(ErrorCode::unknown_request) == 18);
  CHECK(wire.asks(server, ReadHistory{.conversation = "lunch"}));
}

TEST_CASE("Fields that this server does not know are passed over, in the envelope and in the request") {
  Server server;
  Wire wire(server.engine());
  REQUIRE(wire.logs_in(server, "alice") == ok);
  const std::string strange =
      number(100, 7) + text(101, "later") + varint(102 << 3 | 5) + "1234" + varint(103 << 3 | 1) + "12345678";
  const std::string body = strange + text(1, text(2, "bob") + strange) + text(2, text(1, "hi") + strange) + strange;
  wire.says(to_bytes(strange + number(1, 77) + number(2, 1) + text(3, body) + strange));
  server.settle();
  const auto heard = wire.hears();
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].call == 77);
  CHECK_FALSE(heard[0].error);
}

TEST_CASE("A request that is no Protobuf, or has a bad field, is invalid, and the session goes on") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice"});
  Wire wire(server.engine());
  REQUIRE(wire.logs_in(server, "alice") == ok);
  for (std::uint64_t request = 1; request <= 34; ++request) {
    CAPTURE(request);
    CHECK(wire.code(server, request, "\xff\xff\xff") == invalid);
    CHECK(wire.code(server, request, std::string("\x0a\x7f", 2) + "short") == invalid);  // a length beyond the end
    CHECK(wire.code(server, request, std::string(1, '\x0b')) == invalid);                // a group
  }
  const auto target = [](std::string_view id) { return text(1, text(1, id)); };
  const std::string content = text(2, text(1, "hi"));
  CHECK(wire.code(server, 1, target("lunch") + content) == ok);
  CHECK(wire.code(server, 1, content) == invalid);  // no target
  CHECK(wire.code(server, 1, target("") + content) == invalid);
  CHECK(wire.code(server, 1, text(1, text(2, "")) + content) == invalid);
  CHECK(wire.code(server, 1, target(bad) + content) == invalid);
  CHECK(wire.code(server, 1, target(std::string(64, 'x')) + content) == invalid);
  CHECK(wire.code(server, 1, target("a\tb") + content) == invalid);
  CHECK(wire.code(server, 1, text(1, text(2, bad)) + content) == invalid);
  CHECK(wire.code(server, 1, target("lunch") + text(2, text(1, bad))) == invalid);
  CHECK(wire.code(server, 1, target("lunch") + text(2, text(1, "x") + text(2, bad))) == invalid);
  CHECK(wire.code(server, 1, target("lunch") + text(2, text(1, "x") + text(4, text(1, bad) + text(2, "v")))) ==
        invalid);
  CHECK(wire.code(server, 1, target("lunch") + text(2, text(1, "x") + text(4, text(1, "k") + text(2, bad)))) ==
        invalid);
  CHECK(wire.code(server, 1, target("lunch") + content + text(3, text(1, bad))) == invalid);
  CHECK(wire.code(server, 8, text(2, text(1, bad))) == invalid);
  CHECK(wire.code(server, 9, text(1, "lunch") + text(2, text(2, text(1, bad)))) == invalid);
  CHECK(wire.code(server, 15, text(1, "lunch") + text(2, bad) + number(3, 2)) == invalid);
  CHECK(wire.code(server, 15, text(1, "lunch") + text(2, "alice") + number(3, 5)) == invalid);
  CHECK(wire.code(server, 15, text(1, "lunch") + text(2, "alice") + number(3, ~0ull)) == invalid);
  CHECK(wire.code(server, 15, text(1, "lunch") + text(2, "alice") + number(3, 256 + 2)) == invalid);  // no wrapping
  CHECK(wire.code(server, 3, text(1, "lunch") + number(3, 7)) == invalid);
  CHECK(wire.code(server, 12, text(1, "lunch") + text(2, "")) == invalid);
  CHECK(wire.code(server, 13, text(1, bad)) == invalid);
  CHECK(wire.code(server, 16, text(1, "lunch") + text(2, bad)) == invalid);
  CHECK(wire.closed().empty());
  CHECK(wire.asks(server, ReadHistory{.conversation = group}));
}

TEST_CASE("What a request leaves out has its usual value") {
  Server server;
  Wire wire(server.engine());
  REQUIRE(wire.logs_in(server, "alice") == ok);
  const auto made = wire.calls(server, 8, "");
  REQUIRE_FALSE(made.error);
  const auto accepted = protocol::decode<Accepted>(made.body);
  REQUIRE(accepted);
  const std::string id = accepted->conversation.string();
  CHECK(wire.code(server, 11, text(1, id) + text(2, text(1, "bob"))) == ok);
  CHECK(wire.code(server, 3, text(1, id)) == ok);
  CHECK(wire.code(server, 4, text(1, id)) == ok);
  CHECK(wire.code(server, 16, text(1, id)) == ok);
  CHECK(wire.code(server, 18, "") == ok);
  auto members = server.ask("alice", ListMembers{.conversation = accepted->conversation});
  REQUIRE(members);
  REQUIRE(members->members.size() == 2);
  CHECK(members->members[1] == Member{"bob", Role::member});
  CHECK(server.ask("alice", GetConversation{.of = accepted->conversation})->settings == ConversationSettings{});
}

TEST_CASE("A frame that is no envelope closes the connection, and says so") {
  for (const std::string& bytes :
       {std::string("\xff"), std::string("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12),
        std::string("\x1a\x05hi", 4), std::string("\x00", 1), std::string("\x08", 1), std::string("\x0b", 1),
        std::string(1000, '\xff')}) {
    for (const bool logged_in : {false, true}) {
      CAPTURE(bytes);
      CAPTURE(logged_in);
      Server server;
      Wire wire(server.engine()), other(server.engine());
      server.settle();
      if (logged_in) REQUIRE(wire.logs_in(server, "alice") == ok);
      wire.says(to_bytes(bytes));
      wire.says(frame(5, 65, ""));  // what comes behind it counts no more
      server.settle();
      const auto heard = wire.hears();
      const auto farewell = Wire::farewell(heard);
      REQUIRE(farewell);
      CHECK(farewell->code == ErrorCode::malformed_frame);
      CHECK(std::none_of(heard.begin(), heard.end(), [](const Heard& h) { return h.call == 5; }));
      REQUIRE(wire.closed().size() == 1);
      CHECK(wire.closed()[0].code == ErrorCode::malformed_frame);
      CHECK(server.engine().stats().closed_malformed == 1);
      CHECK(other.code(server, 65, "") == ok);
      server.settle();
      CHECK(server.engine().stats().connections == 1);
      CHECK(server.engine().stats().outbox_bytes == 0);
    }
  }
}

TEST_CASE("A frame longer than the limit closes the connection") {
  Server server;
  Wire wire(server.engine());
  REQUIRE(wire.logs_in(server, "alice") == ok);
  CHECK(wire.code(server, 65, std::string((256 << 10) - 20, 'x')) == ok);
  wire.says(frame(5, 65, std::string(256 << 10, 'x')));
  server.settle();
  const auto farewell = Wire::farewell(wire.hears());
  REQUIRE(farewell);
  CHECK(farewell->code == ErrorCode::malformed_frame);
}

TEST_CASE("A login must be of a version that is spoken here, and comes once") {
  Server server;
  Wire wire(server.engine());
  CHECK(wire.logs_in(server, "alice", 0) == invalid);
  CHECK(wire.code(server, 64, "\xff") == invalid);
  CHECK(wire.logs_in(server, "alice", 2) == ErrorCode::version_too_new);
  CHECK(wire.logs_in(server, "alice", ~0u) == ErrorCode::version_too_new);
  CHECK(wire.code(server, 64, number(1, 1) + text(2, "alice") + text(3, bad)) == invalid);
  CHECK(wire.code(server, 64, number(1, 1) + text(2, "alice") + text(3, std::string(64, 'd'))) == invalid);
  CHECK(wire.logs_in(server, "") != ok);
  CHECK(wire.logs_in(server, std::string(64, 'x')) != ok);
  const auto in = wire.asks(server, protocol::Login{.token = "alice", .device = "phone"});
  REQUIRE(in);
  CHECK(in->user.view() == "alice");
  CHECK(in->device.view() == "phone");
  CHECK(in->heartbeat_ms == 30'000);
  CHECK_FALSE(in->reset);
  CHECK_FALSE(in->checkpoint.empty());
  CHECK(wire.logs_in(server, "bob") == invalid);
  CHECK(wire.asks(server, Send{.to = Direct{"bob"}, .content = {.text = "as alice"}}));
  CHECK(server.ask("bob", GetConversation{.of = Direct{"alice"}}));
}

TEST_CASE("A checkpoint that is none of ours gets a reset, not an error") {
  Server server;
  for (const std::string& place : {std::string("garbage"), std::string(1000, '\xff'), std::string("\x00", 1)}) {
    Wire wire(server.engine());
    const auto in = wire.asks(server, protocol::Login{.token = "alice", .resume = {place}});
    REQUIRE(in);
    CHECK(in->reset);
    CHECK_FALSE(in->checkpoint.empty());
  }
}

TEST_CASE("Whoever does not log in within five seconds is closed") {
  Server server;
  Wire silent(server.engine()), chatty(server.engine()), timely(server.engine());
  server.settle();
  server.advance(4s);
  CHECK(timely.logs_in(server, "alice") == ok);
  CHECK(silent.closed().empty());
  for (int i = 0; i < 6; ++i) {
    if (chatty.closed().empty()) chatty.says(frame(1, 65, ""));
    server.advance(500ms);
  }
  for (Wire* wire : {&silent, &chatty}) {
    const auto farewell = Wire::farewell(wire->hears());
    REQUIRE(farewell);
    CHECK(farewell->code == ErrorCode::timeout);
    REQUIRE(wire->closed().size() == 1);
  }
  CHECK(timely.closed().empty());
  server.settle();
  CHECK(server.engine().stats().connections == 1);
}

TEST_CASE("Whoever is silent for two heartbeats is closed; a ping keeps him") {
  Server server;
  Wire silent(server.engine()), alive(server.engine());
  REQUIRE(silent.logs_in(server, "alice") == ok);
  REQUIRE(alive.logs_in(server, "bob") == ok);
  for (int i = 0; i < 6; ++i) {
    server.advance(9'900ms);
    CHECK(silent.closed().empty());
    if (i % 3 == 2) CHECK(alive.code(server, 65, "") == ok);
  }
  server.advance(2'000ms);
  const auto farewell = Wire::farewell(silent.hears());
  REQUIRE(farewell);
  CHECK(farewell->code == ErrorCode::timeout);
  CHECK(silent.closed().size() == 1);
  CHECK(alive.closed().empty());
  CHECK(server.engine().stats().sessions == 1);
}

TEST_CASE("A connection that the host vouches for needs no token, but says hello all the same") {
  Server server;
  Wire wire(server.engine(), {.identity = Identity{.user = "alice"}});
  CHECK(wire.code(server, 1, text(1, text(2, "bob")) + text(2, text(1, "hi"))) == ErrorCode::not_logged_in);
  const auto in = wire.asks(server, protocol::Login{.token = "mallory", .device = "phone"});
  REQUIRE(in);
  CHECK(in->user.view() == "alice");
  CHECK(in->device.view() == "phone");
}

TEST_CASE("After its login has expired a session is told to log in again") {
  Server server;
  Wire wire(server.engine(), {.identity = Identity{.user = "alice", .expires = server.clock().wall() + 300ms}});
  REQUIRE(wire.logs_in(server, "") == ok);
  CHECK(wire.code(server, 18, "") == ok);
  server.advance(2s);
  const auto farewell = Wire::farewell(wire.hears());
  REQUIRE(farewell);
  CHECK(farewell->code == ErrorCode::not_logged_in);
}

// ---- the options

TEST_CASE("An option that is missing or out of range is named, and what to do") {
  const auto refused = [](const std::function<void(EngineOptions&)>& change, std::string_view names) {
    CAPTURE(names);
    EngineOptions options;
    options.storage = make_memory_storage();
    options.durability = Durability::memory;
    options.threads = 0;
    change(options);
    const auto engine = Engine::open(std::move(options));
    REQUIRE_FALSE(engine);
    CHECK(engine.error().code == invalid);
    CHECK(engine.error().message.find(names) != std::string::npos);
    CHECK(engine.error().message.size() > names.size() + 5);
  };
  using O = EngineOptions;
  refused([](O& o) { o.storage.reset(); }, "storage");
  refused([](O& o) { o.shards = 0; }, "shards");
  refused([](O& o) { o.shards = 65; }, "shards");
  refused([](O& o) { o.threads = 65; }, "threads");
  refused([](O& o) { o.threads = 1, o.storage_threads = 0; }, "storage_threads");
  refused([](O& o) { o.storage_threads = 65; }, "storage_threads");
  refused([](O& o) { o.durability = Durability::disk; }, "memory");  // in the storage's own words
  refused([](O& o) { o.storage = std::make_unique<Stubborn>(Durability::process), o.durability = Durability::disk; },
          "durability");
  refused([](O& o) { o.limits.frame_bytes = 0; }, "frame_bytes");
  refused([](O& o) { o.limits.frame_bytes = (16 << 20) + 1; }, "frame_bytes");
  refused([](O& o) { o.limits.text_bytes = 1 << 20; }, "text_bytes");
  refused([](O& o) { o.limits.text_bytes = SIZE_MAX; }, "text_bytes");
  refused([](O& o) { o.limits.content_bytes = SIZE_MAX - 100; }, "content_bytes");
  refused([](O& o) { o.limits.metadata_bytes = SIZE_MAX - (80 << 10); }, "metadata_bytes");
  refused([](O& o) { o.limits.outbox_bytes = 1000; }, "outbox_bytes");
  refused([](O& o) { o.limits.session_requests = 0; }, "session_requests");
  refused([](O& o) { o.limits.engine_requests = 0; }, "engine_requests");
  refused([](O& o) { o.limits.page_items = 0; }, "page_items");
  refused([](O& o) { o.limits.group_members = 0; }, "group_members");
  refused([](O& o) { o.limits.login = 0ms; }, "login");
  refused([](O& o) { o.limits.login = -1ms; }, "login");
  refused([](O& o) { o.limits.heartbeat = 0ms; }, "heartbeat");
}

TEST_CASE("A storage that does not open says why, and the engine says it too") {
  const auto opened = [](const std::function<void(Stubborn&)>& change) {
    auto storage = std::make_unique<Stubborn>();
    change(*storage);
    EngineOptions options;
    options.storage = std::move(storage);
    options.threads = 0;
    return Engine::open(std::move(options));
  };
  CHECK(opened([](Stubborn&) {}));
  for (const ErrorCode reason : {ErrorCode::in_use, ErrorCode::not_ours, ErrorCode::version_too_new,
                                 ErrorCode::corruption, ErrorCode::storage_unavailable, ErrorCode::storage_full}) {
    const auto engine = opened([&](Stubborn& s) { s.opens = [&] { return Error{reason, "so it is", {}}; }; });
    REQUIRE_FALSE(engine);
    CHECK(engine.error().code == reason);
    CHECK(engine.error().message == "so it is");
    const auto reading = opened([&](Stubborn& s) { s.reads = {reason, "so it is", {}}; });
    REQUIRE_FALSE(reading);
    CHECK(reading.error().code == reason);
  }
  CHECK(code(opened([](Stubborn& s) { s.opens = []() -> Result<StoreInfo> { throw std::runtime_error("no"); }; })) ==
        ErrorCode::storage_unavailable);
  CHECK(code(opened([](Stubborn& s) { s.reads_throw = true; })) == ErrorCode::storage_unavailable);
}

// ---- too much

TEST_CASE("A session has so many requests under way; one more is overloaded, and it says so later") {
  Server server(with({.session_requests = 5}));
  Person alice(server, "alice");
  std::vector<ErrorCode> answers;
  for (int i = 0; i < 8; ++i) {
    alice.session().call(Send{.to = Direct{"bob"}, .content = {.text = "x"}},
                         [&](Result<Sent> sent) { answers.push_back(code(sent)); });
  }
  CHECK(answers.empty());
  server.settle();
  CHECK(std::count(answers.begin(), answers.end(), ok) == 5);
  CHECK(std::count(answers.begin(), answers.end(), ErrorCode::overloaded) == 3);
  CHECK(code(alice.asks(ListConversations{})) == ok);  // there is room again
}

TEST_CASE("An engine has so many requests under way, over all callers") {
  Server server(with({.engine_requests = 10}));
  Person alice(server, "alice");
  std::vector<ErrorCode> answers;
  const auto keep = [&](Result<Sent> sent) { answers.push_back(code(sent)); };
  for (int i = 0; i < 6; ++i) {
    server.engine().call(Identity{.user = "bob"}, Send{.to = Direct{"carol"}, .content = {.text = "x"}}, keep);
    alice.session().call(Send{.to = Direct{"bob"}, .content = {.text = "x"}}, keep);
  }
  CHECK(answers.empty());
  server.settle();
  CHECK(std::count(answers.begin(), answers.end(), ok) == 10);
  CHECK(std::count(answers.begin(), answers.end(), ErrorCode::overloaded) == 2);
  CHECK(code(server.ask("bob", ListConversations{})) == ok);
}

TEST_CASE("A connection that asks faster than it is answered is not read further, and gets every answer") {
  Server server(with({.session_requests = 3}));
  Wire wire(server.engine());
  REQUIRE(wire.logs_in(server, "alice") == ok);
  const Bytes body = protocol::encode(Send{.to = Direct{"bob"}, .content = {.text = "x"}});
  for (std::uint64_t call = 100; call < 120; ++call) {
    wire.says(protocol::encode_client_frame(call, RequestId::send, body));
  }
  bool was_paused = false;
  while (server.engine().poll(0us).handled > 0) was_paused = was_paused || wire.paused();
  server.settle();
  CHECK(was_paused);
  CHECK_FALSE(wire.paused());
  std::uint64_t next = 100;
  for (const Heard& heard : wire.hears()) {
    if (heard.call == 0) continue;
    CHECK(heard.call == next++);
    CHECK_FALSE(heard.error);
  }
  CHECK(next == 120);
}

// ---- after the end

TEST_CASE("After stop everything says that it is stopped") {
  Server server;
  Person alice(server, "alice");
  Wire wire(server.engine());
  REQUIRE(wire.logs_in(server, "bob") == ok);
  CHECK(server.engine().stop(1s));
  CHECK(alice.receives() == std::vector<std::string>{"closed stopped"});
  const auto farewell = Wire::farewell(wire.hears());
  REQUIRE(farewell);
  CHECK(farewell->code == ErrorCode::stopped);
  CHECK(wire.closed().size() == 1);

  int answers = 0;
  const auto keep = [&](Result<Sent> sent) {
    CHECK(code(sent) == ErrorCode::stopped);
    ++answers;
  };
  server.engine().call(Identity{.user = "bob"}, Send{.to = Direct{"carol"}, .content = {.text = "x"}}, keep);
  alice.session().call(Send{.to = Direct{"carol"}, .content = {.text = "x"}}, keep);
  server.settle();
  CHECK(answers == 2);

  Session late = server.engine().open_session({.identity = {.user = "carol"}});
  const auto push = late.take();
  REQUIRE(push);
  REQUIRE(push->as<Closed>());
  CHECK(push->as<Closed>()->why.code == ErrorCode::stopped);
  CHECK_FALSE(late.take());

  Wire after(server.engine());
  CHECK(after.closed().size() == 1);
  CHECK(after.closed()[0].code == ErrorCode::stopped);
  CHECK(code(server.engine().listen(server.network->transport())) == ErrorCode::stopped);
  CHECK(server.engine().poll(1ms).handled == 0);
  CHECK(server.engine().stop(1s));
}

TEST_CASE("A session must name a user") {
  Server server;
  Session nobody = server.engine().open_session({});
  const auto push = nobody.take();
  REQUIRE(push);
  REQUIRE(push->as<Closed>());
  CHECK(push->as<Closed>()->why.code == invalid);
  CHECK(code(server.engine().listen(nullptr)) == invalid);
  server.engine().attach(nullptr, {});
  server.settle();
}
