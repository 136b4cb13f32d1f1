#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "failure.h"

// Where a reader is in one conversation, over all his connections: he must have every message once, in order. What
// comes again after a checkpoint is dropped by its seq, as the protocol says. The first message has number 1.
class Place {
 public:
  void comes(std::uint64_t seq, std::uint64_t number) {
    if (seq <= head_) return;
    require(head_ == 0 ? number == 1 : seq == head_ + 1, "a message is missing");
    head_ = seq;
  }
  // Something was not pushed. A checkpoint behind that covers what has not been read.
  void notice() { is_told_ = true; }
  void checkpoint(std::string at) {
    if (!is_told_) checkpoint_ = std::move(at);
  }
  // With this checkpoint, on a new connection.
  const std::string& resume() {
    is_told_ = false;
    return checkpoint_;
  }
  std::uint64_t head() const { return head_; }  // everything up to this seq is here; 0: nothing is

 private:
  std::string checkpoint_{};
  std::uint64_t head_ = 0;
  bool is_told_ = false;
};
