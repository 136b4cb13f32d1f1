#pragma once

#include <chatcore/chatcore.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

// The game: its frame counter, who plays, in which party, guild and zone, and the work of a frame. All on one thread.

struct Player {
  struct Stay {
    std::size_t zone = 0;
    std::uint64_t since = 0;  // frame
  };

  chatcore::UserId user{};
  std::size_t index = 0, party = 0, guild = 0;
  std::vector<Stay> stays{};  // the last one is where he is
  bool has_bad_line = false;  // gets what there is for him in every tenth frame only
  float x = 0, y = 0, speed_x = 0, speed_y = 0;

  std::size_t zone() const { return stays.back().zone; }
  // In that zone at some time from that frame on.
  bool was_in(std::size_t zone, std::uint64_t from) const;
};

class World {
 public:
  explicit World(std::size_t players);

  void simulate();  // a frame of the game's own: who is near whom, and where that drives him
  void move(Player&, std::size_t zone);

  // The game's table of zones, as the chat asks for it.
  std::vector<chatcore::Member> members(const chatcore::ConversationId& zone) const;
  bool is_in(const chatcore::ConversationId& zone, const chatcore::UserId&) const;
  std::vector<chatcore::ConversationId> zones_of(const chatcore::UserId&) const;

  std::uint64_t frame = 1;
  std::vector<Player> players{};
  std::vector<chatcore::ConversationId> parties{}, guilds{}, zones{};

 private:
  const Player* find(const chatcore::UserId&) const;
};

constexpr chatcore::ConversationId world_channel("world");
constexpr std::string_view zone_prefix = "zone:";
