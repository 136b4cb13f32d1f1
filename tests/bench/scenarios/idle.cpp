#include <chrono>

#include "scenarios/scenarios.h"
#include "traffic.h"

namespace {

void pause(Loop& loop, std::chrono::nanoseconds time) {
  for (const std::int64_t end = now_ns() + time.count(); now_ns() < end;) loop.turn(std::chrono::milliseconds(10));
}

// That everyone is still there.
void ping_all(Loop& loop, const Dialect& dialect) {
  const std::string ping = dialect.ping();
  if (ping.empty()) return;
  std::size_t answered = 0;
  loop.on_frame = [&](Link&, View frame) { answered += dialect.read(frame).kind == Incoming::Kind::answer; };
  for (Link& link : loop.links()) loop.queue(link, ping);
  const std::int64_t deadline = now_ns() + 30'000'000'000;
  while (answered < loop.links().size()) {
    loop.turn(std::chrono::milliseconds(10));
    require(now_ns() < deadline, "a session that should be idle is dead");
  }
}

}  // namespace

// What a session costs that is logged in and silent. Memory that the first ones make the server take, and the next ones
// use again, is no session's.
Figures run_idle(Server& server, const Options& options) {
  server.start();
  constexpr std::size_t first = 200;
  const auto settle = std::chrono::nanoseconds(static_cast<std::int64_t>(options.warm_up * 1e9));
  Loop loop;
  show_progress(options, "logging in");
  log_in(loop, server.dialect(), server.process().port(), named("first", 0, first));
  pause(loop, settle);
  const std::size_t before = server.process().rss_bytes();
  const std::int64_t began = now_ns();
  const double cpu = server.process().cpu_seconds();
  log_in(loop, server.dialect(), server.process().port(), named("idle", first, options.clients));
  const double took = static_cast<double>(now_ns() - began) / 1e9;
  const double cpu_us = (server.process().cpu_seconds() - cpu) * 1e6;
  pause(loop, settle);
  const std::size_t after = server.process().rss_bytes();
  ping_all(loop, server.dialect());

  Figures figures = no_figures(options);
  figures["server_rss_bytes"] = after;
  figures["bytes_per_idle_session"] = (static_cast<double>(after) - static_cast<double>(before)) / options.clients;
  figures["sessions"] = options.clients;
  figures["logins_per_second"] = options.clients / took;
  figures["server_cpu_us_per_login"] = cpu_us / options.clients;
  return figures;
}
