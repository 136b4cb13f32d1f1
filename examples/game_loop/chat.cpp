#include "chat.h"

#include <chrono>
#include <utility>

namespace cc = chatcore;
using namespace std::chrono_literals;

namespace {
constexpr cc::ConversationId world_channel("world");
constexpr cc::UserId smith_is("npc:smith");
}  // namespace

cc::Result<Chat> Chat::open(World& world, const std::string& directory) {
  auto engine = cc::Engine::open(
      {.storage = cc::make_rocksdb_storage({.path = directory}),
       .membership =
           cc::make_membership({.prefix = "team:",
                                .members = [&](const cc::ConversationId& team) { return world.roster(team.view()); },
                                .conversations = [&](const cc::UserId& user) { return world.teams_of(user.view()); }}),
       .durability = cc::Durability::process,
       .threads = 0,  // storage runs inside poll as well
       .runtime = {.clock = std::make_shared<GameClock>(world.frame), .random = [state = std::uint64_t{7}]() mutable {
                     return state = state * 6364136223846793005u + 1442695040888963407u;
                   }}});
  if (!engine) return engine.error();

  // Everyone who plays is in the world channel, Smith too, who listens there.
  cc::CreateConversation create{.conversation = world_channel, .kind = cc::ConversationKind::channel};
  create.members.push_back({.user = smith_is, .role = cc::Role::owner});
  for (const auto& [name, player] : world.players) create.members.push_back({.user = player->user});
  if (auto made = cc::wait(*engine, cc::Identity::system(), std::move(create)); !made) return made.error();

  cc::Session smith = engine->open_session({.identity = cc::Identity::host(smith_is)});
  return Chat(world, std::move(*engine), std::move(smith));
}

void Chat::join(Player& player) {
  auto connection = std::make_shared<NetConnection>(player.line.server);
  joined_.push_back({&player, connection});
  engine_.attach(std::move(connection), {.identity = cc::Identity{.user = player.user}});
}

void Chat::tick() {
  pump();
  engine_.poll(500us);
  while (auto push = smith_.take()) {
    const auto* said = push->as<cc::MessagePosted>();
    if (!said || said->content.text != "hello") continue;
    engine_.call(cc::Identity::host(smith_is),
                 cc::SendEphemeral{
                     .to = push->event()->conversation, .content = {.text = "Welcome!"}, .only = world_->near_smith()});
  }
}

// What the network brought, told outside of poll: a connection may call its link from any thread, but not from inside
// a call of the engine's.
void Chat::pump() {
  for (Joined& each : joined_) {
    each.player->line.server->tick(world_->frame);
    while (each.connection->pump(world_->frame)) {
    }
  }
}

// The key makes a second call harmless, also one after a crash.
void Chat::kick_off() {
  engine_.call(cc::Identity::system(),
               cc::Send{.to = world_channel, .content = {.text = "Kick-off!"}, .key = "match-7"},
               [count = kick_offs_](cc::Result<cc::Sent> sent) { *count += sent && !sent->duplicate ? 1 : 0; });
}

void Chat::switched_team(Player& player) { engine_.membership_changed(player.user); }

// The players are told, and their connections close once they have heard it; stop() polls until then.
cc::Status Chat::shutdown() {
  smith_.close();
  return engine_.stop(200ms);
}

const NetConnection& Chat::connection_of(const Player& player) const {
  for (const Joined& each : joined_) {
    if (each.player == &player) return *each.connection;
  }
  return *joined_.front().connection;
}
