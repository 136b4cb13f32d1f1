// A small game at 60 frames a second, with a chat on its own thread, over its own network, with its own teams. Plays
// a scripted match of a few seconds of game time, prints what everybody saw, and checks it: 0 if all of it held.
//   game_loop [DIRECTORY]     the chat's data; a temporary one, removed at the end, unless named
#include <chatcore/chatcore.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "chat.h"
#include "connection.h"
#include "world.h"

namespace cc = chatcore;
using namespace std::chrono_literals;

namespace {

constexpr cc::ConversationId red("team:red"), blue("team:blue"), world_channel("world");

// What runs on a player's machine.
class Game {
 public:
  struct Seen {
    std::uint64_t frame = 0;
    std::string where, text;
  };

  static cc::Result<std::unique_ptr<Game>> start(Player& player, World& world) {
    auto client =
        cc::Client::open({.token = [] { return std::string(); },  // the game has checked who he is
                          .threads = 0,
                          .dialer = std::make_unique<NetDialer>(player.line.player, world.frame),
                          .runtime = {.clock = std::make_shared<GameClock>(world.frame),
                                      .random = [state = std::uint64_t{11}]() mutable { return state += 9; }}});
    if (!client) return client.error();
    return std::unique_ptr<Game>(new Game(player, world, std::move(*client)));
  }

  void tick() {
    player_.line.player->tick(world_.frame);
    client_.poll(500us);
    while (auto push = client_.take()) {
      if (const auto* said = push->as<cc::MessagePosted>()) {
        see(push->event()->conversation, push->event()->sender, said->content.text);
      } else if (const auto* shown = push->as<cc::Ephemeral>()) {
        see(shown->conversation, shown->sender, shown->content.text);
      }
    }
  }
  void say(const cc::ConversationId& where, std::string text) {
    client_.call(cc::Send{.to = where, .content = {.text = std::move(text)}}, [this](cc::Result<cc::Sent> sent) {
      if (!sent) refused_ = cc::name(sent.error().code);
    });
  }
  void wave(const cc::ConversationId& where, std::string text) {
    client_.call(cc::SendEphemeral{.to = where, .content = {.text = std::move(text)}});
  }
  void list() {
    client_.call(cc::ListConversations{}, [this](cc::Result<cc::ConversationsPage> page) {
      if (!page) return;
      listed_.clear();
      for (const auto& entry : page->conversations) {
        listed_.push_back(entry.info.conversation.string() + (entry.info.former ? " (former)" : ""));
      }
      std::sort(listed_.begin(), listed_.end());
    });
  }

  bool is_in() const { return client_.status().connected; }
  bool saw(std::string_view text) const {
    return std::any_of(seen_.begin(), seen_.end(), [&](const Seen& s) { return s.text == text; });
  }
  const std::vector<Seen>& seen() const { return seen_; }
  const std::vector<std::string>& listed() const { return listed_; }
  const std::string& refused() const { return refused_; }

 private:
  Game(Player& player, World& world, cc::Client client) : player_(player), world_(world), client_(std::move(client)) {}
  void see(const cc::ConversationId& where, const cc::UserId& who, const std::string& text) {
    seen_.push_back({world_.frame, where.string(), text});
    std::printf("%4d  %-6s sees in %-9s  %s: %s\n", static_cast<int>(world_.frame), player_.user.string().c_str(),
                where.string().c_str(), who.empty() ? "(the game)" : who.string().c_str(), text.c_str());
  }

  Player& player_;
  World& world_;
  std::vector<Seen> seen_{};
  std::vector<std::string> listed_{};
  std::string refused_{};
  cc::Client client_;  // last: its callbacks use the rest
};

class Match {
 public:
  Match(World& world, Chat& chat) : world_(world), chat_(chat) {}

  cc::Status start() {
    for (auto& [name, player] : world_.players) {
      chat_.join(*player);
      auto game = Game::start(*player, world_);
      if (!game) return game.error();
      games_[name] = std::move(*game);
    }
    return {};
  }

  void play() {
    at(40, "kick-off, called twice", [&] { chat_.kick_off(), chat_.kick_off(); });
    at(60, "bob says hello next to Smith", [&] { game("bob").say(world_channel, "hello"); });
    at(90, "alice plans", [&] { game("alice").say(red, "Flank left"); });
    at(120, "bob's line takes nothing more", [&] { player("bob").line.server->hold(true); });
    at(130, "alice plans on, and waves", [&] {
      game("alice").say(red, "The flag is in the mill");
      game("alice").wave(red, "*points at the mill*");
    });
    at(150, "", [&] { waited_for_bob_ = chat_.stats().outbox_bytes; });
    // What alice says in this very frame is on its way when bob changes sides, and has no place in the log yet.
    at(160, "bob changes sides", [&] {
      game("alice").say(red, "Bob is a traitor: attack the bridge");
      world_.team_of.find("bob")->second = "team:blue";
      chat_.switched_team(player("bob"));
    });
    at(161, "dave greets him", [&] { game("dave").say(blue, "Welcome, Bob"); });
    at(180, "bob's line is back", [&] { player("bob").line.server->hold(false); });
    at(200, "bob talks to both teams", [&] {
      game("bob").say(red, "no hard feelings?");
      game("bob").say(blue, "they go for the mill");
    });
    at(220, "alice plans on", [&] { game("alice").say(red, "Now!"); });
    at(240, "bob looks at his list", [&] { game("bob").list(); });
    for (; world_.frame < 300; ++world_.frame) frame();
  }

  // After the engine: the farewells are in the network.
  void end() {
    for (const std::uint64_t last = world_.frame + 60; world_.frame < last; ++world_.frame) frame_of_players();
  }

  bool check() {
    constexpr const char* moved = "what was said from frame 160 on stays in the team that he left";
    expect(kept_in(), "everybody was in before the kick-off");
    expect(chat_.answers() == 1, "the kick-off was called twice and came once");
    for (const auto& [name, each] : games_) {
      const auto& seen = each->seen();
      expect(std::count_if(seen.begin(), seen.end(), [](const auto& s) { return s.text == "Kick-off!"; }) == 1,
             name + " saw the kick-off once");
      expect(each->saw("Welcome!") == player(name).is_near_smith, name + " hears Smith if he is near");
    }
    expect(game("bob").saw("Flank left") && game("carol").saw("Flank left"), "the team hears its plan");
    expect(!game("dave").saw("Flank left"), "and the other team does not");
    expect(waited_for_bob_ > 0 && chat_.connection_of(player("bob")).refused() > 0,
           "something waited in bob's outbox as he moved");
    expect(!game("bob").saw("Bob is a traitor: attack the bridge") && !game("bob").saw("Now!"), moved);
    expect(!game("bob").saw("*points at the mill*") && game("carol").saw("*points at the mill*"),
           "what waited for him and is never stored is gone");
    expect(game("carol").saw("Bob is a traitor: attack the bridge") && game("carol").saw("Now!"),
           "his old team hears it");
    expect(game("bob").saw("Welcome, Bob") && game("dave").saw("they go for the mill"), "he is in the new one");
    expect(game("bob").refused() == "forbidden", "he can't talk to the old one");
    expect(game("bob").listed() == std::vector<std::string>{"team:blue", "team:red (former)", "world"},
           "his list shows the new team, and the old one as what was");
    return held_;
  }

 private:
  void at(std::uint64_t frame, const char* what, std::function<void()> does) {
    script_.push_back({frame, what, std::move(does)});
  }
  Game& game(const std::string& name) { return *games_.find(name)->second; }
  Player& player(const std::string& name) { return *world_.players.find(name)->second; }
  bool kept_in() const { return everyone_in_ != 0 && everyone_in_ < 40; }

  void frame() {
    for (auto& step : script_) {
      if (step.frame != world_.frame) continue;
      if (*step.what) std::printf("%4d  -- %s\n", static_cast<int>(step.frame), step.what);
      step.does();
    }
    chat_.tick();
    frame_of_players();
    const bool in = std::all_of(games_.begin(), games_.end(), [](const auto& g) { return g.second->is_in(); });
    if (in && everyone_in_ == 0) everyone_in_ = world_.frame;
  }
  void frame_of_players() {
    for (auto& [name, each] : games_) each->tick();
  }
  void expect(bool is_so, const std::string& what) {
    if (!is_so) held_ = false;
    std::printf("%s %s\n", is_so ? "held:  " : "FAILED:", what.c_str());
  }

  struct Step {
    std::uint64_t frame;
    const char* what;
    std::function<void()> does;
  };
  World& world_;
  Chat& chat_;
  std::vector<Step> script_{};
  std::map<std::string, std::unique_ptr<Game>> games_{};
  std::uint64_t everyone_in_ = 0, waited_for_bob_ = 0;
  bool held_ = true;
};

int fail(const cc::Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

int play(const std::string& directory) {
  World world;
  std::uint32_t seed = 1;
  const std::pair<const char*, const char*> lineup[] = {
      {"alice", "team:red"}, {"bob", "team:red"}, {"carol", "team:red"}, {"dave", "team:blue"}, {"erin", "team:blue"}};
  for (const auto& [name, team] : lineup) {
    world.players[name] = std::make_unique<Player>(*cc::UserId::make(name), seed += 2);
    world.team_of[name] = team;
  }
  world.players["alice"]->is_near_smith = world.players["bob"]->is_near_smith = true;

  auto chat = Chat::open(world, directory);
  if (!chat) return fail(chat.error());
  Match match(world, *chat);
  if (cc::Status started = match.start(); !started) return fail(started.error());
  match.play();
  if (cc::Status stopped = chat->shutdown(); !stopped) return fail(stopped.error());
  match.end();
  return match.check() ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 2 || (count == 2 && arguments[1][0] == '-')) return std::puts("usage: game_loop [DIRECTORY]"), 2;
  if (count == 2) return play(arguments[1]);
  std::string directory = (std::filesystem::temp_directory_path() / "game_loop-XXXXXX").string();
  if (!mkdtemp(directory.data())) return std::perror("mkdtemp"), 1;
  const int code = play(directory);
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  return code;
}
