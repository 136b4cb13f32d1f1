#pragma once

#include <utility>
#include <vector>

#include "core/conversation.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// A reader who catches up, as the writer sees him: what is published while the store is read for him is kept here, so
// that what he read and what he will be published to meet without a hole.
class Replay {
 public:
  Replay(const UserId& user, Standing standing) : user_(user), standing_(std::move(standing)) {}

  void collect(const std::vector<Publication>&);

  std::vector<std::pair<Seq, Frame>> frames{};
  bool overflowed = false;  // too much happened meanwhile: he has to read once more

 private:
  const UserId user_;
  Standing standing_;  // as he was when it began; who comes or goes meanwhile stands in the publications
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
