#pragma once

#include <chatcore/chatcore.h>
#include <sys/types.h>

#include <string>

// chat_server as a child process, on data in a fresh directory. Both are gone when this is.
class Server {
 public:
  explicit Server(std::string program);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  chatcore::Status start();  // on a free port the first time, on the same one later
  chatcore::Status kill();   // SIGKILL
  chatcore::Status stop();   // SIGTERM; an error where it does not end well
  chatcore::Endpoint at() const { return {"127.0.0.1", port_}; }

 private:
  chatcore::Status wait_until_it_listens();
  int wait();  // its exit status

  std::string program_, data_;
  std::uint16_t port_ = 0;
  pid_t child_ = -1;
  int output_ = -1;  // the pipe its stdout goes into
};
