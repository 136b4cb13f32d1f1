#include "chat.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace cc = chatcore;
using namespace std::chrono_literals;

namespace {
constexpr std::size_t most_at_once = 500;  // members that a request may name
}

// Parties, guilds and the world channel are the chat's; zones are the game's own table.
cc::Result<Chat> Chat::open(const World& world, ChatOptions options) {
  auto engine = cc::Engine::open(
      {.storage = std::move(options.storage),
       .membership = cc::make_membership(
           {.prefix = std::string(zone_prefix),
            .members = [&](const cc::ConversationId& zone) { return world.members(zone); },
            .conversations = [&](const cc::UserId& user) { return world.zones_of(user); },
            .role = [&](const cc::ConversationId& zone, const cc::UserId& user) -> std::optional<cc::Role> {
              if (!world.is_in(zone, user)) return {};
              return cc::Role::member;
            }}),
       .durability = options.durability,
       .threads = options.threads,
       .shards = std::max(1u, options.threads),
       .storage_threads = options.storage_threads,
       .runtime = {.clock = std::move(options.clock)}});
  if (!engine) return engine.error();
  Chat chat(std::move(*engine));
  if (cc::Status created = chat.create(world); !created) return created.error();
  for (const Player& player : world.players) {
    chat.sessions_.push_back(chat.engine_.open_session({.identity = {.user = player.user}}));
  }
  // Answered behind the logins.
  for (const Player& player : world.players) {
    auto in = cc::wait(chat.engine_, {.user = player.user}, cc::ListConversations{});
    if (!in) return in.error();
  }
  return chat;
}

cc::Status Chat::create(const World& world) {
  std::vector<cc::CreateConversation> groups;
  for (const auto* ids : {&world.parties, &world.guilds}) {
    for (const auto& id : *ids) groups.push_back({.conversation = id});
  }
  for (const Player& player : world.players) {
    groups[player.party].members.push_back({.user = player.user});
    groups[world.parties.size() + player.guild].members.push_back({.user = player.user});
  }
  for (auto& group : groups) {
    if (auto made = cc::wait(engine_, cc::Identity::system(), std::move(group)); !made) return made.error();
  }
  cc::CreateConversation channel{.conversation = world_channel, .kind = cc::ConversationKind::channel};
  if (auto made = cc::wait(engine_, cc::Identity::system(), std::move(channel)); !made) return made.error();
  for (std::size_t first = 0; first < world.players.size(); first += most_at_once) {
    cc::AddMembers more{.conversation = world_channel};
    for (std::size_t i = first; i < std::min(first + most_at_once, world.players.size()); ++i) {
      more.members.push_back({.user = world.players[i].user});
    }
    if (auto added = cc::wait(engine_, cc::Identity::system(), std::move(more)); !added) return added.error();
  }
  return {};
}

void Chat::say(const Player& player, const cc::ConversationId& where, std::string text) {
  sessions_[player.index].call(cc::Send{.to = where, .content = {.text = std::move(text)}});
}

void Chat::wave(const Player& player, const cc::ConversationId& where, std::string text) {
  sessions_[player.index].call(cc::SendEphemeral{.to = where, .content = {.text = std::move(text)}});
}

void Chat::has_moved(const Player& player) { engine_.membership_changed(player.user); }

bool Chat::tick(const World& world, Witness& witness) {
  bool did = engine_.poll(500us).handled > 0;
  for (const Player& player : world.players) {
    if (player.has_bad_line && world.frame % 10 != 0) continue;
    while (auto push = sessions_[player.index].take()) {
      witness.hears(player, *push);
      did = true;
    }
  }
  return did;
}

cc::Status Chat::shutdown() {
  sessions_.clear();
  return engine_.stop(2s);
}
