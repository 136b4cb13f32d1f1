#include "worker.h"

namespace backend {

Worker::Worker() : thread_([this] { loop(); }) {}

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Worker::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ends_ || !waiting_.empty(); });
    if (ends_) return;
    {
      auto next = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      next();
    }
    lock.lock();
  }
}

}  // namespace backend
