#include "push_notifier/push_notifier.h"

#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "push_notifier/place.h"
#include "storage/child.h"
#include "storage/scratch.h"
#include "support/answers.h"
#include "support/host.h"

// The example that makes mobile pushes of the feed.

using namespace chat;
using Lines = std::vector<std::string>;
using push::Notification;
using push::PushNotifier;

namespace {

std::string line(const Notification& push) {
  return push.user.string() + ": " + push.text + (push.muted ? " (muted)" : "");
}

// Takes pushes, or does not, as the test says.
class Phones final : public push::Gateway {
 public:
  Status take(const std::vector<Notification>& pushes) override {
    if (refuses > 0 && refuses-- > 0) return Error{ErrorCode::overloaded, "told to refuse", {}};
    if (dies == before) throw Died();
    for (const Notification& push : pushes) shown.push_back(push);
    if (dies == after) throw Died();
    return {};
  }
  Lines lines() {
    Lines all;
    for (const Notification& push : std::exchange(shown, {})) all.push_back(line(push));
    return all;
  }

  struct Died {};
  enum { never, before, after } dies = never;
  int refuses = 0;
  std::vector<Notification> shown{};
};

struct Town {
  Town() { (void)notifier().turn({}); }  // from here on

  // The same file, in another life.
  PushNotifier notifier() { return PushNotifier(server.engine(), phones, file()); }
  std::filesystem::path file() const { return directory.path() / "place"; }
  Lines pushes() {
    PushNotifier each = notifier();
    for (;;) {
      const auto turned = each.turn({});
      REQUIRE_MESSAGE(turned, turned.error().message);
      if (!*turned) return phones.lines();
    }
  }

  scratch::Directory directory;
  Server server;
  Phones phones;
};

}  // namespace

TEST_CASE("Members are pushed what is said, but for its sender, and for what was said before the notifier began") {
  Town town;
  const ConversationId room = town.server.group("room", {"alice", "bob", "carol"});
  REQUIRE(town.server.ask("alice", text(room, "hi")));
  REQUIRE(town.server.ask("bob", text(Direct{"carol"}, "psst")));
  CHECK(town.pushes() == Lines{"bob: hi", "carol: hi", "carol: psst"});
  CHECK(town.pushes().empty());
  REQUIRE(town.server.ask("alice", text(room, "old")));
  std::filesystem::remove(town.file());
  CHECK(town.pushes().empty());
  REQUIRE(town.server.ask("alice", text(room, "new")));
  CHECK(town.pushes() == Lines{"bob: new", "carol: new"});
}

TEST_CASE("Whoever has read it, or may not see it, is not pushed; of whoever has muted it the gateway is told so") {
  Town town;
  Server& server = town.server;
  const ConversationId room =
      server.group("room", {"alice", "bob", "carol", "dave"}, {.newcomers_see = NewcomersSee::none});
  REQUIRE(server.ask("bob", Mute{.conversation = room, .until = server.clock().wall() + 1h}));
  const auto one = server.ask("alice", text(room, "one"));
  REQUIRE(one);
  REQUIRE(server.ask("carol", MarkRead{.conversation = room, .seq = one->seq}));
  REQUIRE(server.ask("dave", Leave{.conversation = room}));
  REQUIRE(server.ask("alice", AddMembers{.conversation = room, .members = {{user("erin")}}}));
  REQUIRE(server.ask("alice", text(room, "later")));
  CHECK(town.pushes() == Lines{"bob: one (muted)", "bob: later (muted)", "carol: later", "erin: later"});
  const auto two = server.ask("alice", text(room, "two"));
  const auto three = server.ask("alice", text(room, "three"));
  REQUIRE(server.ask("alice", DeleteMessage{.conversation = room, .seq = two->seq}));
  REQUIRE(server.ask("alice", EditMessage{.conversation = room, .seq = three->seq, .content = {.text = "3"}}));
  CHECK(town.pushes() == Lines{"bob: 3 (muted)", "carol: 3", "erin: 3"});
  server.advance(1h);
  REQUIRE(server.ask("alice", text(room, "four")));
  CHECK(town.pushes() == Lines{"bob: four", "carol: four", "erin: four"});
}

TEST_CASE("Whoever is here is not pushed, on any of his devices; who is here unseen, or left a while ago, is") {
  Town town;
  Server& server = town.server;
  const ConversationId room = server.group("room", {"alice", "bob", "carol", "dave"});
  Person bob(server, "bob"), carol(server, "carol"), dave(server, "dave");
  REQUIRE(bob.asks(SetPresence{PresenceState::away}));
  REQUIRE(carol.asks(SetPresence{PresenceState::offline}));
  REQUIRE(server.ask("alice", text(room, "one")));
  CHECK(town.pushes() == Lines{"carol: one"});
  dave.leaves();
  server.settle();
  REQUIRE(server.ask("alice", text(room, "two")));  // within the grace: he may not come back
  CHECK(town.pushes() == Lines{"carol: two", "dave: two"});
}

TEST_CASE("The marks of a conversation are found however long a list is") {
  Town town;
  const ConversationId room = town.server.group("room", {"alice", "bob"});
  REQUIRE(town.server.ask("bob", Mute{.conversation = room, .until = TimePoint::max()}));
  REQUIRE(town.server.ask("alice", text(room, "muted")));
  for (int i = 0; i < 150; ++i) {
    town.server.advance(2ms);
    REQUIRE(town.server.ask("bob", text(Direct{user(numbered("friend", i))}, "hi")));
  }
  const Lines pushed = town.pushes();
  CHECK(pushed.size() == 151);
  CHECK(std::find(pushed.begin(), pushed.end(), "bob: muted (muted)") != pushed.end());
}

TEST_CASE("In a conversation of many each member is pushed") {
  Town town;
  std::vector<std::string> members{"alice"};
  for (int i = 0; i < 450; ++i) members.push_back(numbered("m", i));
  const ConversationId room = town.server.group("room", members);
  for (int i = 0; i < 3; ++i) REQUIRE(town.server.ask("alice", text(room, numbered("hi", i))));
  const Lines pushed = town.pushes();
  CHECK(pushed.size() == 3 * 450);
  CHECK(std::set<std::string>(pushed.begin(), pushed.end()).size() == pushed.size());
}

TEST_CASE("What the gateway refuses comes again, and nothing behind it comes before it is taken") {
  Town town;
  const ConversationId room = town.server.group("room", {"alice", "bob"});
  REQUIRE(town.server.ask("alice", text(room, "one")));
  PushNotifier notifier = town.notifier();
  town.phones.refuses = 3;
  for (int i = 0; i < 3; ++i) {
    const auto refused = notifier.turn({});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::overloaded);
    REQUIRE(town.server.ask("alice", text(room, numbered("more", i))));
  }
  CHECK(town.phones.lines().empty());
  CHECK(town.pushes() == Lines{"bob: one", "bob: more0", "bob: more1", "bob: more2"});
}

TEST_CASE("A notifier that dies at any step loses nothing, and repeats no more than a page") {
  Town town;
  const ConversationId room = town.server.group("room", {"alice", "bob"});
  const auto says = [&](const std::string& words) { REQUIRE(town.server.ask("alice", text(room, words))); };

  says("died before it was handed over");
  town.phones.dies = Phones::before;
  CHECK_THROWS_AS((void)town.notifier().turn({}), Phones::Died);
  town.phones.dies = Phones::never;
  CHECK(town.pushes() == Lines{"bob: died before it was handed over"});

  says("died after it was handed over");
  town.phones.dies = Phones::after;
  CHECK_THROWS_AS((void)town.notifier().turn({}), Phones::Died);
  town.phones.dies = Phones::never;
  CHECK(town.pushes() == Lines(2, "bob: died after it was handed over"));

  says("died while it was noted");
  const auto before = push::read_place(town.file());
  CHECK(town.pushes() == Lines{"bob: died while it was noted"});
  REQUIRE(push::write_place(town.file(), **before));
  std::ofstream(town.file().string() + ".new") << "17";  // cut short
  CHECK(town.pushes() == Lines{"bob: died while it was noted"});
  CHECK(town.pushes().empty());

  says("could not be noted");
  std::filesystem::create_directory(town.file().string() + ".new");
  const auto unnoted = town.notifier().turn({});
  REQUIRE_FALSE(unnoted);
  CHECK(unnoted.error().code == ErrorCode::storage_unavailable);
  std::filesystem::remove(town.file().string() + ".new");
  CHECK(town.pushes() == Lines(2, "bob: could not be noted"));

  std::ofstream(town.file()) << "17";
  const auto damaged = town.notifier().turn({});
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().code == ErrorCode::corruption);
}

TEST_CASE("An engine that fails for a while costs time, not pushes") {
  Town town;
  const ConversationId room = town.server.group("room", {"alice", "bob"});
  REQUIRE(town.server.ask("alice", text(room, "hi")));
  town.server.store->reads_fail = true;
  CHECK_FALSE(town.notifier().turn({}));
  town.server.store->reads_fail = false;
  CHECK(town.pushes() == Lines{"bob: hi"});
  town.server.crash();
  REQUIRE(town.server.ask("alice", text(room, "after a crash")));
  CHECK(town.pushes() == Lines{"bob: after a crash"});
}

namespace {

// A chat with its notifier, until it is killed: what was acknowledged and what a phone was shown are in two files.
int life(const scratch::Directory& directory, int number, bool is_last, const std::function<void()>& ready) {
  class Log final : public push::Gateway {
   public:
    explicit Log(const std::string& path) : file_(path, std::ios::app) {}
    Status take(const std::vector<Notification>& pushes) override {
      for (const Notification& push : pushes) file_ << push.text << std::endl;
      return {};
    }

   private:
    std::ofstream file_;
  } phones(directory / "pushed");

  EngineOptions options;
  options.storage = make_rocksdb_storage({.path = directory / "store"});
  options.durability = Durability::process;
  options.threads = 1;
  options.limits = without_rates();
  auto engine = Engine::open(std::move(options));
  if (!engine) return 1;
  PushNotifier notifier(*engine, phones, directory / "place");
  if (!notifier.turn({})) return 2;
  ready();
  if (is_last) {
    for (;;) {
      const auto more = notifier.turn({});
      if (!more) return 3;
      if (!*more) return 0;
    }
  }
  std::thread pusher([&] {
    while (notifier.turn(1s)) {
    }
  });
  std::ofstream acknowledged(directory / "acknowledged", std::ios::app);
  for (int i = 0;; ++i) {
    const std::string words = std::to_string(number) + "/" + std::to_string(i);
    const Send send{.to = Direct{"bob"}, .content = {.text = words}};
    if (wait(*engine, {.user = "alice"}, send)) acknowledged << words << std::endl;
  }
}

std::vector<std::string> lines_in(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string each; std::getline(file, each);) lines.push_back(each);
  return lines;
}

}  // namespace

TEST_CASE("Killed at any moment, life after life, every message that was acknowledged is pushed") {
  const scratch::Directory directory;
  std::mt19937 random(7);
  constexpr int lives = 12;
  for (int number = 0; number <= lives; ++number) {
    CAPTURE(number);
    scratch::Child child([&](auto ready) { return life(directory, number, number == lives, ready); });
    REQUIRE(child.wait_ready());
    const std::size_t some = lines_in(directory / "acknowledged").size() + 1 + random() % 30;
    if (number == lives) {
      REQUIRE(child.join() == 0);
    } else {
      CHECK(until([&] { return lines_in(directory / "acknowledged").size() >= some; }));
      child.kill();
    }
  }
  const Lines acknowledged = lines_in(directory / "acknowledged"), pushed = lines_in(directory / "pushed");
  const std::set<std::string> shown(pushed.begin(), pushed.end());
  for (const std::string& each : acknowledged) CHECK(shown.contains(each));
  CHECK(acknowledged.size() > lives);
  CHECK(pushed.size() <= shown.size() + lives * 200u);
}
