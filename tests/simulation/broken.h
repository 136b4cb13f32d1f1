#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include <chatcore/chatcore.h>

#include "simulation/disk.h"
#include "simulation/network.h"
#include "simulation/truth.h"

namespace simulation {

// A way in which an engine could be wrong, put into its seams: what it writes and reads is changed, or what it sends.
class Broken {
 public:
  virtual ~Broken() = default;
  // What an engine is given instead of the disk.
  virtual std::unique_ptr<Storage> storage(std::unique_ptr<Storage> disk, Disk&) { return disk; }
  // Instead of a frame to a client.
  virtual std::vector<Frame> to_client(std::uint64_t connection, const Frame& frame, Disk&) {
    (void)connection;
    return {frame};
  }
  virtual bool revokes() { return true; }
  virtual bool asks_its_policy() { return true; }
  // So many steps after a change of the host's table the engine is told.
  virtual unsigned told_after() { return 0; }
  // Whether a session in the process is given this push; and what it has read.
  virtual bool gives(unsigned device, const Push&) {
    (void)device;
    return true;
  }
  virtual void was_read(unsigned device, const ConversationId&, const SyncPage&) { (void)device; }
  // Instead of the checkpoint that an application keeps.
  virtual Checkpoint kept(unsigned device, Checkpoint checkpoint, Disk&) {
    (void)device;
    return checkpoint;
  }
};

struct BrokenKind {
  std::string_view name;  // on the command line
  std::string_view what;
  std::vector<Promise> breaks;  // one of these is what is found
  std::unique_ptr<Broken> (*make)();
};
const std::vector<BrokenKind>& broken_kinds();

}  // namespace simulation
