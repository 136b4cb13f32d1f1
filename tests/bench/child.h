#pragma once

#include <time.h>

#include <cstdint>
#include <string>
#include <vector>

#include "support/server_process.h"

// A server as a child process, pinned to one CPU, and what it takes of the machine. Throws Failure.
class Child {
 public:
  // Starts it and waits until it listens. cpu < 0: not pinned.
  Child(std::vector<std::string> words, int cpu);

  std::uint16_t port() const { return process_.port(); }
  double cpu_seconds() const;
  std::size_t rss_bytes() const;
  std::size_t peak_rss_bytes() const;  // since it began, or since forget_peak()
  void forget_peak() const;
  std::string counters();  // what it says on SIGUSR1
  std::string stop();      // and what it says at its end

 private:
  support::ServerProcess process_;
  clockid_t clock_{};
};

// A fresh directory below `parent`, removed with this.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::string& parent);
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Of what the server says: "messages 5, commits 2". 0 where there is none of that name.
double counter_in(const std::string& said, const std::string& name);

double own_cpu_seconds();
