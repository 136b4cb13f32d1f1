#include <stdexcept>

#include "protocol/rows.h"
#include "support/answers.h"
#include "support/wire.h"

// How users are shown.

using namespace chat;

namespace {

Profile profile(std::string_view name, std::string_view display_name) {
  return {.user = user(name), .display_name = std::string(display_name)};
}

std::vector<Profile> profiles(Server& server, const std::vector<std::string>& names, std::string_view as = "zoe") {
  GetProfiles request;
  for (const std::string& name : names) request.users.push_back(user(name));
  auto page = server.ask(as, request);
  REQUIRE_MESSAGE(page, page.error().message);
  return page->profiles;
}

Error refusal(Server& server, std::string_view as, Profile profile) {
  const auto answer = server.ask(as, SetProfile{std::move(profile)});
  REQUIRE_FALSE(answer);
  return answer.error();
}

// A host that has profiles of its own.
struct Host {
  explicit Host(Function<void(std::vector<UserId>, Done<std::vector<Profile>>)> answer, unsigned shards = 1) {
    EngineOptions options;
    options.shards = shards;
    options.profiles = std::move(answer);
    options.runtime.log = [this](LogLevel, std::string_view line) { log.emplace_back(line); };
    test.emplace(TestEngine::open(std::move(options)));
    REQUIRE(test->status());
  }
  template <Request R>
  Answer<typename R::Reply> begin(std::string_view as, R request) {
    Answer<typename R::Reply> answer;
    test->engine().call({.user = user(as)}, std::move(request), answer.take());
    test->settle();
    return answer;
  }
  std::vector<std::string> log{};
  std::optional<TestEngine> test{};
};

}  // namespace

TEST_CASE("A profile is shown as it was set last, to everyone who asks, in the order asked for") {
  for (const unsigned shards : {1u, 4u}) {
    Server server(with_shards(shards));
    const Profile alice{.user = "alice", .display_name = "Alice", .avatar = "a.png", .custom = {{"mood", "fine"}}};
    REQUIRE(server.ask("alice", SetProfile{alice}));
    REQUIRE(server.ask("bob", SetProfile{{.display_name = "Bob"}}));
    CHECK(profiles(server, {"bob", "nobody", "alice", "bob"}) ==
          std::vector<Profile>{profile("bob", "Bob"), {.user = "nobody"}, alice, profile("bob", "Bob")});
    CHECK(profiles(server, {}).empty());
    auto for_the_host = server.ask(Identity::system(), GetProfiles{{"alice"}});
    REQUIRE(for_the_host);
    CHECK(for_the_host->profiles == std::vector<Profile>{alice});

    REQUIRE(server.ask("alice", SetProfile{{.display_name = "A."}}));  // in place of all of the old one
    CHECK(profiles(server, {"alice"}) == std::vector<Profile>{profile("alice", "A.")});
    server.crash();
    CHECK(profiles(server, {"alice", "bob"}) == std::vector<Profile>{profile("alice", "A."), profile("bob", "Bob")});
  }
}

TEST_CASE("Of profiles set at once the last one stays") {
  Server server(with_shards(4));
  std::vector<Answer<Nothing>> answers;
  for (int i = 0; i < 50; ++i)
    answers.push_back(begin(server, "alice", SetProfile{profile("alice", numbered("a", i))}));
  server.settle();
  for (const auto& answer : answers) CHECK(answer.code() == ErrorCode::ok);
  CHECK(profiles(server, {"alice"}) == std::vector<Profile>{profile("alice", "a49")});
}

namespace {

std::vector<Profile> shown(Person& person) {
  std::vector<Profile> all;
  for (const Push& push : person.takes()) {
    if (const auto* changed = push.as<ProfileChanged>()) all.push_back(changed->profile);
  }
  return all;
}

}  // namespace

TEST_CASE("Who watches a user is shown his new profile, and nobody else is") {
  for (const unsigned shards : {1u, 4u}) {
    Server server(with_shards(shards));
    Person bob(server, "bob"), carol(server, "carol");
    REQUIRE(bob.asks(WatchPresence{.users = {"alice"}}));
    REQUIRE(server.ask("alice", SetProfile{{.display_name = "Alice"}}));
    server.store->inbox_commits_fail = true;
    CHECK_FALSE(server.ask("alice", SetProfile{{.display_name = "lost"}}));
    server.store->inbox_commits_fail = false;
    REQUIRE(server.ask("dave", SetProfile{{.display_name = "Dave"}}));
    CHECK(shown(bob) == std::vector<Profile>{profile("alice", "Alice")});
    CHECK(shown(carol).empty());
    REQUIRE(bob.asks(WatchPresence{}));
    REQUIRE(server.ask("alice", SetProfile{{.display_name = "A."}}));
    CHECK(shown(bob).empty());
  }
}

TEST_CASE("What is wrong with a profile is said") {
  Server server;
  const std::string bad = "\xff";
  CHECK(refusal(server, "alice", profile("bob", "Bob")).code == ErrorCode::invalid);
  CHECK(refusal(server, "alice", profile("bob", "Bob")).message == "profile.user: leave it empty, or name yourself");
  const Error name = refusal(server, "alice", {.display_name = std::string(256, 'x')});
  CHECK(name.code == ErrorCode::too_large);
  CHECK(name.message == "profile.display_name: at most 255 bytes");
  const Error avatar = refusal(server, "alice", {.avatar = std::string(256, 'x')});
  CHECK(avatar.code == ErrorCode::too_large);
  CHECK(avatar.message == "profile.avatar: at most 255 bytes");
  const Error custom = refusal(server, "alice", {.custom = {{"key", std::string((8 << 10) - 2, 'x')}}});
  CHECK(custom.code == ErrorCode::too_large);
  CHECK(custom.message == "profile.custom: at most 8192 bytes");
  CHECK(refusal(server, "alice", {.display_name = bad}).message == "profile.display_name: not UTF-8");
  CHECK(refusal(server, "alice", {.avatar = bad}).message == "profile.avatar: not UTF-8");
  CHECK(refusal(server, "alice", {.custom = {{bad, ""}}}).message == "profile.custom: not UTF-8");
  CHECK(refusal(server, "alice", {.custom = {{"", bad}}}).code == ErrorCode::invalid);
  const auto hosts = server.ask(Identity::system(), SetProfile{});
  REQUIRE_FALSE(hosts);
  CHECK(hosts.error().code == ErrorCode::invalid);
  const Profile largest{.display_name = std::string(255, 'x'),
                        .avatar = std::string(255, 'x'),
                        .custom = {{"key", std::string((8 << 10) - 3, 'x')}}};
  CHECK(server.ask("alice", SetProfile{largest}));
}

TEST_CASE("What is wrong with a question for profiles is said") {
  Server server;
  GetProfiles many{.users = std::vector<UserId>(201, UserId("alice"))};
  const auto too_many = server.ask("bob", many);
  REQUIRE_FALSE(too_many);
  CHECK(too_many.error().code == ErrorCode::too_large);
  CHECK(too_many.error().message == "users: at most 200");
  many.users.pop_back();
  CHECK(server.ask("bob", many)->profiles.size() == 200);
  const auto empty = server.ask("bob", GetProfiles{{UserId()}});
  REQUIRE_FALSE(empty);
  CHECK(empty.error().code == ErrorCode::invalid);
  CHECK(empty.error().message == "users: one is empty");

  // Together they would not fit a frame.
  REQUIRE(server.ask("alice", SetProfile{{.custom = {{"key", std::string(8'000, 'x')}}}}));
  const auto large = server.ask("bob", many);
  REQUIRE_FALSE(large);
  CHECK(large.error().code == ErrorCode::too_large);
  CHECK(large.error().message == "users: their profiles do not fit an answer; ask for fewer at once");
  many.users.resize(15);
  CHECK(server.ask("bob", many));
}

TEST_CASE("Over a connection profiles are what they are to the host") {
  Server server(with_shards(4));
  Wire wire(server.engine());
  server.listen();
  Guest alice(server, "alice");
  REQUIRE(alice.asks(SetProfile{{.display_name = "Alice", .custom = {{"a", "b"}}}}));
  const auto page = alice.asks(GetProfiles{{"alice", "bob"}});
  REQUIRE(page);
  CHECK(page->profiles ==
        std::vector<Profile>{{.user = "alice", .display_name = "Alice", .custom = {{"a", "b"}}}, {.user = "bob"}});
}

TEST_CASE("What becomes of a profile that the storage does not take is said") {
  Server server;
  REQUIRE(server.ask("alice", SetProfile{profile("alice", "before")}));
  server.store->inbox_commits_fail = true;
  CHECK(refusal(server, "alice", profile("alice", "lost")).code == ErrorCode::storage_unavailable);
  server.store->inbox_commits_fail = false;
  CHECK(profiles(server, {"alice"}).front().display_name == "before");
  server.store->reads_fail = true;
  CHECK(refusal(server, "alice", profile("alice", "lost")).code == ErrorCode::storage_unavailable);
  const auto unread = server.ask("bob", GetProfiles{{"alice"}});
  REQUIRE_FALSE(unread);
  CHECK(unread.error().code == ErrorCode::storage_unavailable);
  server.store->reads_fail = false;
  REQUIRE(server.ask("alice", SetProfile{profile("alice", "after")}));
  CHECK(profiles(server, {"alice"}).front().display_name == "after");
}

TEST_CASE("A damaged profile does not hide the others, and can be set anew") {
  Server server;
  REQUIRE(server.ask("bob", SetProfile{profile("bob", "Bob")}));
  const Row row{.table = Table::profiles, .key = "profile", .value = Bytes(7)};
  const Change change{.partition = "u:alice", .rows = {&row, 1}};
  Status status(ErrorCode::unknown_outcome, "unset");
  server.store->inner().commit({&change, 1}, {&status, 1});
  REQUIRE(status);
  CHECK(profiles(server, {"alice", "bob"}) == std::vector<Profile>{{.user = "alice"}, profile("bob", "Bob")});
  REQUIRE(server.ask("alice", SetProfile{profile("alice", "Alice")}));
  CHECK(profiles(server, {"alice"}).front().display_name == "Alice");
}

TEST_CASE("A host with profiles of its own is asked for them, and what it gives is put in order and looked at") {
  for (const unsigned shards : {1u, 4u}) {
    std::vector<std::vector<UserId>> asked;
    Host host(
        [&](std::vector<UserId> users, Done<std::vector<Profile>> done) {
          asked.push_back(users);
          done(std::vector<Profile>{profile("bob", "Bob"),
                                    profile("stranger", "?"),
                                    profile("alice", "Alice"),
                                    {.user = "carol", .display_name = "\xff"},
                                    {.user = "dave", .avatar = std::string(256, 'x')}});
        },
        shards);
    const auto page = host.begin("zoe", GetProfiles{{"alice", "nobody", "bob", "carol", "dave"}});
    CHECK(
        page->profiles ==
        std::vector<Profile>{
            profile("alice", "Alice"), {.user = "nobody"}, profile("bob", "Bob"), {.user = "carol"}, {.user = "dave"}});
    CHECK(asked == std::vector<std::vector<UserId>>{{"alice", "nobody", "bob", "carol", "dave"}});
    CHECK(host.log.size() == 2);
    const auto set = host.begin("zoe", SetProfile{});
    CHECK(set.code() == ErrorCode::forbidden);
    CHECK(set.result().error().message == "profiles are in the host's own table: change them there");
  }
}

TEST_CASE("A host that answers its profiles late, twice, never, or throws") {
  std::vector<Done<std::vector<Profile>>> kept;
  enum { keeps, drops, throws, refuses } how = keeps;
  Host host([&](const std::vector<UserId>&, Done<std::vector<Profile>> done) {
    if (how == throws) throw std::runtime_error("the host's");
    if (how == refuses) return done(Error{ErrorCode::rate_limited, "not now", {}});
    if (how == keeps) kept.push_back(std::move(done));
  });
  const GetProfiles who{{"alice"}};

  auto answer = host.begin("zoe", who);
  CHECK_FALSE(answer.came());
  kept.back()(std::vector<Profile>{profile("alice", "Alice")});
  kept.back()(std::vector<Profile>{profile("alice", "Malice")});
  host.test->settle();
  CHECK(answer->profiles.front().display_name == "Alice");

  answer = host.begin("zoe", who);
  host.test->advance(4900ms);
  CHECK_FALSE(answer.came());
  host.test->advance(200ms);
  CHECK(answer.code() == ErrorCode::timeout);
  CHECK(answer.result().error().message == "the host did not answer in time: retry");

  how = drops;
  CHECK(host.begin("zoe", who).code() == ErrorCode::storage_unavailable);
  how = throws;
  CHECK(host.begin("zoe", who).code() == ErrorCode::storage_unavailable);
  CHECK(host.test->engine().stats().callback_exceptions == 1);
  how = refuses;
  CHECK(host.begin("zoe", who).code() == ErrorCode::rate_limited);

  how = keeps;
  answer = host.begin("zoe", who);
  CHECK(host.test->engine().stop(100ms));
  CHECK(answer.code() == ErrorCode::stopped);
  kept.back()(std::vector<Profile>{});
}

TEST_CASE("A profile that the host says has changed is shown to who watches") {
  std::string display_name = "Alice";
  Host host(
      [&](const std::vector<UserId>& users, Done<std::vector<Profile>> done) {
        done(std::vector<Profile>{profile(users.front().view(), display_name)});
      },
      4);
  Session bob = host.test->engine().open_session({.identity = {.user = "bob"}});
  bob.call(WatchPresence{.users = {"alice"}}, {});
  host.test->settle();
  display_name = "A.";
  host.test->engine().profile_changed("alice");
  host.test->engine().profile_changed("carol");
  host.test->settle();
  std::vector<Profile> shown;
  while (auto push = bob.take()) {
    if (const auto* changed = push->as<ProfileChanged>()) shown.push_back(changed->profile);
  }
  CHECK(shown == std::vector<Profile>{profile("alice", "A.")});
}

TEST_CASE("Of a profile that changed many times while the host was asked, the last state is asked for once more") {
  std::vector<Done<std::vector<Profile>>> kept;
  Host host([&](const std::vector<UserId>&, Done<std::vector<Profile>> done) { kept.push_back(std::move(done)); }, 4);
  for (int i = 0; i < 1000; ++i) host.test->engine().profile_changed("alice");
  host.test->engine().profile_changed(UserId());
  host.test->settle();
  CHECK(kept.size() == 1);
  kept[0](std::vector<Profile>{});
  host.test->settle();
  REQUIRE(kept.size() == 2);
  kept[1](std::vector<Profile>{});
  host.test->settle();
  CHECK(kept.size() == 2);
  host.test->engine().profile_changed("alice");
  host.test->settle();
  CHECK(kept.size() == 3);
}
