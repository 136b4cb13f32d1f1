#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/codec.h"
#include "support/chat.h"

// A peer without a client library: frames as they are, over a Connection of the test's own.

namespace chat {

// Protobuf by hand, for what our own codec would never write.
inline std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
  return out;
}
inline std::string number(unsigned field, std::uint64_t value) { return varint(field << 3) + varint(value); }
inline std::string text(unsigned field, std::string_view value) {
  return varint(field << 3 | 2) + varint(value.size()) + std::string(value);
}
inline Bytes to_bytes(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(data, data + text.size());
}
inline Bytes frame(std::uint64_t call, std::uint64_t request, std::string_view body) {
  return to_bytes(number(1, call) + number(2, request) + text(3, body));
}

// One frame of the server's.
struct Heard {
  std::uint64_t call = 0;  // 0: a push
  std::optional<Error> error{};
  Bytes body{};
  std::optional<Push> push{};
  std::optional<Checkpoint> checkpoint{};
};

class Wire {
 public:
  explicit Wire(Engine& engine, AttachOptions options = {}) : connection_(std::make_shared<Line>()) {
    engine.attach(connection_, std::move(options));
  }
  ~Wire() { hang_up(); }

  // ---- what the peer does
  void says(const Bytes& frame) {
    REQUIRE(connection_->link);
    connection_->link->receive(frame);
  }
  void hang_up() {
    if (connection_->link && !std::exchange(connection_->told, true)) connection_->link->closed();
  }
  void takes(std::size_t frames) {  // so many more, then none
    connection_->room = frames;
    if (frames > 0 && connection_->link) connection_->link->writable();
  }

  // ---- what came
  std::vector<Heard> hears() {
    connection_->tell_closed();
    std::vector<Heard> all;
    for (const Bytes& bytes : std::exchange(connection_->came, {})) {
      const auto decoded = protocol::decode_server_frame(bytes);
      REQUIRE(decoded);
      Heard heard;
      if (const auto* answer = std::get_if<protocol::Answer>(&*decoded)) {
        heard.call = answer->call;
        heard.error = answer->error;
        heard.body.assign(answer->body.begin(), answer->body.end());
      } else if (const auto* push = std::get_if<Push>(&*decoded)) {
        heard.push = *push;
      } else if (const auto* checkpoint = std::get_if<Checkpoint>(&*decoded)) {
        heard.checkpoint = *checkpoint;
      }
      all.push_back(std::move(heard));
    }
    return all;
  }
  const std::vector<Error>& closed() const {  // by the engine, and why
    connection_->tell_closed();
    return connection_->closed;
  }
  bool paused() const { return connection_->paused; }
  std::size_t waiting() const { return connection_->came.size(); }
  Link link() const { return *connection_->link; }
  bool is_attached() const { return connection_->link.has_value(); }
  void throws(bool yes) { connection_->throws = yes; }

  // ---- in one go
  // The answer to one call, and nothing else.
  Heard calls(Server& server, std::uint64_t request, std::string_view body) {
    server.settle();
    says(frame(++call_, request, body));
    server.settle();
    for (Heard& heard : hears()) {
      if (heard.call == call_) return heard;
    }
    FAIL("no answer");
    return {};
  }
  ErrorCode code(Server& server, std::uint64_t request, std::string_view body) {
    const Heard heard = calls(server, request, body);
    return heard.error ? heard.error->code : ErrorCode::ok;
  }
  template <class R>
  Result<typename R::Reply> asks(Server& server, const R& request) {
    const Bytes body = protocol::encode(request);
    const Heard heard =
        calls(server, static_cast<std::uint64_t>(R::id), {reinterpret_cast<const char*>(body.data()), body.size()});
    if (heard.error) return *heard.error;
    return protocol::decode<typename R::Reply>(heard.body);
  }
  ErrorCode logs_in(Server& server, std::string_view name, std::uint64_t version = 1) {
    return code(server, 64, number(1, version) + text(2, name));
  }
  // The Closed that was sent, once it was.
  static std::optional<Error> farewell(const std::vector<Heard>& heard) {
    for (const Heard& h : heard) {
      if (!h.push) continue;
      if (const auto* closed = h.push->as<Closed>()) return closed->why;
    }
    return {};
  }

 private:
  struct Line final : Connection {
    void attached(Link l) override { link = std::move(l); }
    SendResult send(std::span<const Frame> frames) override {
      if (throws) throw std::runtime_error("the host's connection");
      if (told) return {.closed = true};
      SendResult sent;
      for (; sent.taken < frames.size() && sent.taken < room; ++sent.taken) came.push_back(*frames[sent.taken]);
      if (room != SIZE_MAX) room -= sent.taken;
      return sent;
    }
    void pause_reading(bool yes) override { paused = yes; }
    void close(const Error& why) override { closed.push_back(why); }
    void tell_closed() {  // not inside close(): as from a transport's poll
      if (!closed.empty() && link && !std::exchange(told, true)) link->closed();
    }
    std::string peer_address() const override { return "by hand"; }

    std::optional<Link> link{};
    std::vector<Bytes> came{};
    std::vector<Error> closed{};
    std::size_t room = SIZE_MAX;
    bool paused = false, told = false, throws = false;
  };
  std::shared_ptr<Line> connection_;
  std::uint64_t call_ = 0;
};

}  // namespace chat
