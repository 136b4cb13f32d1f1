#pragma once

#include <chatcore/chatcore.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "connection.h"
#include "netcode.h"

// The game: its frame counter, its players, its teams. All of it on one thread.

struct Player {
  Player(chatcore::UserId id, std::uint32_t seed) : user(id), line(seed) {}

  chatcore::UserId user;
  netcode::Line line;
  bool is_near_smith = false;
};

// Game time: a sixtieth of a second a frame, and nothing in between. A server that plays in real time leaves
// Runtime::clock unset.
class GameClock final : public chatcore::Clock {
 public:
  explicit GameClock(const std::uint64_t& frame) : frame_(frame) {}
  chatcore::TimePoint wall() override {
    return chatcore::TimePoint(std::chrono::milliseconds(1'800'000'000'000 + static_cast<std::int64_t>(millis())));
  }
  chatcore::SteadyTime steady() override { return chatcore::SteadyTime(std::chrono::milliseconds(millis() + 1)); }

 private:
  std::uint64_t millis() const { return frame_ * 1000 / 60; }
  const std::uint64_t& frame_;
};

struct World {
  std::uint64_t frame = 1;
  std::map<std::string, std::unique_ptr<Player>, std::less<>> players{};
  std::map<std::string, std::string, std::less<>> team_of{};  // a player's, the game's own table

  std::vector<chatcore::Member> roster(std::string_view team) const {
    std::vector<chatcore::Member> members;
    for (const auto& [user, his] : team_of) {
      if (his == team) members.push_back({.user = *chatcore::UserId::make(user)});
    }
    return members;
  }
  std::vector<chatcore::ConversationId> teams_of(std::string_view user) const {
    const auto found = team_of.find(user);
    if (found == team_of.end()) return {};
    return {*chatcore::ConversationId::make(found->second)};
  }
  std::vector<chatcore::UserId> near_smith() const {
    std::vector<chatcore::UserId> users;
    for (const auto& [name, player] : players) {
      if (player->is_near_smith) users.push_back(player->user);
    }
    return users;
  }
};
