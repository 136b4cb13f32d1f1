#include "transport/loopback/network.h"

#include <utility>
#include <vector>

namespace chatcore {
inline namespace v1 {
namespace loopback {
namespace {

constexpr std::size_t most_queued = 256;  // frames, in each direction

Error lost(std::string why) { return {ErrorCode::transport_failed, std::move(why), {}}; }
Error stopped() { return {ErrorCode::stopped, "the transport is stopped", {}}; }

}  // namespace

// ---- an end

void End::attached(Link link) {
  {
    std::lock_guard lock(network_->mutex);
    if (network_->ends.contains(number_)) {
      link_ = std::move(link);
      is_attached_ = true;
      return Network::queue(*this);
    }
  }
  link.closed(stopped());  // meanwhile
}

SendResult End::send(std::span<const Frame> frames) {
  std::lock_guard lock(network_->mutex);
  const auto peer = peer_.lock();
  if (is_over_ || closed_ || !peer) return {.taken = 0, .closed = true};
  std::size_t taken = 0;
  for (; taken < frames.size() && peer->inbox_.size() < most_queued; ++taken) peer->inbox_.push_back(frames[taken]);
  wants_room_ = wants_room_ || taken < frames.size();
  Network::queue(*peer);
  return {.taken = taken};
}

void End::pause_reading(bool pause) {
  std::lock_guard lock(network_->mutex);
  is_paused_ = pause;
  Network::queue(*this);
}

void End::close(const Error& why) {
  std::lock_guard lock(network_->mutex);
  if (is_over_) return;
  network_->end_with(*this, why);
  network_->peer_is_over(*this, lost("the peer closed the connection"));
}

// ---- with the mutex

bool Network::has_work(const End& end) {
  if (end.is_new_) return true;
  if (!end.is_attached_) return false;
  if (end.has_room_ || (!end.inbox_.empty() && !end.is_paused_)) return true;
  return end.closed_ && end.inbox_.empty();
}

void Network::queue(End& end) {
  if (end.is_queued_ || !has_work(end)) return;
  end.is_queued_ = true;
  end.side_->ready.push_back(end.shared_from_this());
  end.side_->changed.notify_one();
}

void Network::end_with(End& end, Error why) {
  end.is_over_ = true;
  end.has_room_ = false;
  end.inbox_.clear();
  end.closed_ = std::move(why);
  queue(end);
}

void Network::peer_is_over(End& end, Error why) {
  const auto peer = end.peer_.lock();
  if (!peer || peer->closed_) return;
  peer->closed_ = std::move(why);
  queue(*peer);
}

void Network::cut_all() {
  frames_to_cut.reset();
  for (const auto& [number, end] : ends) {
    if (!end->is_over_) end_with(*end, lost("the connection was cut"));
  }
}

// ---- what happens in poll()

bool Network::poll(Side& side, std::chrono::microseconds wait) {
  {
    std::unique_lock lock(mutex);
    if (wait.count() > 0) side.changed.wait_for(lock, wait, [&] { return !side.ready.empty() || side.is_woken; });
    side.is_woken = false;
  }
  std::lock_guard turn(side.turn);
  std::unique_lock lock(mutex);
  while (!side.ready.empty()) {
    const std::shared_ptr<End> end = std::move(side.ready.front());
    side.ready.pop_front();
    end->is_queued_ = false;
    if (!has_work(*end)) continue;  // paused since
    give(*end, lock);
    return true;
  }
  return false;
}

// Leaves the mutex open.
void Network::give(End& end, std::unique_lock<std::mutex>& lock) {
  Link link = end.link_;
  if (end.is_new_) {
    end.is_new_ = false;
    Acceptor* const to = acceptor;
    lock.unlock();
    to->attach(end.shared_from_this(), {});
  } else if (end.has_room_) {
    end.has_room_ = false;
    queue(end);
    lock.unlock();
    link.writable();
  } else if (!end.inbox_.empty()) {
    const Frame frame = std::move(end.inbox_.front());
    end.inbox_.pop_front();
    if (end.is_server_ && (frame->empty() || frame->size() > frame_bytes)) {
      end_with(end, {ErrorCode::malformed_frame, "a frame of " + std::to_string(frame->size()) + " bytes", {}});
      peer_is_over(end, lost("the peer closed the connection"));
      return;
    }
    const auto peer = end.peer_.lock();
    if (peer && peer->wants_room_ && !peer->is_over_ && end.inbox_.size() <= most_queued / 2) {
      peer->wants_room_ = false;
      peer->has_room_ = true;
      queue(*peer);
    }
    queue(end);
    const bool cuts = end.is_server_ && frames_to_cut && --*frames_to_cut == 0;
    lock.unlock();
    link.receive(*frame);
    if (cuts) cut();
  } else {
    const Error why = *end.closed_;
    end.is_over_ = true;
    end.link_ = {};
    ends.erase(end.number_);
    lock.unlock();
    link.closed(why);
  }
}

void Network::wake(Side& side) {
  std::lock_guard lock(mutex);
  side.is_woken = true;
  side.changed.notify_one();
}

Result<std::shared_ptr<Connection>> Network::connect(const std::shared_ptr<Network>& self,
                                                     const std::shared_ptr<Side>& client_side) {
  std::lock_guard lock(self->mutex);
  if (self->refuses || !self->listener) return lost("cannot connect: nobody listens");
  const auto client = std::make_shared<End>(self, client_side, false);
  const auto server = std::make_shared<End>(self, self->listener, true);
  client->peer_ = server;
  server->peer_ = client;
  for (const auto& end : {client, server}) {
    end->number_ = ++self->last_number;
    self->ends.emplace(end->number_, end);
  }
  server->is_new_ = true;
  queue(*server);
  return std::shared_ptr<Connection>(client);
}

void Network::close_side(const std::shared_ptr<Side>& side) {
  std::lock_guard turn(side->turn);
  std::vector<std::shared_ptr<End>> closing;
  std::vector<Link> links;
  const Error why = stopped();
  {
    std::lock_guard lock(mutex);
    if (listener == side) listener.reset();
    for (const auto& [number, end] : ends) {
      if (end->side_ == side) closing.push_back(end);
    }
    for (const auto& end : closing) {
      end_with(*end, why);
      peer_is_over(*end, lost("the peer closed the connection"));
      ends.erase(end->number_);
      links.push_back(std::exchange(end->link_, {}));
    }
    side->ready.clear();
  }
  for (Link& link : links) link.closed(why);
}

void Network::cut() {
  std::lock_guard lock(mutex);
  cut_all();
}

}  // namespace loopback
}  // namespace v1
}  // namespace chatcore
