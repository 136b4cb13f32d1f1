#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <utility>

namespace scratch {

// A part of a test in a process of its own: it may be killed, and it may die (Debian's RocksDB has its assertions on).
// Storages of the test itself have to be closed when it is made.
class Child {
 public:
  // `run(ready)` gives the exit code; it calls ready() when the test may go on.
  template <class Run>
  explicit Child(Run run) {
    int ends[2];
    if (::pipe(ends) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ends[0]);
      const rlimit none{0, 0};
      ::setrlimit(RLIMIT_CORE, &none);
      for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, SIG_DFL);
      const int null = ::open("/dev/null", O_WRONLY);
      ::dup2(null, 1);
      ::dup2(null, 2);
      int code = 99;
      try {
        code = run([&] { (void)!::write(ends[1], "r", 1); });
      } catch (...) {
      }
      ::_exit(code);
    }
    ::close(ends[1]);
    ready_ = ends[0];
  }
  ~Child() {
    kill();
    ::close(ready_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // False: it ended without saying so.
  bool wait_ready() {
    char byte;
    return ::read(ready_, &byte, 1) == 1;
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    (void)join();
  }
  // Its exit code, or minus the signal that ended it.
  int join() {
    int status = 0;
    if (::waitpid(std::exchange(pid_, -1), &status, 0) <= 0) return 99;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int ready_ = -1;
};

}  // namespace scratch
