#include "simulation/ledger.h"

#include <algorithm>

#include "protocol/record.h"

namespace simulation {
namespace {

Entry read(const StoredEvent& stored, std::uint64_t step) {
  Entry entry{.log = stored.log, .seq = stored.seq, .written_at = step};
  const auto record = protocol::decode_record(stored.bytes);
  const auto event = decode_event(stored.bytes);
  if (!record || !event) return entry.kind = Entry::Kind::other, entry;
  entry.says = event->conversation;
  entry.sender = event->sender;
  entry.time = event->time;
  entry.key = record->origin.key;
  if (event->seq != stored.seq) entry.says = {};
  if (const auto* posted = event->as<MessagePosted>()) {
    entry.kind = Entry::Kind::message;
    if (posted->deleted) entry.deleted_at = step;
    if (!posted->content.text.empty()) entry.texts.push_back(posted->content.text);
  } else if (const auto* changed = event->as<MessageChanged>()) {
    entry.kind = Entry::Kind::change;
    entry.target = changed->target;
    entry.change = changed->kind;
    if (changed->now) entry.texts.push_back(changed->now->content.text);  // it may not be there
  } else if (const auto* members = event->as<MembersChanged>()) {
    entry.kind = Entry::Kind::members;
    entry.joined = members->joined;
    entry.left = members->left;
  } else if (const auto* own = event->as<OwnChanged>()) {
    entry.kind = Entry::Kind::marks;
    entry.marks = own->marks;
  } else if (event->as<SettingsChanged>()) {
    entry.kind = Entry::Kind::settings;
  } else {
    entry.kind = Entry::Kind::other;
  }
  return entry;
}

bool holds(const std::vector<UserId>& users, const UserId& user) {
  return std::find(users.begin(), users.end(), user) != users.end();
}

// The last seq that was given out before that time.
Seq last_before(const Book& book, TimePoint time) {
  Seq last = book.entries.empty() ? book.head : 0;
  for (const auto& [seq, entry] : book.entries) {
    if (entry.time < time) last = seq;
  }
  return last;
}

}  // namespace

bool Entry::has_said(const std::string& text) const {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

const Entry* Book::find(Seq seq) const {
  const auto found = entries.find(seq);
  return found == entries.end() ? nullptr : &found->second;
}

void Ledger::apply(std::string_view partition, std::span<const StoredEvent> events, Seq new_head, Seq trim_to,
                   std::uint64_t step) {
  if (!partition.starts_with("c:")) return;
  Book& book = books_[std::string(partition.substr(2))];
  Seq next = book.head + 1;
  for (const StoredEvent& stored : events) {
    if (stored.seq < book.oldest) continue;
    Entry entry = read(stored, step);
    const auto known = book.entries.find(stored.seq);
    if (known == book.entries.end()) {
      if (stored.seq != next++) book.wrong.push_back("seq " + std::to_string(stored.seq) + " behind a hole");
      book.entries.emplace(stored.seq, std::move(entry));
      continue;
    }
    Entry& old = known->second;  // a row rewritten
    if (old.log != entry.log || old.sender != entry.sender || old.kind != entry.kind || old.key != entry.key) {
      book.wrong.push_back("seq " + std::to_string(stored.seq) + " given to another event");
    }
    for (std::string& text : entry.texts) {
      if (!old.has_said(text)) old.texts.push_back(std::move(text));
    }
    if (entry.deleted_at && !old.deleted_at) old.deleted_at = step;
  }
  if (next != new_head + 1) book.wrong.push_back("a head of " + std::to_string(new_head) + " without its events");
  book.head = std::max(book.head, new_head);
  if (trim_to >= book.oldest) book.oldest = std::min(trim_to, book.head) + 1;
}

const Book* Ledger::find(const std::string& conversation) const {
  const auto found = books_.find(conversation);
  return found == books_.end() ? nullptr : &found->second;
}

const std::vector<Presence>& Ledger::presences(const std::string& team, const UserId& user) const {
  static const std::vector<Presence> none;
  const auto of = teams.find(team);
  if (of == teams.end()) return none;
  const auto found = of->second.find(user);
  return found == of->second.end() ? none : found->second;
}

bool Ledger::is_in(const std::string& team, const UserId& user) const {
  const auto& all = presences(team, user);
  return !all.empty() && all.back().to == TimePoint::max();
}

std::vector<Interval> Ledger::stays(const std::string& conversation, const UserId& user) const {
  const Book* book = find(conversation);
  std::vector<Interval> stays;
  if (!book) return stays;
  if (is_team(conversation)) {
    if (is_in(conversation, user)) {
      stays.push_back({last_before(*book, presences(conversation, user).back().from) + 1, 0});
    }
    return stays;
  }
  if (const auto pair = pairs.find(conversation); pair != pairs.end()) {
    if (pair->second.contains(user)) stays.push_back({1, 0});
    return stays;
  }
  for (const auto& [seq, entry] : book->entries) {
    if (entry.kind != Entry::Kind::members) continue;
    const bool inside = !stays.empty() && stays.back().to == 0;
    if (holds(entry.left, user) && inside) stays.back().to = seq;
    if (holds(entry.joined, user) && !inside) stays.push_back({seq, 0});
  }
  return stays;
}

std::vector<Interval> Ledger::visible(const std::string& conversation, const UserId& user) const {
  std::vector<Interval> visible = stays(conversation, user);
  if (is_team(conversation)) {
    const Book* book = find(conversation);
    const auto& presences = this->presences(conversation, user);
    if (!book || presences.empty()) return {};
    if (is_in(conversation, user)) return {{1, 0}};
    const Seq last = last_before(*book, presences.back().to);
    return last == 0 ? std::vector<Interval>() : std::vector<Interval>{{1, last}};
  }
  const auto rule = rules.find(conversation);
  if (rule == rules.end()) return visible;
  for (Interval& stay : visible) {
    if (rule->second.newcomers_see == NewcomersSee::all && stay.from > 1) stay.from = 1;
    if (rule->second.newcomers_see == NewcomersSee::last && stay.from > 1) {
      stay.from = stay.from > rule->second.last ? stay.from - rule->second.last : 1;
    }
  }
  return visible;
}

bool within(const std::vector<Interval>& intervals, Seq seq) {
  return std::any_of(intervals.begin(), intervals.end(),
                     [&](const Interval& i) { return i.from <= seq && (i.to == 0 || seq <= i.to); });
}

}  // namespace simulation
