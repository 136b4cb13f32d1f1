#include <doctest/doctest.h>

#include <chatcore/client.h>
#include <httplib.h>

#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>

#include "backend/sqlite.h"
#include "storage/scratch.h"
#include "support/server_process.h"

// The example service as its users meet it: HTTP, the client library over TCP, a killed process.

using namespace chatcore;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

constexpr auto patience = 20s;

struct Reply {
  int status = 0;
  json body{};
  std::string kind() const { return body.value("error", ""); }
};

// The service as a child process on free ports, with its database in a directory of its own.
class World {
 public:
  World() { start(); }

  void start() {
    const std::string program = std::filesystem::path(CHATCORE_TEST_PROGRAM_DIR) / "backend";
    REQUIRE(process_.start({program, "--http-port", "0", "--chat-port", "0", "--database", database()}));
    const Status listens = process_.wait_until_it_listens();
    REQUIRE_MESSAGE(listens, listens.error().message);
    const std::string& said = process_.said();
    http_port_ = std::stoi(said.substr(said.find(':', said.find("http on ")) + 1));
  }
  void kill() { process_.kill(); }
  Result<std::string> stop() { return process_.stop(); }
  std::string database() { return directory_ / "backend.db"; }
  Endpoint chat() const { return {.address = "127.0.0.1", .port = process_.port()}; }

  Reply ask(const char* method, const std::string& path, const json& body = {}, const std::string& token = {},
            const std::string& key = {}) {
    httplib::Client http("127.0.0.1", http_port_);
    http.set_read_timeout(patience);
    httplib::Request request;
    request.method = method;
    request.path = path;
    if (!body.is_null()) request.body = body.dump();
    if (!token.empty()) request.set_header("Authorization", "Bearer " + token);
    if (!key.empty()) request.set_header("Idempotency-Key", key);
    const auto got = http.send(request);
    REQUIRE_MESSAGE(got, method << " " << path << ": no answer");
    return {got->status, got->body.empty() ? json() : json::parse(got->body)};
  }
  Reply post(const std::string& path, const json& body, const std::string& token = {}, const std::string& key = {}) {
    return ask("POST", path, body, token, key);
  }
  Reply get(const std::string& path, const std::string& token) { return ask("GET", path, {}, token); }

  // Signs up and logs in; gives the token.
  std::string user(const std::string& name) {
    REQUIRE(post("/users", {{"user", name}, {"password", name + " secret"}}).status == 201);
    return login(name);
  }
  std::string login(const std::string& name) {
    const Reply reply = post("/login", {{"user", name}, {"password", name + " secret"}});
    REQUIRE(reply.status == 200);
    return reply.body["token"];
  }

 private:
  scratch::Directory directory_;
  support::ServerProcess process_;
  int http_port_ = 0;
};

// Somebody's client library, over TCP.
class Phone {
 public:
  Phone(const World& world, const std::string& token, std::optional<Checkpoint> resume = {})
      : client_(*Client::open({.server = world.chat(), .token = [token] { return token; }, .resume = resume})) {}

  // The next message, as "sender: text".
  std::string hears() {
    for (const auto end = std::chrono::steady_clock::now() + patience; std::chrono::steady_clock::now() < end;) {
      const auto push = client_.take(100ms);
      if (!push) continue;
      if (const auto* said = push->as<MessagePosted>())
        return push->event()->sender.string() + ": " + said->content.text;
    }
    return "(nothing)";
  }
  Result<Sent> says(const ConversationId& to, const std::string& text) {
    std::promise<Result<Sent>> promise;
    auto future = promise.get_future();
    client_.call(Send{.to = to, .content = {.text = text}}, [&](Result<Sent> sent) { promise.set_value(sent); });
    return future.get();
  }
  Error refused() {
    for (const auto end = std::chrono::steady_clock::now() + patience; std::chrono::steady_clock::now() < end;) {
      (void)client_.take(20ms);
      if (const Error why = client_.status().last_error; why.code == ErrorCode::unauthenticated) return why;
      if (client_.status().connected) break;
    }
    return {};
  }
  Checkpoint checkpoint() const { return client_.checkpoint(); }

 private:
  Client client_;
};

// "2 alice: hi, 3 bob: yes", the oldest first; what is no message is left out.
std::string messages(const Reply& reply) {
  std::string out;
  for (auto it = reply.body["messages"].rbegin(); it != reply.body["messages"].rend(); ++it) {
    if (!it->contains("text")) continue;
    out += (out.empty() ? "" : ", ") + std::to_string((*it)["seq"].get<int>()) + " " +
           (*it)["sender"].get<std::string>() + ": " + (*it)["text"].get<std::string>();
  }
  return out;
}

const ConversationId lunch = "group:lunch";

}  // namespace

TEST_CASE("what is posted over HTTP is heard over TCP and the other way, once, and outlives kill -9") {
  World world;
  const std::string alice = world.user("alice"), bob = world.user("bob");
  CHECK(world.post("/groups", {{"group", "lunch"}, {"title", "Lunch"}}, alice).status == 201);
  CHECK(world.post("/groups/lunch/members", {{"user", "bob"}}, alice).status == 204);

  Checkpoint seen;
  Reply first;
  {
    Phone phone(world, bob);
    first = world.post("/groups/lunch/messages", {{"text", "soup?"}}, alice, "order-1");
    CHECK(first.status == 201);
    CHECK(first.body["duplicate"] == false);
    CHECK(phone.hears() == "alice: soup?");
    const auto sent = phone.says(lunch, "at one");
    REQUIRE_MESSAGE(sent, sent.error().message);
    CHECK(sent->durability == Durability::disk);
    CHECK(sent->seq == first.body["seq"].get<Seq>() + 1);
    seen = phone.checkpoint();
  }
  const auto everything = messages(world.get("/groups/lunch/messages", alice));
  CHECK(everything == "2 alice: soup?, 3 bob: at one");
  Reply again = world.post("/groups/lunch/messages", {{"text", "soup?"}}, alice, "order-1");
  CHECK(again.status == 201);
  CHECK(again.body["seq"] == first.body["seq"]);
  CHECK(again.body["duplicate"] == true);

  world.kill();
  world.start();
  CHECK(messages(world.get("/groups/lunch/messages", alice)) == everything);
  again = world.post("/groups/lunch/messages", {{"text", "soup?"}}, alice, "order-1");
  CHECK(again.body["seq"] == first.body["seq"]);
  CHECK(again.body["duplicate"] == true);
  const Reply other = world.post("/groups/lunch/messages", {{"text", "stew?"}}, alice, "order-1");
  CHECK(other.status == 409);
  CHECK(other.kind() == "conflict");
  CHECK(world.post("/groups/lunch/messages", {{"text", "see you"}}, alice, "order-2").body["seq"] == 4);
  Phone phone(world, bob, seen);
  CHECK(phone.hears() == "alice: see you");
}

TEST_CASE("history over HTTP comes page by page, the newest first") {
  World world;
  const std::string alice = world.user("alice");
  world.post("/groups", {{"group", "notes"}}, alice);
  for (int i = 1; i <= 5; ++i) {
    CHECK(world.post("/groups/notes/messages", {{"text", "n" + std::to_string(i)}}, alice).body["seq"] == i);
  }
  const Reply newest = world.get("/groups/notes/messages?limit=2", alice);
  CHECK(messages(newest) == "4 alice: n4, 5 alice: n5");
  CHECK(newest.body["more"] == true);
  CHECK(messages(world.get("/groups/notes/messages?before=4&limit=2", alice)) == "2 alice: n2, 3 alice: n3");
  const Reply oldest = world.get("/groups/notes/messages?before=2", alice);
  CHECK(messages(oldest) == "1 alice: n1");
  CHECK(oldest.body["more"] == false);
  CHECK(world.get("/groups/notes/messages?before=1", alice).body["messages"].empty());
  CHECK(world.get("/groups/notes/messages?before=-1", alice).status == 400);
  CHECK(world.get("/groups/notes/messages?limit=many", alice).status == 400);
}

TEST_CASE("a removed member gets 403, a stranger 404, and what the groups table says holds after a restart") {
  World world;
  const std::string alice = world.user("alice"), bob = world.user("bob"), carol = world.user("carol");
  world.post("/groups", {{"group", "lunch"}}, alice);
  world.post("/groups/lunch/members", {{"user", "bob"}}, alice);
  CHECK(world.post("/groups/lunch/messages", {{"text", "hi"}}, bob).status == 201);
  CHECK(world.post("/groups/lunch/messages", {{"text", "hi"}}, carol).status == 404);
  CHECK(world.get("/groups/lunch/messages", carol).status == 404);
  CHECK(world.post("/groups/lunch/members", {{"user", "carol"}}, bob).status == 403);
  CHECK(world.post("/groups/lunch/members", {{"user", "carol"}}, carol).status == 404);
  CHECK(world.post("/groups/lunch/members", {{"user", "nobody"}}, alice).status == 400);
  CHECK(world.ask("DELETE", "/groups/lunch/members/alice", {}, alice).status == 403);

  CHECK(world.ask("DELETE", "/groups/lunch/members/bob", {}, alice).status == 204);
  CHECK(world.ask("DELETE", "/groups/lunch/members/bob", {}, alice).status == 204);
  const Reply refused = world.post("/groups/lunch/messages", {{"text", "hello?"}}, bob);
  CHECK(refused.status == 403);
  CHECK(refused.kind() == "forbidden");
  CHECK(world.get("/groups", bob).body["groups"].empty());
  world.kill();
  world.start();
  CHECK(world.post("/groups/lunch/messages", {{"text", "hello?"}}, bob).status == 403);
  CHECK(world.post("/groups/lunch/members", {{"user", "bob"}}, alice).status == 204);
  CHECK(world.post("/groups/lunch/messages", {{"text", "back"}}, bob).status == 201);
  CHECK(world.get("/groups", bob).body["groups"] == json::array({"lunch"}));
}

TEST_CASE("a change of the groups table holds after a crash right behind its commit, without a word to the chat") {
  World world;
  const std::string alice = world.user("alice"), bob = world.user("bob"), carol = world.user("carol");
  world.post("/groups", {{"group", "lunch"}}, alice);
  world.post("/groups/lunch/members", {{"user", "carol"}}, alice);
  CHECK(world.post("/groups/lunch/messages", {{"text", "hi"}}, carol).status == 201);
  world.kill();
  {
    backend::Database database(world.database());
    database.run(
        "INSERT INTO group_members VALUES('lunch', 'bob', 2);"
        "DELETE FROM group_members WHERE user = 'carol';"
        "INSERT INTO groups VALUES('dinner', ''); INSERT INTO group_members VALUES('dinner', 'bob', 4)");
  }
  world.start();
  CHECK(world.post("/groups/lunch/messages", {{"text", "hi"}}, bob).status == 201);
  CHECK(world.post("/groups/dinner/messages", {{"text", "hi"}}, bob).status == 201);
  CHECK(world.post("/groups/lunch/messages", {{"text", "hi"}}, carol).status == 404);  // nobody saw her leave
}

TEST_CASE("who is added or removed while he is online sees it at once") {
  World world;
  const std::string alice = world.user("alice"), bob = world.user("bob");
  world.post("/groups", {{"group", "lunch"}, {"title", "Lunch"}}, alice);
  world.post("/groups", {{"group", "dinner"}, {"title", "Dinner"}}, alice);
  Phone phone(world, bob);
  CHECK(phone.says(lunch, "hello?").error().code == ErrorCode::no_such_conversation);
  world.post("/groups/lunch/members", {{"user", "bob"}}, alice);
  world.post("/groups/dinner/members", {{"user", "bob"}}, alice);
  world.post("/groups/lunch/messages", {{"text", "welcome"}}, alice);
  CHECK(phone.hears() == "alice: welcome");
  CHECK(phone.says(lunch, "thanks"));
  world.ask("DELETE", "/groups/lunch/members/bob", {}, alice);
  world.post("/groups/lunch/messages", {{"text", "he is gone"}}, alice);
  world.post("/groups/dinner/messages", {{"text", "and here"}}, alice);
  CHECK(phone.hears() == "alice: and here");
  CHECK(phone.says(lunch, "hello?").error().code == ErrorCode::forbidden);
}

TEST_CASE("a group that is created again by its owner is the same, and anybody else's is not") {
  World world;
  const std::string alice = world.user("alice"), bob = world.user("bob");
  const json club{{"group", "club"}, {"title", "Club"}};
  CHECK(world.post("/groups", club, alice).status == 201);
  CHECK(world.post("/groups", club, alice).status == 201);
  CHECK(world.post("/groups", club, bob).status == 409);
  CHECK(world.post("/groups", {{"group", "club"}, {"title", "Other"}}, alice).status == 409);
}

TEST_CASE("only who shows a token of /login is let in, over HTTP and over TCP") {
  World world;
  const std::string alice = world.user("alice");
  CHECK(world.post("/users", {{"user", "alice"}, {"password", "something else"}}).status == 409);
  CHECK(world.post("/users", {{"user", "bob"}, {"password", "short"}}).status == 400);
  CHECK(world.post("/users", {{"user", ""}, {"password", "long enough"}}).status == 400);
  CHECK(world.post("/login", {{"user", "alice"}, {"password", "something else"}}).status == 401);
  CHECK(world.post("/login", {{"user", "bob"}, {"password", "something else"}}).status == 401);
  CHECK(world.post("/login", json::array({1, 2})).status == 401);
  CHECK(world.get("/groups", "").status == 401);
  CHECK(world.get("/groups", alice).status == 200);
  CHECK(world.get("/groups", alice.substr(1)).status == 401);
  CHECK(Phone(world, alice.substr(1)).refused().code == ErrorCode::unauthenticated);
  CHECK(Phone(world, alice).refused().code == ErrorCode::ok);
  CHECK(world.login("alice") != alice);
  {
    backend::Database database(world.database());
    CHECK(database.ask(("SELECT COUNT(*) FROM tokens WHERE token IN (CAST('" + alice + "' AS BLOB), x'" + alice + "')")
                           .c_str()) == "0");  // neither as it is nor in bytes
    CHECK(database.ask("SELECT COUNT(*) FROM users WHERE instr(password, 'secret')") == "0");
    database.run("UPDATE tokens SET expires = 1");
  }
  CHECK(world.get("/groups", alice).status == 401);
  CHECK(Phone(world, alice).refused().code == ErrorCode::unauthenticated);
}

TEST_CASE("bodies that are nonsense are answered, and the service goes on") {
  World world;
  const std::string alice = world.user("alice");
  world.post("/groups", {{"group", "lunch"}}, alice);
  for (const char* id : {"", "a b", "a/b", "~x", "group:lunch"}) {
    CHECK(world.post("/groups", {{"group", id}}, alice).status == 400);
  }
  CHECK(world.post("/groups", {{"group", std::string(58, 'g')}}, alice).status == 400);
  CHECK(world.post("/groups", {{"group", std::string(57, 'g')}}, alice).status == 201);
  CHECK(world.post("/groups/lunch/messages", {{"text", ""}}, alice).status == 400);
  CHECK(world.post("/groups/lunch/messages", {{"text", 7}}, alice).status == 400);
  CHECK(world.post("/groups/lunch/messages", {{"text", "x"}}, alice, std::string(129, 'k')).status == 400);
  CHECK(world.post("/groups/lunch/messages", {{"text", std::string(20'000, 'x')}}, alice).status == 413);
  CHECK(world.post("/groups/lunch/messages", {{"text", std::string(200'000, 'x')}}, alice).status == 413);
  CHECK(world.post("/groups/other/messages", {{"text", "x"}}, alice).status == 404);
  CHECK(world.get("/nothing", alice).status == 404);
  CHECK(world.post("/groups/lunch/messages", {{"text", "still here"}}, alice).body["seq"] == 1);
  const auto stopped = world.stop();
  CHECK_MESSAGE(stopped, stopped.error().message);
}
