#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "conformance/check.h"
#include "core/link_target.h"

// What the checks of a transport are written in: a server's side, clients, and what reached whom.
namespace chatcore {
inline namespace v1 {
namespace conformance {

// One end of a connection, in place of an engine or a client: keeps what it is told.
class End final : public detail::LinkTarget {
 public:
  explicit End(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

  // Calls into the connection; what reaches the Link on the same thread meanwhile is noted.
  template <class F>
  auto inside(F&& call) {
    caller_ = std::this_thread::get_id();
    struct Out {
      std::atomic<std::thread::id>& caller;
      ~Out() { caller = std::thread::id(); }
    } out{caller_};
    return call(*connection_);
  }
  void attach(const std::shared_ptr<End>& self) {
    inside([&](Connection& c) { c.attached(Link(self)); });
  }
  SendResult send(std::span<const Frame> offered) {
    return inside([&](Connection& c) { return c.send(offered); });
  }
  SendResult send(std::string_view text) {
    const Frame one[] = {frame_of(text)};
    return send(one);
  }
  void pause(bool yes) {
    inside([&](Connection& c) { c.pause_reading(yes); });
  }
  void close(ErrorCode code) {
    inside([&](Connection& c) { c.close({code, "closed by a check", {}}); });
  }

  // A connection that does not let go of its Link would live for ever.
  void let_go() { connection_.reset(); }

  void receive(std::span<const std::byte> frame) override {
    arrives();
    if (frame.empty()) {  // as the protocol has it: the stream can't be cut, so it ends
      is_malformed = true;
      if (connection_) connection_->close({ErrorCode::malformed_frame, "a frame that can't be", {}});
      return;
    }
    if (keeps) {
      frames.emplace_back(reinterpret_cast<const char*>(frame.data()), frame.size());
    }
    ++received;
  }
  void writable() override {
    arrives();
    ++writables;
  }
  void closed(const Error& error) override {
    arrives();
    ++closes;
    why = error;
  }

  bool keeps = true;  // the frames, or only their number
  std::vector<std::string> frames{};
  std::size_t received = 0;
  unsigned writables = 0, closes = 0;
  bool is_malformed = false;
  bool is_called_inside = false;     // the Link was, in a call of ours
  bool is_called_after_end = false;  // ... or after closed()
  Error why{};

 private:
  void arrives() {
    if (caller_.load() == std::this_thread::get_id()) is_called_inside = true;
    if (closes > 0) is_called_after_end = true;
  }
  std::shared_ptr<Connection> connection_;
  std::atomic<std::thread::id> caller_{};
};

// A transport that listens, and whoever dials it.
class Net final : public Acceptor {
 public:
  static constexpr std::size_t most = 64 << 10;  // bytes a frame

  Net(TransportPair pair, std::chrono::milliseconds patience)
      : pair_(std::move(pair)), patience_(patience), transport(std::move(pair_.transport)) {
    expect(transport && pair_.dialer, "the suite was given a function that makes no transport, or no way to it");
    endpoint = must_start();
  }
  ~Net() override {
    for (auto& dialer : dialers) dialer->stop();
    if (!is_stopped) transport->stop();
    for (const auto& end : servers) end->let_go();
    for (const auto& end : clients) end->let_go();
  }

  void attach(std::shared_ptr<Connection> connection, AttachOptions) override {
    if (!connection) return;
    servers.push_back(std::make_shared<End>(std::move(connection)));
    servers.back()->attach(servers.back());
  }
  std::size_t frame_bytes() const override { return most; }

  Dialer& add_dialer() {
    auto dialer = pair_.dialer(endpoint);
    expect(dialer != nullptr, "the suite was given a function that makes no dialer");
    dialers.push_back(std::move(dialer));
    return *dialers.back();
  }

  // A connection, by a dialer of its own: both its ends.
  struct Both {
    std::shared_ptr<End> client, server;
  };
  Both connect() {
    const std::size_t before = servers.size();
    Both both;
    const auto result = dial(add_dialer());
    expect(result.has_value(), "a dial is answered");
    if (!*result) throw Failure("a dial fails: " + result->error().message);
    both.client = std::make_shared<End>(**result);
    clients.push_back(both.client);
    both.client->attach(both.client);
    expect(until([&] { return servers.size() > before; }), "a connection that was dialed reaches the acceptor");
    both.server = servers.back();
    return both;
  }
  std::optional<Result<std::shared_ptr<Connection>>> dial(Dialer& dialer) {
    const auto answer = std::make_shared<std::optional<Result<std::shared_ptr<Connection>>>>();
    dialer.dial([answer](Result<std::shared_ptr<Connection>> result) {
      if (!*answer) answer->emplace(std::move(result));
    });
    until([&] { return answer->has_value(); });
    return *answer;
  }

  // Everyone has a turn. False: nothing happened.
  bool poll() {
    bool did = !is_stopped && transport->poll(std::chrono::microseconds(0));
    for (auto& dialer : dialers) did = dialer->poll(std::chrono::microseconds(0)) || did;
    return did;
  }
  bool until(const std::function<bool()>& over) {
    for (const auto end = steady_clock::now() + patience_; !over();) {
      if (steady_clock::now() > end) return false;
      if (!poll()) std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    return true;
  }
  // Until nothing happens any more, and what may be on its way in a kernel has had its time.
  void settle(std::chrono::milliseconds quiet = std::chrono::milliseconds(30)) {
    for (auto last = steady_clock::now(); steady_clock::now() - last < quiet;) {
      if (poll()) {
        last = steady_clock::now();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    }
  }
  // Sends until not all is taken, so many frames of 16 KiB at most; how many were.
  std::size_t fill(End& end, std::size_t most_frames) {
    const Frame frame = frame_of(std::string(16 << 10, 'x'));
    for (std::size_t taken = 0; taken < most_frames; ++taken) {
      const SendResult result = end.send({&frame, 1});
      expect(!result.closed, "a connection closes while it is sent to");
      if (result.taken == 0) return taken;
    }
    return most_frames;
  }
  void stop() {
    transport->stop();
    is_stopped = true;
  }

 private:
  Endpoint must_start() {
    Result<Endpoint> started = transport->start(*this);
    if (!started) throw Failure("start() fails: " + started.error().message);
    return *started;
  }

  TransportPair pair_;
  const std::chrono::milliseconds patience_;

 public:
  std::unique_ptr<Transport> transport;
  Endpoint endpoint{};
  std::vector<std::unique_ptr<Dialer>> dialers{};
  std::vector<std::shared_ptr<End>> servers{}, clients{};
  bool is_stopped = false;
};

}  // namespace conformance
}  // namespace v1
}  // namespace chatcore
