#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <chatcore/result.h>

namespace support {

// A server program as a child process: one that says "listening on ADDRESS:PORT" on its stdout. It ends with this.
// Nothing here waits but where it says so.
class ServerProcess {
 public:
  ServerProcess() = default;
  ~ServerProcess() { kill(); }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // `words`: the program and its arguments. cpu < 0: not pinned to one. May be called again once it has ended.
  chatcore::Status start(std::vector<std::string> words, int cpu = -1);
  // Whether it has said that it listens. An error: it ended by itself, or has not said so for 60 s.
  chatcore::Result<bool> is_listening();
  chatcore::Status wait_until_it_listens();
  // Waits until it says something or ends, at most so long.
  void wait_for_output(std::chrono::milliseconds most) const;
  void kill();                           // SIGKILL; waits for its end
  chatcore::Result<std::string> stop();  // SIGTERM; waits. What it said to the end; an error where it does not end well

  pid_t pid() const { return child_; }                                      // -1: none runs
  const std::string& said() const { return said_; }                         // on its stdout, so far
  std::uint16_t port() const { return port_; }                              // 0: it has not listened yet
  std::chrono::microseconds opening_took() const { return opening_took_; }  // from exec to "listening on"

 private:
  bool read_output();  // false: it is over
  int wait();          // its exit status

  std::string program_;
  pid_t child_ = -1;
  int output_ = -1;  // the pipe its stdout goes into
  std::string said_;
  bool listening_ = false;
  std::uint16_t port_ = 0;
  std::chrono::steady_clock::time_point started_;
  std::chrono::microseconds opening_took_{};
};

void pin_this_thread(int cpu);  // cpu < 0: does nothing

}  // namespace support
