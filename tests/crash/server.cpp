#include "server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace chatcore;
using namespace std::chrono_literals;

namespace crash {
namespace {

Error failed(std::string what) { return {ErrorCode::transport_failed, std::move(what)}; }

}  // namespace

Server::Server(std::string program, std::vector<std::string> arguments)
    : program_(std::move(program)), arguments_(std::move(arguments)) {}

Server::~Server() { kill(); }

Status Server::start() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return failed("cannot make a pipe");
  std::vector<std::string> words{program_, "--listen", "127.0.0.1", "--port", std::to_string(port_)};
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  said_.clear();
  listening_ = false;
  started_ = std::chrono::steady_clock::now();
  // Other threads run: between fork and exec only what is safe then.
  child_ = fork();
  if (child_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // it does not outlive us, however we end
    dup2(ends[1], STDOUT_FILENO);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(ends[1]);
  output_ = ends[0];
  return child_ < 0 ? failed("cannot fork") : Status();
}

// Reads its output until "listening on ADDRESS:PORT".
Result<bool> Server::is_listening() {
  char bytes[512];
  ssize_t count;
  while ((count = read(output_, bytes, sizeof bytes)) > 0) said_.append(bytes, static_cast<std::size_t>(count));
  if (count == 0) return failed(ended());
  if (listening_) return true;
  const auto now = std::chrono::steady_clock::now();
  const std::size_t at = said_.find("listening on ");
  if (at == std::string::npos || said_.find('\n', at) == std::string::npos) {
    if (now - started_ > 60s) return failed(program_ + " does not listen");
    return false;
  }
  listening_ = true;
  opening_took_ = std::chrono::duration_cast<std::chrono::microseconds>(now - started_);
  port_ = static_cast<std::uint16_t>(std::stoi(said_.substr(said_.find(':', at) + 1)));
  return true;
}

void Server::kill() {
  if (child_ <= 0) return;
  ::kill(child_, SIGKILL);
  wait();
}

Status Server::stop() {
  if (child_ <= 0) return failed("the server does not run");
  ::kill(child_, SIGTERM);
  const int status = wait();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return failed("the server did not stop cleanly");
}

std::string Server::ended() {
  const int status = wait();
  return program_ + " ended by itself, " +
         (WIFSIGNALED(status) ? "by signal " + std::to_string(WTERMSIG(status))
                              : "with exit code " + std::to_string(WEXITSTATUS(status)));
}

int Server::wait() {
  int status = 0;
  waitpid(child_, &status, 0);
  child_ = -1;
  close(output_);
  output_ = -1;
  return status;
}

}  // namespace crash
