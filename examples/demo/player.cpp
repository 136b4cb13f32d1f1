#include "player.h"

#include "script.h"

using namespace chatcore;
using namespace std::chrono_literals;

namespace {

std::string name_of(PresenceState state) {
  if (state == PresenceState::online) return "online";
  return state == PresenceState::away ? "away" : "offline";
}

std::string names_of(const std::vector<UserId>& users) {
  std::string names;
  for (const UserId& user : users) names += (names.empty() ? "" : " ") + user.string();
  return names.empty() ? "nobody" : names;
}

std::string marks_in_words(const Marks& marks) {
  std::string words = "read #" + std::to_string(marks.read);
  if (marks.muted_until != TimePoint()) words += " muted";
  if (marks.pinned) words += " pinned";
  if (marks.archived) words += " archived";
  if (marks.unread) words += " unread";
  return words;
}

}  // namespace

Status Player::connect(const Endpoint& server, Deadline deadline) {
  ClientOptions options;
  options.server = server;
  const std::size_t at = name_.find('@');
  options.token = [name = name_.substr(0, at)] { return name; };
  options.device = at == std::string::npos ? "home" : name_.substr(at + 1);
  options.resume = checkpoint_;
  options.backoff_first = 50ms;
  options.backoff_most = 500ms;
  auto client = Client::open(std::move(options));
  if (!client) return client.error();
  client_.emplace(std::move(*client));
  while (!client_->status().connected) {
    if (std::chrono::steady_clock::now() > deadline) return client_->status().last_error;
    std::this_thread::sleep_for(5ms);
  }
  return {};
}

Status Player::disconnect() {
  receive_what_is_there();
  checkpoint_ = client_->checkpoint();
  client_->close();
  client_.reset();
  return {};
}

Result<Accepted> Player::await(Deadline deadline) {
  if (queued_.empty()) return Error{ErrorCode::invalid, "nothing was queued"};
  const auto answer = std::move(queued_.front());
  queued_.pop_front();
  return wait(*answer, deadline);
}

bool Player::receive(const ConversationId& id, std::size_t count, Deadline deadline) {
  while (received_[id].size() < count) {
    if (!take_until(deadline)) return false;
  }
  return true;
}

std::string Player::see(const std::string& topic, const std::string& words, Deadline deadline) {
  while (live_[topic] != words && take_until(deadline)) {
  }
  return live_[topic];
}

Status Player::wait_for_end(Deadline deadline) {
  while (!closed_ && take_until(deadline)) {
  }
  if (!closed_) return Error{ErrorCode::timeout, "the session goes on", {}};
  if (closed_->code != ErrorCode::unauthenticated) return *closed_;
  client_.reset();
  return {};
}

bool Player::take_until(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  if (left <= 0ms || !client_) return false;
  if (auto push = client_->take(left)) note(*push);
  return true;
}

void Player::receive_what_is_there() {
  while (auto push = client_->take()) note(*push);
}

void Player::note(const Push& push) {
  note_live(push);
  if (push.as<OwnChanged>()) return;  // when it comes, and in how many pieces, is the server's choice
  if (const Event* event = push.event()) {
    const Received received{event->seq, event_in_words(*event)};
    received_[event->conversation].push_back(received);
    transcript_.emplace_back(event->conversation, received);
  } else if (push.as<HeadMoved>()) {
    surprises_.push_back("a notice instead of events");
  } else if (push.as<Reset>()) {
    surprises_.push_back("a reset");
  } else if (const Closed* closed = push.as<Closed>()) {
    closed_ = closed->why;
    if (closed_->code != ErrorCode::unauthenticated) surprises_.push_back("closed: " + closed->why.message);
  }
}

void Player::note_live(const Push& push) {
  if (const auto* typing = push.as<Typing>()) {
    live_[typing->conversation.string() + " typing"] = names_of(typing->users);
  } else if (const auto* presence = push.as<PresenceChanged>()) {
    for (const Presence& each : presence->users) live_[each.user.string()] = name_of(each.state);
  } else if (const auto* moved = push.as<Receipts>()) {
    for (const Receipt& each : moved->receipts) {
      live_[moved->conversation.string() + " read by " + each.user.string()] = "#" + std::to_string(each.read);
    }
  } else if (const auto* changed = push.as<ProfileChanged>()) {
    live_["name of " + changed->profile.user.string()] = changed->profile.display_name;
  } else if (const auto* own = push.as<OwnChanged>()) {
    for (const Marks& marks : own->marks) live_[marks.conversation.string() + " marks"] = marks_in_words(marks);
  } else if (push.as<MessagePosted>()) {  // whoever has sent it does not type any more
    std::string& known = live_[push.event()->conversation.string() + " typing"];
    if (known == push.event()->sender.view()) known = "nobody";
  }
}
