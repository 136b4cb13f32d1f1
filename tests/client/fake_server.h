#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <chatcore/client.h>
#include <chatcore/testing.h>

#include "protocol/codec.h"

namespace chatcore::client_tests {

using namespace std::chrono_literals;

inline const ConversationId general{"general"};
inline const ConversationId random_talk{"random"};

// A server that says what the test tells it to, and a network that is reachable or not. Login and Ping it answers on
// its own, unless told otherwise. Safe from several threads.
class FakeServer {
 public:
  FakeServer();
  std::unique_ptr<Dialer> dialer();

  // ---- the network
  void reachable(bool);           // dials fail otherwise
  void cut();                     // the connection is gone, with all that is under way
  void room(std::size_t frames);  // the connection takes so many more, then says so
  std::size_t dials() const;
  bool connected() const;
  bool reading() const;               // the client takes frames
  std::size_t alive() const;          // connections that somebody holds
  std::vector<Error> closed() const;  // connections that the client closed, and why

  // ---- logins and heartbeats
  protocol::LoggedIn welcome{.version = 1,
                             .user = "alice",
                             .heartbeat_ms = 30'000,
                             .frame_bytes = 256 << 10,
                             .session_requests = 16,
                             .checkpoint = {"start"}};
  std::optional<Error> refusal{};
  bool answers_logins = true, answers_pings = true;
  std::vector<protocol::Login> logins() const;
  std::size_t pings() const;

  // ---- requests
  struct Asked {
    std::uint64_t call{};
    RequestId id{};
    Bytes body{};
  };
  std::optional<Asked> asked();  // the next one the client sent
  std::size_t waiting() const;
  template <class R>
  std::pair<std::uint64_t, R> expect();  // the next one is an R
  template <class Reply>
  void answer(std::uint64_t call, const Reply& reply) {
    say(protocol::encode_answer(call, protocol::encode(reply)));
  }
  void refuse(std::uint64_t call, ErrorCode, std::chrono::milliseconds retry_after = {});
  void accept(std::uint64_t call, Seq, ConversationId = general, bool duplicate = false);

  // ---- pushes
  void says(Seq, std::string text, ConversationId = general, IdempotencyKey = {});
  void say(Bytes frame);
  void thrust(const Bytes& frame);  // at once, not inside poll(), as a network with threads of its own does

 private:
  struct Network;
  struct FakeConnection;
  struct FakeDialer;
  std::shared_ptr<Network> network_;
};

template <class R>
std::pair<std::uint64_t, R> FakeServer::expect() {
  const auto next = asked();
  REQUIRE(next);
  REQUIRE(next->id == R::id);
  auto request = protocol::decode<R>(next->body);
  REQUIRE(request);
  return {next->call, *request};
}

EventPtr message(Seq, std::string text, ConversationId = general, IdempotencyKey = {});

// Alice, her client without a thread, on a clock that she moves.
class Alice {
 public:
  explicit Alice(ClientOptions = {}, FakeServer* at = nullptr);

  void settles();                         // until nothing is left to do
  void waits(std::chrono::milliseconds);  // the clock moves in steps of a millisecond
  void sends(std::string text, ConversationId = general);
  std::vector<std::string> hears();  // all there is to take: texts, or what else it was
  std::vector<std::string> acknowledged() const { return *answers_; }  // "text: seq" or "text: error"
  ClientStatus status() { return client->status(); }

  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
  std::unique_ptr<FakeServer> own_server;
  FakeServer& server;
  std::optional<Client> client;

 private:
  std::shared_ptr<std::vector<std::string>> answers_ = std::make_shared<std::vector<std::string>>();
};

std::string described(const Push&);
inline std::vector<std::string> texts(std::initializer_list<const char*> list) { return {list.begin(), list.end()}; }

}  // namespace chatcore::client_tests
