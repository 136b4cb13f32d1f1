#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <chatcore/transport.h>

// The network in memory. One mutex, the network's, guards all of it, and nothing calls out with it. What happens to an
// end lies in the queue of the side that polls for it, in the order it happened and in nothing that depends on an
// address or a clock, so that a test in one thread runs the same way each time.

namespace chatcore {
inline namespace v1 {
namespace loopback {

class End;
struct Network;

// What a transport or a dialer polls.
struct Side {
  std::deque<std::shared_ptr<End>> ready{};  // ends with something to be told, each once
  std::condition_variable changed{};
  bool is_woken = false;
  std::recursive_mutex turn{};  // one thread tells at a time: stop() comes from any. Recursive: also from a callback
};

// One end of a connection: what was sent to it, and what its link is to be told.
class End final : public Connection, public std::enable_shared_from_this<End> {
 public:
  End(std::shared_ptr<Network> network, std::shared_ptr<Side> side, bool is_server)
      : network_(std::move(network)), side_(std::move(side)), is_server_(is_server) {}

  void attached(Link) override;
  SendResult send(std::span<const Frame>) override;
  void pause_reading(bool) override;
  void close(const Error& why) override;
  std::string peer_address() const override { return "loopback"; }

 private:
  friend struct Network;

  const std::shared_ptr<Network> network_;
  const std::shared_ptr<Side> side_;
  const bool is_server_;
  std::uint64_t number_ = 0;
  std::weak_ptr<End> peer_{};
  Link link_{};
  std::deque<Frame> inbox_{};
  bool is_new_ = false;  // to be shown to the Acceptor
  bool is_attached_ = false;
  bool is_paused_ = false;
  bool is_over_ = false;  // neither sends nor receives any more
  bool is_queued_ = false;
  bool wants_room_ = false;        // a send took less than all
  bool has_room_ = false;          // ... and may be tried again
  std::optional<Error> closed_{};  // told after the inbox
};

struct Network {
  std::mutex mutex{};
  std::map<std::uint64_t, std::shared_ptr<End>> ends{};  // those that have not been told closed, by number
  std::uint64_t last_number = 0;
  std::shared_ptr<Side> listener{};
  Acceptor* acceptor = nullptr;
  std::size_t frame_bytes = 0;  // its bound
  bool refuses = false;
  std::optional<std::size_t> frames_to_cut{};

  // ---- without the mutex

  // Tells one end one thing. False: nothing happened within `wait`.
  bool poll(Side&, std::chrono::microseconds wait);
  void wake(Side&);
  // A connection to the listener. `self` is this.
  static Result<std::shared_ptr<Connection>> connect(const std::shared_ptr<Network>& self,
                                                     const std::shared_ptr<Side>& client);
  void close_side(const std::shared_ptr<Side>&);
  void cut();

  // ---- with the mutex

  static bool has_work(const End&);
  static void queue(End&);
  void end_with(End&, Error why);      // this end is told `why` and nothing else
  void peer_is_over(End&, Error why);  // its peer is told `why` behind what was sent to it
  void give(End&, std::unique_lock<std::mutex>&);
  void cut_all();
};

}  // namespace loopback
}  // namespace v1
}  // namespace chatcore
