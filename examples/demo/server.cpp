#include "server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <vector>

using namespace chatcore;

namespace {

Error failed(std::string what) { return {ErrorCode::transport_failed, std::move(what)}; }

}  // namespace

Server::Server(std::string program) : program_(std::move(program)) {
  std::string name = (std::filesystem::temp_directory_path() / "chatcore-demo-XXXXXX").string();
  if (mkdtemp(name.data())) data_ = name;
}

Server::~Server() {
  if (child_ > 0) static_cast<void>(kill());
  if (data_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(data_, ignored);
}

Status Server::start() {
  if (data_.empty()) return failed("cannot make a directory for the data");
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return failed("cannot make a pipe");
  std::vector<std::string> words{program_, "--listen", "127.0.0.1",          "--port", std::to_string(port_),
                                 "--data", data_,      "--insecure-dev-auth"};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

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
  if (child_ < 0) return failed("cannot fork");
  return wait_until_it_listens();
}

// Reads its output until "listening on ADDRESS:PORT".
Status Server::wait_until_it_listens() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::string output;
  while (std::chrono::steady_clock::now() < deadline) {
    pollfd watched{output_, POLLIN, 0};
    if (poll(&watched, 1, 100) <= 0) continue;
    char bytes[512];
    const ssize_t count = read(output_, bytes, sizeof bytes);
    if (count <= 0) return failed(program_ + " ended before it listened");
    output.append(bytes, static_cast<std::size_t>(count));
    const std::size_t at = output.find("listening on ");
    if (at == std::string::npos || output.find('\n', at) == std::string::npos) continue;
    port_ = static_cast<std::uint16_t>(std::stoi(output.substr(output.find(':', at) + 1)));
    return {};
  }
  return failed(program_ + " does not listen");
}

Status Server::kill() {
  if (child_ <= 0) return failed("the server does not run");
  ::kill(child_, SIGKILL);
  wait();
  return {};
}

Status Server::stop() {
  if (child_ <= 0) return failed("the server does not run");
  ::kill(child_, SIGTERM);
  const int status = wait();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return failed("the server did not stop cleanly");
}

int Server::wait() {
  int status = 0;
  waitpid(child_, &status, 0);
  child_ = -1;
  close(output_);
  output_ = -1;
  return status;
}
