#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include <chatcore/function.h>
#include <chatcore/ids.h>
#include <chatcore/request.h>

#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace client {

// The three orders that requests keep. Within a lane they are sent in the order they were made.
enum class Lane : std::uint8_t {
  inner,  // the client's own: fills holes. Before all others, so that a full queue does not stop deliveries
  write,  // has a key: repeated until it is answered for good, in order
  read,   // has none: repeated a few times
};

// A request on its way, without its type.
struct Call {
  RequestId id{};
  Lane lane = Lane::read;
  bool once = false;         // may have had an effect that a repeat would double: not repeated after a cut
  bool makes_event = false;  // answered with Accepted
  Bytes body{};
  Bytes to{};                      // where it goes; of Send and SetTyping, as the one ends the other
  std::size_t cost{};              // of the queue
  std::optional<Error> refused{};  // it had no place in the queue: only to be told so
  Function<void(Result<protocol::View>)> finish{};
};

}  // namespace client
}  // namespace v1
}  // namespace chatcore
