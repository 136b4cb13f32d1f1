#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "core/completion.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// A question to the host, about members or profiles: `ask` is given a completion for his code. `then` runs once, later,
// on the shard, with the first answer, with `cancelled` where it is dropped, or with `timeout`. It ends with the shard,
// whatever the host keeps.
template <class T, class Ask, class Then>
void ask_host(Shard& shard, Ask ask, Then then) {
  const auto waiting = std::make_shared<std::optional<Then>>(std::move(then));
  const auto answer = [](std::optional<Then>& to, Result<T> result) {
    if (auto once = std::exchange(to, std::nullopt)) (*once)(std::move(result));
  };
  shard.after(shard.core().membership_deadline, [waiting, answer] {
    answer(*waiting, Error{ErrorCode::timeout, "the host did not answer in time: retry", {}});
  });
  auto done = first_completion<T>(
      [&shard, keep = shard.core().shared_from_this(), answer, weak = std::weak_ptr(waiting)](Result<T> result) {
        shard.post([answer, weak, result = std::move(result)]() mutable {
          if (const auto still = weak.lock()) answer(*still, std::move(result));
        });
      });
  guarded(shard.core(), [&] { ask(std::move(done)); });
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
