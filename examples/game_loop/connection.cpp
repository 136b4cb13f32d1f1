#include "connection.h"

#include <utility>

namespace cc = chatcore;

namespace {
constexpr std::uint64_t longest_close = 90;  // frames: what was taken is sent, but a dead line does not keep us
}

NetConnection::NetConnection(std::shared_ptr<netcode::Peer> peer) : peer_(std::move(peer)) {}

void NetConnection::attached(cc::Link link) { link_ = std::move(link); }

// Takes what the channel takes now, and keeps nothing beyond it: so that what has not left is still the engine's.
cc::SendResult NetConnection::send(std::span<const cc::Frame> frames) {
  if (is_over_ || is_closing_) return {.closed = true};
  cc::SendResult sent;
  for (; sent.taken < frames.size() && peer_->has_room(frames[sent.taken]->size()); ++sent.taken) {
    peer_->send(*frames[sent.taken]);
  }
  if (sent.taken < frames.size()) wants_room_ = frames[sent.taken]->size();
  refused_ += frames.size() - sent.taken;
  return sent;
}

void NetConnection::pause_reading(bool pause) { is_paused_ = pause; }

void NetConnection::close(const cc::Error&) {
  if (!std::exchange(is_closing_, true)) peer_->finish();
}

bool NetConnection::pump(std::uint64_t frame) {
  if (!link_ || is_over_) return false;
  if (wants_room_ && peer_->has_room(*wants_room_)) {
    wants_room_.reset();
    link_->writable();
    return true;
  }
  if (!is_paused_ && !is_closing_) {
    if (const auto message = peer_->receive()) {
      link_->receive(*message);
      return true;
    }
  }
  if (is_closing_ && closing_since_ == 0) closing_since_ = frame;
  const bool is_closed = is_closing_ && (peer_->is_silent() || frame > closing_since_ + longest_close);
  if (!is_closed && !peer_->peer_has_finished()) return false;
  end();
  return true;
}

void NetConnection::end() {
  if (!std::exchange(is_over_, true) && link_) link_->closed();
}

// ---- the dialer

// Completed in poll(), never in here. The line can't be dialled a second time: whoever asks hears so.
void NetDialer::dial(cc::Done<std::shared_ptr<cc::Connection>> done) { dialled_ = std::move(done); }

bool NetDialer::poll(std::chrono::microseconds) {
  if (dialled_) {
    auto done = std::exchange(dialled_, {});
    if (connection_) {
      done(cc::Error{cc::ErrorCode::transport_failed, "the line is gone", {}});
    } else {
      connection_ = std::make_shared<NetConnection>(peer_);
      done(std::shared_ptr<cc::Connection>(connection_));
    }
    return true;
  }
  return connection_ && connection_->pump(frame_);
}

void NetDialer::stop() {
  if (auto done = std::exchange(dialled_, {})) done(cc::Error{cc::ErrorCode::stopped, "the dialer is stopped", {}});
  if (!connection_) return;
  connection_->close({});
  connection_->end();
}
