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
  Figures (*run)(Server&, const Options&);
};
constexpr Scenario scenarios[] = {
    {"direct", "pairs: one sends, the other receives; each sender keeps --window messages under way", run_direct},
};

const Scenario& scenario_of(const std::string& name) {
  for (const Scenario& scenario : scenarios) {
    if (scenario.name == name) return scenario;
  }
  throw Failure("no such scenario: " + name);
}

std::string description() {
  std::string text = "Measures the example server. Scenarios:\n";
  for (const Scenario& scenario : scenarios) text += std::string("  ") + scenario.name + ": " + scenario.what + "\n";
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
  add("--pairs", options.pairs, "direct: pairs, two connections each")->check(CLI::PositiveNumber);
  add("--window", options.window, "Messages a sender has under way; the server allows 64")->check(CLI::Range(1, 64));
  add("--bytes", options.bytes, "Text of a message")->check(CLI::Range(unsigned(body::least), 16u << 10));
  add("--rate", options.rate,
      "direct: so many messages a second of all together, instead of --window; latency counts from the time a message "
      "should have been sent")
      ->check(CLI::NonNegativeNumber);
  add("--server", options.server, "The server program; it must understand chat_server's options");
  app.add_option("--server-arg", options.server_arguments, "Passed on to the server; repeatable")
      ->allow_extra_args(false);
  add("--data", options.data, "Where the server's data directory is made, and removed");
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
  options.pin = options.pin && std::thread::hardware_concurrency() >= 2;
  try {
    if (options.pin) pin_this_thread(1);
    Server server(options);
    const Figures figures = scenario_of(options.scenario).run(server, options);
    show_progress(options, "");
    json ? void(std::puts(figures.dump().c_str())) : print_table(figures);
    return 0;
  } catch (const std::exception& error) {
    return fail(options, json, error.what());
  }
}
