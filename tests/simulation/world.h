#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <chatcore/chatcore.h>
#include <chatcore/testing.h>

#include "simulation/broken.h"
#include "simulation/device.h"
#include "simulation/disk.h"
#include "simulation/judge.h"
#include "simulation/network.h"
#include "simulation/plan.h"
#include "simulation/teams.h"
#include "simulation/truth.h"

namespace chatcore {
inline namespace v1 {
namespace detail {
class EngineCore;
}
}  // namespace v1
}  // namespace chatcore

namespace simulation {

// The engine, its clients, clock, network and disk, in one thread. Nothing in it depends on anything but the plan.
class World {
 public:
  World(const Plan&, Broken* broken, bool traces);
  ~World();

  void run();  // the plan, then until all is well again, then the checks

  std::uint64_t steps() const { return steps_; }
  std::uint64_t hash() const { return hash_; }  // of everything that happened
  const std::vector<std::string>& trace() const { return trace_; }

  // ---- for its parts
  void tell(const std::string& line);
  void note(std::uint64_t what) { hash_ = (hash_ ^ what) * 0x100000001b3u; }
  std::uint64_t now_ms();
  std::shared_ptr<detail::EngineCore> server() { return server_; }  // null: it is down

  Broken* broken() const { return broken_; }
  ConversationSettings settings_of(const std::string& group) const;  // as it was made

  const Plan& plan;
  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
  Network network;
  Disk disk;
  Truth truth;

 private:
  void set_up();
  void perform(const Op&);
  void faults(const Op&);
  void run_steps(const Op&);
  bool step(Random&);
  template <class R>
  Result<typename R::Reply> answer(Random&, Session&, R);
  bool engine_step(Random&, unsigned which);
  void idle(std::chrono::milliseconds);
  void settle(std::chrono::milliseconds quiet);
  bool all_is_quiet();
  void heal();
  void touch();
  void check();
  void read_feed();
  std::vector<UserId> everyone() const;
  bool has_device_online(const UserId&) const;
  void read_back();

  bool open();
  void crash();
  void restart();
  void revoke(const UserId&);
  void move(const Op&);
  void tell_of_moves();
  void leaves(unsigned device, const Frame&);
  void drop_sessions();

  Judge judge_;
  Teams teams_;
  struct Move {
    std::uint64_t step;  // when the engine is told
    std::string team;
    UserId user;
    bool by_team;
  };
  std::deque<Move> moves_;
  Broken* const broken_;
  const bool traces_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::shared_ptr<detail::EngineCore> server_;
  unsigned lives_ = 0;
  std::uint64_t steps_ = 0, hash_ = 0xcbf29ce484222325;
  std::vector<std::string> trace_;
};

}  // namespace simulation
