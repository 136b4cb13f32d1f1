#pragma once

#include <chatcore/chatcore.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "witness.h"
#include "world.h"

struct ChatOptions {
  std::unique_ptr<chatcore::Storage> storage{};
  chatcore::Durability durability = chatcore::Durability::memory;
  unsigned threads = 0;
  std::optional<unsigned> storage_threads{};
  std::shared_ptr<chatcore::Clock> clock{};  // unset: the system's
};

// A session in process for each player. All of it on the game's thread, unless the engine is given threads.
class Chat {
 public:
  // Blocks until everybody is in.
  static chatcore::Result<Chat> open(const World&, ChatOptions);

  void say(const Player&, const chatcore::ConversationId&, std::string text);
  void wave(const Player&, const chatcore::ConversationId&, std::string text);
  void has_moved(const Player&);  // after the game's table says so

  // Once a frame: the engine's time, and what has come for each player. False: there was nothing to do.
  bool tick(const World&, Witness&);

  chatcore::Stats stats() const { return engine_.stats(); }
  chatcore::Status shutdown();

 private:
  explicit Chat(chatcore::Engine engine) : engine_(std::move(engine)) {}
  chatcore::Status create(const World&);

  chatcore::Engine engine_;
  std::vector<chatcore::Session> sessions_{};  // by player
};
