#include "journal.h"

#include <charconv>
#include <ostream>

namespace crash {

Name Journal::name(std::string_view text) {
  const auto [it, added] = index_.try_emplace(std::string(text), static_cast<Name>(names.size()));
  if (added) names.emplace_back(text);
  return it->second;
}

Said Journal::said(std::string_view text) const {
  Said index = crash::strange;
  std::from_chars(text.data(), text.data() + text.size(), index);
  return index < sends.size() && sends[index].text == text ? index : crash::strange;
}

namespace {

void write(std::ostream& out, const Journal& journal, const Entry& entry) {
  out << "  run " << entry.run;
  if (entry.said == reset) {
    out << " reset\n";
    return;
  }
  out << " " << journal.names[entry.conversation] << " #" << entry.seq << " ";
  if (entry.said == no_message) {
    out << "no message";
  } else if (entry.said == strange) {
    out << "a text that nobody sent";
  } else {
    out << "message " << entry.said;
  }
  if (entry.key_source != nobody) out << " key " << journal.names[entry.key_source] << "/" << entry.key_number;
  out << "\n";
}

}  // namespace

void Journal::write(std::ostream& out) const {
  const auto named = [&](Name name) { return name == nobody ? std::string("?") : names[name]; };
  for (std::size_t i = 0; i < sends.size(); ++i) {
    const Handed& send = sends[i];
    out << "message " << i << " of " << named(clients[send.client].user) << ", client " << send.client << " key number "
        << send.number << ", to " << named(send.conversation) << ", in run " << send.run << ": ";
    if (send.acknowledged != 0) out << "acknowledged as #" << send.acknowledged << " in run " << send.acknowledged_run;
    if (!send.refused.empty()) out << "refused: " << send.refused;
    out << "\n";
  }
  for (const Stream& stream : streams) {
    out << "stream " << stream.name << "\n";
    for (const auto& [conversation, seq] : stream.from) out << "  from " << named(conversation) << " #" << seq << "\n";
    for (const Entry& entry : stream.entries) crash::write(out, *this, entry);
  }
  for (const History& history : histories) {
    out << "history of " << named(history.conversation) << " as " << named(history.reader) << " read it in run "
        << history.run << (history.last ? ", at the end" : "") << ": #" << history.from << ".." << history.to
        << ", head #" << history.head << ", to reach #" << history.must_reach << "\n";
    for (const Entry& entry : history.entries) crash::write(out, *this, entry);
  }
}

}  // namespace crash
