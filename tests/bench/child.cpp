#include "child.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "failure.h"

namespace {

double seconds_of(clockid_t clock) {
  timespec time{};
  require(clock_gettime(clock, &time) == 0, "the CPU time of the server can't be read: it has ended");
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

}  // namespace

void pin_this_thread(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  sched_setaffinity(0, sizeof set, &set);
}

double own_cpu_seconds() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }

Child::Child(std::vector<std::string> words, int cpu) {
  int ends[2];
  require(pipe2(ends, O_CLOEXEC) == 0, "cannot make a pipe");
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // it does not outlive us, however we end
    pin_this_thread(cpu);              // all its threads inherit it
    dup2(ends[1], STDOUT_FILENO);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(ends[1]);
  output_ = ends[0];
  require(pid_ > 0, "cannot fork");
  wait_until_it_listens(words[0]);
  require(clock_getcpuclockid(pid_, &clock_) == 0, "the server has no CPU clock");
}

Child::~Child() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(output_);
}

void Child::wait_until_it_listens(const std::string& program) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (std::string output; std::chrono::steady_clock::now() < deadline;) {
    pollfd watched{output_, POLLIN, 0};
    if (poll(&watched, 1, 100) <= 0) continue;
    char bytes[512];
    const ssize_t count = read(output_, bytes, sizeof bytes);
    if (count <= 0) throw Failure(program + " ended before it listened");
    output.append(bytes, static_cast<std::size_t>(count));
    const std::size_t at = output.find("listening on ");
    if (at == std::string::npos || output.find('\n', at) == std::string::npos) continue;
    port_ = static_cast<std::uint16_t>(std::stoi(output.substr(output.find(':', at) + 1)));
    return;
  }
  throw Failure(program + " does not listen");
}

double Child::cpu_seconds() const { return seconds_of(clock_); }

std::size_t Child::rss_bytes() const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6)) * 1024;
  }
  throw Failure("the server's memory can't be read");
}

std::string Child::stop() {
  ::kill(pid_, SIGTERM);
  std::string said;
  char bytes[512];
  for (ssize_t count; (count = read(output_, bytes, sizeof bytes)) > 0;) {
    said.append(bytes, static_cast<std::size_t>(count));
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the server did not stop cleanly");
  return said;
}

TemporaryDirectory::TemporaryDirectory(const std::string& parent)
    : path_((std::filesystem::absolute(parent) / "chatcore-bench-XXXXXX").string()) {
  if (!mkdtemp(path_.data())) throw Failure("cannot make a directory in " + parent);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}
