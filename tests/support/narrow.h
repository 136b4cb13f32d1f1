#pragma once

#include <string>

#include "support/chat.h"

namespace chat {

// Small bounds, so that little fills them.
inline EngineOptions narrow(unsigned shards = 1) {
  EngineOptions options;
  options.shards = shards;
  options.limits = {.frame_bytes = 16 << 10,
                    .text_bytes = 4 << 10,
                    .content_bytes = 1 << 10,
                    .metadata_bytes = 1 << 10,
                    .outbox_bytes = 32 << 10,
                    .group_members = 60};
  return options;
}

inline std::string kilobyte(int i) { return std::to_string(i) + ":" + std::string(1000, 'x'); }

}  // namespace chat
