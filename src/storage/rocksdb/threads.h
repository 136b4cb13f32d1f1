#pragma once

#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include <rocksdb/env.h>

namespace chatcore {
inline namespace v1 {
namespace rocks {

// RocksDB's background work on two threads of our own: one for flushes, one for compactions. Its default threads
// belong to the process: they would outlive the store, and be shared with a RocksDB of the host's.
class OwnThreads final : public rocksdb::EnvWrapper {
 public:
  explicit OwnThreads(rocksdb::Env* files);
  ~OwnThreads() override;  // once no database uses it

  const char* Name() const override { return "chatcore"; }
  void Schedule(void (*job)(void*), void* argument, Priority, void* tag, void (*dropped)(void*)) override;
  int UnSchedule(void* tag, Priority) override;
  unsigned int GetThreadPoolQueueLen(Priority) const override;
  int GetBackgroundThreads(Priority) override { return 1; }
  void SetBackgroundThreads(int, Priority) override {}
  void IncBackgroundThreadsIfNeeded(int, Priority) override {}
  int ReserveThreads(int, Priority) override { return 0; }
  int ReleaseThreads(int, Priority) override { return 0; }
  void LowerThreadPoolIOPriority(Priority) override {}
  void LowerThreadPoolCPUPriority(Priority) override {}
  rocksdb::Status LowerThreadPoolCPUPriority(Priority, rocksdb::CpuPriority) override { return rocksdb::Status::OK(); }

 private:
  struct Job {
    void (*run)(void*);
    void (*dropped)(void*);
    void* argument;
    void* tag;
  };
  struct Worker {
    mutable std::mutex mutex;  // over jobs and stop
    std::condition_variable changed;
    std::deque<Job> jobs;
    bool stop = false;
    std::thread thread;

    void work();
  };

  Worker& worker(Priority priority) { return workers_[priority == HIGH ? 0 : 1]; }
  void join();

  std::array<Worker, 2> workers_;
};

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
