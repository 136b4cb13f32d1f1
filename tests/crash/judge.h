#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "journal.h"

namespace crash {

// How often a promise was broken. A message or an event that several readers saw wrong counts for each of them, but
// `lost` counts messages.
struct Verdict {
  std::size_t acknowledged{};        // messages
  std::size_t lost{};                // acknowledged, and not in the history with this text and key at this seq
  std::size_t duplicates{};          // one message at two seqs, or delivered to an application twice
  std::size_t inversions{};          // a sender's messages out of order, or a reader's seqs going back
  std::size_t holes{};               // seqs missing in a history, or at a reader who wasn't told `reset`
  std::size_t ghosts{};              // seen by somebody, and something else or nothing in the history at the end
  std::size_t resets{};              // a killed server has no reason for one
  std::size_t refused{};             // answered for good with an error
  std::size_t unanswered{};          // though its client was there to the end
  std::size_t strange{};             // texts nobody sent, wrong senders, conversations of others, notices
  std::vector<std::string> wrong{};  // the first of these, in words

  bool holds() const { return wrong.empty(); }
};

Verdict judge(const Journal&);

}  // namespace crash
