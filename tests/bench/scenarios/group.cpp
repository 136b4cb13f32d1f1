#include "scenarios/scenarios.h"
#include "traffic.h"

namespace {

// Returns when the group is there, and every member knows of it.
std::string make_group(Loop& loop, const Dialect& dialect, const std::vector<std::string>& members) {
  const std::string request = dialect.create_group(members);
  if (request.empty()) return {};
  std::string group;
  std::size_t told = 0;
  loop.on_frame = [&](Link&, View frame) {
    const Incoming in = dialect.read(frame);
    require(in.kind != Incoming::Kind::bad, "the group could not be made");
    if (in.kind == Incoming::Kind::answer) group = dialect.group_of(in.body);
    if (in.kind == Incoming::Kind::event) ++told;
  };
  loop.queue(loop.links()[0], request);
  const std::int64_t deadline = now_ns() + 30'000'000'000;
  while (group.empty() || told < members.size() - 1) {
    loop.turn(std::chrono::milliseconds(10));
    require(now_ns() < deadline, "the group did not come into being");
  }
  return group;
}

}  // namespace

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
