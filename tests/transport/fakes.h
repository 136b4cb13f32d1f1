#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <chatcore/transport.h>

#include "core/link_target.h"

// What stands at both ends of a connection in these tests, in place of the engine and the client.

namespace fakes {

using namespace chatcore;
using namespace std::chrono_literals;

inline Bytes bytes(std::string_view text) {
  const auto* at = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(at, at + text.size());
}
inline Frame frame(std::string_view text) { return std::make_shared<const Bytes>(bytes(text)); }
inline std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Remembers what its connection told it.
class Peer final : public detail::LinkTarget {
 public:
  void receive(std::span<const std::byte> frame) override {
    was_told_after_end = was_told_after_end || closes > 0;
    frames.push_back(text(frame));
    if (on_receive) on_receive();
  }
  void writable() override {
    ++writables;
    if (on_writable) on_writable();
  }
  void closed(const Error& why) override {
    ++closes;
    reason = why;
  }

  // Each is called in the test's thread unless it says otherwise.
  SendResult send(std::string_view text) {
    const Frame one[] = {frame(text)};
    return connection->send(one);
  }

  std::shared_ptr<Connection> connection{};
  std::vector<std::string> frames{};
  std::function<void()> on_receive{}, on_writable{};
  int writables = 0, closes = 0;
  bool was_told_after_end = false;
  Error reason{};
};

inline std::shared_ptr<Peer> attach(std::shared_ptr<Connection> connection) {
  auto peer = std::make_shared<Peer>();
  peer->connection = std::move(connection);
  peer->connection->attached(Link(peer));
  return peer;
}

class FakeAcceptor final : public Acceptor {
 public:
  explicit FakeAcceptor(std::size_t most = 1 << 20) : most_(most) {}
  void attach(std::shared_ptr<Connection> connection, AttachOptions) override {
    peers.push_back(fakes::attach(std::move(connection)));
  }
  std::size_t frame_bytes() const override { return most_; }

  std::vector<std::shared_ptr<Peer>> peers{};

 private:
  std::size_t most_;
};

// Polls until it is so. False after ten seconds.
template <class Done, class... Polled>
bool until(Done&& is_so, Polled&... polled) {
  for (const auto end = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < end;) {
    if (is_so()) return true;
    (polled.poll(1ms), ...);
  }
  return is_so();
}

// Dials and gives the client's end, or null.
template <class... Polled>
std::shared_ptr<Peer> dial(Dialer& dialer, Error& why, Polled&... polled) {
  std::shared_ptr<Peer> client;
  bool is_done = false;
  dialer.dial([&](Result<std::shared_ptr<Connection>> connection) {
    is_done = true;
    if (connection) {
      client = attach(*connection);
    } else {
      why = connection.error();
    }
  });
  if (is_done) return nullptr;  // never inside the call
  until([&] { return is_done; }, dialer, polled...);
  return client;
}

}  // namespace fakes
