#pragma once

#include <memory>
#include <utility>

#include "core/completion.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// A question to the host, about members or profiles: `ask` is given a completion for his code. `then` runs once, later,
// on the shard, with the first answer, with `cancelled` where it is dropped, or with `timeout`.
template <class T, class Ask, class Then>
void ask_host(Shard& shard, Ask ask, Then then) {
  auto done = std::make_shared<Done<T>>(first_completion<T>(
      [&shard, keep = shard.core().shared_from_this(), then = std::move(then)](Result<T> result) mutable {
        shard.post([then = std::move(then), result = std::move(result)]() mutable { then(std::move(result)); });
      }));
  shard.after(shard.core().membership_deadline, [late = std::weak_ptr<Done<T>>(done)] {
    if (const auto still = late.lock()) {
      (*still)(Error{ErrorCode::timeout, "the host did not answer in time: retry", {}});
    }
  });
  guarded(shard.core(), [&] { ask([done](Result<T> result) { (*done)(std::move(result)); }); });
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
