#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>

// A peer that is no library of ours: bytes in, bytes out.

namespace fakes {

class RawSocket {
 public:
  RawSocket() : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  explicit RawSocket(std::uint16_t port) : RawSocket() { connect(port); }
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;
  ~RawSocket() { close(); }

  // Before connect(): the other side can send little ahead.
  void small_window() {
    const int bytes = 4096;
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  bool connect(std::uint16_t port) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  bool send(std::string_view bytes) {
    return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  // Appends what is there now. False: the other side has closed.
  bool receive(std::string& to) {
    char buffer[64 << 10];
    const ssize_t count = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count > 0) to.append(buffer, static_cast<std::size_t>(count));
    was_reset_ = was_reset_ || (count < 0 && errno == ECONNRESET);
    return count > 0 || (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
  }
  bool was_reset() const { return was_reset_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
  bool was_reset_ = false;
};

// The first who connects is heard.
class RawListener {
 public:
  RawListener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    auto* address = reinterpret_cast<sockaddr*>(&at);
    if (::bind(fd_, address, size) == 0 && ::listen(fd_, 1) == 0 && ::getsockname(fd_, address, &size) == 0) {
      port_ = ntohs(at.sin_port);
    }
  }
  RawListener(const RawListener&) = delete;
  RawListener& operator=(const RawListener&) = delete;
  ~RawListener() {
    for (int fd : {fd_, peer_}) {
      if (fd >= 0) ::close(fd);
    }
  }
  std::uint16_t port() const { return port_; }
  // Appends what is there now. False: nobody has connected, or he has closed.
  bool receive(std::string& to) {
    if (peer_ < 0) peer_ = ::accept(fd_, nullptr, nullptr);
    char buffer[4096];
    const ssize_t count = ::recv(peer_, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count > 0) to.append(buffer, static_cast<std::size_t>(count));
    return peer_ >= 0 && count != 0;
  }

 private:
  int fd_, peer_ = -1;
  std::uint16_t port_ = 0;
};

// A frame as it lies in the stream.
inline std::string framed(std::string_view text) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(text.size() >> shift);
  return out.append(text);
}

}  // namespace fakes
