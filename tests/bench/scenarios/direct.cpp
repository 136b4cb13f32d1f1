#include "scenarios/scenarios.h"
#include "traffic.h"

// Pairs: alice-i sends to bob-i, who only receives.
Figures run_direct(Server& server, const Options& options) {
  std::vector<std::string> users;
  for (unsigned i = 0; i < options.pairs; ++i) users.push_back("alice-" + std::to_string(i));
  for (unsigned i = 0; i < options.pairs; ++i) users.push_back("bob-" + std::to_string(i));
  Loop loop;
  const Dialect& dialect = server.dialect();
  log_in(loop, dialect, server.process().port(), users);

  Traffic traffic(loop, dialect, options);
  for (std::size_t i = 0; i < options.pairs; ++i) {
    traffic.add_sender(loop.links()[i], users[i],
                       dialect.send(users[options.pairs + i], "phone-" + std::to_string(i), options.bytes));
    traffic.add_receiver(loop.links()[options.pairs + i]);
  }
  return traffic.run(server.process());
}
