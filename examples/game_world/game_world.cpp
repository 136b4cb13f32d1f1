// A world without a screen: a thousand players, each in a party, a guild, a zone and the world channel, sixty frames a
// second, on one thread. Plays the same frames without a chat and with one, and prints what the chat costs.
//
// Exit codes: 0; 1 it could not run, or something did not hold: a line of a party was missing, came twice or in another
// order; somebody heard what was said in a zone after he had left it; a frame with nothing to do allocated; 2 the
// command line is wrong.
#include <chatcore/chatcore.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "allocations.h"
#include "chat.h"
#include "crowd.h"
#include "frame_times.h"
#include "witness.h"
#include "world.h"

namespace cc = chatcore;
using namespace std::chrono_literals;

namespace {

constexpr auto frame_length = 1'000'000us / 60;
constexpr auto budget = 2ms;                                    // for the chat, of a frame
constexpr std::uint64_t quiet_frames = 360, idle_frames = 120;  // quiet: longer than any deadline of the engine

struct Settings {
  std::size_t players = 1000;
  std::uint64_t frames = 1200;
  bool rocksdb = false, game_time = false, json = false;
  unsigned engine_threads = 0;
  std::optional<unsigned> storage_threads;
};

// A sixtieth of a second a frame, and nothing in between.
class GameClock final : public cc::Clock {
 public:
  explicit GameClock(const std::uint64_t& frame) : frame_(frame) {}
  cc::TimePoint wall() override { return cc::TimePoint(1'800'000'000s + time()); }
  cc::SteadyTime steady() override { return cc::SteadyTime(time()); }

 private:
  std::chrono::milliseconds time() const { return std::chrono::milliseconds(frame_ * 1000 / 60); }
  const std::uint64_t& frame_;
};

struct Report {
  FrameTimes alone{}, together{}, chat{};  // a frame of the game without a chat, with it, and the chat's part
  std::uint64_t moves = 0, idle = 0, idle_allocations = 0;
};

class Game {
 public:
  Game(World& world, const Settings& settings) : world_(world), settings_(settings) {}

  // `chat` null: the game alone.
  void play(Crowd& crowd, Chat* chat, Witness& witness, Report& report) {
    for (const std::uint64_t last = world_.frame + settings_.frames; world_.frame < last; ++world_.frame) {
      const auto begin = clock::now();
      world_.simulate();
      const auto simulated = clock::now();
      act(crowd, chat, witness, report);
      const auto end = clock::now();
      (chat ? report.together : report.alone).add(end - begin);
      if (chat) report.chat.add(end - simulated);
      wait_for_frame();
    }
  }

  // Nobody says anything any more: what is under way ends, and then there are frames in which nothing happens.
  void fall_silent(Chat& chat, Witness& witness, Report& report) {
    for (std::uint64_t n = 0; n < quiet_frames + idle_frames; ++n, ++world_.frame) {
      const std::uint64_t before = allocations_here();
      const bool did = chat.tick(world_, witness);
      if (n >= quiet_frames && !did) {
        ++report.idle;
        report.idle_allocations += allocations_here() - before;
      }
      wait_for_frame();
    }
  }

 private:
  using clock = std::chrono::steady_clock;

  void act(Crowd& crowd, Chat* chat, Witness& witness, Report& report) {
    for (const Crowd::Move& move : crowd.moves(world_)) {
      Player& player = world_.players[move.player];
      world_.move(player, move.to);
      ++report.moves;
      if (chat) chat->has_moved(player);
    }
    const auto& lines = crowd.lines(world_);
    if (!chat) return;
    for (const Crowd::Line& line : lines) {
      const Player& speaker = world_.players[line.speaker];
      if (line.is_wave) {
        chat->wave(speaker, place_of(speaker, line.place), witness.says(line));
      } else {
        chat->say(speaker, place_of(speaker, line.place), witness.says(line));
      }
    }
    chat->tick(world_, witness);
  }

  const cc::ConversationId& place_of(const Player& player, Place place) const {
    switch (place) {
      case Place::party:
        return world_.parties[player.party];
      case Place::guild:
        return world_.guilds[player.guild];
      case Place::zone:
        return world_.zones[player.zone()];
      case Place::world:
        break;
    }
    return world_channel;
  }

  void wait_for_frame() {
    if (settings_.game_time) return;
    next_ = std::max(next_ + frame_length, clock::now());
    std::this_thread::sleep_until(next_);
  }

  World& world_;
  const Settings& settings_;
  clock::time_point next_ = clock::now();
};

double share_over_budget(const Report& report) {
  return static_cast<double>(report.chat.over(budget)) / static_cast<double>(report.chat.count());
}

void print_times(const char* what, FrameTimes& times) {
  std::printf("%-24s %8.0f %8.0f %8.0f %8.0f\n", what, times.at(0.5), times.at(0.99), times.at(0.999), times.at(1));
}

void print(const Settings& settings, const World& world, const Witness& witness, Report& report) {
  std::printf("%zu players, %zu parties, %zu guilds, %zu zones; %llu frames, %s, %u engine threads\n",
              world.players.size(), world.parties.size(), world.guilds.size(), world.zones.size(),
              static_cast<unsigned long long>(settings.frames), settings.rocksdb ? "RocksDB" : "memory",
              settings.engine_threads);
  if (!settings.game_time) {
    std::printf("%-24s %8s %8s %8s %8s\n", "microseconds a frame", "p50", "p99", "p99.9", "longest");
    print_times("the game alone", report.alone);
    print_times("the game with a chat", report.together);
    print_times("of it the chat", report.chat);
    std::printf("over 2 ms for the chat   %zu frames, %.2f %%\n", report.chat.over(budget),
                100 * share_over_budget(report));
  }
  const auto line = [&](const char* name, Place place) {
    std::printf("%-24s said %6llu, heard %8llu\n", name, static_cast<unsigned long long>(witness.said(place)),
                static_cast<unsigned long long>(witness.heard(place)));
  };
  line("in parties", Place::party);
  line("in guilds", Place::guild);
  line("in zones", Place::zone);
  line("in the world", Place::world);
}

void print_json(const Settings& settings, const Witness& witness, Report& report) {
  const auto times = [](const char* name, FrameTimes& of) {
    std::printf("\"%s\":{\"p50\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f,\"longest\":%.1f},", name, of.at(0.5), of.at(0.99),
                of.at(0.999), of.at(1));
  };
  std::printf("{\"players\":%zu,\"frames\":%llu,\"storage\":\"%s\",\"engine_threads\":%u,", settings.players,
              static_cast<unsigned long long>(settings.frames), settings.rocksdb ? "rocksdb" : "memory",
              settings.engine_threads);
  times("alone_us", report.alone);
  times("with_chat_us", report.together);
  times("chat_us", report.chat);
  std::printf("\"over_budget\":%.5f,", share_over_budget(report));
  const auto number = [](const char* name, std::uint64_t n, char then = ',') {
    std::printf("\"%s\":%llu%c", name, static_cast<unsigned long long>(n), then);
  };
  std::uint64_t said = 0, heard = 0;
  for (const Place place : {Place::party, Place::guild, Place::zone, Place::world}) {
    said += witness.said(place);
    heard += witness.heard(place);
  }
  number("said", said);
  number("heard", heard);
  number("moves", report.moves);
  number("idle_frames", report.idle);
  number("idle_allocations", report.idle_allocations, '}');
  std::puts("");
}

// What has to hold, whatever the time it took.
bool check(const Witness& witness, const Report& report, bool is_quiet) {
  bool held = true;
  const auto expect = [&](bool is_so, const char* what, std::uint64_t figure) {
    held &= is_so;
    if (is_so && is_quiet) return;
    std::printf("%s %s: %llu\n", is_so ? "held:  " : "FAILED:", what, static_cast<unsigned long long>(figure));
  };
  expect(witness.heard(Place::party) > 0, "heard in parties", witness.heard(Place::party));
  expect(witness.missing() == 0, "of it missing at the end", witness.missing());
  expect(witness.out_of_order() == 0, "of it twice, or not in order", witness.out_of_order());
  expect(report.moves > 0, "moves to another zone", report.moves);
  expect(witness.heard(Place::zone) > 0, "heard in zones", witness.heard(Place::zone));
  expect(witness.heard_too_late() == 0, "of it said after the one who hears it had left", witness.heard_too_late());
  expect(report.idle > 0, "frames with nothing to do", report.idle);
  expect(report.idle_allocations == 0, "allocations in them", report.idle_allocations);
  return held;
}

cc::Result<bool> run(const Settings& settings, const std::string& directory) {
  Report report;
  {
    World world(settings.players);
    Witness witness(world);
    Crowd crowd;
    Game(world, settings).play(crowd, nullptr, witness, report);
  }
  World world(settings.players);
  Witness witness(world);
  Crowd crowd;
  report.moves = 0;
  ChatOptions options{
      .storage = settings.rocksdb ? cc::make_rocksdb_storage({.path = directory}) : cc::make_memory_storage(),
      .durability = settings.rocksdb ? cc::Durability::process : cc::Durability::memory,
      .threads = settings.engine_threads,
      .storage_threads = settings.storage_threads};
  if (settings.game_time) options.clock = std::make_shared<GameClock>(world.frame);
  auto chat = Chat::open(world, std::move(options));
  if (!chat) return chat.error();
  Game game(world, settings);
  game.play(crowd, &*chat, witness, report);
  game.fall_silent(*chat, witness, report);
  if (cc::Status stopped = chat->shutdown(); !stopped) return stopped.error();
  settings.json ? print_json(settings, witness, report) : print(settings, world, witness, report);
  return check(witness, report, settings.json);
}

// A directory that is there as long as this.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    if (!mkdtemp(path_.data())) path_.clear();
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "game_world-XXXXXX").string();
};

}  // namespace

int main(int count, char** arguments) {
  Settings settings;
  CLI::App app("A headless world whose players chat: what a chat costs a game's frame");
  app.add_option("--players", settings.players, "How many play")->check(CLI::Range(10, 100'000))->capture_default_str();
  app.add_option("--frames", settings.frames, "So many frames")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  app.add_flag("--rocksdb", settings.rocksdb, "Keep it in RocksDB (durability: process), not in memory");
  app.add_option("--engine-threads", settings.engine_threads, "Threads of the engine's own; 0: it is polled each frame")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  app.add_option("--storage-threads", settings.storage_threads, "Threads for the storage; with 0 it runs inside poll")
      ->check(CLI::Range(0, 64));
  app.add_flag("--game-time", settings.game_time,
               "Frames follow each other at once, on a clock that counts them: checks, but no times");
  app.add_flag("--json", settings.json, "One line of JSON");
  try {
    app.parse(count, arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const TemporaryDirectory directory;
  auto held = run(settings, directory.path());
  if (!held) return std::fprintf(stderr, "%s\n", held.error().message.c_str()), 1;
  return *held ? 0 : 1;
}
