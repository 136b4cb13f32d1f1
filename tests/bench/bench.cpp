// Starts the example server as a child process, drives it over loopback, checks everything that comes back, and says
// what it took. See docs/performance.md.
//
// Exit codes: 0 measured; 1 something was wrong, so there is no figure; 2 the command line is wrong.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "failure.h"
#include "scenarios/scenarios.h"

namespace {

struct Scenario {
  const char* name;
  const char* what;
  unsigned clients, bytes;
  bool bare;         // there is something to compare with
  const char* main;  // the figure that is compared above all; null: there is none
  Figures (*run)(Server&, const Options&);
};
constexpr Scenario scenarios[] = {
    {"direct", "pairs; one sends, keeping --window messages under way, the other receives", 100, 128, true, nullptr,
     run_direct},
    {"group", "the members of a group; one sends, all others receive", 500, 128, true, nullptr, run_group},
    {"channel", "readers of a channel; a message is sent when everyone has the one before", 10'000, 128, true,
     "last_ms", run_channel},
    {"slow", "readers of a channel, of whom --stalled stop reading, until they are cut; they come back", 1'000, 4096,
     false, nullptr, run_slow},
    {"history", "readers of conversations of 500 messages; the newest page of 50, and any", 100, 128, true, nullptr,
     run_history},
    {"idle", "sessions that are logged in and silent", 15'000, 128, true, nullptr, run_idle},
    {"reconnect", "clients that come back at once, and have each missed --missed messages", 5'000, 128, false, nullptr,
     run_reconnect},
    {"list", "conversations of one user; the first page of 50 of his list", 5'000, 128, false, nullptr, run_list},
    {"typing", "members of a group, of whom 50 type and stop all the time", 500, 128, false, nullptr, run_typing},
    {"presence", "users of a channel, who come and go within each second, beside 100 pairs who talk", 10'000, 128,
     false, nullptr, run_presence},
};

const Scenario& scenario_of(const std::string& name) {
  for (const Scenario& scenario : scenarios) {
    if (scenario.name == name) return scenario;
  }
  throw Failure("no such scenario: " + name);
}

std::string description() {
  std::string text = "Measures the example server. Scenarios:\n";
  for (const Scenario& scenario : scenarios) {
    text += std::string("  ") + scenario.name + ": " + std::to_string(scenario.clients) + " " + scenario.what + "\n";
  }
  return text;
}

void describe(CLI::App& app, Options& options, bool& json) {
  std::vector<std::string> names;
  for (const Scenario& scenario : scenarios) names.emplace_back(scenario.name);
  app.add_option("scenario", options.scenario, "What is measured")->required()->check(CLI::IsMember(names));
  const auto add = [&](const char* option, auto& value, const char* help) {
    return app.add_option(option, value, help)->capture_default_str();
  };
  add("--durability", options.durability, "What an acknowledged message survives. memory: a server without a disk")
      ->check(CLI::IsMember({"memory", "process", "disk"}));
  add("--seconds", options.seconds, "Time measured")->check(CLI::PositiveNumber);
  add("--warm-up", options.warm_up, "Time before that, seconds")->check(CLI::NonNegativeNumber);
  app.add_option("--clients,--pairs,--sessions", options.clients, "Pairs, members, sessions: see above");
  add("--missed", options.missed, "reconnect: what each has missed")->check(CLI::PositiveNumber);
  add("--window", options.window, "Messages a sender has under way; the server allows 64")->check(CLI::Range(1, 64));
  app.add_option("--bytes", options.bytes, "Text of a message. Default: 128; slow: 4096")
      ->check(CLI::Range(unsigned(body::least), 16u << 10));
  app.add_flag(
      "--notify-only", options.notify_only,
      "channel: readers are told that there is something, and read it after a random part of the time that the "
      "server spreads them over");
  add("--stalled", options.stalled, "slow: how many stop reading")->check(CLI::PositiveNumber);
  add("--mebibytes", options.mebibytes, "slow: texts sent meanwhile")->check(CLI::PositiveNumber);
  add("--rate", options.rate,
      "direct: so many messages a second of all together, instead of --window; latency counts from the time a message "
      "should have been sent. presence: the same, of the pairs; 0: 6000")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--reconnect", options.reconnect,
               "presence: users come and go by ending their connections and logging in again");
  add("--reconnects", options.reconnects, "presence: so many a second then")->check(CLI::PositiveNumber);
  add("--server", options.server, "The server program; it must understand chat_server's options");
  app.add_option("--server-arg", options.server_arguments, "Passed on to the server; repeatable")
      ->allow_extra_args(false);
  add("--data", options.data, "Where the server's data directory is made, and removed");
  app.add_flag("--bare", options.bare,
               "Measure also, in turns, the plainest server that stores and forwards the same; print the ratios");
  app.add_option("--bare-arg", options.bare_arguments, "Passed on to the bare server; repeatable")
      ->allow_extra_args(false);
  app.add_option("--rounds", options.rounds, "Runs, of which the medians count. Default: 1, or 3 with --bare");
  app.add_flag("!--no-pin", options.pin, "Do not pin the server to CPU 0 and this program to CPU 1");
  app.add_flag("--progress", options.progress, "Show progress where stderr is no terminal too");
  app.add_flag("--json", json, "One JSON object instead of a table");
}

int fail(const Options& options, bool json, const char* why) {
  show_progress(options, "");
  std::fprintf(stderr, "chatcore-bench: no figure: %s\n", why);
  if (json) {
    Figures figures = no_figures(options);
    figures["errors"] = 1;
    figures["error"] = why;
    std::puts(figures.dump().c_str());
  }
  return 1;
}

// The server's own counters, over all of its life: "messages 5, ... commits 2, ...".
void add_counters(Figures& figures, const std::string& said) {
  const double messages = counter_in(said, "messages "), commits = counter_in(said, " commits ");
  if (commits > 0) figures["messages_per_commit"] = messages / commits;
}

Figures run_once(const Scenario& scenario, const Options& options, bool bare) {
  Server server(options, bare);
  Figures figures = scenario.run(server, options);
  add_counters(figures, server.stop());
  show_progress(options, "");
  return figures;
}

Figures run(const Scenario& scenario, const Options& options) {
  std::vector<Figures> ours, bare;
  for (unsigned round = 0; round < options.rounds; ++round) {
    ours.push_back(run_once(scenario, options, false));
    if (options.bare) bare.push_back(run_once(scenario, options, true));
  }
  Figures figures = medians(ours);
  figures["rounds"] = options.rounds;
  if (options.bare) {
    figures["bare"] = medians(bare);
    figures["ratios"] = ratios(ours, bare);
    if (scenario.main) {
      figures[std::string("bare_") + scenario.main] = figures["bare"][scenario.main];
      figures["ratio"] = figures["ratios"][scenario.main];
    }
  }
  return figures;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  options.server = (std::filesystem::canonical("/proc/self/exe").parent_path() / "chat_server").string();
  const char* temporary = std::getenv("TMPDIR");
  options.data = temporary ? temporary : ".";
  options.progress = isatty(STDERR_FILENO) != 0;
  bool json = false;
  CLI::App app{description()};
  describe(app, options, json);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const Scenario& scenario = scenario_of(options.scenario);
  if (options.bare && !scenario.bare) return std::fputs("chatcore-bench: no --bare for this scenario\n", stderr), 2;
  if (options.clients == 0) options.clients = scenario.clients;
  if (options.bytes == 0) options.bytes = scenario.bytes;
  if (options.rounds == 0) options.rounds = options.bare ? 3 : 1;
  options.pin = options.pin && std::thread::hardware_concurrency() >= 2;
  try {
    if (options.pin) support::pin_this_thread(1);
    const Figures figures = run(scenario, options);
    json ? void(std::puts(figures.dump().c_str())) : print_table(figures);
    return 0;
  } catch (const std::exception& error) {
    return fail(options, json, error.what());
  }
}
