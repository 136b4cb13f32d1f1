#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

// The game's own network, which knows nothing of chat: packets as UDP has them (lost, late, out of order), and on top
// of them a reliable, ordered channel of whole messages. In memory, and driven by the frame counter: the same seed
// plays the same match. Put sendto() and recvfrom() in the place of Air, and it is a network.
namespace netcode {

using Bytes = std::vector<std::byte>;

struct Packet {
  std::uint32_t number = 0;  // of what it carries, from 1; 0: only the acknowledgement
  std::uint32_t ack = 0;     // everything up to this number has come
  bool ends_message = false;
  bool ends_channel = false;  // nothing follows
  Bytes payload{};
};

// What lies between two ends: one direction of it.
class Air {
 public:
  explicit Air(std::uint32_t seed) : random_(seed) {}
  void send(Packet, std::uint64_t frame);
  std::optional<Packet> receive(std::uint64_t frame);

 private:
  std::uint32_t next_random();
  std::uint32_t random_;
  std::multimap<std::uint64_t, Packet> under_way_{};  // by the frame in which it arrives
};

// One end of a channel.
class Peer {
 public:
  Peer(std::shared_ptr<Air> out, std::shared_ptr<Air> in) : out_(std::move(out)), in_(std::move(in)) {}

  // Whether a message of that size is taken now: the window is bounded.
  bool has_room(std::size_t bytes) const;
  void send(std::span<const std::byte> message);
  void finish();  // behind what was sent

  std::optional<Bytes> receive();  // the next whole message
  bool is_silent() const { return unacknowledged_.empty(); }
  bool peer_has_finished() const { return finished_; }

  // For the test of a bad line: takes nothing more while it is on.
  void hold(bool on) { held_ = on; }
  bool is_held() const { return held_; }

  void tick(std::uint64_t frame);  // once a frame

 private:
  struct Unacknowledged {
    Packet packet{};
    std::uint64_t sent = 0;  // in that frame; 0: not yet
  };
  void push(Packet);
  void arrived(Packet);

  std::shared_ptr<Air> out_, in_;
  std::uint32_t last_number_ = 0, arrived_to_ = 0;
  std::deque<Unacknowledged> unacknowledged_{};
  std::map<std::uint32_t, Packet> early_{};
  Bytes partial_{};
  std::deque<Bytes> messages_{};
  bool acknowledge_ = false, finished_ = false, held_ = false;
};

// Both ends of a line between a player and the server.
struct Line {
  explicit Line(std::uint32_t seed);
  std::shared_ptr<Peer> server, player;
};

}  // namespace netcode
