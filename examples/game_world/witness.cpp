#include "witness.h"

#include <charconv>

namespace cc = chatcore;

std::string Witness::says(const Crowd::Line& line) {
  const Player& speaker = world_.players[line.speaker];
  const std::size_t number = all_.size();
  all_.push_back({line, speaker.zone(), world_.frame});
  if (line.place == Place::party) in_party_[speaker.party].push_back(number);
  ++said_[static_cast<std::size_t>(line.place)];
  return std::to_string(number) + (line.is_wave ? " waves" : " over here, the gate is open");
}

void Witness::hears(const Player& player, const cc::Push& push) {
  const auto* posted = push.as<cc::MessagePosted>();
  const auto* shown = push.as<cc::Ephemeral>();
  if (!posted && !shown) return;
  const std::string& text = posted ? posted->content.text : shown->content.text;
  std::size_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  const Said& said = all_.at(number);
  ++heard_[static_cast<std::size_t>(said.line.place)];
  if (said.line.place == Place::party) {
    const auto& lines = in_party_[player.party];
    const std::size_t next = next_in_party(player);
    if (next < lines.size() && lines[next] == number) {
      heard_in_party_[player.index] = next + 1;
    } else {
      ++out_of_order_;
    }
  } else if (said.line.place == Place::zone) {
    // What was said while he was there he may still be told later; what is only shown, he may not.
    if (!player.was_in(said.where, shown ? world_.frame : said.frame)) ++heard_too_late_;
  }
}

// A session is not told what its player said himself.
std::size_t Witness::next_in_party(const Player& player) const {
  const auto& lines = in_party_[player.party];
  std::size_t next = heard_in_party_[player.index];
  while (next < lines.size() && all_[lines[next]].line.speaker == player.index) ++next;
  return next;
}

std::uint64_t Witness::missing() const {
  std::uint64_t missing = 0;
  for (const Player& player : world_.players) missing += in_party_[player.party].size() - next_in_party(player);
  return missing;
}
