#pragma once

#include <string>

#include <chatcore/result.h>

namespace chatcore {
inline namespace v1 {
namespace rocks {

constexpr unsigned store_format = 1;  // of everything in encoding.h; a larger one is refused
constexpr const char* marker_name = "CHATCORE";

// Makes the directory ours: creates it with its marker where it is missing or empty. Nothing is altered where it
// holds something else (not_ours), a later format (version_too_new) or a store without its root (corruption).
Status claim_directory(const std::string& path);

// Which life of this machine it is: another one after a power cut or a reboot. Empty where it can't be told.
std::string read_boot_id();

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
