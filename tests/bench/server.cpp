#include "scenarios/scenarios.h"

Server::Server(const Options& options) : options_(options), data_(options.data), dialect_(make_chatcore_dialect()) {
  start();
}

void Server::start() {
  std::vector<std::string> words{options_.server, "--insecure-dev-auth", "--listen", "127.0.0.1", "--port", "0"};
  if (options_.durability == "memory") {
    words.push_back("--memory");
  } else {
    words.insert(words.end(), {"--data", data_.path(), "--durability", options_.durability});
  }
  words.insert(words.end(), options_.server_arguments.begin(), options_.server_arguments.end());
  child_ = std::make_unique<Child>(words, options_.pin ? 0 : -1);
}

void Server::restart() {
  child_->stop();
  start();
}
