#include "child.h"

#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "failure.h"

using chatcore::Status;

namespace {

double seconds_of(clockid_t clock) {
  timespec time{};
  require(clock_gettime(clock, &time) == 0, "the CPU time of the server can't be read: it has ended");
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

}  // namespace

double own_cpu_seconds() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }

Child::Child(std::vector<std::string> words, int cpu) {
  Status listens = process_.start(std::move(words), cpu);
  if (listens) listens = process_.wait_until_it_listens();
  if (!listens) throw Failure(listens.error().message);
  require(clock_getcpuclockid(process_.pid(), &clock_) == 0, "the server has no CPU clock");
}

double Child::cpu_seconds() const { return seconds_of(clock_); }

namespace {

std::size_t status_bytes(pid_t pid, const std::string& field) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field)) return std::stoul(line.substr(field.size())) * 1024;
  }
  throw Failure("the server's memory can't be read");
}

}  // namespace

std::size_t Child::rss_bytes() const { return status_bytes(process_.pid(), "VmRSS:"); }
std::size_t Child::peak_rss_bytes() const { return status_bytes(process_.pid(), "VmHWM:"); }

void Child::forget_peak() const {
  std::ofstream peak("/proc/" + std::to_string(process_.pid()) + "/clear_refs");
  require(bool(peak << "5" << std::flush), "the server's peak of memory can't be reset");
}

std::string Child::counters() {
  const std::size_t before = process_.said().size();
  kill(process_.pid(), SIGUSR1);
  for (int tries = 0; tries < 100; ++tries) {
    if (const auto runs = process_.is_listening(); !runs) throw Failure(runs.error().message);
    // What it says when it begins may come only now: the counters end with this line.
    std::string said = process_.said().substr(before);
    const std::size_t last = said.find("\nsessions ");
    if (last != std::string::npos && said.find('\n', last + 1) != std::string::npos) return said;
    process_.wait_for_output(std::chrono::milliseconds(100));
  }
  throw Failure("the server does not say its counters");
}

double counter_in(const std::string& said, const std::string& name) {
  const std::size_t at = said.rfind(name);
  return at == std::string::npos ? 0.0 : std::atof(said.c_str() + at + name.size());
}

std::string Child::stop() {
  auto said = process_.stop();
  if (!said) throw Failure(said.error().message);
  return std::move(*said);
}

TemporaryDirectory::TemporaryDirectory(const std::string& parent)
    : path_((std::filesystem::absolute(parent) / "chatcore-bench-XXXXXX").string()) {
  if (!mkdtemp(path_.data())) throw Failure("cannot make a directory in " + parent);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}
