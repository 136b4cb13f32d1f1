#pragma once

#include <stdexcept>
#include <string>

// What makes a run worthless: something that was not as it must be. It ends the run; there is no figure then.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void require(bool holds, const char* what) {
  if (!holds) [[unlikely]]
    throw Failure(what);
}
