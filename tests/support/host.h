#pragma once

#include <functional>
#include <thread>

#include "support/chat.h"

// A host as it is outside of tests: engines with threads of their own, or polled, in real time.

namespace chat {

using std::chrono::steady_clock;

template <class T>
ErrorCode code(const Result<T>& answer) {
  return answer ? ErrorCode::ok : answer.error().code;
}

inline Send hi(std::string_view to, std::string_view text = "hi") {
  return Send{.to = Direct{user(to)}, .content = {.text = std::string(text)}};
}
inline const Identity alice_is{.user = "alice"};

inline EngineOptions in_memory(unsigned threads, unsigned shards = 1) {
  EngineOptions options;
  options.storage = make_memory_storage();
  options.durability = Durability::memory;
  options.threads = threads;
  options.shards = shards;
  options.limits = without_rates();
  return options;
}

inline Engine open(EngineOptions options) {
  auto engine = Engine::open(std::move(options));
  REQUIRE_MESSAGE(engine, engine.error().message);
  return std::move(*engine);
}

// Real time is waited for, never slept through. False: it did not come.
inline bool until(const std::function<bool()>& over, std::chrono::milliseconds most = 20s) {
  const auto end = steady_clock::now() + most;
  while (!over()) {
    if (steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

inline std::chrono::milliseconds time_of(const std::function<void()>& what) {
  const auto start = steady_clock::now();
  what();
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - start);
}

}  // namespace chat
