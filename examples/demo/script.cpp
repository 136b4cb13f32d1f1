#include "script.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

using namespace chatcore;

namespace {

bool parse_seqs(std::string_view word, Seq& first, Seq& last) {
  if (!word.starts_with('#')) return false;
  const char* const end = word.data() + word.size();
  auto [at, wrong] = std::from_chars(word.data() + 1, end, first);
  last = first;
  if (wrong == std::errc() && at != end && word.substr(static_cast<std::size_t>(at - word.data()), 2) == "..") {
    at = std::from_chars(at + 2, end, last).ptr;
  }
  return at == end && first > 0 && first <= last;
}

// What stands between the verb and the colon: CONV, and then to @PEER, with U V, key KEY, of #T, #N..M in any order.
bool parse_options(const std::vector<std::string>& words, Step& step) {
  bool in_with = false;
  Seq same = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const std::string next = i + 1 < words.size() ? words[i + 1] : "";
    if (i == 0) {
      step.conversation = word;
    } else if (word == "to" && next.size() > 1 && next[0] == '@') {
      step.peer = words[++i].substr(1);
    } else if (word == "key" && !next.empty()) {
      step.key = words[++i];
    } else if (word == "of" && parse_seqs(next, step.target, same)) {
      ++i;
    } else if (word == "with") {
      in_with = true;
    } else if (parse_seqs(word, step.first, step.last)) {
      in_with = false;
    } else if (in_with) {
      step.with.push_back(word);
    } else {
      return false;
    }
  }
  return true;
}

bool parse(Step& step) {
  std::istringstream in(step.text);
  if (!(in >> step.who >> step.verb)) return false;
  if (step.who == "server") return step.verb == "starts" || step.text == "server is killed";
  if (step.verb == "connects" || step.verb == "disconnects") return true;
  if (step.verb == "is" || step.verb == "ends" || step.verb == "watches" || step.verb == "types" ||
      step.verb == "mutes") {
    return static_cast<bool>(in >> step.conversation);
  }
  std::string seqs;
  if (step.verb == "receives") {
    in >> step.conversation >> seqs >> std::ws;
    std::getline(in, step.says);
    return parse_seqs(seqs, step.first, step.last) && !step.says.empty();
  }
  const std::size_t colon = step.text.find(": ");
  if (colon != std::string::npos) step.says = step.text.substr(colon + 2);
  if (step.verb == "sees" || step.verb == "calls") {
    in >> std::ws;
    const auto at = static_cast<std::size_t>(in.tellg());
    if (colon == std::string::npos || colon < at) return false;
    step.conversation = step.text.substr(at, colon - at);
    return true;
  }
  std::istringstream options(step.text.substr(0, colon));
  std::vector<std::string> words;
  for (std::string word; options >> word;) words.push_back(word);
  words.erase(words.begin(), words.begin() + 2);
  return parse_options(words, step) && step.first > 0;
}

std::string list_of(std::vector<UserId> users) {
  std::sort(users.begin(), users.end());
  std::string text;
  for (const UserId& user : users) text += " " + user.string();
  return text;
}

}  // namespace

Result<std::vector<Step>> read_script(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Error{ErrorCode::invalid, "cannot read " + path};
  std::vector<Step> steps;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    Step step{.line = number, .text = line};
    if (!parse(step)) return Error{ErrorCode::invalid, path + ":" + std::to_string(number) + ": no step: " + line};
    steps.push_back(std::move(step));
  }
  return steps;
}

std::string with_seq(std::string text, Seq seq) {
  for (std::size_t at; (at = text.find("{seq}")) != std::string::npos;) text.replace(at, 5, std::to_string(seq));
  return text;
}

std::string event_in_words(const Event& event) {
  const std::string who = event.sender.empty() ? "(the host)" : event.sender.string();
  if (const auto* message = event.as<MessagePosted>()) {
    return who + (message->deleted ? " says (deleted)" : " says: " + message->content.text);
  }
  if (const auto* change = event.as<MessageChanged>()) {
    const std::string target = "#" + std::to_string(change->target);
    if (change->kind == ChangeKind::deleted) return who + " deletes " + target;
    return who + " edits " + target + (change->now ? ": " + change->now->content.text : "");
  }
  if (const auto* members = event.as<MembersChanged>()) {
    std::string text = who;
    if (!members->joined.empty()) text += " brings:" + list_of(members->joined);
    if (!members->left.empty()) text += " removes:" + list_of(members->left);
    if (text != who) return text;
    for (const Member& member : members->roles) text += " gives a role to " + member.user.string();
    return text;
  }
  if (event.as<SettingsChanged>()) return who + " changes the settings";
  return who + " does something unknown";
}
