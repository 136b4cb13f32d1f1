#pragma once

#include <string>
#include <vector>

#include "dialect.h"
#include "loop.h"

// Sends a request and waits for its answer, the body; what else comes is dropped. Whoever waits does not sleep.
std::string answer_to(Loop&, const Dialect&, Link&, const std::string& request);

// A channel of an owner who is logged in, and of readers who need not be; its id. Empty: there is always one, of all.
std::string make_channel(Loop&, const Dialect&, Link& owner, const std::vector<std::string>& readers, bool notify_only);

// A group of those who are logged in at the loop's links, all of them, and know of it when this returns; its id. Empty:
// there is always one, of all.
std::string make_group(Loop&, const Dialect&, const std::vector<std::string>& members);
