#include "transport/tcp/connection.h"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <utility>

namespace chatcore {
inline namespace v1 {
namespace tcp {
namespace {

constexpr std::size_t frames_a_write = 32;            // two buffers each: all that Asio gathers in a call
constexpr std::size_t copied_bytes = 8 << 10;         // up to so many a copy costs less than a gathered write
constexpr std::size_t read_bytes_a_turn = 256 << 10;  // then others have theirs
constexpr std::chrono::seconds closing_time{1};

// Copies what lies in the stream of a frame, from byte `at` of it on, as far as there is room.
std::size_t copy_from(const Bytes& frame, std::size_t at, std::span<std::byte> to) {
  std::size_t copied = 0;
  if (at < header_bytes) {
    const Header header = header_of(frame.size());
    copied = std::min(to.size(), header_bytes - at);
    std::copy_n(header.begin() + static_cast<std::ptrdiff_t>(at), copied, to.begin());
    at += copied;
    if (at < header_bytes) return copied;
  }
  const auto rest = std::span(frame).subspan(at - header_bytes);
  const std::size_t count = std::min(rest.size(), to.size() - copied);
  std::copy_n(rest.begin(), count, to.begin() + static_cast<std::ptrdiff_t>(copied));
  return copied + count;
}

}  // namespace

std::string to_string(const tcp::endpoint& endpoint) {
  const bool is_v6 = endpoint.address().is_v6();
  std::string text = endpoint.address().to_string();
  if (is_v6) text.insert(0, 1, '[').append(1, ']');
  return text.append(1, ':').append(std::to_string(endpoint.port()));
}

void close_all(Loop& loop) {
  const auto connections = loop.connections();
  for (const auto& connection : connections) connection->finish({ErrorCode::stopped, "the transport is stopped", {}});
}

std::shared_ptr<TcpConnection> TcpConnection::make(Loop& loop, tcp::socket socket, std::size_t frame_bytes) {
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.set_option(tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  const tcp::endpoint peer = socket.remote_endpoint(ignored);
  auto connection = std::make_shared<TcpConnection>(loop, std::move(socket), peer, frame_bytes);
  loop.connections().insert(connection);
  return connection;
}

TcpConnection::TcpConnection(Loop& loop, tcp::socket socket, tcp::endpoint peer, std::size_t frame_bytes)
    : loop_(loop), peer_(std::move(peer)), cutter_(frame_bytes), socket_(std::move(socket)) {}

void TcpConnection::post(Step step) {
  loop_.post([self = shared_from_this(), step] { self->run(step); });
}

// A step that fails would leave a connection that neither reads nor closes.
void TcpConnection::run(Step step) {
  try {
    (this->*step)();
  } catch (...) {
    finish({ErrorCode::transport_failed, "out of memory", {}});
  }
}

void TcpConnection::attached(Link link) {
  {
    std::lock_guard lock(mutex_);
    if (socket_) {
      link_ = std::move(link);
      return post(&TcpConnection::arm_read);
    }
  }
  link.closed(reason());  // the transport stopped meanwhile
}

// ---- the handshake

void TcpConnection::secure(Side side, std::chrono::steady_clock::duration time, MakeTls begin, Done<void> done) {
  handshake_ = std::make_unique<Handshake>(std::move(begin), std::move(done));
  deadline_ = std::make_unique<asio::steady_timer>(loop_.context(), time);
  deadline_->async_wait([self = shared_from_this()](const error_code& error) {
    if (error || !self->handshake_ || self->is_closing_) return;
    self->finish({ErrorCode::timeout, "the TLS handshake took too long", {}});
  });
  if (side == Side::client) {
    run(&TcpConnection::shake_hands);
  } else {
    arm_read();
  }
}

void TcpConnection::shake_hands() {
  error_code error;
  std::string why;
  {
    std::lock_guard lock(mutex_);
    if (!socket_) return;
    if (!tls_) tls_ = handshake_->begin(*socket_);
    error = tls_->handshake();
    if (error && !would_block(error)) why = tls_->explain(error);
    if (owes_bytes()) wait_to_write();
  }
  if (!why.empty()) return give_up({ErrorCode::transport_failed, std::move(why), {}});
  if (error) return arm_read();
  deadline_.reset();
  const auto handshake = std::move(handshake_);
  handshake->done({});
}

// The other side is told, if it still listens.
void TcpConnection::give_up(Error why) {
  {
    std::lock_guard lock(mutex_);
    if (!socket_ || is_closing_.exchange(true)) return;
    why_ = std::move(why);
  }
  begin_close();
}

// ---- reading

void TcpConnection::arm_read() {
  if (!socket_ || is_reading_ || heard_end_ || (is_paused_ && !is_closing_)) return;
  is_reading_ = true;
  bool has_pending = false;
  {
    std::lock_guard lock(mutex_);
    has_pending = tls_ && !is_closing_ && !handshake_ && tls_->has_pending();
  }
  if (has_pending) {  // which no wait would tell of
    return loop_.post([self = shared_from_this()] {
      self->is_reading_ = false;
      self->run(&TcpConnection::readable);
    });
  }
  socket_->async_wait(tcp::socket::wait_read, [self = shared_from_this()](const error_code&) {
    self->is_reading_ = false;
    self->run(&TcpConnection::readable);
  });
}

void TcpConnection::readable() {
  if (handshake_ && !is_closing_) return shake_hands();
  for (std::size_t count = 0; count < read_bytes_a_turn;) {
    if (!socket_ || (is_paused_ && !is_closing_)) return;
    error_code error;
    const std::size_t more = read(error);
    if (would_block(error)) break;
    if (error) return read_failed(error);
    // While it closes, what still comes is read and dropped: unread, it would make the kernel reset the connection,
    // and what was sent last be lost.
    if (!is_closing_ && !deliver(more)) return;
    count += more;
    if (more < Loop::buffer_bytes && !tls_) break;
  }
  arm_read();
}

// While it closes, the bytes are for nobody, and are left as they come.
std::size_t TcpConnection::read(error_code& error) {
  if (!tls_ || is_closing_) return socket_->read_some(asio::buffer(loop_.buffer()), error);
  std::lock_guard lock(mutex_);
  const std::size_t count = tls_->read(loop_.buffer(), error);
  if (owes_bytes()) wait_to_write();  // an alert
  return count;
}

void TcpConnection::read_failed(const error_code& error) {
  const bool is_end = error == asio::error::eof;
  if (is_closing_) {
    heard_end_ = is_end;
    if (heard_end_ && !said_end_) return;  // it may still be reading what we send
    return finish(reason());
  }
  if (is_end) return finish({ErrorCode::transport_failed, "the peer closed the connection", {}});
  if (!tls_) return finish(failure("the connection is lost", error));
  give_up({ErrorCode::transport_failed, "the connection is lost: " + tls_->explain(error), {}});
}

bool TcpConnection::deliver(std::size_t count) {
  if (is_lost_) return false;
  const auto bytes = std::span<const std::byte>(loop_.buffer()).first(count);
  Link link = link_;  // what it is told may end in finish(), which lets go of the other
  const bool good = cutter_.feed(bytes, [&](std::span<const std::byte> frame) {
    link.receive(frame);
    return !is_closing_;
  });
  if (good) return socket_.has_value();
  // The stream is lost. An empty frame tells whoever speaks the protocol, so that he can say why before he closes.
  is_lost_ = true;
  {
    std::lock_guard lock(mutex_);
    why_ = {ErrorCode::malformed_frame, "a frame of " + std::to_string(cutter_.bad_length()) + " bytes", {}};
  }
  start_deadline(closing_time);
  link.receive({});
  return false;
}

// ---- writing

SendResult TcpConnection::send(std::span<const Frame> frames) {
  std::lock_guard lock(mutex_);
  if (!socket_ || is_closing_) return {.taken = 0, .closed = true};
  std::size_t taken = 0;
  error_code error;
  while (!owes_bytes() && taken < frames.size() && !error) {
    const auto some = frames.subspan(taken, std::min(frames.size() - taken, frames_a_write));
    error = tls_ ? write_secured(some, taken) : write(some, taken);
  }
  if (error && !would_block(error)) {
    is_closing_ = true;
    why_ = failure("the connection is lost", error);
    post(&TcpConnection::broken);
    return {.taken = 0, .closed = true};
  }
  if (taken < frames.size()) owes_writable_ = true;
  if (owes_bytes() || owes_writable_) wait_to_write();
  return {.taken = taken};
}

// With the mutex.
void TcpConnection::wait_to_write() {
  if (!std::exchange(waits_, true)) post(&TcpConnection::arm_write);
}

// With the mutex. As many bytes as the socket takes.
std::size_t TcpConnection::write_some(std::span<const Frame> frames, error_code& error) {
  std::size_t size = 0;
  for (const Frame& frame : frames) size += header_bytes + frame->size();
  if (size <= copied_bytes) {
    std::array<std::byte, copied_bytes> bytes;
    std::size_t at = 0;
    for (const Frame& frame : frames) at += copy_from(*frame, 0, std::span(bytes).subspan(at));
    return socket_->write_some(asio::buffer(bytes.data(), size), error);
  }
  std::array<Header, frames_a_write> headers;
  std::array<asio::const_buffer, 2 * frames_a_write> buffers;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    headers[i] = header_of(frames[i]->size());
    buffers[2 * i] = asio::buffer(headers[i]);
    buffers[2 * i + 1] = asio::buffer(*frames[i]);
  }
  return socket_->write_some(std::span(buffers).first(2 * frames.size()), error);
}

// With the mutex. Adds to `taken` the frames of which anything was written; the last of them may stay in rest_.
error_code TcpConnection::write(std::span<const Frame> frames, std::size_t& taken) {
  error_code error;
  std::size_t written = write_some(frames, error);
  for (const Frame& frame : frames) {
    if (written == 0) break;
    ++taken;
    const std::size_t whole = header_bytes + frame->size();
    if (written < whole) {
      rest_ = frame;
      written_ = written;
      break;
    }
    written -= whole;
  }
  return error;
}

// With the mutex. As write(): one record of as many frames as fit, and the rest of the last of them.
error_code TcpConnection::write_secured(std::span<const Frame> frames, std::size_t& taken) {
  std::array<std::byte, TlsStream::record_bytes> record;
  std::size_t size = 0;
  for (const Frame& frame : frames) {
    if (size == record.size()) break;
    ++taken;
    const std::size_t copied = copy_from(*frame, 0, std::span(record).subspan(size));
    size += copied;
    if (copied < header_bytes + frame->size()) {
      rest_ = frame;
      written_ = copied;
    }
  }
  const error_code error = tls_->write(std::span(record).first(size));
  return error ? error : write_secured_rest();
}

// With the mutex.
error_code TcpConnection::write_secured_rest() {
  std::array<std::byte, TlsStream::record_bytes> record;
  error_code error = tls_->flush();
  while (rest_ && !error && !tls_->has_unsent()) {
    const std::size_t size = copy_from(*rest_, written_, record);
    error = tls_->write(std::span(record).first(size));
    written_ += size;
    if (written_ == header_bytes + rest_->size()) rest_.reset();
  }
  if (!error && tls_->has_unsent()) error = asio::error::would_block;
  return error;
}

// With the mutex.
error_code TcpConnection::write_rest() {
  if (tls_) return write_secured_rest();
  error_code error;
  while (rest_ && !error) {
    const Header header = header_of(rest_->size());
    const std::size_t of_header = std::min(written_, header_bytes), of_frame = written_ - of_header;
    const std::array<asio::const_buffer, 2> buffers{asio::buffer(header) + of_header, asio::buffer(*rest_) + of_frame};
    written_ += socket_->write_some(buffers, error);
    if (written_ == header_bytes + rest_->size()) rest_.reset();
  }
  return error;
}

void TcpConnection::arm_write() {
  if (!socket_) return;
  socket_->async_wait(tcp::socket::wait_write,
                      [self = shared_from_this()](const error_code&) { self->run(&TcpConnection::writable); });
}

void TcpConnection::writable() {
  error_code error;
  bool is_closing = false, tell = false;
  {
    std::lock_guard lock(mutex_);
    if (!socket_) return;
    error = write_rest();
    is_closing = is_closing_;
    waits_ = owes_bytes();
    if (!waits_) tell = std::exchange(owes_writable_, false);
  }
  if (error && !would_block(error)) {
    finish(is_closing ? reason() : failure("the connection is lost", error));
  } else if (error) {
    arm_write();
  } else if (is_closing) {
    sent_all();
  } else if (tell) {
    Link link = link_;
    link.writable();
  }
}

// ---- from outside

void TcpConnection::pause_reading(bool pause) {
  std::lock_guard lock(mutex_);
  const bool was_paused = is_paused_.exchange(pause);
  if (was_paused && !pause && socket_) post(&TcpConnection::arm_read);
}

void TcpConnection::close(const Error& why) {
  std::lock_guard lock(mutex_);
  if (!socket_ || is_closing_.exchange(true)) return;
  why_ = why;
  post(&TcpConnection::begin_close);
}

// ---- the end

void TcpConnection::start_deadline(std::chrono::steady_clock::duration time) {
  deadline_ = std::make_unique<asio::steady_timer>(loop_.context(), time);
  deadline_->async_wait([self = shared_from_this()](const error_code& error) {
    if (!error) self->finish(self->reason());
  });
}

void TcpConnection::begin_close() {
  if (!socket_) return;
  start_deadline(closing_time);
  {
    std::lock_guard lock(mutex_);
    if (owes_bytes()) return wait_to_write();  // writable() goes on with it
  }
  sent_all();
}

// Says that nothing more comes, and closes once the peer has said so too.
void TcpConnection::sent_all() {
  if (!socket_ || said_end_) return;
  if (tls_) {
    std::lock_guard lock(mutex_);
    tls_->say_end();
    if (owes_bytes()) return wait_to_write();  // and again from writable()
  }
  said_end_ = true;
  error_code error;
  socket_->shutdown(tcp::socket::shutdown_send, error);
  if (error || heard_end_) return finish(reason());
  arm_read();
}

void TcpConnection::broken() { finish(reason()); }

Error TcpConnection::reason() {
  std::lock_guard lock(mutex_);
  return why_;
}

void TcpConnection::finish(const Error& why) {
  const auto self = shared_from_this();
  Link link;
  {
    std::lock_guard lock(mutex_);
    if (!socket_) return;
    error_code ignored;
    if (tls_) tls_->say_end();
    tls_.reset();
    socket_->shutdown(tcp::socket::shutdown_both, ignored);
    socket_->close(ignored);
    socket_.reset();
    is_closing_ = true;
    why_ = why;
    rest_.reset();
    link = std::exchange(link_, {});
  }
  deadline_.reset();
  loop_.connections().erase(self);
  if (const auto handshake = std::move(handshake_)) handshake->done(why);
  link.closed(why);
}

}  // namespace tcp
}  // namespace v1
}  // namespace chatcore
