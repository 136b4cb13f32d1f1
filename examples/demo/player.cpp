#include "player.h"

#include <thread>

#include "script.h"

using namespace chatcore;
using namespace std::chrono_literals;

Status Player::connect(const Endpoint& server, Deadline deadline) {
  ClientOptions options;
  options.server = server;
  options.token = [name = name_] { return name; };
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
  AnswerPtr answer = std::move(queued_.front());
  queued_.pop_front();
  return wait(answer, deadline);
}

Result<Accepted> Player::wait(const AnswerPtr& answer, Deadline deadline) {
  while (std::chrono::steady_clock::now() < deadline) {
    {
      std::lock_guard lock(answer->mutex);
      if (answer->result) return std::move(*answer->result);
    }
    std::this_thread::sleep_for(1ms);
  }
  return Error{ErrorCode::timeout, "no acknowledgement"};
}

bool Player::receive(const ConversationId& id, std::size_t count, Deadline deadline) {
  while (received_[id].size() < count) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left <= 0ms || !client_) return false;
    if (auto push = client_->take(left)) note(*push);
  }
  return true;
}

void Player::receive_what_is_there() {
  while (auto push = client_->take()) note(*push);
}

void Player::note(const Push& push) {
  if (const Event* event = push.event()) {
    const Received received{event->seq, event_in_words(*event)};
    received_[event->conversation].push_back(received);
    transcript_.emplace_back(event->conversation, received);
  } else if (push.as<HeadMoved>()) {
    surprises_.push_back("a notice instead of events");
  } else if (push.as<Reset>()) {
    surprises_.push_back("a reset");
  } else if (const Closed* closed = push.as<Closed>()) {
    surprises_.push_back("closed: " + closed->why.message);
  }
}
