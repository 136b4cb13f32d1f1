#pragma once

#include <chatcore/result.h>
#include <chatcore/transport.h>
#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace crash {

// chat_server as a child process. Nothing here waits but kill() and stop(), for the end of the process.
class Server {
 public:
  // `arguments`: besides where it listens.
  Server(std::string program, std::vector<std::string> arguments);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  chatcore::Status start();  // on a free port the first time, on the same one later
  // Whether it has said that it listens. An error: it ended by itself, or not within 60 s.
  chatcore::Result<bool> is_listening();
  int output() const { return output_; }  // readable: is_listening() may have changed
  // From exec to "listening on".
  std::chrono::microseconds opening_took() const { return opening_took_; }
  void kill();              // SIGKILL
  chatcore::Status stop();  // SIGTERM; an error where it does not end well
  bool is_running() const { return child_ > 0; }
  chatcore::Endpoint at() const { return {"127.0.0.1", port_}; }

 private:
  int wait();  // its exit status
  std::string ended();

  std::string program_;
  std::vector<std::string> arguments_;
  std::uint16_t port_ = 0;
  pid_t child_ = -1;
  int output_ = -1;  // the pipe its stdout goes into
  std::string said_;
  bool listening_ = false;
  std::chrono::steady_clock::time_point started_;
  std::chrono::microseconds opening_took_{};
};

}  // namespace crash
