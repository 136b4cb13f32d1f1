#include "simulation/broken.h"

namespace simulation {

const std::vector<BrokenKind>& broken_kinds() {
  static const std::vector<BrokenKind> kinds;
  return kinds;
}

}  // namespace simulation
