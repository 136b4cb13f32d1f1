#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include <chatcore/function.h>

namespace chatcore {
inline namespace v1 {
namespace core {

// A completion for the host's code, which may run it late, twice, never, or from any thread: `then` runs once, with the
// first result, or with `cancelled` when the last copy of it is dropped. Nothing that `then` throws (no memory) reaches
// the host, nor the destructor that he may be in.
template <class T, class F>
Done<T> first_completion(F then) {
  struct Once {
    explicit Once(F f) : then(std::move(f)) {}
    ~Once() { run(Error{ErrorCode::cancelled, "it was dropped without an answer", {}}); }
    void run(Result<T> result) noexcept {
      if (over.exchange(true)) return;
      try {
        then(std::move(result));
      } catch (...) {
      }
    }
    F then;
    std::atomic<bool> over{false};
  };
  return [once = std::make_shared<Once>(std::move(then))](Result<T> result) { once->run(std::move(result)); };
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
