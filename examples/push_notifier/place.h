#pragma once

#include <chatcore/result.h>

#include <cstdint>
#include <filesystem>
#include <optional>

namespace push {

// A number in a file that a crash leaves as it was, or as it is to be. Neither throws.

// Empty: there is no such file. corruption: it holds no number.
chatcore::Result<std::optional<std::uint64_t>> read_place(const std::filesystem::path&);
// Written beside it, synced, and put in its place. storage_unavailable.
chatcore::Status write_place(const std::filesystem::path&, std::uint64_t place);

}  // namespace push
