#pragma once

#include <memory>

#include <chatcore/testing.h>

namespace chat {

using namespace chatcore;

// The calls that an engine makes once it is open.
inline constexpr StorageCall calls_of_an_engine[] = {StorageCall::commit, StorageCall::events, StorageCall::row,
                                                     StorageCall::rows};

// A storage in memory that fails as it is told.
inline std::unique_ptr<Storage> troubled(std::shared_ptr<StorageFaults> faults) {
  return make_faulty_storage(make_memory_storage(), std::move(faults));
}

}  // namespace chat
