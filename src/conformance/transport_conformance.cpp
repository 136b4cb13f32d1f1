#include <algorithm>

#include "conformance/transport_bench.h"

namespace chatcore {
inline namespace v1 {
namespace {

using namespace conformance;
using namespace std::chrono_literals;

struct TransportBench {
  Net net() {
    TransportPair pair = make();
    return Net(std::move(pair), patience);
  }
  Function<TransportPair()> make;
  std::chrono::milliseconds patience;
};

// ---- start and dial

void start_names_endpoint(TransportBench& bench) {
  Net net = bench.net();
  expect(!net.endpoint.address.empty(), "start() gives the address that it listens on");
}

void dial_completes_later(TransportBench& bench) {
  Net net = bench.net();
  unsigned answers = 0;
  Dialer& dialer = net.add_dialer();
  dialer.dial([&](Result<std::shared_ptr<Connection>> result) {
    ++answers;
    if (result) (*result)->close({ErrorCode::stopped, "not needed", {}});
  });
  expect(answers == 0, "a dial completes in poll(), not inside dial()");
  expect(net.until([&] { return answers > 0; }), "a dial completes");
  net.settle();
  expect(answers == 1, "a dial completes once");
}

// ---- frames

void frames_arrive_in_order(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  std::vector<std::string> to_server, to_client;
  for (std::size_t i = 0; i < 200; ++i) {
    std::string text = std::to_string(i) + std::string(i * i % 5'000, static_cast<char>(i));
    text.push_back('\0');
    (i % 3 == 0 ? to_client : to_server).push_back(std::move(text));
  }
  // Both ways at once, as much as is taken each time.
  std::size_t sent_up = 0, sent_down = 0;
  const auto push = [](End& end, const std::vector<std::string>& texts, std::size_t& sent) {
    while (sent < texts.size()) {
      std::vector<Frame> some;
      for (std::size_t i = sent; i < std::min(texts.size(), sent + 7); ++i) some.push_back(frame_of(texts[i]));
      const std::size_t taken = end.send(some).taken;
      sent += taken;
      if (taken < some.size()) return;
    }
  };
  expect(
      net.until([&, client = client, server = server] {
        push(*client, to_server, sent_up);
        push(*server, to_client, sent_down);
        return server->received >= to_server.size() && client->received >= to_client.size();
      }),
      "200 frames arrive: " + std::to_string(server->received) + " and " + std::to_string(client->received) + " did");
  expect(server->frames == to_server, "frames arrive whole, in order and as they were at the acceptor's side");
  expect(client->frames == to_client, "frames arrive whole, in order and as they were at the dialer's side");
}

void frames_keep_their_bounds(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  const std::string small = "x", large(Net::most, 'y');
  for (const std::string& text : {small, large, small}) {
    expect(client->send(text).taken == 1, "a frame is taken where nothing waits");
    const std::size_t before = server->received;
    expect(net.until([&, server = server] { return server->received > before || server->closes > 0; }),
           "a frame of " + std::to_string(text.size()) + " bytes arrives");
    expect(server->closes == 0 && server->frames.back() == text,
           "a frame of 1 byte to Acceptor::frame_bytes() arrives as it was");
  }
}

void longer_frame_is_malformed(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  (void)client->send(std::string(Net::most + 1, 'x'));
  expect(net.until([&, server = server] { return server->closes > 0 || server->received > 0; }),
         "a frame longer than Acceptor::frame_bytes() closes the connection");
  expect(server->received == 0, "a frame longer than Acceptor::frame_bytes() is not delivered");
  expect(server->why.code == ErrorCode::malformed_frame,
         "a frame longer than Acceptor::frame_bytes() is malformed_frame");
}

// ---- flow

constexpr std::size_t plenty = 4'096;  // frames of 16 KiB: 64 MiB

void writable_follows(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  server->keeps = false;
  server->pause(true);
  // Nobody polls, so nothing is read, and at some point no more is taken.
  std::size_t sent = net.fill(*client, plenty);
  if (sent == plenty) return;  // "a paused reader slows its peer down" has that
  const Frame two[] = {frame_of("a"), frame_of("b")};
  expect(client->send(two).taken <= 2, "send takes no more than it is offered");
  server->pause(false);
  expect(net.until([&, client = client] { return client->writables > 0; }),
         "writable() comes once there is room, after a send that took less than all");
  net.settle();
  const std::size_t arrived = server->received;
  expect(client->send("last").taken == 1, "a frame is taken after writable()");
  expect(net.until([&, server = server] { return server->received > arrived; }), "it arrives");
}

void taken_is_sent(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  const auto one = frame_of("x");
  const std::vector<Frame> many(1'000, one);
  std::size_t taken = 0;
  for (int i = 0; i < 5; ++i) {
    const SendResult result = client->send(many);
    expect(!result.closed && result.taken <= many.size(), "send says how many of the frames it took");
    taken += result.taken;
  }
  net.settle();
  expect(server->received == taken, "every frame that was taken is sent, and no other: " + std::to_string(taken) +
                                        " were taken, " + std::to_string(server->received) + " arrived");
}

void paused_reader_slows(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  server->keeps = false;
  server->pause(true);
  std::size_t sent = 0;
  for (int round = 0; round < 20 && sent < plenty; ++round) {
    sent += net.fill(*client, plenty - sent);
    net.settle(5ms);
  }
  expect(sent < plenty, "64 MiB are taken for a peer that does not read: nothing bounds what waits");
  expect(server->received <= plenty / 8, "frames go on coming while reading is paused");
  server->pause(false);
  expect(net.until([&, server = server] { return server->received == sent; }), "what waited comes once it reads again");
}

void calls_do_not_call_back(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  for (const auto& end : {client, server}) {
    (void)end->send("x");
    end->pause(true);
    end->pause(false);
  }
  server->pause(true);
  (void)net.fill(*client, plenty);
  server->pause(false);
  net.settle();
  server->close(ErrorCode::stopped);
  client->close(ErrorCode::stopped);
  (void)client->send("x");
  net.settle();
  expect(!client->is_called_inside && !server->is_called_inside,
         "attached, send, pause_reading and close do not call the Link before they return");
}

// ---- the end

void close_sends_what_was_taken(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  std::size_t taken = 0;
  for (int i = 0; i < 50; ++i) taken += server->send(std::to_string(i)).taken;
  server->close(ErrorCode::overloaded);
  net.until([&, client = client] { return client->received >= taken || client->closes > 0; });
  expect(client->received == taken, "close() sends what was taken first: of " + std::to_string(taken) +
                                        " frames came " + std::to_string(client->received));
  for (int i = 0; i < 50; ++i) {
    expect(client->frames[i] == std::to_string(i), "what close() still sends is in order");
  }
}

void close_ends(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  const auto [quiet, quiet_server] = net.connect();
  server->close(ErrorCode::overloaded);
  quiet->close(ErrorCode::stopped);
  const auto began = steady_clock::now();
  for (const auto& end : {client, server, quiet, quiet_server}) {
    expect(net.until([&] { return end->closes > 0; }), "after close() both ends are told closed()");
  }
  expect(steady_clock::now() - began < 3s, "a connection is closed within a second or two");
}

// A peer that takes nothing must not hold a close up.
void close_waits_for_nobody(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  client->pause(true);
  (void)net.fill(*server, plenty);
  server->close(ErrorCode::overloaded);
  const auto began = steady_clock::now();
  expect(net.until([&, server = server] { return server->closes > 0 || steady_clock::now() - began > 4s; }) &&
             server->closes > 0,
         "close() ends within a second or two, though the peer takes nothing");
}

void closed_comes_once(TransportBench& bench) {
  Net net = bench.net();
  std::vector<Net::Both> all;
  for (int i = 0; i < 4; ++i) all.push_back(net.connect());
  for (const auto& [client, server] : all) {
    (void)client->send("x");
    (void)server->send("x");
  }
  all[0].client->close(ErrorCode::stopped);
  all[1].server->close(ErrorCode::stopped);
  for (int twice = 0; twice < 2; ++twice) {
    all[2].client->close(ErrorCode::stopped);
    all[2].server->close(ErrorCode::stopped);
  }
  net.settle();
  net.stop();  // the last is open yet
  net.settle();
  for (const auto& [client, server] : all) {
    for (const auto& end : {client, server}) {
      expect(end->closes <= 1, "closed() comes once, not " + std::to_string(end->closes) + " times");
      expect(!end->is_called_after_end, "closed() comes last");
    }
  }
}

void closed_takes_nothing(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  server->close(ErrorCode::stopped);
  const SendResult at_once = server->send("x");
  expect(at_once.closed && at_once.taken == 0, "a send after close() says closed, and takes nothing");
  net.until([&, server = server] { return server->closes > 0; });
  net.until([&, client = client] { return client->closes > 0; });
  for (const auto& end : {client, server}) {
    const SendResult late = end->send("x");
    expect(late.closed && late.taken == 0, "a send after closed() says closed, and takes nothing");
  }
}

void vanished_peer_is_noticed(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  net.dialers.back()->stop();
  net.dialers.clear();
  expect(net.until([&, server = server] { return server->closes > 0; }), "a peer that is gone closes the connection");
  expect(server->why.code != ErrorCode::ok, "closed() says why, where the network closed it");
}

void connections_are_independent(TransportBench& bench) {
  Net net = bench.net();
  const auto [first, first_server] = net.connect();
  const auto [second, second_server] = net.connect();
  const auto [third, third_server] = net.connect();
  first_server->pause(true);
  (void)net.fill(*first, plenty);
  second_server->close(ErrorCode::stopped);
  (void)third->send("up");
  (void)third_server->send("down");
  expect(net.until([&, a = third, b = third_server] { return a->received + b->received == 2; }),
         "a connection goes on while another is paused and a third closes");
  expect(third->closes + third_server->closes == 0, "closing one connection closes no other");
  expect(third->frames.back() == "down" && third_server->frames.back() == "up", "a frame reaches its own connection");
}

// ---- poll and stop

void wake_ends_poll(TransportBench& bench) {
  Net net = bench.net();
  Dialer& dialer = net.add_dialer();
  net.settle();
  const auto quick = [](auto& polled) {
    const auto began = steady_clock::now();
    polled.wake();
    (void)polled.poll(2s);
    if (steady_clock::now() - began > 1s) return false;
    std::thread waker([&] {
      std::this_thread::sleep_for(5ms);
      polled.wake();
    });
    (void)polled.poll(2s);
    waker.join();
    return steady_clock::now() - began < 1s;
  };
  expect(quick(*net.transport), "wake() ends a poll() of the transport that waits, or the next one");
  expect(quick(dialer), "wake() ends a poll() of the dialer that waits, or the next one");
}

void stop_closes_all(TransportBench& bench) {
  Net net = bench.net();
  std::vector<Net::Both> all;
  for (int i = 0; i < 3; ++i) all.push_back(net.connect());
  net.stop();
  for (const auto& [client, server] : all) {
    expect(server->closes > 0, "stop() has told every connection closed() when it returns");
  }
  for (const auto& [client, server] : all) {
    expect(net.until([&, client = client] { return client->closes > 0; }), "stop() closes: the peers notice");
  }
}

void stop_of_dialer(TransportBench& bench) {
  Net net = bench.net();
  const auto [client, server] = net.connect();
  Dialer& dialer = *net.dialers.back();
  unsigned answers = 0;
  dialer.dial([&](Result<std::shared_ptr<Connection>> result) {
    ++answers;
    if (result) (*result)->close({ErrorCode::stopped, "not needed", {}});
  });
  dialer.stop();
  for (int i = 0; i < 100 && answers == 0; ++i) net.settle(1ms);
  expect(answers == 1, "a dial under way is answered when its dialer stops");
  expect(client->closes > 0, "stop() of a dialer has told its connections closed() when it returns");
}

void nothing_after_stop(TransportBench& bench) {
  Net net = bench.net();
  Dialer& dialer = net.add_dialer();
  net.stop();
  const auto result = net.dial(dialer);
  net.settle();
  expect(net.servers.empty(), "nothing is accepted after stop()");
  expect(result.has_value(), "a dial to nobody is answered");
  expect(!*result && result->error().code == ErrorCode::transport_failed,
         "a dial to nobody fails with transport_failed");
}

struct Named {
  const char* name;
  void (*check)(TransportBench&);
};

constexpr Named all_checks[] = {
    {"start gives the endpoint", start_names_endpoint},
    {"a dial completes later, once", dial_completes_later},
    {"frames arrive whole and in order, both ways", frames_arrive_in_order},
    {"frames of every size allowed arrive", frames_keep_their_bounds},
    {"a longer frame is malformed", longer_frame_is_malformed},
    {"writable follows a send that took less than all", writable_follows},
    {"what was taken is sent, and nothing else", taken_is_sent},
    {"a paused reader slows its peer down", paused_reader_slows},
    {"a call does not call the link back", calls_do_not_call_back},
    {"close sends what was taken", close_sends_what_was_taken},
    {"close closes both ends", close_ends},
    {"close waits for nobody", close_waits_for_nobody},
    {"closed comes once and last", closed_comes_once},
    {"what is closed takes nothing", closed_takes_nothing},
    {"a peer that vanishes is noticed", vanished_peer_is_noticed},
    {"connections are independent", connections_are_independent},
    {"wake ends a poll", wake_ends_poll},
    {"stop closes everything before it returns", stop_closes_all},
    {"a dialer that stops leaves nothing open", stop_of_dialer},
    {"nothing is accepted after stop", nothing_after_stop},
};

}  // namespace

std::vector<Check> transport_conformance(Function<TransportPair()> make, std::chrono::milliseconds patience) {
  const auto bench = std::make_shared<TransportBench>(TransportBench{std::move(make), patience});
  std::vector<Check> checks;
  for (const Named& each : all_checks) {
    checks.push_back(make_check(each.name, [bench, check = each.check] { check(*bench); }));
  }
  return checks;
}

}  // namespace v1
}  // namespace chatcore
