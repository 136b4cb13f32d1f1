#include <filesystem>

#include "scenarios/scenarios.h"

Server::Server(const Options& options, bool bare)
    : options_(options),
      bare_(bare),
      data_(options.data),
      dialect_(bare ? make_bare_dialect() : make_chatcore_dialect()) {}

void Server::start(const std::vector<std::string>& arguments) {
  std::vector<std::string> words;
  if (bare_) {
    const auto here = std::filesystem::canonical("/proc/self/exe").parent_path();
    words = {(here / "bare_server").string(), "--data", data_.path(), "--durability", options_.durability};
    words.insert(words.end(), options_.bare_arguments.begin(), options_.bare_arguments.end());
  } else {
    words = {options_.server, "--insecure-dev-auth", "--listen", "127.0.0.1", "--port", "0", "--backlog",
             "8192",          "--no-limits"};
    if (options_.durability == "memory") {
      words.push_back("--memory");
    } else {
      words.insert(words.end(), {"--data", data_.path(), "--durability", options_.durability});
    }
    words.insert(words.end(), options_.server_arguments.begin(), options_.server_arguments.end());
  }
  words.insert(words.end(), arguments.begin(), arguments.end());
  child_ = std::make_unique<Child>(words, options_.pin ? 0 : -1);
}
