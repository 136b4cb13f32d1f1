#pragma once

#include <chatcore/chatcore.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// What stands behind a command, and what is said where it can't be done.

inline constexpr const char* no_target = "no target: /to @USER or /to CONVERSATION first";

std::optional<std::uint64_t> number_of(const std::vector<std::string>& words, std::size_t index);
std::optional<std::vector<chatcore::UserId>> users_of(const std::vector<std::string>& words, std::size_t first);
