#include "support/server_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

using namespace chatcore;
using namespace std::chrono_literals;

namespace support {
namespace {

Error failed(std::string what) { return {ErrorCode::transport_failed, std::move(what)}; }

}  // namespace

void pin_this_thread(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  sched_setaffinity(0, sizeof set, &set);
}

Status ServerProcess::start(std::vector<std::string> words, int cpu) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return failed("cannot make a pipe");
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  program_ = words[0];
  said_.clear();
  listening_ = false;
  started_ = std::chrono::steady_clock::now();
  child_ = fork();  // other threads may run: from here to exec only what is safe then
  if (child_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // it does not outlive us, however we end
    pin_this_thread(cpu);              // all its threads inherit it
    dup2(ends[1], STDOUT_FILENO);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(ends[1]);
  output_ = ends[0];
  return child_ < 0 ? failed("cannot fork") : Status();
}

bool ServerProcess::read_output() {
  char bytes[512];
  ssize_t count;
  while ((count = read(output_, bytes, sizeof bytes)) > 0) said_.append(bytes, static_cast<std::size_t>(count));
  return count != 0 && (errno == EAGAIN || errno == EINTR);
}

Result<bool> ServerProcess::is_listening() {
  if (child_ <= 0) return failed("no server runs");
  if (!read_output()) {
    const int status = wait();
    return failed(program_ + " ended by itself, " +
                  (WIFSIGNALED(status) ? "by signal " + std::to_string(WTERMSIG(status))
                                       : "with exit code " + std::to_string(WEXITSTATUS(status))));
  }
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

Status ServerProcess::wait_until_it_listens() {
  for (;;) {
    const auto listens = is_listening();
    if (!listens) return listens.error();
    if (*listens) return {};
    wait_for_output(100ms);
  }
}

void ServerProcess::wait_for_output(std::chrono::milliseconds most) const {
  pollfd watched{output_, POLLIN, 0};
  ::poll(&watched, 1, static_cast<int>(most.count()));
}

void ServerProcess::kill() {
  if (child_ <= 0) return;
  ::kill(child_, SIGKILL);
  wait();
}

Result<std::string> ServerProcess::stop() {
  if (child_ <= 0) return failed("no server runs");
  ::kill(child_, SIGTERM);
  while (read_output()) wait_for_output(1000ms);
  const int status = wait();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return std::move(said_);
  return failed(program_ + " did not stop cleanly");
}

int ServerProcess::wait() {
  int status = 0;
  waitpid(child_, &status, 0);
  child_ = -1;
  close(output_);
  output_ = -1;
  return status;
}

}  // namespace support
