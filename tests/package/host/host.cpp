#include <chatcore/chatcore.h>
#include <chatcore/testing.h>

#include <cstdio>

using namespace chatcore;

// One of each suite and wrapper that is installed, and a message.
int main() {
  const auto hello = make_authenticator([](Credentials, Done<Identity> done) { done(Identity{.user = "alice"}); });
  std::size_t checks = storage_conformance(make_memory_storage).size();
  checks += transport_conformance({}).size() + authenticator_conformance({}).size() + policy_conformance({}).size() +
            membership_conformance({}).size() + pubsub_conformance({}).size();
  auto engine = Engine::open({.storage = make_faulty_storage(make_memory_storage(), std::make_shared<StorageFaults>()),
                              .durability = Durability::memory,
                              .threads = 0});
  if (!engine) return std::puts(engine.error().message.c_str()), 1;
  const auto sent = wait(*engine, {.user = "alice"}, Send{.to = Direct{"bob"}, .content = {.text = "hi"}});
  if (!sent || sent->seq != 1 || checks < 90 || !hello) return std::puts("not as it should be"), 1;
  std::printf("%zu checks, and a message\n", checks);
  return 0;
}
