#pragma once

#include <cstdint>

// How often the calling thread has called operator new, in this program and in what it links.
std::uint64_t allocations_here() noexcept;
