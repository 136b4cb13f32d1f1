#include "world.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

namespace cc = chatcore;

namespace {

constexpr std::size_t guild_size = 100, zone_size = 250;
constexpr float near = 8, zone_width = 200;

std::size_t number_in(std::string_view text) {
  std::size_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::vector<cc::ConversationId> named(std::string_view prefix, std::size_t count) {
  std::vector<cc::ConversationId> ids;
  for (std::size_t i = 0; i < count; ++i) {
    ids.push_back(*cc::ConversationId::make(std::string(prefix) + std::to_string(i)));
  }
  return ids;
}

}  // namespace

bool Player::was_in(std::size_t zone, std::uint64_t from) const {
  for (auto stay = stays.rbegin(); stay != stays.rend(); ++stay) {
    if (stay->zone == zone) return true;
    if (stay->since <= from) return false;
  }
  return false;
}

// Parties of four and five in turn. Who is in a party with somebody is not in a guild or a zone with him for that.
World::World(std::size_t count) {
  guilds = named("guild:", (count + guild_size - 1) / guild_size);
  zones = named(zone_prefix, std::max<std::size_t>(2, count / zone_size));
  players.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    Player& player = players[i];
    player.user = *cc::UserId::make("p" + std::to_string(i));
    player.index = i;
    player.party = i / 9 * 2 + (i % 9 >= 4 ? 1 : 0);
    player.guild = i % guilds.size();
    player.stays = {{i % zones.size(), 0}};
    player.has_bad_line = i % 16 == 7;
    player.x = static_cast<float>(i * 37 % 200);
    player.y = static_cast<float>(i * 91 % 200);
  }
  parties = named("party:", count == 0 ? 0 : players.back().party + 1);
}

void World::simulate() {
  for (Player& player : players) {
    float away_x = 0, away_y = 0;
    for (const Player& other : players) {
      if (other.zone() != player.zone()) continue;
      const float dx = player.x - other.x, dy = player.y - other.y, distance = dx * dx + dy * dy;
      if (distance > near * near) continue;
      away_x += dx / (distance + 1);
      away_y += dy / (distance + 1);
    }
    player.speed_x = player.speed_x * 0.9f + away_x + (zone_width / 2 - player.x) * 0.001f;
    player.speed_y = player.speed_y * 0.9f + away_y + (zone_width / 2 - player.y) * 0.001f;
  }
  for (Player& player : players) {
    player.x = std::clamp(player.x + player.speed_x, 0.0f, zone_width);
    player.y = std::clamp(player.y + player.speed_y, 0.0f, zone_width);
  }
}

void World::move(Player& player, std::size_t zone) { player.stays.push_back({zone, frame}); }

std::vector<cc::Member> World::members(const cc::ConversationId& zone) const {
  const std::size_t wanted = number_in(zone.view().substr(zone_prefix.size()));
  std::vector<cc::Member> members;
  for (const Player& player : players) {
    if (player.zone() == wanted) members.push_back({.user = player.user});
  }
  return members;
}

bool World::is_in(const cc::ConversationId& zone, const cc::UserId& user) const {
  const Player* player = find(user);
  return player && zones[player->zone()] == zone;
}

std::vector<cc::ConversationId> World::zones_of(const cc::UserId& user) const {
  const Player* player = find(user);
  if (!player) return {};
  return {zones[player->zone()]};
}

const Player* World::find(const cc::UserId& user) const {
  const std::size_t index = user.view().starts_with('p') ? number_in(user.view().substr(1)) : players.size();
  return index < players.size() && players[index].user == user ? &players[index] : nullptr;
}
