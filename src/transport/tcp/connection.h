#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include <chatcore/transport.h>

#include "transport/tcp/frames.h"
#include "transport/tcp/loop.h"
#include "transport/tcp/tls_stream.h"

namespace chatcore {
inline namespace v1 {
namespace tcp {

using asio::ip::tcp;

std::string to_string(const tcp::endpoint&);  // ip:port

// Closes every connection of a loop that stops; what they have not sent yet is lost.
void close_all(Loop&);

// One TCP connection, plain or secured with TLS.
//
// Threads: the loop's thread reads, waits and closes, and is the only one that calls the link. Writing is tried at
// once on whichever thread calls send(), with mutex_ held: that keeps close from taking the socket away meanwhile.
// Nothing calls out with mutex_ held. The other calls from outside leave a note in the flags and post.
//
// Idle, it has one wait with the reactor and no buffer. The TLS of a connection is used with mutex_ held, for reading
// too: it is made when the peer's first byte is there, so that a silent peer costs none.
class TcpConnection final : public Connection, public std::enable_shared_from_this<TcpConnection> {
 public:
  // On the loop's thread.
  static std::shared_ptr<TcpConnection> make(Loop&, tcp::socket, std::size_t frame_bytes);
  TcpConnection(Loop&, tcp::socket, tcp::endpoint peer, std::size_t frame_bytes);

  // Before attached(): `begin` makes the TLS, once there is something for it to do; `done` is called on the loop's
  // thread, once: when the connection is secured, or when it is closed. As long as `time` it may take.
  using MakeTls = Function<std::unique_ptr<TlsStream>(tcp::socket&)>;
  enum class Side { server, client };
  void secure(Side, std::chrono::steady_clock::duration time, MakeTls begin, Done<void> done);

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
  void shake_hands();
  void arm_read();
  void readable();
  std::size_t read(error_code&);
  void read_failed(const error_code&);
  bool deliver(std::size_t count);
  void arm_write();
  void writable();
  std::size_t write_some(std::span<const Frame> frames, error_code&);
  error_code write(std::span<const Frame> frames, std::size_t& taken);
  error_code write_secured(std::span<const Frame> frames, std::size_t& taken);
  error_code write_rest();
  error_code write_secured_rest();
  bool owes_bytes() const { return rest_ || (tls_ && tls_->has_unsent()); }
  void wait_to_write();
  void give_up(Error why);
  void begin_close();
  void start_deadline(std::chrono::steady_clock::duration);
  void sent_all();
  void broken();
  Error reason();

  Loop& loop_;  // alive while socket_ is
  const tcp::endpoint peer_;

  // the loop's thread only
  FrameCutter cutter_;
  struct Handshake {
    MakeTls begin;
    Done<void> done;
  };
  std::unique_ptr<Handshake> handshake_{};          // under way, or failed and closing
  bool is_lost_ = false;                            // a length came that cannot be
  bool is_reading_ = false;                         // a wait is under way
  bool heard_end_ = false;                          // the peer sends no more
  bool said_end_ = false;                           // neither do we
  std::unique_ptr<asio::steady_timer> deadline_{};  // of the handshake, or of closing

  std::atomic<bool> is_paused_{false};
  std::atomic<bool> is_closing_{false};

  std::mutex mutex_;                     // guards what follows
  std::optional<tcp::socket> socket_{};  // changed on the loop's thread only; gone: closed
  std::unique_ptr<TlsStream> tls_{};     // on the socket; none: plain
  Link link_{};
  Error why_{};              // why it closes
  Frame rest_{};             // a frame that is partly written ...
  std::size_t written_ = 0;  // ... so many bytes of it, its header included
  bool waits_ = false;       // for the socket to take more; always while it owes bytes
  bool owes_writable_ = false;
};

}  // namespace tcp
}  // namespace v1
}  // namespace chatcore
