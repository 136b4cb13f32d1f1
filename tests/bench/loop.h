#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using View = std::span<const std::byte>;

inline std::string_view text_of(View bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

inline std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// One connection to the server.
struct Link {
  std::size_t index{};  // how many were opened before it
  int fd = -1;
  bool connected = false, dirty = false, blocked = false, stalled = false;  // stalled: it does not read
  std::string out{};                                                        // to be sent
  std::string rest{};                                                       // of a frame that has come in part
};

// All connections of the benchmark, in one thread: at most one receive and one gathered send a connection and a turn.
class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // What is done with a frame, without its length. It may queue.
  std::function<void(Link&, View frame)> on_frame{};
  // What is done where the server ends a connection; it is closed then. Unset: a Failure.
  std::function<void(Link&)> on_end{};

  Link& connect(std::uint16_t port, const char* source = "127.0.0.1");  // begins to
  void close(Link&);
  // Leaves what comes in the socket, until it is read again. Nothing is to be queued meanwhile.
  void stop_reading(Link&);
  void read_again(Link&);
  // The frame goes out at the end of the turn. Room for it; to be filled at once.
  char* queue(Link&, std::size_t size);
  void queue(Link& link, std::string_view frame) { frame.copy(queue(link, frame.size()), frame.size()); }
  // Waits for at most that long for something to come, and does what there is to do.
  void turn(std::chrono::nanoseconds at_most);
  std::int64_t arrived() const { return arrived_; }  // when the bytes were received that are being looked at
  std::deque<Link>& links() { return links_; }

 private:
  void watch(Link&, bool add);
  void receive(Link&);
  void ended(Link&);
  void cut(Link&, View bytes);
  void flush(Link&);

  int epoll_;
  std::deque<Link> links_{};
  std::vector<Link*> dirty_{};
  std::vector<std::byte> buffer_;
  std::int64_t arrived_ = 0;
};
