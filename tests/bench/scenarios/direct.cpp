#include "scenarios/scenarios.h"
#include "traffic.h"

// Pairs: alice sends to bob, who only receives.
Figures run_direct(Server& server, const Options& options) {
  server.start();
  const std::size_t pairs = options.clients;
  const std::vector<std::string> alices = named("alice", 0, pairs), bobs = named("bob", pairs, pairs);
  Loop loop;
  const Dialect& dialect = server.dialect();
  log_in(loop, dialect, server.process().port(), alices);
  log_in(loop, dialect, server.process().port(), bobs);

  Traffic traffic(loop, dialect, options);
  for (std::size_t i = 0; i < pairs; ++i) {
    traffic.add_sender(loop.links()[i], alices[i], dialect.send(bobs[i], "phone-" + std::to_string(i), options.bytes));
    traffic.add_receiver(loop.links()[pairs + i]);
  }
  return traffic.run(server.process());
}
