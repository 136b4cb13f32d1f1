// chatcore-crash-test: kills the example server under load, again and again, and compares what it kept with a journal.
//
// Exit codes: 0 the promises hold; 1 they do not, or the run could not go on; 2 the command line is wrong.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "judge.h"
#include "town.h"

using namespace chatcore;
using namespace crash;
using support::ServerProcess;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

struct Settings {
  unsigned kills = 20, writers = 50;
  std::uint64_t seed = 1;
  std::string server, data, durability = "disk";
  std::vector<std::string> server_arguments;
  bool json = false;
};

struct Outcome {
  unsigned kills = 0;
  std::chrono::microseconds reopen_most{};
  Status ended{};
};

// On a free port the first time, on the same one later.
Status start(const Settings& settings, ServerProcess& server) {
  std::vector<std::string> words{settings.server, "--insecure-dev-auth",        "--no-limits", "--listen", "127.0.0.1",
                                 "--port",        std::to_string(server.port())};
  if (settings.durability == "memory") {  // has to be found out
    words.push_back("--memory");
  } else {
    words.insert(words.end(), {"--data", settings.data + "/store", "--durability", settings.durability});
  }
  words.insert(words.end(), settings.server_arguments.begin(), settings.server_arguments.end());
  return server.start(std::move(words));
}

// Waits until the server listens, with everybody going on meanwhile.
Status wait_for(ServerProcess& server, Town& town) {
  for (;;) {
    const auto listens = server.is_listening();
    if (!listens) return listens.error();
    if (*listens) return {};
    town.turn();
  }
}

void live_for(Town& town, std::chrono::microseconds time) {
  for (const auto end = steady_clock::now() + time; steady_clock::now() < end;) town.turn();
}

Status run(const Settings& settings, ServerProcess& server, Town& town, Outcome& outcome) {
  std::mt19937_64 random(settings.seed);
  const auto up_to = [&](std::chrono::microseconds most) {
    return std::chrono::microseconds(random() % static_cast<std::uint64_t>(most.count()));
  };
  if (Status started = start(settings, server); !started) return started;
  if (Status opened = server.wait_until_it_listens(); !opened) return opened;
  if (Status settled = town.settle_in(); !settled) return settled;
  town.write(true);
  while (outcome.kills < settings.kills) {
    // One in five dies young: while it opens, or when its first clients come back.
    live_for(town, random() % 5 == 0 ? up_to(30ms) : 50ms + up_to(300ms));
    server.kill();
    town.begin_run(++outcome.kills);
    if (isatty(STDERR_FILENO)) std::fprintf(stderr, "\r%u of %u kills", outcome.kills, settings.kills);
    if (Status started = start(settings, server); !started) return started;
    if (outcome.kills < settings.kills && random() % 5 == 0) continue;
    if (Status opened = wait_for(server, town); !opened) return opened;
    outcome.reopen_most = std::max(outcome.reopen_most, server.opening_took());
    town.read_a_page();
  }
  live_for(town, 300ms);
  town.write(false);
  if (Status rest = town.come_to_rest(); !rest) return rest;
  if (Status read = town.read_everything(); !read) return read;
  const auto stopped = server.stop();
  return stopped ? Status() : stopped.error();
}

nlohmann::json to_json(const Settings& settings, const Outcome& outcome, const Verdict& v, double seconds) {
  return {{"kills", outcome.kills},
          {"seed", settings.seed},
          {"acknowledged", v.acknowledged},
          {"lost", v.lost},
          {"duplicates", v.duplicates},
          {"inversions", v.inversions},
          {"holes", v.holes},
          {"ghosts", v.ghosts},
          {"resets", v.resets},
          {"refused", v.refused},
          {"unanswered", v.unanswered},
          {"strange", v.strange},
          {"reopen_ms_max", static_cast<double>(outcome.reopen_most.count()) / 1000},
          {"seconds", seconds}};
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  const std::filesystem::path self = std::filesystem::path(argv[0]).parent_path();
  settings.server = (self / "chat_server").string();
  CLI::App app{"Kills a chat server under load and compares what it kept with a journal of what it acknowledged"};
  app.add_option("--kills", settings.kills, "How often it is killed")->capture_default_str();
  app.add_option("--seed", settings.seed, "Of the moments and of what is written")->capture_default_str();
  app.add_option("--writers", settings.writers, "People, who write and read")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  app.add_option("--durability", settings.durability, "Of the server: disk, process, or memory, which must fail")
      ->check(CLI::IsMember({"disk", "process", "memory"}))
      ->capture_default_str();
  app.add_option("--server", settings.server, "The server program")->check(CLI::ExistingFile)->capture_default_str();
  app.add_option("--server-arg", settings.server_arguments, "Passed on to the server; repeatable");
  app.add_option("--data", settings.data, "Data directory, to be made. Default: a temporary one");
  app.add_flag("--json", settings.json, "One JSON object on stdout");
  CLI11_PARSE(app, argc, argv);

  if (settings.data.empty()) {
    std::string name = (std::filesystem::temp_directory_path() / "chatcore-crash-XXXXXX").string();
    if (!mkdtemp(name.data())) return std::perror("chatcore-crash-test: mkdtemp"), 1;
    settings.data = name;
  }
  const auto began = steady_clock::now();
  Journal journal;
  Outcome outcome;
  {
    ServerProcess server;
    Town town(journal, server, settings.writers, settings.seed);
    outcome.ended = run(settings, server, town, outcome);
  }
  const Verdict verdict = judge(journal);
  const auto seconds = std::chrono::duration<double>(steady_clock::now() - began).count();
  std::printf("%s\n", to_json(settings, outcome, verdict, seconds).dump(settings.json ? -1 : 2).c_str());
  if (outcome.ended && verdict.holds()) {
    std::filesystem::remove_all(settings.data);
    return 0;
  }
  if (!outcome.ended) std::fprintf(stderr, "the run could not go on: %s\n", outcome.ended.error().message.c_str());
  for (const std::string& line : verdict.wrong) std::fprintf(stderr, "%s\n", line.c_str());
  std::ofstream(settings.data + "/journal.txt") << [&] {
    std::ostringstream text;
    journal.write(text);
    return text.str();
  }();
  std::fprintf(stderr, "store and journal are in %s\n", settings.data.c_str());
  return 1;
}
