#pragma once

#include <deque>

#include "client/call.h"

namespace chatcore {
inline namespace v1 {
namespace client {

// What was said of typing lately (SetTyping), so that the same is not sent again.
class TypingSaid {
 public:
  // Whether the server was told just that within the last second; if not, it is told now.
  bool is_repeat(const Call&, SteadyTime now);
  void forget(const Bytes& to);  // it has ended, or was not taken

 private:
  struct Said {
    Bytes to{}, body{};
    SteadyTime at{};
  };
  std::deque<Said> said_;  // by time; one a target
};

}  // namespace client
}  // namespace v1
}  // namespace chatcore
