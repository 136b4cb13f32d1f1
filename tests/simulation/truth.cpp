#include "simulation/truth.h"

#include <algorithm>

#include "simulation/judge.h"

namespace simulation {
namespace {

std::string at(const std::string& conversation, Seq seq) { return conversation + " #" + std::to_string(seq); }

Entry::Kind kind_of(Do what) {
  if (what == Do::send || what == Do::send_again) return Entry::Kind::message;
  if (what == Do::notify) return Entry::Kind::settings;
  return what == Do::edit || what == Do::erase ? Entry::Kind::change : Entry::Kind::members;
}

// Whether this event may be what came of a request that nobody was told about.
bool is_what(const Attempt& attempt, const Entry& entry) {
  if (entry.sender != attempt.user || entry.kind != kind_of(attempt.what)) return false;
  if (entry.kind == Entry::Kind::message) return entry.has_said(attempt.text) || entry.texts.empty();
  return entry.kind != Entry::Kind::change || entry.target == attempt.target;
}

}  // namespace

std::string_view name_of(Promise promise) {
  constexpr std::string_view names[] = {"",
                                        "1: seqs are dense, and each is one event's",
                                        "2: acknowledged means committed, and nothing is shown before",
                                        "3: exactly once, in order",
                                        "4: resume and pages leave nothing out",
                                        "5: after a crash, a prefix; nothing refused; the unknown once, under its key",
                                        "6: retention drops the oldest only",
                                        "nobody is shown what is not his",
                                        "what is deleted is in no answer",
                                        "the list shows every conversation as it is",
                                        "everything is answered in the end"};
  return names[static_cast<std::size_t>(promise)];
}

Seq Watch::highest(const std::string& conversation) const {
  const auto found = conversations.find(conversation);
  if (found == conversations.end()) return 0;
  Seq highest = 0;
  for (const auto* seqs : {&found->second.pushed, &found->second.known}) {
    if (!seqs->empty()) highest = std::max(highest, *seqs->rbegin());
  }
  return highest;
}

void Truth::broken(Promise promise, std::string what) {
  if (!violation_) violation_ = Violation{promise, std::move(what)};
}

// ---- who said what

const Attempt* Truth::by_text(const std::string& text) const {
  for (const Attempt& attempt : attempts) {
    if (!text.empty() && attempt.text == text) return &attempt;
  }
  return nullptr;
}

bool Truth::may_say(const std::string& conversation, Seq seq, const std::string& text) const {
  const Attempt* attempt = by_text(text);
  if (!attempt) return false;
  if (const auto* id = attempt->to.conversation(); id && id->view() != conversation) return false;
  if (const auto* direct = attempt->to.direct()) {
    const auto pair = disk_.ledger.pairs.find(conversation);
    if (pair == disk_.ledger.pairs.end() || pair->second != std::set{attempt->user, direct->peer}) return false;
  }
  if (attempt->what == Do::edit) return attempt->target == seq;
  if (attempt->what != Do::send && attempt->what != Do::send_again) return false;
  return attempt->state != Attempt::State::acknowledged || attempt->ack.seq == seq;
}

const Attempt* Truth::sent_as(const Event& event) const {
  const auto* posted = event.as<MessagePosted>();
  return posted ? by_text(posted->content.text) : nullptr;
}

std::set<UserId> Truth::pair_of(const std::string& conversation) {
  learn_pairs();
  const auto pair = disk_.ledger.pairs.find(conversation);
  return pair == disk_.ledger.pairs.end() ? std::set<UserId>() : pair->second;
}

void Truth::learn_pairs() {
  for (const auto& [conversation, book] : disk_.ledger.books()) {
    if (!conversation.starts_with("~") || disk_.ledger.pairs.contains(conversation)) continue;
    for (const auto& [seq, entry] : book.entries) {
      if (Ledger::is_own_log(conversation)) disk_.ledger.pairs[conversation] = {entry.sender};
      for (const std::string& text : entry.texts) {
        const Attempt* attempt = by_text(text);
        if (!attempt || !attempt->to.direct()) continue;
        disk_.ledger.pairs[conversation] = {attempt->user, attempt->to.direct()->peer};
      }
    }
  }
}

// ---- answers

void Truth::acknowledged(Attempt& attempt, const Accepted& ack) {
  const std::string id = ack.conversation.string();
  const std::string what = "an acknowledgement names " + at(id, ack.seq);
  if (attempt.state == Attempt::State::acknowledged && attempt.ack.seq != ack.seq) {
    return broken(Promise::acknowledged,
                  what + ", an earlier one of the same request #" + std::to_string(attempt.ack.seq));
  }
  attempt.state = Attempt::State::acknowledged;
  attempt.ack = ack;
  if (ack.seq == 0) return;
  learn_pairs();
  const Book* book = disk_.ledger.find(id);
  if (!book || !book->find(ack.seq)) return broken(Promise::acknowledged, what + ", which is not on the disk");
  for (const Attempt& other : attempts) {
    if (&other == &attempt || other.state != Attempt::State::acknowledged) continue;
    if (other.ack.conversation == ack.conversation && other.ack.seq == ack.seq) {
      return broken(Promise::seqs, what + ", which is another request's");
    }
  }
}

void Truth::refused(Attempt& attempt, const Error& error) {
  if (attempt.state == Attempt::State::acknowledged) {
    return broken(Promise::acknowledged, "a request was acknowledged, and then refused: " + error.message);
  }
  attempt.state = Attempt::State::refused;
}

void Truth::power_was_lost() {
  for (Attempt& attempt : attempts) {
    if (attempt.state != Attempt::State::acknowledged || attempt.ack.seq == 0) continue;
    const Book* book = disk_.ledger.find(attempt.ack.conversation.string());
    if (!book || attempt.ack.seq > book->head) attempt.state = Attempt::State::lost;
  }
  for (auto& [key, cursor] : cursors_) cursor.first = 0;
  for (auto& [user, of] : names) of.any_done = false;
}

// What stands there now is something else, whatever was shown.
void Truth::power_was_lost(Watch& watch) const {
  for (auto& [conversation, seen] : watch.conversations) {
    const Book* book = disk_.ledger.find(conversation);
    const Seq head = book ? book->head : 0;
    for (auto* seqs : {&seen.pushed, &seen.known}) seqs->erase(seqs->upper_bound(head), seqs->end());
    seen.last = std::min(seen.last, head);
    seen.begins = std::min(seen.begins, head);
  }
}

// ---- pushes

void Truth::begins(Watch& watch) const {
  watch.begun = true;
  watch.epoch = disk_.losses();
  for (auto& [conversation, seen] : watch.conversations) seen.last = 0;
  for (const auto& [conversation, book] : disk_.ledger.books()) watch.conversations[conversation].begins = book.head;
}

void Truth::pushed(Watch& watch, const Attempt* own, const std::string& who, const UserId& user, bool exactly_once,
                   const Event& event, std::uint64_t since) {
  learn_pairs();
  const std::string id = event.conversation.string();
  auto& seen = watch.conversations[id];
  // A session may be shown again what it was shown or has read, after a resume; never for the first time what is older.
  const bool again = seen.pushed.contains(event.seq) || seen.known.contains(event.seq);
  if (event.seq <= seen.last && (exactly_once || !again)) {
    return broken(Promise::once, who + " was shown " + at(id, event.seq) + " after #" + std::to_string(seen.last));
  }
  if (exactly_once && seen.pushed.contains(event.seq)) {
    return broken(Promise::once, who + " was shown " + at(id, event.seq) + " twice");
  }
  if (own) return broken(Promise::once, who + " was shown its own " + at(id, event.seq));
  check_content(who, user, id, event, since, true);
  seen.last = std::max(seen.last, event.seq);
  seen.pushed.insert(event.seq);
}

void Truth::check_content(const std::string& who, const UserId& user, const std::string& conversation,
                          const Event& event, std::uint64_t asked_at, bool key_shown) {
  const Book* book = disk_.ledger.find(conversation);
  const Entry* entry = book ? book->find(event.seq) : nullptr;
  const std::string what = who + " was shown " + at(conversation, event.seq);
  if (!entry) return broken(Promise::acknowledged, what + ", which is not on the disk");
  if (entry->says.view() != conversation) return broken(Promise::seqs, what + ", where the disk holds another's event");
  if (!within(disk_.ledger.visible(conversation, user), event.seq))
    return broken(Promise::privacy, what + ", which is not for him");
  if (entry->sender != event.sender) return broken(Promise::seqs, what + " with another sender than the disk's");
  const IdempotencyKey expected = event.sender == user ? entry->key : IdempotencyKey();
  if (key_shown && event.key != expected) return broken(Promise::privacy, what + " with a key that is not its own");
  const auto said = [&](const MessagePosted& posted, const Entry& of) {
    if (posted.deleted && !of.deleted_at) return broken(Promise::deletion, what + " as deleted, which it is not");
    if (!posted.deleted && !of.has_said(posted.content.text) && !may_say(conversation, of.seq, posted.content.text)) {
      return broken(Promise::seqs, what + " saying " + posted.content.text + ", which it never said");
    }
    if (!posted.content.text.empty() && of.deleted_at && *of.deleted_at < asked_at) {
      return broken(Promise::deletion, what + " saying " + posted.content.text + ", which was deleted before");
    }
  };
  if (const auto* posted = event.as<MessagePosted>()) {
    if (entry->kind != Entry::Kind::message) return broken(Promise::seqs, what + " as a message, which it is not");
    said(*posted, *entry);
  } else if (const auto* changed = event.as<MessageChanged>()) {
    if (entry->kind != Entry::Kind::change || entry->target != changed->target) {
      return broken(Promise::seqs, what + " as a change, which it is not");
    }
    const Entry* target = book->find(changed->target);
    if (changed->now && target) {
      if (!within(disk_.ledger.visible(conversation, user), changed->target)) {
        return broken(Promise::privacy, what + " with the text of a message that is not for him");
      }
      said(*changed->now, *target);
    }
  } else if (const auto* members = event.as<MembersChanged>()) {
    if (entry->kind != Entry::Kind::members || entry->joined != members->joined || entry->left != members->left) {
      return broken(Promise::seqs, what + " with other members than the disk's");
    }
  }
}

void Truth::shown_after(std::uint64_t revoked, const std::string& who, const Event& event) {
  const Book* book = disk_.ledger.find(event.conversation.string());
  const Entry* entry = book ? book->find(event.seq) : nullptr;
  if (!entry || entry->written_at <= revoked) return;
  broken(Promise::privacy,
         who + " was shown " + at(event.conversation.string(), event.seq) + " after his login was revoked");
}

// In one life of the server nobody is told that somebody has read less than he was told before, or more than there is.
void Truth::shown(const std::string& who, const UserId& user, const Receipts& told) {
  shown(who, user, told.conversation);
  const std::string id = told.conversation.string();
  const Book* book = disk_.ledger.find(id);
  for (const Receipt& each : told.receipts) {
    const std::string what = who + " was told that " + each.user.string() + " has read " + at(id, each.read);
    Receipt& before = receipts_[who + " " + id + " " + each.user.string()];
    if (each.read < before.read || each.delivered < before.delivered) {
      broken(Promise::acknowledged, what + ", after #" + std::to_string(before.read));
    }
    if (!book || each.delivered > book->head || each.read > cursors_[{each.user, id}].second) {
      broken(Promise::acknowledged, what + ", which he has not");
    }
    before = each;
  }
}

void Truth::shown(const std::string& who, const UserId& user, const ConversationId& conversation) {
  learn_pairs();
  const std::string id = conversation.string();
  if (disk_.ledger.is_team(id)) {
    if (disk_.ledger.presences(id, user).empty()) {
      broken(Promise::privacy, who + " was shown something of " + id + ", where he never was");
    }
    return;
  }
  if (disk_.ledger.stays(id, user).empty()) {
    broken(Promise::privacy, who + " was shown something of " + id + ", where he never was");
  }
}

void Truth::leaves(const std::string& who, const UserId& user, const std::string& conversation, Seq seq) {
  if (!disk_.ledger.is_team(conversation)) return;
  const std::string what = seq != 0 ? at(conversation, seq) : "something of " + conversation;
  if (!disk_.ledger.is_in(conversation, user)) {
    broken(Promise::privacy, what + " leaves for " + who + ", who is no longer in it");
  }
}

void Truth::was_reset(Watch& watch, const std::string& who) {
  if (watch.begun && watch.epoch == disk_.losses()) {
    broken(Promise::resume, who + " was told to start again, though nothing is lost");
  }
  watch.conversations.clear();
  begins(watch);
}

// ---- in the end

void Truth::check_disk(Storage& storage) {
  learn_pairs();
  for (const auto& [conversation, book] : disk_.ledger.books()) {
    check_book(conversation, book);
    std::set<Seq> seqs;
    for (const Log log : {Log::messages, Log::changes}) {
      for (Seq start = 1;;) {
        const auto page = storage.events("c:" + conversation, log, start, Direction::forward, {.rows = 100});
        if (!page) return broken(Promise::crash, "the disk can't be read: " + page.error().message);
        for (const auto& [seq, bytes] : page->events) {
          if (!seqs.insert(seq).second) broken(Promise::seqs, at(conversation, seq) + " stands in both logs");
          const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
          for (const auto& [other, entry] : book.entries) {
            if (!entry.deleted_at) continue;
            for (const std::string& said : entry.texts) {
              if (text.find(said) != text.npos)
                broken(Promise::deletion, at(conversation, other) + " left its text on the disk");
            }
          }
        }
        if (!page->more) break;
        start = page->events.back().first + 1;
      }
    }
    Seq next = book.oldest;
    for (const Seq seq : seqs) {
      if (seq != next++) return broken(Promise::seqs, at(conversation, seq) + " comes behind a hole on the disk");
    }
    if (next != book.head + 1) broken(Promise::seqs, conversation + " has a head without its events");
  }
}

void Truth::check_book(const std::string& conversation, const Book& book) {
  for (const std::string& wrong : book.wrong) broken(Promise::seqs, conversation + ": " + wrong);
  std::map<std::pair<UserId, std::string>, Seq> keys;
  std::map<std::string, Seq> said;
  for (const auto& [seq, entry] : book.entries) {
    if (entry.says.view() != conversation) broken(Promise::seqs, at(conversation, seq) + " holds the event of another");
    if (!entry.key.empty()) {
      const std::string key = entry.key.source + "/" + std::to_string(entry.key.number);
      const auto [known, is_new] = keys.try_emplace({entry.sender, key}, seq);
      if (!is_new)
        broken(Promise::acknowledged,
               "one key made two events: " + at(conversation, known->second) + ", " + at(conversation, seq));
    }
    for (const std::string& text : entry.texts) {
      const auto [known, is_new] = said.try_emplace(text, seq);
      if (!is_new)
        broken(Promise::crash,
               text + " stands twice: " + at(conversation, known->second) + ", " + at(conversation, seq));
    }
  }
  for (const auto& [seq, entry] : book.entries) {
    for (const std::string& text : entry.texts) {
      const Attempt* attempt = by_text(text);
      if (!attempt || !may_say(conversation, seq, text))
        broken(Promise::seqs, at(conversation, seq) + " says " + text + ", which belongs elsewhere");
      if (attempt && ruling(plan_, attempt->user, attempt->sent) == Ruling::refused)
        broken(Promise::privacy, at(conversation, seq) + " says " + text + ", which the policy refused");
      if (attempt && attempt->state == Attempt::State::refused)
        broken(Promise::crash, at(conversation, seq) + " says " + text + ", which was refused");
    }
  }
}

void Truth::check_attempts() {
  for (const Attempt& attempt : attempts) {
    if (attempt.state == Attempt::State::waiting || attempt.state == Attempt::State::under_way) {
      broken(Promise::liveness, "op " + std::to_string(attempt.op) + " was never answered");
    }
    if (attempt.state != Attempt::State::acknowledged || attempt.ack.seq == 0) continue;
    const std::string id = attempt.ack.conversation.string();
    const std::string what = "op " + std::to_string(attempt.op) + " was acknowledged as " + at(id, attempt.ack.seq);
    const Book* book = disk_.ledger.find(id);
    const Entry* entry = book ? book->find(attempt.ack.seq) : nullptr;
    if (!entry) {
      broken(Promise::acknowledged, what + ", and is gone");
      continue;
    }
    const Entry::Kind kind = kind_of(attempt.what);
    bool is_it = entry->sender == attempt.user && entry->kind == kind;
    if (!attempt.key.empty()) is_it = is_it && entry->key == attempt.key;
    if (kind == Entry::Kind::change) is_it = is_it && entry->target == attempt.target;
    // What was changed in the same commit was never written as it was sent.
    if (kind == Entry::Kind::message && !entry->has_said(attempt.text)) {
      is_it = is_it && std::any_of(book->entries.begin(), book->entries.end(),
                                   [&](const auto& e) { return e.second.target == attempt.ack.seq; });
    }
    if (!is_it) broken(Promise::acknowledged, what + ", where something else stands");
  }
}

void Truth::check_watch(const Watch& watch, unsigned device, const std::string& who, const UserId& user) {
  learn_pairs();
  if (!watch.begun) return broken(Promise::liveness, who + " never got in");
  for (const auto& [conversation, book] : disk_.ledger.books()) {
    const auto stays = disk_.ledger.stays(conversation, user);
    const auto found = watch.conversations.find(conversation);
    const Watch::Conversation seen = found == watch.conversations.end() ? Watch::Conversation{} : found->second;
    for (const auto& [seq, entry] : book.entries) {
      if (seq <= seen.begins || seq < book.oldest || !within(stays, seq)) continue;
      if (seen.pushed.contains(seq) || seen.known.contains(seq)) continue;
      // Its own, of which it was told nothing: its client had seen it when the application ended, or it landed late
      // and the repeat found nothing left to change.
      const bool own = std::any_of(attempts.begin(), attempts.end(), [&](const Attempt& attempt) {
        const bool untold = attempt.state == Attempt::State::lost ||
                            (attempt.state == Attempt::State::acknowledged && attempt.ack.seq == 0);
        return attempt.device == device && untold && is_what(attempt, entry);
      });
      if (!own) return broken(Promise::resume, who + " was never shown " + at(conversation, seq));
    }
  }
}

// An engine that forgets an event forgets its key: what may come again is not to be trimmed.
Seq Truth::may_be_trimmed(const std::string& conversation) const {
  const Book* book = disk_.ledger.find(conversation);
  if (!book) return 0;
  for (const auto& [seq, entry] : book->entries) {
    for (const Attempt& attempt : attempts) {
      const bool answered = attempt.state != Attempt::State::waiting && attempt.state != Attempt::State::under_way;
      if (!answered && attempt.user == entry.sender) return seq - 1;
    }
  }
  return book->head;
}

std::vector<std::string> Truth::conversations_of(const UserId& user) {
  learn_pairs();
  std::vector<std::string> all;
  for (const auto& [conversation, book] : disk_.ledger.books()) {
    if (!disk_.ledger.stays(conversation, user).empty()) all.push_back(conversation);
  }
  return all;
}

void Truth::read_to(const UserId& user, const std::string& conversation, Seq seq, bool acknowledged) {
  auto& cursor = cursors_[{user, conversation}];
  if (acknowledged) cursor.first = std::max(cursor.first, seq);
  cursor.second = std::max(cursor.second, seq);
}

// A crash may lose what was read in the last second: from then on only what his own log holds is sure.
void Truth::server_crashed() {
  ++crashes;
  receipts_.clear();
  for (auto& [key, cursor] : cursors_) {
    const auto marked = marks_of(key.first);
    const auto found = marked.find(key.second);
    cursor.first = found == marked.end() ? 0 : found->second.read;
  }
}

// As the last event of his own log that names each has it.
std::map<std::string, Marks> Truth::marks_of(const UserId& user) {
  learn_pairs();
  std::map<std::string, Marks> all;
  for (const auto& [conversation, book] : disk_.ledger.books()) {
    if (!Ledger::is_own_log(conversation) || !pair_of(conversation).contains(user)) continue;
    for (const auto& [seq, entry] : book.entries) {
      for (const Marks& marks : entry.marks) all[marks.conversation.string()] = marks;
    }
  }
  return all;
}

// What the list shows, added up.
void Truth::check_badge(const UserId& user, const std::vector<ConversationEntry>& list, const UnreadTotal& total) {
  UnreadTotal sum;
  for (const ConversationEntry& entry : list) {
    if (entry.marks.muted_until != TimePoint{}) continue;  // here it is until further notice
    sum.messages += entry.unread;
    if (entry.unread > 0 || entry.marks.unread) ++sum.conversations;
  }
  if (sum.messages == total.messages && sum.conversations == total.conversations && !total.more) return;
  broken(Promise::list, user.string() + "'s badge says " + std::to_string(total.messages) + " in " +
                            std::to_string(total.conversations) + ", his list " + std::to_string(sum.messages) +
                            " in " + std::to_string(sum.conversations));
}

// Everything that is kept is in it, what is new in a conversation in order.
void Truth::check_feed(const std::vector<EventPtr>& feed) {
  std::map<std::string, Seq> last;
  std::set<std::pair<std::string, Seq>> given;
  for (const EventPtr& event : feed) {
    const std::string id = event->conversation.string();
    if (!given.emplace(id, event->seq).second) continue;
    Seq& before = last[id];
    if (event->seq < before)
      broken(Promise::seqs, "the feed gives " + at(id, event->seq) + " after #" + std::to_string(before));
    before = event->seq;
  }
  for (const auto& [id, book] : disk_.ledger.books()) {
    for (const auto& [seq, entry] : book.entries) {
      if (seq >= book.oldest && !given.contains({id, seq}))
        broken(Promise::resume, "the feed leaves out " + at(id, seq));
    }
  }
}

void Truth::check_profile(const Profile& profile) {
  const Names& of = names[profile.user];
  const bool is_his = profile.display_name.empty() ? !of.any_done : of.tried.contains(profile.display_name);
  if (!is_his) broken(Promise::acknowledged, profile.user.string() + "'s profile says " + profile.display_name);
}

void Truth::check_list(const UserId& user, const std::vector<ConversationEntry>& list) {
  std::map<std::string, const ConversationEntry*> entries;
  const std::string whose = user.string() + "'s list ";
  for (const ConversationEntry& entry : list) {
    if (!entries.emplace(entry.info.conversation.string(), &entry).second) {
      return broken(Promise::list, whose + "shows " + entry.info.conversation.string() + " twice");
    }
  }
  const std::map<std::string, Marks> marked = marks_of(user);
  for (const std::string& conversation : conversations_of(user)) {
    if (Ledger::is_own_log(conversation)) continue;
    const auto found = entries.find(conversation);
    if (found == entries.end()) return broken(Promise::list, whose + "leaves out " + conversation);
    const ConversationEntry& entry = *found->second;
    const Book& book = *disk_.ledger.find(conversation);
    const auto stays = disk_.ledger.stays(conversation, user), visible = disk_.ledger.visible(conversation, user);
    const auto& presences = disk_.ledger.presences(conversation, user);
    // Whether it was seen that he was away in between, nobody can know.
    const bool always = presences.size() < 2;
    const Seq head = stays.back().to == 0 ? book.head : stays.back().to;
    if (entry.info.head != head) return broken(Promise::list, whose + "has another head for " + conversation);
    const auto cursor = cursors_[{user, conversation}];
    if (entry.read < cursor.first || entry.read > cursor.second) {
      return broken(Promise::list, whose + "has another cursor for " + conversation);
    }
    const auto mine = marked.find(conversation);
    if (entry.marks != (mine == marked.end() ? Marks{.conversation = entry.info.conversation} : mine->second)) {
      return broken(Promise::list, whose + "has other marks for " + conversation + " than his own log");
    }
    if (!always) {
      entries.erase(found);
      continue;
    }
    unsigned unread = 0;
    Seq last = 0;
    for (const auto& [seq, of] : book.entries) {
      if (of.kind != Entry::Kind::message || seq < book.oldest || seq > head || !within(visible, seq)) continue;
      last = seq;
      if (seq > entry.read && of.sender != user && !of.deleted_at) ++unread;
    }
    if ((entry.last ? entry.last->seq : 0) != last)
      return broken(Promise::list, whose + "shows another last message of " + conversation);
    if (entry.unread != std::min(unread, 100u)) {
      return broken(Promise::list, whose + "counts " + std::to_string(entry.unread) + " unread in " + conversation +
                                       ", not " + std::to_string(unread));
    }
    entries.erase(found);
  }
  // The teams that he has left, and those where nothing was said yet.
  std::erase_if(entries, [&](const auto& entry) { return !disk_.ledger.presences(entry.first, user).empty(); });
  if (!entries.empty()) broken(Promise::privacy, whose + "shows " + entries.begin()->first + ", where he never was");
}

}  // namespace simulation
