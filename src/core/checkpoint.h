#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <chatcore/ids.h>

namespace chatcore {
inline namespace v1 {
namespace core {

// What a Checkpoint means to the engine: everything of batches up to `batch` was in the session's outbox before it.
struct Place {
  std::string epoch{};
  std::uint64_t batch{};
};
Checkpoint to_checkpoint(const Place&);
std::optional<Place> to_place(const Checkpoint&);  // empty: nothing we made

}  // namespace core
}  // namespace v1
}  // namespace chatcore
