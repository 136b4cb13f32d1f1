#include "threads.h"

namespace chatcore {
inline namespace v1 {
namespace rocks {

OwnThreads::OwnThreads(rocksdb::Env* files) : EnvWrapper(files) {
  try {
    for (Worker& each : workers_) each.thread = std::thread([&each] { each.work(); });
  } catch (...) {
    join();
    throw;
  }
}

OwnThreads::~OwnThreads() { join(); }

void OwnThreads::join() {
  for (Worker& each : workers_) {
    {
      const std::lock_guard lock(each.mutex);
      each.stop = true;
    }
    each.changed.notify_one();
    if (each.thread.joinable()) each.thread.join();
  }
}

void OwnThreads::Worker::work() {
  std::unique_lock lock(mutex);
  for (;;) {
    changed.wait(lock, [&] { return stop || !jobs.empty(); });
    if (jobs.empty()) return;
    const Job job = jobs.front();
    jobs.pop_front();
    lock.unlock();
    job.run(job.argument);
    lock.lock();
  }
}

void OwnThreads::Schedule(void (*job)(void*), void* argument, Priority priority, void* tag, void (*dropped)(void*)) {
  Worker& on = worker(priority);
  {
    const std::lock_guard lock(on.mutex);
    on.jobs.push_back({job, dropped, argument, tag});
  }
  on.changed.notify_one();
}

// RocksDB names jobs by a tag, and asks for those of one tag in one priority; ours share a queue where that changes
// nothing: nothing is scheduled as BOTTOM or USER with these options.
int OwnThreads::UnSchedule(void* tag, Priority priority) {
  Worker& on = worker(priority);
  std::deque<Job> removed;
  {
    const std::lock_guard lock(on.mutex);
    std::deque<Job> kept;
    for (const Job& each : on.jobs) (each.tag == tag ? removed : kept).push_back(each);
    on.jobs.swap(kept);
  }
  for (const Job& each : removed) {
    if (each.dropped) each.dropped(each.argument);
  }
  return static_cast<int>(removed.size());
}

unsigned int OwnThreads::GetThreadPoolQueueLen(Priority priority) const {
  const Worker& on = workers_[priority == HIGH ? 0 : 1];
  const std::lock_guard lock(on.mutex);
  return static_cast<unsigned int>(on.jobs.size());
}

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
