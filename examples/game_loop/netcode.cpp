#include "netcode.h"

#include <algorithm>
#include <utility>

namespace netcode {
namespace {

constexpr std::size_t payload_bytes = 1200;  // so that a packet fits everywhere
constexpr std::size_t window = 64;           // packets
constexpr std::uint64_t again_after = 8;     // frames
constexpr std::uint64_t latency = 2;         // frames, and up to three more

std::size_t packets_of(std::size_t bytes) {
  return std::max<std::size_t>(1, (bytes + payload_bytes - 1) / payload_bytes);
}

}  // namespace

// ---- the air

std::uint32_t Air::next_random() {
  random_ = random_ * 1664525u + 1013904223u;
  return random_ >> 16;
}

void Air::send(Packet packet, std::uint64_t frame) {
  if (next_random() % 8 == 0) return;  // lost
  under_way_.emplace(frame + latency + next_random() % 4, std::move(packet));
}

std::optional<Packet> Air::receive(std::uint64_t frame) {
  if (under_way_.empty() || under_way_.begin()->first > frame) return {};
  return std::move(under_way_.extract(under_way_.begin()).mapped());
}

// ---- an end

// A message larger than the window has the window to itself.
bool Peer::has_room(std::size_t bytes) const {
  return !held_ && (unacknowledged_.empty() || unacknowledged_.size() + packets_of(bytes) <= window);
}

void Peer::push(Packet packet) {
  packet.number = ++last_number_;
  unacknowledged_.push_back({.packet = std::move(packet)});
}

void Peer::send(std::span<const std::byte> message) {
  for (std::size_t left = packets_of(message.size()); left-- > 0;) {
    const auto part = message.first(std::min(payload_bytes, message.size()));
    message = message.subspan(part.size());
    push({.ends_message = left == 0, .payload = Bytes(part.begin(), part.end())});
  }
}

void Peer::finish() { push({.ends_channel = true}); }

std::optional<Bytes> Peer::receive() {
  if (messages_.empty()) return {};
  Bytes message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

void Peer::arrived(Packet packet) {
  while (!unacknowledged_.empty() && unacknowledged_.front().packet.number <= packet.ack) unacknowledged_.pop_front();
  if (packet.number == 0) return;
  acknowledge_ = true;
  if (packet.number <= arrived_to_ || packet.number > arrived_to_ + 4 * window) return;
  early_.emplace(packet.number, std::move(packet));
  while (!early_.empty() && early_.begin()->first == arrived_to_ + 1) {
    Packet next = std::move(early_.extract(early_.begin()).mapped());
    ++arrived_to_;
    finished_ |= next.ends_channel;
    partial_.insert(partial_.end(), next.payload.begin(), next.payload.end());
    if (next.ends_message) messages_.push_back(std::exchange(partial_, {}));
  }
}

void Peer::tick(std::uint64_t frame) {
  while (auto packet = in_->receive(frame)) arrived(std::move(*packet));
  for (std::size_t i = 0; i < std::min(window, unacknowledged_.size()); ++i) {
    Unacknowledged& each = unacknowledged_[i];
    if (each.sent != 0 && frame < each.sent + again_after) continue;
    each.sent = frame;
    each.packet.ack = arrived_to_;
    out_->send(each.packet, frame);
    acknowledge_ = false;
  }
  if (std::exchange(acknowledge_, false)) out_->send({.ack = arrived_to_}, frame);
}

Line::Line(std::uint32_t seed) {
  const auto down = std::make_shared<Air>(seed), up = std::make_shared<Air>(seed + 1);
  server = std::make_shared<Peer>(down, up);
  player = std::make_shared<Peer>(up, down);
}

}  // namespace netcode
