#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include <chatcore/transport.h>

#include "transport/tcp/frames.h"
#include "transport/tcp/loop.h"

namespace chatcore {
inline namespace v1 {
namespace tcp {

using asio::ip::tcp;

std::string to_string(const tcp::endpoint&);  // ip:port

// Closes every connection of a loop that stops; what they have not sent yet is lost.
void close_all(Loop&);

// One TCP connection.
//
// Threads: the loop's thread reads, waits and closes, and is the only one that calls the link. Writing is tried at
// once on whichever thread calls send(), with mutex_ held: that keeps close from taking the socket away meanwhile.
// Nothing calls out with mutex_ held. The other calls from outside leave a note in the flags and post.
//
// Idle, it has one wait with the reactor and no buffer.
class TcpConnection final : public Connection, public std::enable_shared_from_this<TcpConnection> {
 public:
  // On the loop's thread.
  static std::shared_ptr<TcpConnection> make(Loop&, tcp::socket, std::size_t frame_bytes);
  TcpConnection(Loop&, tcp::socket, tcp::endpoint peer, std::size_t frame_bytes);

  void attached(Link) override;
  SendResult send(std::span<const Frame>) override;
  void pause_reading(bool) override;
  void close(const Error& why) override;
  std::string peer_address() const override { return to_string(peer_); }

  // The end, on the loop's thread: the socket is closed and the link told.
  void finish(const Error& why);

 private:
  using Step = void (TcpConnection::*)();
  void post(Step);
  void run(Step);
  void arm_read();
  void readable();
  bool deliver(std::size_t count);
  void arm_write();
  void writable();
  error_code write(std::span<const Frame> frames, std::size_t& taken);
  error_code write_rest();
  void begin_close();
  void start_deadline();
  void sent_all();
  void broken();
  Error reason();

  Loop& loop_;  // alive while socket_ is
  const tcp::endpoint peer_;

  // the loop's thread only
  FrameCutter cutter_;
  bool is_lost_ = false;                            // a length came that cannot be
  bool is_reading_ = false;                         // a wait is under way
  bool heard_end_ = false;                          // the peer sends no more
  bool said_end_ = false;                           // neither do we
  std::unique_ptr<asio::steady_timer> deadline_{};  // of closing

  std::atomic<bool> is_paused_{false};
  std::atomic<bool> is_closing_{false};

  std::mutex mutex_;                     // guards what follows
  std::optional<tcp::socket> socket_{};  // changed on the loop's thread only; gone: closed
  Link link_{};
  Error why_{};              // why it closes
  Frame rest_{};             // a frame that is partly written ...
  std::size_t written_ = 0;  // ... so many bytes of it, its header included
  bool waits_ = false;       // for the socket to take more; always while there is a rest
  bool owes_writable_ = false;
};

}  // namespace tcp
}  // namespace v1
}  // namespace chatcore
