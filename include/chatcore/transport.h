#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <chatcore/auth.h>
#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/ids.h>
#include <chatcore/result.h>

namespace chatcore {
inline namespace v1 {

namespace detail {
class LinkTarget;
class ServerTls;
}  // namespace detail

using Frame = std::shared_ptr<const Bytes>;  // one encoded frame, without the transport's own framing
enum class Encoding : std::uint8_t { protobuf = 1 };

struct Endpoint {
  std::string address{};
  std::uint16_t port{};
};

struct SendResult {
  std::size_t taken{};  // how many of the frames; the rest is offered again after writable()
  bool closed = false;  // the connection is gone; nothing was taken
};

// The engine's (or the client's) end of a connection: the connection tells it what the network did. A handle that
// may be copied and outlive everything; it does not keep its connection alive. Any thread, one call at a time a
// connection; never blocks; a call may call back into the connection (pause_reading).
class CHATCORE_API Link {
 public:
  Link();
  explicit Link(std::shared_ptr<detail::LinkTarget>);
  Link(const Link&);
  Link& operator=(const Link&);
  Link(Link&&) noexcept;
  Link& operator=(Link&&) noexcept;
  ~Link();

  // One whole frame, copied where it is kept. An empty one says that the stream can't be cut any further: it is
  // answered with malformed_frame and close().
  void receive(std::span<const std::byte> frame);
  void writable();                     // after a send that took less than all: there is room again
  void closed(const Error& why = {});  // once, last: the network closed it, or close() is done

 private:
  std::shared_ptr<detail::LinkTarget> target_;
};

// One connection, of our transports or of the host's own network. Everything but the destructor is called by one
// engine thread at a time, maybe not the thread that polls its transport; nothing may block, and nothing may call the
// Link on the same thread before it returns: do that from the transport's poll.
class CHATCORE_API Connection {
 public:
  virtual ~Connection();
  // First. From now on the connection calls the link, and the engine holds the connection until closed().
  virtual void attached(Link) = 0;
  // Takes frames in order, each whole: a frame that was taken is sent, or the connection closes. Less than all
  // were taken: the connection calls writable() once there is room.
  virtual SendResult send(std::span<const Frame>) = 0;
  // While true the connection reads no further, so that the peer is slowed down; frames already cut may still come.
  virtual void pause_reading(bool) = 0;
  // Sends what was taken, then closes within a second or two, and calls Link::closed(). More than one call is fine.
  virtual void close(const Error& why) = 0;
  // The peer, for the log and the Authenticator.
  virtual std::string peer_address() const { return {}; }
};

struct AttachOptions {
  std::optional<Identity> identity{};  // already checked by the host: no token is asked for at login
  Encoding encoding = Encoding::protobuf;
};

// Takes connections: the engine. Any thread.
class CHATCORE_API Acceptor {
 public:
  virtual ~Acceptor();
  virtual void attach(std::shared_ptr<Connection>, AttachOptions) = 0;
  // The largest frame a connection may cut; a longer one is malformed_frame.
  virtual std::size_t frame_bytes() const = 0;
};

// Accepts connections and cuts frames. Given to Engine::listen, which owns it from then on.
//
// Threads: start and stop are called once, by any thread. poll() is called by one engine thread at a time, always
// the same; wake() by any thread. The Acceptor outlives the transport. transport_conformance in testing.h checks an
// implementation.
class CHATCORE_API Transport {
 public:
  virtual ~Transport();
  // Begins to accept. Gives the address it listens on. Errors: in_use, transport_failed.
  virtual Result<Endpoint> start(Acceptor&) = 0;
  // Handles one thing that happened, waiting up to so long for it (0: does not wait). False: nothing happened.
  // A transport with threads of its own leaves it as it is.
  virtual bool poll(std::chrono::microseconds) { return false; }
  // Ends a poll() that waits, or the next one.
  virtual void wake() {}
  // Stops accepting and closes what is left; connections' closed() come before it returns.
  virtual void stop() = 0;
};

// Makes connections: a client's way out. Threads as Transport; poll() is called by the client's thread.
class CHATCORE_API Dialer {
 public:
  virtual ~Dialer();
  // Connects; completes inside poll() (never inside this call) with a connection not yet attached, or with
  // transport_failed. One at a time.
  virtual void dial(Done<std::shared_ptr<Connection>>) = 0;
  virtual bool poll(std::chrono::microseconds) = 0;
  virtual void wake() {}
  virtual void stop() = 0;
};

// What a server shows to prove who it is: a certificate chain and its private key, shared by the host with any number
// of transports, and replaced while they run (before the certificate expires). Any thread; blocks for the parsing only.
class CHATCORE_API Certificates {
 public:
  // Both in PEM (RFC 7468): the server's certificate first, then the intermediate ones up to the root, which may be
  // left out; the key in PKCS#8, or as OpenSSL writes it, without a passphrase. Whether the certificate is valid now
  // and for the right name is the clients' to judge. Errors: `invalid`, and its message says which of the two is wrong
  // and why.
  static Result<std::shared_ptr<Certificates>> make(std::string certificate_chain, std::string private_key);

  // Handshakes from now on use the new pair; what is connected goes on as it is. An error, as in make(), changes
  // nothing.
  Status replace(std::string certificate_chain, std::string private_key);

  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;
  ~Certificates();

 private:
  friend class detail::ServerTls;
  explicit Certificates(std::shared_ptr<detail::ServerTls>);
  const std::shared_ptr<detail::ServerTls> tls_;
};

struct TcpOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 7400;  // 0: any free one, which listen() gives
  int backlog = 1024;
  // Set: TLS 1.2 (RFC 5246) and 1.3 (RFC 8446), and nothing else on this port. The ciphers are AEADs with ephemeral
  // keys; no compression, renegotiation, tickets or early data. Unset: plain text.
  std::shared_ptr<Certificates> tls{};
  // A TLS handshake that takes longer than this, from the accept on, is cut. The engine gets to know a connection only
  // once the handshake is done; the time for the login begins then.
  std::chrono::milliseconds handshake_time{10'000};
  // So many handshakes may be under way, at up to 40 KiB each; a further one ends the oldest. At least 1.
  std::size_t handshakes = 1024;
};

// TCP: each frame behind its length, 4 bytes, big-endian; with `tls` that stream lies in TLS.
CHATCORE_API std::unique_ptr<Transport> make_tcp_transport(TcpOptions = {});

// How a client checks the server, always: the chain up to an authority, the dates, and the name (RFC 6125: a subject
// alternative name, never the common name). Each failure is transport_failed with the reason.
struct TlsClientOptions {
  std::string certificate_authority{};  // whom to trust, certificates in PEM; empty: the system's store
  std::string server_name{};            // a DNS name or an IP address; empty: the address that is dialled
};

// Frames longer than `frame_bytes` from the server close the connection. `tls` set: the server has to speak TLS 1.2 or
// 1.3; a dial is done after the handshake, within 10 s in all.
CHATCORE_API std::unique_ptr<Dialer> make_tcp_dialer(Endpoint server, std::size_t frame_bytes = 16 << 20,
                                                     std::optional<TlsClientOptions> tls = {});

}  // namespace v1
}  // namespace chatcore
