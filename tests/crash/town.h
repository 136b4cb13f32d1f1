#pragma once

#include <chatcore/client.h>

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "journal.h"
#include "support/server_process.h"

namespace crash {

// Those who write to and read from a server, each with a client library over TCP, and the journal of what they handed
// over, were answered and received. Everything happens in turn(), on the calling thread.
class Town {
 public:
  Town(Journal&, support::ServerProcess&, unsigned people, std::uint64_t seed);

  // Groups and direct conversations, each with its first messages. An error: the server did not answer in time.
  chatcore::Status settle_in();
  void turn();                           // once round all clients, then a moment's wait where none had anything to do
  void write(bool on) { writes_ = on; }  // whether they go on handing over messages
  void begin_run(unsigned run) { run_ = run; }
  void read_a_page();  // of some conversation, as it is now
  // Waits until everything is answered and nothing more comes.
  chatcore::Status come_to_rest();
  // All of every conversation, and what those who come back with their first checkpoint receive.
  chatcore::Status read_everything();

 private:
  struct Room {
    Name name = nobody;
    chatcore::Target to{};
    std::vector<std::size_t> members{};
    Seq acknowledged = 0;
  };
  struct Person {
    std::string name{};
    std::unique_ptr<chatcore::Client> client{};
    std::size_t stream = 0;
    std::vector<std::size_t> rooms{};
    unsigned under_way = 0;
    std::uint64_t number = 0;
  };
  struct Place {
    std::size_t person{};
    chatcore::Checkpoint checkpoint{};
    std::map<Name, Seq> from{};
  };

  chatcore::Result<std::unique_ptr<chatcore::Client>> open(const std::string& user,
                                                           std::optional<chatcore::Checkpoint> resume = {});
  void say(Person&, std::size_t room);
  void take_all(chatcore::Client&, std::size_t stream, std::uint32_t client);
  Entry entry_of(const chatcore::Event&, std::uint32_t client);
  bool wait_until(const std::function<bool()>& over);
  void read_page(std::size_t room, std::size_t reader, Seq start, chatcore::Direction, std::function<void(bool)> then);
  chatcore::Status read_all(std::size_t room);
  void remember_places();

  Journal& journal_;
  support::ServerProcess& server_;
  std::mt19937_64 random_;
  std::vector<Person> people_;
  std::vector<Room> rooms_;
  std::vector<Place> places_;
  std::vector<std::unique_ptr<chatcore::Client>> fresh_;
  std::chrono::steady_clock::time_point last_push_{};
  unsigned run_ = 0;
  bool writes_ = false;
};

}  // namespace crash
