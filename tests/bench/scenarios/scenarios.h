#pragma once

#include <memory>
#include <string>

#include "child.h"
#include "dialect.h"
#include "options.h"
#include "report.h"

// The server under test: the program, its data, and how it is talked to.
class Server {
 public:
  explicit Server(const Options&);
  void restart();
  Child& process() { return *child_; }
  const Dialect& dialect() const { return *dialect_; }

 private:
  void start();

  const Options& options_;
  TemporaryDirectory data_;
  std::unique_ptr<Dialect> dialect_;
  std::unique_ptr<Child> child_{};
};

// A scenario is a file here, and a row in bench.cpp. It throws Failure where anything is not as it must be.
Figures run_direct(Server&, const Options&);
