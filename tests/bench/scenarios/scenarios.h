#pragma once

#include <memory>
#include <string>
#include <vector>

#include "child.h"
#include "dialect.h"
#include "options.h"
#include "report.h"

// The server under test: the program, its data, and how it is talked to.
class Server {
 public:
  Server(const Options&, bool bare);
  void start(const std::vector<std::string>& arguments = {});
  std::string stop() { return child_->stop(); }  // what it says at its end
  Child& process() { return *child_; }
  const Dialect& dialect() const { return *dialect_; }
  bool bare() const { return bare_; }

 private:
  const Options& options_;
  const bool bare_;
  TemporaryDirectory data_;
  std::unique_ptr<Dialect> dialect_;
  std::unique_ptr<Child> child_{};
};

// A scenario is a file here, and a row in bench.cpp. It starts the server, and throws Failure where anything is not as
// it must be.
Figures run_channel(Server&, const Options&);
Figures run_direct(Server&, const Options&);
Figures run_group(Server&, const Options&);
Figures run_history(Server&, const Options&);
Figures run_idle(Server&, const Options&);
Figures run_list(Server&, const Options&);
Figures run_presence(Server&, const Options&);
Figures run_reconnect(Server&, const Options&);
Figures run_slow(Server&, const Options&);
Figures run_typing(Server&, const Options&);

// "alice-7": numbers are over all kinds of users of a scenario.
inline std::vector<std::string> named(const std::string& kind, std::size_t first, std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = first; i < first + count; ++i) names.push_back(kind + "-" + std::to_string(i));
  return names;
}
