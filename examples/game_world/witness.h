#pragma once

#include <chatcore/chatcore.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "crowd.h"
#include "world.h"

// Knows what was said, and holds against it what each player hears: that nothing said in a party is missing, comes
// twice or in another order, and that nobody hears of a zone what was said from the frame on in which he left it.
class Witness {
 public:
  explicit Witness(const World& world)
      : world_(world), in_party_(world.parties.size()), heard_in_party_(world.players.size()) {}

  // The text that is said then: it begins with the line's number.
  std::string says(const Crowd::Line&);
  void hears(const Player&, const chatcore::Push&);

  std::uint64_t said(Place place) const { return said_[static_cast<std::size_t>(place)]; }
  std::uint64_t heard(Place place) const { return heard_[static_cast<std::size_t>(place)]; }
  std::uint64_t out_of_order() const { return out_of_order_; }      // in parties
  std::uint64_t heard_too_late() const { return heard_too_late_; }  // in zones that were left
  std::uint64_t missing() const;                                    // in parties, at the end

 private:
  struct Said {
    Crowd::Line line{};
    std::size_t where = 0;  // the zone
    std::uint64_t frame = 0;
  };
  std::size_t next_in_party(const Player&) const;

  const World& world_;
  std::vector<Said> all_{};
  std::vector<std::vector<std::size_t>> in_party_;  // the lines said there
  std::vector<std::size_t> heard_in_party_;         // so many of them, by player
  std::uint64_t said_[4] = {}, heard_[4] = {};
  std::uint64_t out_of_order_ = 0, heard_too_late_ = 0;
};
