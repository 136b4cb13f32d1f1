#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <string>
#include <vector>

// A server as a child process, pinned to one CPU, and what it takes of the machine. It ends with this.
class Child {
 public:
  // Starts it and waits for its line "listening on ADDRESS:PORT". cpu < 0: not pinned. Throws Failure.
  Child(std::vector<std::string> words, int cpu);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  std::uint16_t port() const { return port_; }
  double cpu_seconds() const;
  std::size_t rss_bytes() const;
  std::string stop();  // SIGTERM, and what it says at its end; throws where it does not end well

 private:
  void wait_until_it_listens(const std::string& program);

  pid_t pid_ = -1;
  clockid_t clock_{};
  int output_ = -1;  // the pipe its stdout goes into
  std::uint16_t port_ = 0;
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

void pin_this_thread(int cpu);  // cpu < 0: does nothing
double own_cpu_seconds();
