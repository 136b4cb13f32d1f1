#pragma once

#include <chrono>
#include <future>

namespace chat {

// What a plug-in does that waits, in the call, for a reply which does not come: it gives up after so long.
inline void wait_for_no_reply(std::chrono::milliseconds patience) {
  std::promise<void>().get_future().wait_for(patience);
}

}  // namespace chat
