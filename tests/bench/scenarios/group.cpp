#include "conversations.h"
#include "scenarios/scenarios.h"
#include "traffic.h"

// One group, one who sends; all others receive.
Figures run_group(Server& server, const Options& options) {
  server.start();
  const std::vector<std::string> members = named("member", 0, options.clients);
  Loop loop;
  const Dialect& dialect = server.dialect();
  log_in(loop, dialect, server.process().port(), members);
  const std::string group = make_group(loop, dialect, members);

  Traffic traffic(loop, dialect, options);
  traffic.add_sender(loop.links()[0], members[0], dialect.send_to_group(group, "phone", options.bytes));
  for (std::size_t i = 1; i < members.size(); ++i) traffic.add_receiver(loop.links()[i]);
  return traffic.run(server.process());
}
