#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <chatcore/transport.h>

#include "transport/tcp/connection.h"
#include "transport/tcp/loop.h"
#include "transport/tcp/tls_context.h"

namespace chatcore {
inline namespace v1 {
namespace tcp {
namespace {

constexpr std::chrono::seconds dial_time{10};

class TcpDialer final : public Dialer {
 public:
  using Connected = Done<std::shared_ptr<Connection>>;

  TcpDialer(Endpoint server, std::size_t frame_bytes, std::optional<TlsClientOptions> tls)
      : server_(std::move(server)), frame_bytes_(frame_bytes), tls_options_(std::move(tls)) {
    try {
      loop_ = std::make_unique<Loop>();
    } catch (...) {  // no descriptors left: the first dial says so
    }
  }
  ~TcpDialer() override { stop(); }

  void dial(Connected done) override;
  bool poll(std::chrono::microseconds wait) override;
  void wake() override {
    if (loop_) loop_->wake();
  }
  void stop() override;

 private:
  void begin(Connected done);
  void connect(const std::vector<tcp::endpoint>&);
  void secure(std::shared_ptr<TcpConnection>);
  void answer(Result<std::shared_ptr<Connection>>);
  Error cannot(const std::string& why) const;

  const Endpoint server_;
  const std::size_t frame_bytes_;
  const std::optional<TlsClientOptions> tls_options_;
  std::optional<ClientTls> tls_{};  // made by the first dial
  Connected done_{};                // of the dial under way
  bool is_stopped_ = false;
  std::unique_ptr<Loop> loop_;
  // On the loop, so destroyed before it.
  std::optional<tcp::resolver> resolver_;
  std::shared_ptr<tcp::socket> socket_;      // of the dial under way; its handlers hold it too
  std::shared_ptr<TcpConnection> securing_;  // of the dial under way, once it is connected
  std::optional<asio::steady_timer> deadline_;
};

void TcpDialer::dial(Connected done) {
  if (!loop_) {
    done_ = std::move(done);
    return;
  }
  loop_->post([this, done = std::move(done)]() mutable { begin(std::move(done)); });
}

bool TcpDialer::poll(std::chrono::microseconds wait) {
  if (loop_) return loop_->poll(wait);
  if (!done_) return false;
  answer(cannot("no descriptors left"));
  return true;
}

Error TcpDialer::cannot(const std::string& why) const {
  return {ErrorCode::transport_failed,
          "cannot connect to " + server_.address + ":" + std::to_string(server_.port) + ": " + why,
          {}};
}

void TcpDialer::begin(Connected done) {
  if (is_stopped_) return done(Error{ErrorCode::stopped, "the dialer is stopped", {}});
  if (done_) return done(Error{ErrorCode::overloaded, "another dial is under way", {}});
  done_ = std::move(done);
  if (tls_options_ && !tls_) {
    auto made = ClientTls::make(*tls_options_, server_.address);
    if (!made) return answer(made.error());
    tls_ = std::move(*made);
  }
  socket_ = std::make_shared<tcp::socket>(loop_->context());
  // A handler of an earlier dial may still lie in the queue; it knows itself by its socket.
  deadline_.emplace(loop_->context(), dial_time);
  deadline_->async_wait([this, socket = socket_](const error_code& error) {
    if (!error && socket == socket_) answer(cannot("no answer within 10 s"));
  });
  error_code error;
  const auto address = asio::ip::make_address(server_.address, error);
  if (!error) return connect({tcp::endpoint(address, server_.port)});
  resolver_.emplace(loop_->context());  // a name: looked up on a thread of Asio's
  resolver_->async_resolve(
      server_.address, std::to_string(server_.port),
      [this, socket = socket_](const error_code& failed, const tcp::resolver::results_type& found) {
        if (socket != socket_) return;
        if (failed) return answer(cannot(failed.message()));
        connect({found.begin(), found.end()});
      });
}

void TcpDialer::connect(const std::vector<tcp::endpoint>& endpoints) {
  asio::async_connect(*socket_, endpoints, [this, socket = socket_](const error_code& error, const tcp::endpoint&) {
    if (socket != socket_) return;
    if (error) return answer(cannot(error.message()));
    auto connection = TcpConnection::make(*loop_, std::move(*socket), frame_bytes_);
    if (tls_) return secure(std::move(connection));
    answer(std::shared_ptr<Connection>(std::move(connection)));
  });
}

void TcpDialer::secure(std::shared_ptr<TcpConnection> connection) {
  securing_ = connection;
  const auto rest = deadline_->expiry() - std::chrono::steady_clock::now();
  deadline_.reset();
  connection->secure(
      TcpConnection::Side::client, rest,
      [this](tcp::socket& under) { return std::make_unique<TlsStream>(tls_->connect(), under); },
      [this, raw = connection.get()](const Status& secured) {
        if (securing_.get() != raw) return;  // answered meanwhile
        if (!secured) return answer(cannot(secured.error().message));
        answer(std::shared_ptr<Connection>(std::move(securing_)));
      });
}

void TcpDialer::answer(Result<std::shared_ptr<Connection>> result) {
  Connected done = std::exchange(done_, {});
  error_code ignored;
  if (socket_) socket_->close(ignored);  // ends a connect that is under way
  socket_.reset();
  securing_.reset();
  deadline_.reset();
  resolver_.reset();
  done(std::move(result));
}

void TcpDialer::stop() {
  if (!loop_) return;
  loop_->stop([this] {
    is_stopped_ = true;
    if (done_) answer(Error{ErrorCode::stopped, "the dialer is stopped", {}});
    close_all(*loop_);
  });
}

}  // namespace
}  // namespace tcp

std::unique_ptr<Dialer> make_tcp_dialer(Endpoint server, std::size_t frame_bytes, std::optional<TlsClientOptions> tls) {
  return std::make_unique<tcp::TcpDialer>(std::move(server), frame_bytes, std::move(tls));
}

}  // namespace v1
}  // namespace chatcore
