// Two users in one process, no socket, no thread, no file.
#include <cstdio>

#include <chatcore/chatcore.h>
using namespace chatcore;

int main() {
  auto engine = Engine::open({.storage = make_memory_storage(), .durability = Durability::memory, .threads = 0});
  if (!engine) return std::puts(engine.error().message.c_str()), 1;

  Session bob = engine->open_session({.identity = {.user = "bob"}});
  auto sent = wait(*engine, {.user = "alice"}, Send{.to = Direct{"bob"}, .content = {.text = "hi bob"}});
  if (!sent) return std::puts(sent.error().message.c_str()), 1;

  while (auto push = bob.take(std::chrono::seconds(1))) {
    if (auto* said = push->as<MessagePosted>()) {
      std::printf("#%d %s\n", int(push->event()->seq), said->content.text.c_str());
      return 0;
    }
  }
  return std::puts("nothing came"), 1;
}
