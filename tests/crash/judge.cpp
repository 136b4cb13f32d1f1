#include "judge.h"

#include <algorithm>
#include <utility>

namespace crash {
namespace {

constexpr std::size_t most_lines = 200;

class Judge {
 public:
  explicit Judge(const Journal& journal)
      : journal_(journal), seen_(journal.sends.size()), lost_(journal.sends.size()) {}

  Verdict run() {
    index();
    for (const History& history : journal_.histories) check(history);
    for (const Stream& stream : journal_.streams) check(stream);
    check_answers();
    return std::move(verdict_);
  }

 private:
  struct Place {  // of a reader in a conversation
    Seq seq = 0;
    bool known = true;
    bool begun = false;
  };
  using Numbers = std::map<std::pair<Name, std::uint32_t>, std::uint64_t>;  // by conversation and sending client

  void index();
  void check(const History&);
  void check_entry(const Entry&, const std::string& where);
  void check_key(const Entry&, const std::string& where);
  void check_order(const Entry&, Numbers&, const std::string& where);
  void check_acknowledged(const History&);
  void check(const Stream&);
  void check_next(const Stream&, const Entry&, Place&);
  void missing(const Stream&, Name conversation, Place, Seq before);
  void check_answers();

  // The event at a seq when all was over; null: there is none.
  const Entry* truth(Name conversation, Seq seq) const {
    const auto found = truth_.find(conversation);
    if (found == truth_.end()) return nullptr;
    const auto& entries = found->second->entries;
    const auto entry = std::ranges::lower_bound(entries, seq, {}, &Entry::seq);
    return entry == entries.end() || entry->seq != seq ? nullptr : &*entry;
  }
  // True: the message was seen before, since forget().
  bool seen_before(const Entry& entry) {
    if (!is_message(entry)) return false;
    return std::exchange(seen_[entry.said], entry.seq) != 0;
  }
  void forget(const std::vector<Entry>& entries) {
    for (const Entry& entry : entries) {
      if (is_message(entry)) seen_[entry.said] = 0;
    }
  }
  bool is_message(const Entry& entry) const { return entry.said < journal_.sends.size(); }

  std::string name(Name name) const { return name == nobody ? "?" : journal_.names[name]; }
  std::string words(Said said) const {
    if (said == no_message) return "no message";
    if (said == strange) return "a text that nobody sent";
    const Handed& send = journal_.sends[said];
    return "message " + std::to_string(said) + " (" + name(journal_.clients[send.client].user) + ", client " +
           std::to_string(send.client) + ", key number " + std::to_string(send.number) + ")";
  }
  std::string at(Name conversation, Seq seq) const { return name(conversation) + " #" + std::to_string(seq); }
  void wrong(std::size_t Verdict::*kind, const std::string& text, std::size_t count = 1) {
    verdict_.*kind += count;
    if (verdict_.wrong.size() < most_lines) verdict_.wrong.push_back(text);
  }

  const Journal& journal_;
  Verdict verdict_;
  std::map<Name, const History*> truth_;
  std::map<Name, std::vector<std::pair<Seq, Said>>> acknowledged_;  // of each conversation, ascending
  std::map<std::uint32_t, Name> sources_;                           // of each client's keys, as read
  std::vector<Seq> seen_;
  std::vector<char> lost_;
};

void Judge::index() {
  for (const History& history : journal_.histories) {
    if (history.last) truth_.try_emplace(history.conversation, &history);
  }
  for (Said i = 0; i < journal_.sends.size(); ++i) {
    const Handed& send = journal_.sends[i];
    if (send.acknowledged == 0) continue;
    ++verdict_.acknowledged;
    acknowledged_[send.conversation].emplace_back(send.acknowledged, i);
  }
  for (auto& [conversation, sends] : acknowledged_) {
    std::sort(sends.begin(), sends.end());
    if (!truth_.contains(conversation)) {
      wrong(&Verdict::lost, name(conversation) + " could not be read at the end", sends.size());
      for (const auto& [_, said] : sends) lost_[said] = 1;
    }
  }
}

// ---- histories

void Judge::check(const History& history) {
  const std::string where = name(history.reader) + " read in run " + std::to_string(history.run) + ": ";
  Seq before = history.from - 1;
  Numbers numbers;
  for (const Entry& entry : history.entries) {
    const std::string here = where + at(history.conversation, entry.seq) + " ";
    check_entry(entry, here);
    if (seen_before(entry)) wrong(&Verdict::duplicates, here + words(entry.said) + " is there twice");
    if (entry.seq <= before) {
      wrong(&Verdict::inversions, here + "follows #" + std::to_string(before));
    } else if (entry.seq > before + 1) {
      wrong(&Verdict::holes, here + "follows #" + std::to_string(before), entry.seq - before - 1);
    }
    before = std::max(before, entry.seq);
    check_order(entry, numbers, here);
    check_key(entry, here);
  }
  forget(history.entries);
  const Seq end = history.last ? history.head : history.to;
  if (before < end) {
    wrong(&Verdict::holes, where + at(history.conversation, before + 1) + ".." + std::to_string(end) + " is missing",
          end - before);
  }
  check_acknowledged(history);
}

// That what was acknowledged with a seq is what is there, and that the history reaches that far.
void Judge::check_acknowledged(const History& history) {
  const auto found = acknowledged_.find(history.conversation);
  if (found == acknowledged_.end()) return;
  const auto& sends = found->second;
  const Seq end =
      history.last ? ~Seq{0} : std::max(history.to, history.head < history.must_reach ? history.must_reach : 0);
  auto entry = history.entries.begin();
  for (auto it = std::lower_bound(sends.begin(), sends.end(), std::pair<Seq, Said>{history.from, 0});
       it != sends.end() && it->first <= end; ++it) {
    const auto [seq, said] = *it;
    while (entry != history.entries.end() && entry->seq < seq) ++entry;
    const bool there = entry != history.entries.end() && entry->seq == seq;
    if (there && entry->said == said) continue;
    if (std::exchange(lost_[said], 1)) continue;
    wrong(&Verdict::lost, name(history.reader) + " read in run " + std::to_string(history.run) + ": " +
                              at(history.conversation, seq) + " was acknowledged for " + words(said) + " and is " +
                              (there ? words(entry->said) : "not there"));
  }
}

// That it is a message as it was sent, and what this place holds at the end.
void Judge::check_entry(const Entry& entry, const std::string& where) {
  if (entry.said == strange) return wrong(&Verdict::strange, where + "has " + words(entry.said));
  if (is_message(entry)) {
    const Handed& send = journal_.sends[entry.said];
    if (entry.sender != journal_.clients[send.client].user) {
      wrong(&Verdict::strange, where + words(entry.said) + " is said to be of " + name(entry.sender));
    }
    if (send.conversation != nobody && entry.conversation != send.conversation) {
      wrong(&Verdict::strange, where + words(entry.said) + " was sent to " + name(send.conversation));
    }
  }
  const Entry* last = truth(entry.conversation, entry.seq);
  if (last && last->said == entry.said && last->sender == entry.sender) return;
  wrong(&Verdict::ghosts, where + words(entry.said) + ", but at the end " + (last ? words(last->said) : "nothing"));
}

// Senders see their keys: all of a client's have one source, and the number that the client gave.
void Judge::check_key(const Entry& entry, const std::string& where) {
  if (entry.key_source == nobody || !is_message(entry)) return;
  const Handed& send = journal_.sends[entry.said];
  const Name source = sources_.try_emplace(send.client, entry.key_source).first->second;
  if (source == entry.key_source && entry.key_number == send.number) return;
  wrong(&Verdict::strange,
        where + words(entry.said) + " has the key " + name(entry.key_source) + "/" + std::to_string(entry.key_number));
  if (send.acknowledged != 0 && !std::exchange(lost_[entry.said], 1)) ++verdict_.lost;
}

void Judge::check_order(const Entry& entry, Numbers& numbers, const std::string& where) {
  if (!is_message(entry)) return;
  const Handed& send = journal_.sends[entry.said];
  std::uint64_t& number = numbers[{entry.conversation, send.client}];
  if (send.number < number) {
    wrong(&Verdict::inversions, where + words(entry.said) + " comes after number " + std::to_string(number));
  }
  number = std::max(number, send.number);
}

// ---- streams

void Judge::check(const Stream& stream) {
  for (const std::string& surprise : stream.surprises) wrong(&Verdict::strange, stream.name + " received " + surprise);
  std::map<Name, Place> places;
  Numbers numbers;
  for (const auto& [conversation, members] : journal_.members) {
    if (!members.contains(stream.user)) continue;
    const auto from = stream.from.find(conversation);
    places[conversation] = {.seq = from == stream.from.end() ? 0 : from->second};
  }
  for (const Entry& entry : stream.entries) {
    if (entry.said == reset) {
      wrong(&Verdict::resets, stream.name + " received a reset in run " + std::to_string(entry.run));
      for (auto& [_, place] : places) place = {.known = false};
      numbers.clear();
      forget(stream.entries);
      continue;
    }
    const auto place = places.find(entry.conversation);
    if (place == places.end()) {
      wrong(&Verdict::strange,
            stream.name + " received " + at(entry.conversation, entry.seq) + ", which is not for him");
      continue;
    }
    check_next(stream, entry, place->second);
    check_order(entry, numbers, stream.name + " received " + at(entry.conversation, entry.seq) + " ");
  }
  forget(stream.entries);
  for (const auto& [conversation, place] : places) {
    const auto found = truth_.find(conversation);
    if (found != truth_.end() && place.known) missing(stream, conversation, place, found->second->head + 1);
  }
}

void Judge::check_next(const Stream& stream, const Entry& entry, Place& place) {
  const std::string here =
      stream.name + " received in run " + std::to_string(entry.run) + " " + at(entry.conversation, entry.seq) + " ";
  check_entry(entry, here);
  const bool again = seen_before(entry);
  if (is_message(entry) && entry.client == journal_.sends[entry.said].client) {
    wrong(&Verdict::duplicates, here + words(entry.said) + ", which he had sent himself");
  }
  if (!place.known) {
    place = {.seq = entry.seq - 1, .begun = true};
  }
  if (entry.seq <= place.seq) {
    const bool same = again || !is_message(entry);
    wrong(same ? &Verdict::duplicates : &Verdict::inversions,
          here + words(entry.said) + (same ? " again" : "") + " after #" + std::to_string(place.seq));
    return;
  }
  if (again) wrong(&Verdict::duplicates, here + words(entry.said) + " again");
  missing(stream, entry.conversation, place, entry.seq);
  place = {.seq = entry.seq, .begun = true};
}

// Seqs after his place and before another. What he sent himself may be missing; where a fresh client resumes, only as
// far as the checkpoint may have covered it.
void Judge::missing(const Stream& stream, Name conversation, Place place, Seq before) {
  std::size_t count = 0;
  Seq first = 0, last = 0;
  for (Seq seq = place.seq + 1; seq < before; ++seq) {
    const Entry* entry = truth(conversation, seq);
    const bool own = entry && is_message(*entry) && stream.clients.contains(journal_.sends[entry->said].client);
    const bool own_creation =
        entry && entry->said == no_message && entry->sender == stream.user && !stream.clients.empty();
    if ((own || own_creation) && !(stream.fresh && place.begun)) continue;
    if (count++ == 0) first = seq;
    last = seq;
  }
  if (count == 0) return;
  wrong(&Verdict::holes,
        stream.name + " did not receive " + std::to_string(count) + " of " + at(conversation, first) + ".." +
            std::to_string(last) + " between #" + std::to_string(place.seq) + " and " +
            (before > last + 1 || truth(conversation, before) ? "#" + std::to_string(before) : "the end"),
        count);
}

// ---- answers

void Judge::check_answers() {
  for (const std::string& text : journal_.strange) wrong(&Verdict::strange, text);
  for (Said i = 0; i < journal_.sends.size(); ++i) {
    const Handed& send = journal_.sends[i];
    if (!send.refused.empty()) {
      wrong(&Verdict::refused, words(i) + " to " + name(send.conversation) + " was refused: " + send.refused);
    } else if (send.acknowledged == 0 && !journal_.clients[send.client].closed) {
      wrong(&Verdict::unanswered, words(i) + " to " + name(send.conversation) + " was never answered");
    }
  }
}

}  // namespace

Verdict judge(const Journal& journal) { return Judge(journal).run(); }

}  // namespace crash
