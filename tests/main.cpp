#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <dirent.h>
#include <doctest/doctest.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// A test that hangs is ended, after it has said which one it is and where its threads stand: ctest could only say that
// the suite took too long.

namespace {

constexpr std::chrono::seconds longest_test{120};

void print_stack(int) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_print_stack_trace();
#else
  void* frames[64];
  backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
#endif
}

// One thread after the other. A second for each: it writes from a signal handler, which may wait for what the thread
// it runs on holds.
void print_all_stacks() {
  signal(SIGUSR2, print_stack);
  DIR* const tasks = opendir("/proc/self/task");
  if (!tasks) return;
  while (const dirent* entry = readdir(tasks)) {
    const long thread = std::strtol(entry->d_name, nullptr, 10);
    if (thread == 0 || thread == syscall(SYS_gettid)) continue;
    std::fprintf(stderr, "thread %ld:\n", thread);
    syscall(SYS_tgkill, getpid(), thread, SIGUSR2);
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  closedir(tasks);
}

struct Watchdog final : doctest::IReporter {
  explicit Watchdog(const doctest::ContextOptions&) {}

  void test_run_start() override {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what was said is seen, however it ends
    watcher_ = std::thread([this] {
      std::unique_lock lock(mutex_);
      while (!over_) {
        const auto seen = tests_;
        if (changed_.wait_for(lock, longest_test, [&] { return over_ || tests_ != seen; })) continue;
        std::fprintf(stderr, "hangs for %lld s: %s\n", static_cast<long long>(longest_test.count()), name_.c_str());
        print_all_stacks();
        std::_Exit(EXIT_FAILURE);
      }
    });
  }
  void test_run_end(const doctest::TestRunStats&) override {
    next("the end of the run");
    {
      std::lock_guard lock(mutex_);
      over_ = true;
      changed_.notify_all();
    }
    watcher_.join();
  }
  void test_case_start(const doctest::TestCaseData& test) override { next(test.m_name); }

  void report_query(const doctest::QueryData&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  void next(std::string name) {
    std::lock_guard lock(mutex_);
    name_ = std::move(name);
    ++tests_;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread watcher_;
  std::string name_;
  std::uint64_t tests_ = 0;
  bool over_ = false;
};

}  // namespace

REGISTER_LISTENER("watchdog", 1, Watchdog);
