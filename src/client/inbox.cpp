#include "client/inbox.h"

#include <algorithm>

namespace chatcore {
inline namespace v1 {
namespace client {
namespace {
constexpr std::size_t seen_bytes = sizeof(ConversationId) + sizeof(Seq) + 4 * sizeof(void*);  // a node of a map
}

Inbox::Inbox(std::size_t limit, Place start) : limit_(limit), server_(std::move(start.server)) {
  for (auto it = start.seen.rbegin(); it != start.seen.rend(); ++it) took(it->first, it->second);
}

bool Inbox::push(Push push, std::size_t bytes) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return false;
    closed_ = push.as<Closed>() != nullptr;
    items_.push_back({std::move(push), bytes});
    bytes_ += bytes;
    full_ = full_ || bytes_ > limit_;
    if (items_.size() > 1) return false;
  }
  arrived_.notify_all();
  return true;
}

void Inbox::seen(const ConversationId& conversation, Seq seq) {
  std::lock_guard lock(mutex_);
  if (items_.empty()) return took(conversation, seq);
  Item& last = items_.back();
  const auto [it, added] = last.seen_after.try_emplace(conversation, seq);
  it->second = std::max(it->second, seq);
  if (!added) return;
  last.bytes += seen_bytes;
  bytes_ += seen_bytes;
  full_ = full_ || bytes_ > limit_;
}

void Inbox::passed(const Checkpoint& checkpoint) {
  std::lock_guard lock(mutex_);
  (items_.empty() ? server_ : items_.back().passed_after.emplace()) = checkpoint;
}

bool Inbox::full() const {
  std::lock_guard lock(mutex_);
  return full_;
}

Inbox::Taken Inbox::take(std::chrono::milliseconds wait) {
  std::unique_lock lock(mutex_);
  const auto something = [&] { return closed_ || !items_.empty(); };
  if (wait.count() > 0) {
    arrived_.wait_for(lock, std::min<std::chrono::milliseconds>(wait, std::chrono::hours(24)), something);
  }
  if (items_.empty()) return {};

  Item item = std::move(items_.front());
  items_.pop_front();
  bytes_ -= item.bytes;
  took(item.push);
  for (const auto& [conversation, seq] : item.seen_after) took(conversation, seq);
  if (item.passed_after) server_ = std::move(*item.passed_after);
  const bool drained = full_ && bytes_ <= limit_ / 2;
  if (drained) full_ = false;
  return {std::move(item.push), drained};
}

Checkpoint Inbox::checkpoint() const {
  Place place;
  {
    std::lock_guard lock(mutex_);
    if (server_.empty()) return {};  // there is no place yet to come back to
    place.server = server_;
    place.seen.assign(recent_.begin(), recent_.end());
  }
  return encode_place(place);
}

void Inbox::took(const Push& push) {
  if (const Event* event = push.event()) {
    took(event->conversation, event->seq);
  } else if (push.as<Reset>()) {  // seqs of another life of the store
    recent_.clear();
    places_.clear();
  }
}

void Inbox::took(const ConversationId& conversation, Seq seq) {
  if (const auto known = places_.find(conversation); known != places_.end()) {
    known->second->second = std::max(known->second->second, seq);
    recent_.splice(recent_.begin(), recent_, known->second);
    return;
  }
  recent_.emplace_front(conversation, seq);
  places_.emplace(conversation, recent_.begin());
  if (recent_.size() > Place::most_conversations) {
    places_.erase(recent_.back().first);
    recent_.pop_back();
  }
}

}  // namespace client
}  // namespace v1
}  // namespace chatcore
