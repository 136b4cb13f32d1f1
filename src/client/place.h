#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include <chatcore/ids.h>

namespace chatcore {
inline namespace v1 {
namespace client {

// What a client's checkpoint says. The server's alone would cost duplicates after a restart: it may be older than what
// was taken.
struct Place {
  static constexpr std::size_t most_conversations = 1000;

  Checkpoint server{};
  std::vector<std::pair<ConversationId, Seq>> seen{};  // the conversation that moved last comes first
};

Checkpoint encode_place(const Place&);
std::optional<Place> decode_place(const Checkpoint&);  // nothing: damaged, or of a later version

}  // namespace client
}  // namespace v1
}  // namespace chatcore
