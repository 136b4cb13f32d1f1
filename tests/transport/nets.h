#pragma once

#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "support/certificates.h"
#include "transport/fakes.h"
#include "transport/raw_socket.h"
#include "transport/tls_socket.h"

// What a test over TCP runs on: bare, or in TLS. TEST_CASE_TEMPLATE(..., Net, Plain, Secured) is both.

namespace fakes {

struct Plain {
  struct Socket : RawSocket {
    bool shake() { return true; }
  };
  static TcpOptions options() { return {.port = 0}; }
  static std::optional<TlsClientOptions> trust() { return std::nullopt; }
};

struct Secured {
  using Socket = TlsSocket;
  static const support::Authority& authority() {
    static const support::Authority made;
    return made;
  }
  static std::shared_ptr<Certificates> certificates(const support::Issue& issue = {}) {
    const support::Pair pair = authority().issue(issue);
    auto made = Certificates::make(pair.chain, pair.key);
    REQUIRE_MESSAGE(made, made.error().message);
    return *made;
  }
  static TcpOptions options() { return {.port = 0, .tls = certificates()}; }
  static std::optional<TlsClientOptions> trust() {
    return TlsClientOptions{.certificate_authority = authority().pem()};
  }
};

// A server on a free port, for raw clients.
template <class Net>
struct Server {
  explicit Server(std::size_t frame_bytes = 1 << 20) : Server(Net::options(), frame_bytes) {}
  explicit Server(TcpOptions options, std::size_t frame_bytes = 1 << 20)
      : acceptor(frame_bytes), transport(make_tcp_transport(std::move(options))) {
    auto started = transport->start(acceptor);
    REQUIRE(started);
    CHECK(started->address == "127.0.0.1");
    port = started->port;
  }
  std::shared_ptr<Peer> accept(typename Net::Socket& client) {
    REQUIRE(client.connect(port));
    const std::size_t before = acceptor.peers.size();
    REQUIRE(until([&] { return client.shake() && acceptor.peers.size() > before; }, *transport));
    return acceptor.peers.back();
  }

  FakeAcceptor acceptor;
  std::unique_ptr<Transport> transport;
  std::uint16_t port = 0;
};

}  // namespace fakes

TYPE_TO_STRING(fakes::Plain);
TYPE_TO_STRING(fakes::Secured);
