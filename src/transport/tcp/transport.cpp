#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include <chatcore/transport.h>

#include "transport/tcp/connection.h"
#include "transport/tcp/loop.h"
#include "transport/tcp/tls_context.h"

namespace chatcore {
inline namespace v1 {
namespace tcp {
namespace {

constexpr std::chrono::milliseconds accept_again{100};

bool is_out_of_descriptors(const error_code& error) {
  return error == asio::error::no_descriptors || error == boost::system::errc::too_many_files_open_in_system ||
         error == asio::error::no_buffer_space || error == asio::error::no_memory;
}

class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(TcpOptions options) : options_(std::move(options)) {
    try {
      loop_ = std::make_unique<Loop>();
    } catch (...) {  // no descriptors left: start() says so
    }
  }
  ~TcpTransport() override { stop(); }

  Result<Endpoint> start(Acceptor& acceptor) override;
  bool poll(std::chrono::microseconds wait) override { return loop_ && loop_->poll(wait); }
  void wake() override {
    if (loop_) loop_->wake();
  }
  void stop() override;

 private:
  error_code listen(const tcp::endpoint&);
  void accept();
  void accepted(const error_code&, tcp::socket);
  void secure(std::shared_ptr<TcpConnection>);

  const TcpOptions options_;
  Acceptor* acceptor_ = nullptr;
  std::unique_ptr<Loop> loop_;
  // On the loop, so destroyed before it. Without listening_ it is not accepting.
  std::list<std::shared_ptr<TcpConnection>> handshakes_{};  // under way, the oldest first
  std::optional<tcp::acceptor> listening_;
  std::optional<asio::steady_timer> pause_;
};

Result<Endpoint> TcpTransport::start(Acceptor& acceptor) {
  const std::string where = options_.address + ":" + std::to_string(options_.port);
  if (!loop_) return Error{ErrorCode::transport_failed, "cannot listen on " + where + ": no descriptors left", {}};
  error_code error;
  const auto address = asio::ip::make_address(options_.address, error);
  if (error) return Error{ErrorCode::transport_failed, "cannot listen on " + where + ": not an IP address", {}};
  error = listen({address, options_.port});
  tcp::endpoint bound;
  if (!error) bound = listening_->local_endpoint(error);
  if (error) {
    listening_.reset();
    if (error == asio::error::address_in_use) {
      return Error{ErrorCode::in_use, where + " is in use: another program listens there", {}};
    }
    return failure("cannot listen on " + where, error);
  }
  acceptor_ = &acceptor;
  loop_->post([this] { accept(); });
  return Endpoint{bound.address().to_string(), bound.port()};
}

error_code TcpTransport::listen(const tcp::endpoint& endpoint) {
  error_code error;
  listening_.emplace(loop_->context());
  listening_->open(endpoint.protocol(), error);
  if (!error) listening_->set_option(asio::socket_base::reuse_address(true), error);
  if (!error) listening_->bind(endpoint, error);
  if (!error) listening_->listen(options_.backlog, error);
  return error;
}

void TcpTransport::accept() {
  if (!listening_) return;
  listening_->async_accept([this](const error_code& error, tcp::socket socket) { accepted(error, std::move(socket)); });
}

void TcpTransport::accepted(const error_code& error, tcp::socket socket) {
  if (!listening_) return;
  if (is_out_of_descriptors(error)) {  // the peer stays in the backlog; asking at once would only spin
    pause_.emplace(loop_->context(), accept_again);
    return pause_->async_wait([this](const error_code&) { accept(); });
  }
  accept();  // first: whatever becomes of this one, the next is accepted
  if (error) return;
  auto connection = TcpConnection::make(*loop_, std::move(socket), acceptor_->frame_bytes());
  if (options_.tls) return secure(std::move(connection));
  acceptor_->attach(std::move(connection), {});
}

// At the bound the oldest has to go, not the newest: who is slow on purpose would otherwise keep everyone out.
void TcpTransport::secure(std::shared_ptr<TcpConnection> connection) {
  if (!handshakes_.empty() && handshakes_.size() >= options_.handshakes) {
    const auto oldest = handshakes_.front();
    oldest->finish({ErrorCode::overloaded, "too many TLS handshakes are under way", {}});
  }
  const auto place = handshakes_.insert(handshakes_.end(), connection);
  connection->secure(
      TcpConnection::Side::server, options_.handshake_time,
      [certificates = options_.tls](tcp::socket& under) {
        return std::make_unique<TlsStream>(detail::ServerTls::of(*certificates).accept(), under);
      },
      [this, place](const Status& secured) {
        const auto done = std::move(*place);
        handshakes_.erase(place);
        if (secured) acceptor_->attach(done, {});
      });
}

void TcpTransport::stop() {
  if (!loop_) return;
  loop_->stop([this] {
    listening_.reset();
    pause_.reset();
    close_all(*loop_);
  });
}

}  // namespace
}  // namespace tcp

std::unique_ptr<Transport> make_tcp_transport(TcpOptions options) {
  return std::make_unique<tcp::TcpTransport>(std::move(options));
}

}  // namespace v1
}  // namespace chatcore
