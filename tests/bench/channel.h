#pragma once

#include <string>
#include <vector>

#include "dialect.h"
#include "loop.h"

// A channel of an owner who is logged in, and of readers who need not be; its id. Empty: there is always one, of all.
std::string make_channel(Loop&, const Dialect&, Link& owner, const std::vector<std::string>& readers, bool notify_only);
