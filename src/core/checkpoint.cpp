#include "core/checkpoint.h"

#include <charconv>

namespace chatcore {
inline namespace v1 {
namespace core {

Checkpoint to_checkpoint(const Place& place) { return {"1." + std::to_string(place.batch) + "." + place.epoch}; }

std::optional<Place> to_place(const Checkpoint& checkpoint) {
  const std::string& text = checkpoint.opaque;
  if (!text.starts_with("1.")) return {};
  Place place;
  const char* const end = text.data() + text.size();
  const auto [after, error] = std::from_chars(text.data() + 2, end, place.batch);
  if (error != std::errc{} || after == end || *after != '.') return {};
  place.epoch.assign(after + 1, end);
  return place;
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
