#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/session.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// The sessions on one shard that are published to in a conversation that is fanned out on read. They lie side by side,
// so that a fan-out walks through them in steps; one who goes meanwhile leaves a hole.
class Followers {
 public:
  struct Follower {
    std::shared_ptr<Session> session{};  // null: a hole
    std::shared_ptr<const Intervals> sees{};
    std::uint64_t asked_at = 0;  // the version of the host's table that this stands on
  };

  // Where in it the session stands from now on; it keeps that (Session::Follow).
  std::size_t add(Follower follower) {
    all_.push_back(std::move(follower));
    ++count_;
    return all_.size() - 1;
  }
  // True: another session moved to that place, which it has to know.
  bool remove(std::size_t at) {
    all_[at] = {};
    --count_;
    if (walks_ > 0) {
      has_holes_ = true;
      return false;
    }
    all_[at] = std::move(all_.back());
    all_.pop_back();
    return at < all_.size();
  }
  std::size_t size() const { return all_.size(); }  // with holes
  std::size_t count() const { return count_; }
  Follower& at(std::size_t i) { return all_[i]; }

  // While someone walks through, nobody changes his place.
  void begin_walk() { ++walks_; }
  bool end_walk() { return --walks_ == 0 && std::exchange(has_holes_, false); }  // true: there are holes to close
  void close_holes() {
    std::erase_if(all_, [](const Follower& f) { return !f.session; });
  }

 private:
  std::vector<Follower> all_;
  std::size_t count_ = 0;
  unsigned walks_ = 0;
  bool has_holes_ = false;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
