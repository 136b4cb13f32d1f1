// A chat in this process, and the pushes of those who are not in it.
#include <chatcore/chatcore.h>

#include <cstdio>
#include <filesystem>

#include <unistd.h>

#include "push_notifier.h"

using namespace chatcore;

namespace {

class Printer final : public push::Gateway {
 public:
  Status take(const std::vector<push::Notification>& pushes) override {
    for (const push::Notification& push : pushes) {
      if (push.muted) continue;
      std::printf("to %s's phone: %s: %s\n", push.user.string().c_str(), push.sender.string().c_str(),
                  push.text.c_str());
    }
    return {};
  }
};

int fail(const Error& error) {
  std::printf("%s: %s\n", std::string(name(error.code)).c_str(), error.message.c_str());
  return 1;
}

}  // namespace

int main() {
  auto engine = Engine::open({.storage = make_memory_storage(), .durability = Durability::memory, .threads = 1});
  if (!engine) return fail(engine.error());
  // This chat ends with the process. Beside one on a disk the file stays, and goes where the disk goes.
  const auto place = std::filesystem::temp_directory_path() / ("push_notifier." + std::to_string(::getpid()));
  std::filesystem::remove(place);
  Printer phones;
  push::PushNotifier notifier(*engine, phones, place);
  if (auto none = notifier.turn({}); !none) return fail(none.error());

  Session bob = engine->open_session({.identity = {.user = "bob"}});
  const CreateConversation lunch{
      .conversation = "lunch",
      .members = {{"alice", Role::owner}, {"bob"}, {"carol"}, {"dave"}},
  };
  auto made = wait(*engine, Identity::system(), lunch);
  if (!made) return fail(made.error());
  auto muted = wait(*engine, {.user = "dave"}, Mute{.conversation = "lunch", .until = TimePoint::max()});
  if (!muted) return fail(muted.error());
  auto sent =
      wait(*engine, {.user = "alice"}, Send{.to = ConversationId("lunch"), .content = {.text = "Noodles at one?"}});
  if (!sent) return fail(sent.error());

  for (;;) {
    const auto more = notifier.turn({});
    if (!more) return fail(more.error());
    if (!*more) break;
  }
  std::filesystem::remove(place);
  return 0;
}
