// Plays script.txt with real clients against a fresh chat_server, prints what each client received, and checks that it
// is what the script says: every delivery once, in order, and nothing else.
//
// Exit codes: 0 all is well; 1 something is missing or wrong; 2 the command line or the script is wrong.
#include <chatcore/chatcore.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "player.h"
#include "script.h"
#include "server.h"

using namespace chatcore;
using namespace std::chrono_literals;

namespace {

class Demo {
 public:
  Demo(std::string server, std::chrono::seconds most)
      : server_(std::move(server)), end_(std::chrono::steady_clock::now() + most) {}

  void play(const std::vector<Step>&);
  void print_transcripts();
  int verdict();

 private:
  Status do_step(const Step&);
  Status do_server(const Step&);
  Status send(Player&, const Step&);
  Status acknowledged(const Step&, Seq, const Result<Accepted>&, bool repeat = false);
  Status receive(Player&, const Step&);
  Status see(Player&, const Step&);
  std::string ask_for(Player&, const std::string& topic);
  Status live_step(Player&, const Step&);
  void check(Player&);

  Result<ConversationId> id_of(const Step&) const;
  std::string label_of(const ConversationId&) const;
  Player& player(const std::string& name) { return players_.try_emplace(name, name).first->second; }
  Player::Deadline step_deadline() const { return std::min(end_, std::chrono::steady_clock::now() + 10s); }

  Server server_;
  Player::Deadline end_;
  std::map<std::string, Player> players_;
  std::map<std::string, ConversationId> conversations_;
  std::map<std::pair<std::string, std::string>, std::vector<Player::Received>> expected_;  // by user, conversation
  std::vector<std::string> wrong_;
};

std::vector<UserId> users_of(const std::vector<std::string>& names) {
  std::vector<UserId> users;
  for (const std::string& name : names) {
    if (auto user = UserId::make(name)) users.push_back(*user);
  }
  return users;
}

std::vector<Member> members_of(const Step& step) {
  std::vector<Member> members;
  for (const UserId& user : users_of(step.with)) members.push_back({.user = user});
  return members;
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

template <class T>
Status status_of(const Result<T>& result) {
  return result ? Status() : Status(result.error());
}

void Demo::play(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    std::printf("%s\n", step.text.c_str());
    if (Status done = do_step(step); !done) {
      wrong_.push_back("line " + std::to_string(step.line) + ": " + step.text + "\n    " +
                       std::string(name(done.error().code)) + ": " + done.error().message);
      std::printf("  !! %s\n", done.error().message.c_str());
      if (std::chrono::steady_clock::now() >= end_) {
        wrong_.push_back("out of time");
        break;
      }
    }
  }
  std::this_thread::sleep_for(300ms);  // for what should not come
  for (auto& [name, player] : players_) {
    if (player.is_here()) player.receive_what_is_there();
    check(player);
    if (player.is_here()) static_cast<void>(player.disconnect());
  }
  if (Status stopped = server_.stop(); !stopped) wrong_.push_back(stopped.error().message);
}

Status Demo::do_step(const Step& step) {
  if (step.who == "server") return step.verb == "starts" ? server_.start() : server_.kill();
  Player& who = player(step.who);
  if (step.verb == "connects") return who.connect(server_.at(), step_deadline());
  if (step.verb == "receives") return receive(who, step);
  if (!who.is_here()) return Error{ErrorCode::invalid, "is not connected"};
  if (step.verb == "disconnects") return who.disconnect();
  if (step.verb == "sees") return see(who, step);
  if (is_one_of(step.verb, {"is", "ends", "calls", "watches", "types", "reads", "mutes"})) return live_step(who, step);
  if (step.verb == "sends" || step.verb == "repeats" || step.verb == "queues") return send(who, step);
  if (step.verb == "awaits") {
    for (Seq seq = step.first; seq <= step.last; ++seq) {
      if (Status ok = acknowledged(step, seq, who.await(step_deadline())); !ok) return ok;
    }
    return {};
  }
  if (step.verb == "creates") {
    auto created =
        who.ask(CreateConversation{.settings = {.title = step.says}, .members = members_of(step)}, step_deadline());
    if (created) conversations_[step.conversation] = created->conversation;
    return acknowledged(step, step.first, created);
  }
  const auto id = id_of(step);
  if (!id) return id.error();
  if (step.verb == "adds") {
    return acknowledged(step, step.first,
                        who.ask(AddMembers{.conversation = *id, .members = members_of(step)}, step_deadline()));
  }
  if (step.verb == "edits") {
    return acknowledged(
        step, step.first,
        who.ask(EditMessage{.conversation = *id, .seq = step.target, .content = {.text = step.says}}, step_deadline()));
  }
  if (step.verb == "deletes") {
    return acknowledged(step, step.first,
                        who.ask(DeleteMessage{.conversation = *id, .seq = step.target}, step_deadline()));
  }
  return Error{ErrorCode::invalid, "no such verb"};
}

Status Demo::send(Player& who, const Step& step) {
  Target to;
  if (step.peer.empty()) {
    const auto id = id_of(step);
    if (!id) return id.error();
    to = *id;
  } else {
    to = Direct{users_of({step.peer}).at(0)};
  }
  for (Seq seq = step.first; seq <= step.last; ++seq) {
    Send message{.to = to, .content = {.text = with_seq(step.says, seq)}};
    if (!step.key.empty()) message.key = IdempotencyKey(step.key);
    if (step.verb == "queues") {
      who.queue(std::move(message));
      continue;
    }
    const auto sent = who.ask(std::move(message), step_deadline());
    if (sent) conversations_[step.conversation] = sent->conversation;
    if (Status ok = acknowledged(step, seq, sent, step.verb == "repeats"); !ok) return ok;
  }
  return {};
}

// A queued message may have been stored before the server was killed, and its acknowledgement be the retry's.
Status Demo::acknowledged(const Step& step, Seq seq, const Result<Accepted>& answer, bool repeat) {
  if (!answer) return answer.error();
  const std::string got = label_of(answer->conversation) + " #" + std::to_string(answer->seq);
  if (got != step.conversation + " #" + std::to_string(seq)) {
    return Error{ErrorCode::invalid, "was acknowledged as " + got};
  }
  if (repeat != answer->duplicate && step.verb != "awaits") {
    return Error{ErrorCode::invalid, repeat ? "was not recognised as a repeat" : "was taken for a repeat"};
  }
  return {};
}

Status Demo::receive(Player& who, const Step& step) {
  std::vector<Player::Received>& expected = expected_[{step.who, step.conversation}];
  const std::size_t before = expected.size();
  for (Seq seq = step.first; seq <= step.last; ++seq) expected.push_back({seq, with_seq(step.says, seq)});
  const auto id = id_of(step);
  if (!id) return id.error();
  if (!who.receive(*id, expected.size(), step_deadline())) {
    return Error{ErrorCode::timeout, "did not come: " + std::to_string(expected.size() - who.received(*id).size()) +
                                         " of " + std::to_string(expected.size() - before)};
  }
  for (std::size_t i = before; i < expected.size(); ++i) {
    const Player::Received& got = who.received(*id)[i];
    if (got.seq != expected[i].seq || got.words != expected[i].words) {
      return Error{ErrorCode::invalid, "received #" + std::to_string(got.seq) + " " + got.words};
    }
  }
  return {};
}

Status Demo::live_step(Player& who, const Step& step) {
  const auto deadline = step_deadline();
  if (step.verb == "is") {
    if (step.conversation == "ended") return who.wait_for_end(deadline);
    const PresenceState state = step.conversation == "online" ? PresenceState::online
                                : step.conversation == "away" ? PresenceState::away
                                                              : PresenceState::offline;
    return status_of(who.ask(SetPresence{state}, deadline));
  }
  if (step.verb == "calls") return status_of(who.ask(SetProfile{{.display_name = step.says}}, deadline));
  if (step.verb == "ends") {
    const auto page = who.ask(ListSessions{}, deadline);
    if (!page) return page.error();
    EndSessions request;
    for (const SessionInfo& each : page->sessions) {
      if (each.device.view() == step.conversation) request.sessions.push_back(each.session);
    }
    if (request.sessions.empty()) return Error{ErrorCode::invalid, "has no such device"};
    return status_of(who.ask(std::move(request), deadline));
  }
  const auto id = id_of(step);
  if (!id) return id.error();
  if (step.verb == "watches") return status_of(who.ask(WatchPresence{.conversations = {*id}}, deadline));
  if (step.verb == "types") return status_of(who.ask(SetTyping{.to = *id}, deadline));
  if (step.verb == "mutes") return status_of(who.ask(Mute{*id, TimePoint::max()}, deadline));
  const auto cursor = who.ask(MarkRead{*id, step.first}, deadline);
  if (!cursor) return cursor.error();
  if (cursor->seq == step.first) return {};
  return Error{ErrorCode::invalid, "has read up to #" + std::to_string(cursor->seq)};
}

// What is pushed, or else asked for, until it is as the script says.
Status Demo::see(Player& who, const Step& step) {
  const auto deadline = step_deadline();
  std::string topic = step.conversation, seen;
  if (is_one_of(topic, {"unread", "devices"})) {
    while ((seen = ask_for(who, topic)) != step.says && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(50ms);
    }
  } else {
    const std::size_t first = topic.find(' ');
    const auto named = conversations_.find(topic.substr(0, first));
    if (first != std::string::npos && named != conversations_.end()) {
      topic = named->second.string() + topic.substr(first);
    }
    seen = who.see(topic, step.says, deadline);
  }
  if (seen == step.says) return {};
  return Error{ErrorCode::timeout, "sees " + (seen.empty() ? "nothing" : seen)};
}

std::string Demo::ask_for(Player& who, const std::string& topic) {
  if (topic == "unread") {
    const auto total = who.ask(GetUnread{}, step_deadline());
    if (!total) return total.error().message;
    return std::to_string(total->messages) + " in " + std::to_string(total->conversations);
  }
  const auto page = who.ask(ListSessions{}, step_deadline());
  if (!page) return page.error().message;
  std::string devices;
  for (const SessionInfo& each : page->sessions) devices += (devices.empty() ? "" : " ") + each.device.string();
  return devices;
}

// Once, in order, and nothing else.
void Demo::check(Player& who) {
  for (const auto& [label, id] : conversations_) {
    const auto& expected = expected_[{who.name(), label}];
    const auto& received = who.received(id);
    for (std::size_t i = 0; i < std::max(expected.size(), received.size()); ++i) {
      const auto words = [&](const std::vector<Player::Received>& all) {
        return i < all.size() ? "#" + std::to_string(all[i].seq) + " " + all[i].words : "nothing";
      };
      if (words(expected) == words(received)) continue;
      wrong_.push_back(who.name() + " in " + label + ": expected " + words(expected) + ", received " + words(received));
    }
  }
  for (const auto& [id, received] : who.transcript()) {
    if (label_of(id) == id.string()) wrong_.push_back(who.name() + " received an event of an unknown conversation");
  }
  for (const std::string& surprise : who.surprises()) wrong_.push_back(who.name() + " received " + surprise);
}

void Demo::print_transcripts() {
  for (const auto& [name, player] : players_) {
    std::printf("\nWhat %s received:\n", name.c_str());
    for (const auto& [id, received] : player.transcript()) {
      std::printf("  [%s #%llu] %s\n", label_of(id).c_str(), static_cast<unsigned long long>(received.seq),
                  received.words.c_str());
    }
  }
}

int Demo::verdict() {
  std::size_t deliveries = 0;
  for (const auto& [_, expected] : expected_) deliveries += expected.size();
  if (wrong_.empty()) {
    std::printf("\nOK: %zu deliveries, each once and in order\n", deliveries);
    return 0;
  }
  std::printf("\nFAILED:\n");
  for (const std::string& line : wrong_) std::printf("  %s\n", line.c_str());
  return 1;
}

Result<ConversationId> Demo::id_of(const Step& step) const {
  const auto found = conversations_.find(step.conversation);
  if (found == conversations_.end()) return Error{ErrorCode::invalid, "nothing is called " + step.conversation};
  return found->second;
}

std::string Demo::label_of(const ConversationId& id) const {
  for (const auto& [label, known] : conversations_) {
    if (known == id) return label;
  }
  return id.string();
}

}  // namespace

int main(int argc, char** argv) {
  std::string server = std::string(argv[0]).substr(0, std::string(argv[0]).rfind('/') + 1) + "chat_server";
  std::string script = CHATCORE_DEMO_SCRIPT;
  unsigned seconds = 60;
  CLI::App app{"Plays a scripted conversation of several clients against a fresh server"};
  app.add_option("--server", server, "The chat_server to start")->capture_default_str();
  app.add_option("--script", script, "What is played; the default explains itself")->capture_default_str();
  app.add_option("--deadline", seconds, "Longest duration, s")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto steps = read_script(script);
  if (!steps) return std::fprintf(stderr, "demo: %s\n", steps.error().message.c_str()), 2;

  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  alarm(seconds + 15);  // the last resort: the child goes with us
  Demo demo(server, std::chrono::seconds(seconds));
  demo.play(*steps);
  demo.print_transcripts();
  return demo.verdict();
}
