#pragma once

#include <chatcore/chatcore.h>

#include <memory>
#include <string>
#include <vector>

#include "connection.h"
#include "world.h"

// What the server needs of a chat: this and netcode are the whole of it. Everything happens on the game's thread.
class Chat {
 public:
  static chatcore::Result<Chat> open(World&, const std::string& directory);

  void join(Player&);  // logged in long ago by the game
  void tick();         // once a frame
  void kick_off();
  void switched_team(Player&);  // the very next event obeys the new table
  chatcore::Status shutdown();

  // For the report at the end.
  std::size_t answers() const { return *kick_offs_; }
  chatcore::Stats stats() const { return engine_.stats(); }
  const NetConnection& connection_of(const Player&) const;

 private:
  struct Joined {
    Player* player;
    std::shared_ptr<NetConnection> connection;
  };

  Chat(World& world, chatcore::Engine engine, chatcore::Session smith)
      : world_(&world), engine_(std::move(engine)), smith_(std::move(smith)) {}
  void pump();

  World* world_;
  chatcore::Engine engine_;
  chatcore::Session smith_;
  std::vector<Joined> joined_{};
  std::shared_ptr<std::size_t> kick_offs_ = std::make_shared<std::size_t>(0);  // acknowledged, repeats left out
};
