#pragma once

#include <chatcore/engine.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

// Mobile push, made of the feed: what users with no session have not seen.

namespace push {

// A push: what a user's phones are to show.
struct Notification {
  chatcore::UserId user{};
  chatcore::ConversationId conversation{};
  chatcore::Seq seq{};
  chatcore::UserId sender{};
  std::string text{};
  bool muted = false;  // he has muted the conversation: a badge at most, nothing that is heard
};

// Where pushes go: APNs, FCM, a queue of the host's own.
class Gateway {
 public:
  virtual ~Gateway() = default;
  // Ok: they are safe there. After an error, and after a crash, they come again, perhaps others with them: user,
  // conversation and seq tell a repeat. May block.
  virtual chatcore::Status take(const std::vector<Notification>&) = 0;
};

// Reads the feed and hands the gateway a push for each message and each member who is not its sender, is not here, has
// not read it elsewhere, and may see it, with whether he has muted the conversation. How far it is stands in a file,
// noted when the gateway has taken a page: so a crash loses none, and repeats those of a page at most. A new file
// begins with what is said from then on.
//
// A member costs two requests, so this is for direct conversations and groups. For a channel of a million a host hands
// the gateway one push a message, to a topic that phones follow.
//
// For one thread of the host's, which it blocks; with threads = 0 it polls the engine.
class PushNotifier {
 public:
  PushNotifier(chatcore::Engine&, Gateway&, std::filesystem::path place);

  // Deals with a page, waiting for one up to so long. False: there was none. After an error nothing of it is noted:
  // come again. `stopped`: the engine is. gone: it was away for longer than the storage's feed goes back; skip_to_end()
  // goes on without what is lost.
  chatcore::Result<bool> turn(std::chrono::milliseconds wait);
  chatcore::Status skip_to_end();

 private:
  chatcore::Status begin();
  chatcore::Status note(std::uint64_t next);
  chatcore::Status deal_with(const chatcore::Event&);
  chatcore::Result<std::vector<chatcore::UserId>> absent(const std::vector<chatcore::UserId>&);
  struct Wanted {
    bool wanted = true, muted = false;
  };
  chatcore::Result<Wanted> is_wanted(const chatcore::UserId&, const chatcore::Event&);
  chatcore::Result<std::string> text_for(const chatcore::UserId&, const chatcore::Event&);
  chatcore::Status hand_over();

  chatcore::Engine& engine_;
  Gateway& gateway_;
  const std::filesystem::path file_;
  std::optional<std::uint64_t> next_{};
  std::vector<Notification> pushes_{};
};

}  // namespace push
