#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "world.h"

enum class Place { party, guild, zone, world };

// What the players do in a frame, the same in every run: who goes to another zone, and then who says what where.
class Crowd {
 public:
  struct Move {
    std::size_t player = 0, to = 0;
  };
  struct Line {
    std::size_t speaker = 0;
    Place place{};
    bool is_wave = false;  // shown, and not kept
  };

  const std::vector<Move>& moves(const World&);
  const std::vector<Line>& lines(const World&);

 private:
  std::size_t random(std::size_t below);
  std::size_t due(double& since, double per_second);  // how often in this frame
  void speak(const World&, double& since, double per_second, Place, bool is_wave = false);

  std::uint64_t state_ = 7;
  double moved_ = 0, in_party_ = 0, in_guild_ = 0, in_zone_ = 0, waved_ = 0, in_world_ = 0;  // parts of the next one
  std::vector<Move> moves_{};
  std::vector<Line> lines_{};
};
