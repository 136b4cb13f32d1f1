#include "loop.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "failure.h"

namespace {

constexpr std::size_t one_receive = 64 << 10;

sockaddr_in address_of(const char* text, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, text, &address.sin_addr);
  return address;
}

std::size_t length_at(const std::byte* at) {
  std::uint32_t length;
  std::memcpy(&length, at, sizeof length);
  return ntohl(length);
}

}  // namespace

Loop::Loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)), buffer_(one_receive) {}

Loop::~Loop() {
  for (Link& link : links_) close(link);
  ::close(epoll_);
}

Link& Loop::connect(std::uint16_t port, const char* source) {
  Link& link = links_.emplace_back();
  link.index = links_.size() - 1;
  link.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  require(link.fd >= 0, "cannot make a socket: too many open files?");
  const int on = 1;
  setsockopt(link.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(link.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  const sockaddr_in from = address_of(source, 0), to = address_of("127.0.0.1", port);
  require(bind(link.fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) == 0, "cannot bind a source address");
  const int status = ::connect(link.fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  require(status == 0 || errno == EINPROGRESS, "cannot connect");
  link.blocked = true;
  watch(link, true);
  return link;
}

void Loop::close(Link& link) {
  if (link.fd < 0) return;
  ::close(link.fd);
  link.fd = -1;
  link.rest = {};
  link.out = {};
}

void Loop::stop_reading(Link& link) {
  epoll_ctl(epoll_, EPOLL_CTL_DEL, link.fd, nullptr);
  link.stalled = true;
}

void Loop::read_again(Link& link) {
  watch(link, true);
  link.stalled = false;
}

char* Loop::queue(Link& link, std::size_t size) {
  if (!link.dirty) {
    link.dirty = true;
    dirty_.push_back(&link);
  }
  const std::size_t at = link.out.size();
  link.out.resize(at + size);
  return link.out.data() + at;
}

void Loop::watch(Link& link, bool add) {
  epoll_event event{};
  event.events = link.blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.ptr = &link;
  epoll_ctl(epoll_, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, link.fd, &event);
}

void Loop::turn(std::chrono::nanoseconds at_most) {
  std::array<epoll_event, 512> events;
  const std::int64_t ns = dirty_.empty() ? std::max<std::int64_t>(at_most.count(), 0) : 0;
  const timespec timeout{ns / 1'000'000'000, ns % 1'000'000'000};
  const int count = epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &timeout, nullptr);
  for (int i = 0; i < count; ++i) {
    Link& link = *static_cast<Link*>(events[static_cast<std::size_t>(i)].data.ptr);
    if (events[static_cast<std::size_t>(i)].events & EPOLLOUT) {
      link.connected = true;
      link.blocked = false;
      watch(link, false);
      flush(link);
    }
    if (link.fd >= 0 && events[static_cast<std::size_t>(i)].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(link);
  }
  // A flush does not queue, so this is all there is.
  for (Link* link : dirty_) {
    link->dirty = false;
    if (link->connected && !link->blocked) flush(*link);
  }
  dirty_.clear();
}

void Loop::receive(Link& link) {
  const std::size_t kept = link.rest.size();
  if (buffer_.size() < kept + one_receive) buffer_.resize(kept + one_receive);
  const ssize_t count = recv(link.fd, buffer_.data() + kept, buffer_.size() - kept, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) return ended(link);
  arrived_ = now_ns();
  if (kept != 0) std::memcpy(buffer_.data(), link.rest.data(), kept);
  cut(link, View(buffer_).first(kept + static_cast<std::size_t>(count)));
}

void Loop::ended(Link& link) {
  require(bool(on_end), "the server closed a connection");
  close(link);
  on_end(link);
}

void Loop::cut(Link& link, View bytes) {
  while (bytes.size() >= 4) {
    const std::size_t length = length_at(bytes.data());
    if (bytes.size() - 4 < length) break;
    on_frame(link, bytes.subspan(4, length));
    if (link.fd < 0) return;  // it was closed
    bytes = bytes.subspan(4 + length);
  }
  link.rest.assign(text_of(bytes));
}

void Loop::flush(Link& link) {
  if (link.fd < 0 || link.out.empty()) return;
  const ssize_t count = send(link.fd, link.out.data(), link.out.size(), MSG_NOSIGNAL);
  require(count >= 0 || errno == EAGAIN, "the server closed a connection");
  link.out.erase(0, count > 0 ? static_cast<std::size_t>(count) : 0);
  if (!link.out.empty()) {
    link.blocked = true;
    watch(link, false);
  }
}
