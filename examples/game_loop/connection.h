#pragma once

#include <chatcore/chatcore.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "netcode.h"

// Frames of chatcore over the game's own channel: one frame is one message. The same class on both sides: the server
// gives it to Engine::attach, the player's Dialer to his Client.
class NetConnection final : public chatcore::Connection {
 public:
  explicit NetConnection(std::shared_ptr<netcode::Peer>);

  void attached(chatcore::Link) override;
  chatcore::SendResult send(std::span<const chatcore::Frame>) override;
  void pause_reading(bool) override;
  void close(const chatcore::Error&) override;

  // What the network did, told to the link: never from inside one of the above. False: nothing. Before it, the peer
  // has had its tick.
  bool pump(std::uint64_t frame);
  void end();  // at once: the network is gone
  bool is_over() const { return is_over_; }
  std::size_t refused() const { return refused_; }  // frames that were offered while the line took none

 private:
  const std::shared_ptr<netcode::Peer> peer_;
  std::optional<chatcore::Link> link_{};
  std::optional<std::size_t> wants_room_{};  // for a frame of that size
  bool is_paused_ = false, is_closing_ = false, is_over_ = false;
  std::uint64_t closing_since_ = 0;
  std::size_t refused_ = 0;
};

// The player's way to the server: his end of the line, once.
class NetDialer final : public chatcore::Dialer {
 public:
  NetDialer(std::shared_ptr<netcode::Peer> peer, const std::uint64_t& frame) : peer_(std::move(peer)), frame_(frame) {}

  void dial(chatcore::Done<std::shared_ptr<chatcore::Connection>>) override;
  bool poll(std::chrono::microseconds) override;
  void stop() override;

 private:
  const std::shared_ptr<netcode::Peer> peer_;
  const std::uint64_t& frame_;
  chatcore::Done<std::shared_ptr<chatcore::Connection>> dialled_{};
  std::shared_ptr<NetConnection> connection_{};
};
