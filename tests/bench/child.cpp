#include "child.h"

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

std::size_t Child::rss_bytes() const {
  std::ifstream status("/proc/" + std::to_string(process_.pid()) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6)) * 1024;
  }
  throw Failure("the server's memory can't be read");
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
