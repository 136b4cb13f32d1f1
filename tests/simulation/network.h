#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <chatcore/chatcore.h>

#include "simulation/random.h"

namespace simulation {

using namespace chatcore;

// A network that hands over one thing at a time, whichever is picked, and that can be told to misbehave, by device.
class Network {
 public:
  Network();
  ~Network();

  std::unique_ptr<Transport> transport();  // for one life of the server
  std::unique_ptr<Dialer> dialer(unsigned device);

  // One frame, one "writable", one "closed", one new connection: to whichever end is picked. False: nothing waits.
  bool step(Random&);
  bool swallows() const;  // a connection loses what is sent, and its ends don't know yet

  void cut(unsigned device);  // both ends are told, what is under way is lost
  void delay(unsigned device, std::uint64_t steps);
  void stall(unsigned device);                  // both ends' sends take nothing
  void swallow(unsigned device, unsigned way);  // 0: to the server, 1: from it; nobody is told
  void refuse(unsigned device, bool);           // new connections fail
  void mend(unsigned device);                   // what is stalled goes on, and it may connect
  void server_is_gone();                        // its process ended

  // A frame leaves the server.
  std::function<void(unsigned device, const Frame&)> leaves{};
  std::size_t most_queued = 24;  // frames on their way to one end

  // What the network does to a frame on its way to a client: for engines that are broken. None: it is dropped.
  std::function<std::vector<Frame>(unsigned device, std::uint64_t connection, const Frame&)> to_client{};

 private:
  friend class SimulatedTransport;
  friend class SimulatedDialer;
  class End;
  struct Device {
    bool refused = false;
    std::uint64_t held_until = 0;
  };
  Device& device(unsigned number);
  Result<std::shared_ptr<Connection>> connect(unsigned device);
  void give(End&);
  void forget(const End&);

  std::vector<std::shared_ptr<End>> ends_;
  std::vector<Device> devices_;
  Acceptor* acceptor_ = nullptr;
  std::uint64_t last_connection_ = 0, steps_ = 0;
};

}  // namespace simulation
