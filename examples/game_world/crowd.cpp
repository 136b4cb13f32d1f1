#include "crowd.h"

namespace {
constexpr double frames_per_second = 60;
}

std::size_t Crowd::random(std::size_t below) {
  state_ = state_ * 6364136223846793005u + 1442695040888963407u;
  return static_cast<std::size_t>(state_ >> 33) % below;
}

std::size_t Crowd::due(double& since, double per_second) {
  since += per_second / frames_per_second;
  const auto count = static_cast<std::size_t>(since);
  since -= static_cast<double>(count);
  return count;
}

const std::vector<Crowd::Move>& Crowd::moves(const World& world) {
  moves_.clear();
  const auto players = world.players.size();
  for (std::size_t n = due(moved_, static_cast<double>(players) / 100); n > 0; --n) {
    const Player& player = world.players[random(players)];
    moves_.push_back({player.index, (player.zone() + 1 + random(world.zones.size() - 1)) % world.zones.size()});
  }
  return moves_;
}

const std::vector<Crowd::Line>& Crowd::lines(const World& world) {
  lines_.clear();
  // Where somebody has just left, somebody speaks: the one who left must not hear it.
  for (const Move& move : moves_) {
    const Player& gone = world.players[move.player];
    const std::size_t left = gone.stays[gone.stays.size() - 2].zone;
    const Player& other = world.players[random(world.players.size())];
    if (other.zone() == left) lines_.push_back({other.index, Place::zone});
  }
  const auto players = static_cast<double>(world.players.size());
  speak(world, in_party_, players / 10, Place::party);
  speak(world, in_guild_, players / 30, Place::guild);
  speak(world, in_zone_, players / 20, Place::zone);
  speak(world, waved_, players / 50, Place::zone, true);
  speak(world, in_world_, 0.5, Place::world);
  return lines_;
}

void Crowd::speak(const World& world, double& since, double per_second, Place place, bool is_wave) {
  for (std::size_t n = due(since, per_second); n > 0; --n) {
    lines_.push_back({random(world.players.size()), place, is_wave});
  }
}
