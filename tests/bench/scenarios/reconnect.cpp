#include "scenarios/scenarios.h"
#include "traffic.h"

namespace {

// Logs the clients in, one after the other, and takes their checkpoints.
std::vector<std::string> first_checkpoints(const Server& server, std::uint16_t port,
                                           const std::vector<std::string>& users) {
  Loop loop;
  std::vector<std::string> checkpoints(users.size());
  log_in(loop, server.dialect(), port, users, [&](const Link& link, const Incoming& in) {
    checkpoints[link.index] = server.dialect().checkpoint_of(in.body);
  });
  return checkpoints;
}

// To each client, messages from a sender of his own.
void send_what_is_missed(const Server& server, std::uint16_t port, const Options& options,
                         const std::vector<std::string>& users) {
  Loop loop;
  const std::vector<std::string> senders = named("sender", 0, users.size());
  log_in(loop, server.dialect(), port, senders);
  Traffic traffic(loop, server.dialect(), options);
  for (std::size_t i = 0; i < users.size(); ++i) {
    traffic.add_sender(loop.links()[i], senders[i],
                       server.dialect().send(users[i], "phone-" + std::to_string(i), options.bytes));
  }
  traffic.send_each(options.missed);
}

// All at once; returns when everybody has everything, in order, without a hole.
void resume_all(const Server& server, std::uint16_t port, const Options& options, const std::vector<std::string>& users,
                const std::vector<std::string>& checkpoints) {
  Loop loop;
  std::vector<std::uint64_t> seen(users.size());
  std::uint64_t logged_in = 0, complete = 0;
  loop.on_frame = [&](Link& link, View frame) {
    const Incoming in = server.dialect().read(frame);
    require(in.kind != Incoming::Kind::bad && in.kind != Incoming::Kind::other, "somebody could not resume");
    if (in.kind == Incoming::Kind::answer) {
      server.dialect().checkpoint_of(in.body);
      ++logged_in;
    }
    if (in.kind != Incoming::Kind::event) return;
    std::uint64_t& last = seen[link.index];
    require(in.seq == last + 1 && body::check(in.text).number == in.seq, "a missed event is missing, or comes twice");
    if (++last == options.missed) ++complete;
    require(last <= options.missed, "somebody gets more than he missed");
  };
  const std::int64_t deadline = now_ns() + 120'000'000'000;
  for (std::size_t i = 0; i < users.size(); ++i) {
    loop.queue(loop.connect(port), server.dialect().login(users[i], checkpoints[i]));
  }
  while (complete < users.size() || logged_in < users.size()) {
    loop.turn(std::chrono::milliseconds(10));
    require(now_ns() < deadline, "not everyone got what he missed in time");
  }
}

}  // namespace

Figures run_reconnect(Server& server, const Options& options) {
  server.start();
  const std::uint16_t port = server.process().port();
  const std::vector<std::string> users = named("client", options.clients, options.clients);
  show_progress(options, "first logins");
  const std::vector<std::string> checkpoints = first_checkpoints(server, port, users);
  show_progress(options, "sending what is missed");
  send_what_is_missed(server, port, options, users);
  show_progress(options, "everyone comes back");
  const std::int64_t began = now_ns();
  const double cpu = server.process().cpu_seconds(), own_cpu = own_cpu_seconds();
  resume_all(server, port, options, users, checkpoints);
  const double took = static_cast<double>(now_ns() - began) / 1e9;
  const double cpu_us = (server.process().cpu_seconds() - cpu) * 1e6;

  const double events = static_cast<double>(users.size()) * options.missed;
  Figures figures = no_figures(options);
  figures["resumed_after_seconds"] = took;
  figures["deliveries_per_second"] = events / took;
  figures["server_cpu_us_per_delivery"] = cpu_us / events;
  figures["server_cpu_us_per_resume"] = cpu_us / static_cast<double>(users.size());
  figures["server_rss_bytes"] = server.process().rss_bytes();
  figures["client_cpu_share"] = (own_cpu_seconds() - own_cpu) / took;
  return figures;
}
