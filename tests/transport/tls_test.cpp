#include <doctest/doctest.h>
#include <stdlib.h>

#include <fstream>
#include <string>
#include <vector>

#include "support/certificates.h"
#include "transport/nets.h"

using namespace fakes;
using support::Authority;
using support::Issue;
using support::Pair;

namespace {

using Strings = std::vector<std::string>;

std::shared_ptr<Certificates> certificates(const Pair& pair) {
  auto made = Certificates::make(pair.chain, pair.key);
  REQUIRE_MESSAGE(made, made.error().message);
  return *made;
}

// Shakes hands until it is done or refused.
bool shakes(TlsSocket& client, Server<Secured>& server) {
  REQUIRE(client.connect(server.port));
  bool done = false;
  REQUIRE(until([&] { return (done = client.shake()) || client.has_failed(); }, *server.transport));
  return done;
}

// Polls until the transport has nothing more to do.
void settle(Transport& transport) {
  while (transport.poll(5ms)) {
  }
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// Dials a server that shows `pair`. The error where it is refused, then also as the server saw it: no connection.
Error dial_error(const Pair& pair, TlsClientOptions trust, std::string address = "127.0.0.1") {
  TcpOptions options{.port = 0, .tls = certificates(pair)};
  Server<Secured> server(std::move(options));
  auto dialer = make_tcp_dialer({std::move(address), server.port}, 1 << 20, std::move(trust));
  Error why;
  if (dial(*dialer, why, *server.transport)) return {};
  settle(*server.transport);
  CHECK(server.acceptor.peers.empty());
  return why;
}

const Authority& authority() { return Secured::authority(); }

}  // namespace

// ---- what is spoken

TEST_CASE("tls: 1.2 and 1.3 are spoken, nothing older") {
  Server<Secured> server;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsSocket client(version, version);
    CHECK(server.accept(client));
    CHECK(SSL_version(client.ssl()) == version);
  }
  for (const int version : {TLS1_VERSION, TLS1_1_VERSION}) {
    TlsSocket client(version, version);
    CHECK_FALSE(shakes(client, server));
    CHECK(contains(client.why(), "protocol version"));
  }
  settle(*server.transport);
  CHECK(server.acceptor.peers.size() == 2);
}

TEST_CASE("tls: every cipher is an AEAD with forward secrecy") {
  Server<Secured> elliptic, rsa({.port = 0, .tls = Secured::certificates({.rsa_bits = 2048})});
  for (const char* good : {"ECDHE-%-AES128-GCM-SHA256", "ECDHE-%-AES256-GCM-SHA384", "ECDHE-%-CHACHA20-POLY1305"}) {
    for (Server<Secured>* server : {&elliptic, &rsa}) {
      std::string cipher = good;
      cipher.replace(cipher.find('%'), 1, server == &rsa ? "RSA" : "ECDSA");
      CAPTURE(cipher);
      TlsSocket client(TLS1_2_VERSION, TLS1_2_VERSION);
      REQUIRE(client.ciphers(cipher.c_str()));
      CHECK(server->accept(client));
      CHECK(client.cipher() == cipher);
    }
  }
  for (const char* bad :
       {"AES128-SHA", "AES256-SHA256", "AES128-GCM-SHA256", "AES256-CCM", "ECDHE-RSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA384", "ECDHE-ECDSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256",
        "ADH-AES128-GCM-SHA256", "AECDH-AES128-SHA", "ECDHE-ECDSA-NULL-SHA", "NULL-SHA256",
        "ECDHE-ECDSA-CAMELLIA128-SHA256", "ECDHE-ECDSA-AES128-CCM8"}) {
    CAPTURE(bad);
    for (Server<Secured>* server : {&elliptic, &rsa}) {
      TlsSocket client(TLS1_2_VERSION, TLS1_2_VERSION);
      REQUIRE(client.ciphers(bad));
      CHECK_FALSE(shakes(client, *server));
      CHECK(contains(client.why(), "handshake failure"));
    }
  }
}

// This OpenSSL has neither RC4 nor 3DES, so their numbers are written into its hello.
TEST_CASE("tls: RC4, 3DES and export ciphers are refused") {
  Server<Secured> server({.port = 0, .tls = Secured::certificates({.rsa_bits = 2048})});
  constexpr std::size_t at_suites = 5 + 4 + 2 + 32 + 1 + 2;  // record, message, version, random, no session, length
  for (const std::string& suite :
       {std::string("\x00\x05", 2), std::string("\x00\x0a", 2), std::string("\x00\x03", 2), std::string("\xc0\x11", 2),
        std::string("\xc0\x07", 2), std::string("\xc0\x12", 2), std::string("\x00\x00", 2)}) {
    TlsSocket client(TLS1_2_VERSION, TLS1_2_VERSION);
    REQUIRE(client.ciphers("ECDHE-RSA-AES128-GCM-SHA256"));
    REQUIRE(client.connect(server.port));
    SSL_do_handshake(client.ssl());
    std::string hello = client.take();
    REQUIRE(hello.substr(at_suites, 2) == "\xc0\x2f");
    hello.replace(at_suites, 2, suite);
    REQUIRE(client.raw.send(hello));
    std::string answer;
    CHECK(until([&] { return !client.raw.receive(answer); }, *server.transport));
    CHECK(answer == std::string("\x15\x03\x03\x00\x02\x02\x28", 7));  // fatal: handshake_failure
    CHECK_FALSE(client.was_reset());
  }
  CHECK(server.acceptor.peers.empty());
}

TEST_CASE("tls: the server chooses the cipher") {
  Server<Secured> server;
  TlsSocket client(TLS1_2_VERSION, TLS1_2_VERSION);
  REQUIRE(client.ciphers("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"));
  CHECK(server.accept(client));
  CHECK(client.cipher() == "ECDHE-ECDSA-AES128-GCM-SHA256");
}

TEST_CASE("tls: no session is resumed, and no ticket given") {
  Server<Secured> server;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsSocket first(version, version), second(version, version);
    const auto peer = server.accept(first);
    peer->send("x");
    std::string got;
    CHECK(until([&] { return first.receive(got) && !got.empty(); }, *server.transport));
    SSL_SESSION* session = SSL_get1_session(first.ssl());
    CHECK_FALSE(SSL_SESSION_has_ticket(session));
    SSL_set_session(second.ssl(), session);
    CHECK(server.accept(second));
    CHECK_FALSE(SSL_session_reused(second.ssl()));
    SSL_SESSION_free(session);
  }
}

// ---- the client's checks

TEST_CASE("tls: a client takes the server it means") {
  const TlsClientOptions trust{.certificate_authority = authority().pem()};
  CHECK(dial_error(authority().issue(), trust).code == ErrorCode::ok);
  CHECK(dial_error(authority().issue_by_intermediate(), trust).code == ErrorCode::ok);
  CHECK(dial_error(authority().issue({.rsa_bits = 2048}), trust).code == ErrorCode::ok);
  const Pair named = authority().issue({.names = {"chat.example.org", "*.example.net"}, .addresses = {}});
  for (const char* name : {"chat.example.org", "CHAT.example.org", "a.example.net"}) {
    CAPTURE(name);
    const auto error = dial_error(named, {.certificate_authority = authority().pem(), .server_name = name});
    CHECK_MESSAGE(error.code == ErrorCode::ok, error.message);
  }
  // A bundle of several, with words between them; and the certificate itself, which no one has signed for.
  const Authority other;
  CHECK(dial_error(authority().issue(),
                   {.certificate_authority = "# ours\n" + other.pem() + "\n# theirs\n" + authority().pem()})
            .code == ErrorCode::ok);
  const Pair pinned = other.issue();
  CHECK(dial_error(pinned, {.certificate_authority = pinned.chain}).code == ErrorCode::ok);
}

TEST_CASE("tls: a client refuses every other server, and says why") {
  const Authority other;
  const TlsClientOptions trust{.certificate_authority = authority().pem()};
  const auto refused = [](const Error& error, const char* why) {
    CHECK(error.code == ErrorCode::transport_failed);
    CHECK_MESSAGE(contains(error.message, "the server's certificate is not accepted: "), error.message);
    CHECK_MESSAGE(contains(error.message, why), error.message);
  };
  refused(dial_error(other.issue(), trust), "unable to get local issuer certificate");
  refused(dial_error(authority().issue({.valid_from = -48h, .valid_until = -1h}), trust), "expired");
  refused(dial_error(authority().issue({.valid_from = 1h}), trust), "not yet valid");
  Pair incomplete = authority().issue_by_intermediate();
  incomplete.chain.resize(incomplete.chain.find("-----BEGIN", 1));
  refused(dial_error(incomplete, trust), "unable to");

  const Pair named = authority().issue({.names = {"chat.example.org", "*.example.net"}, .addresses = {}});
  for (const char* name :
       {"example.org", "evil.example.org", "chat.example.org.evil", "a.b.example.net", "example.net"}) {
    CAPTURE(name);
    refused(dial_error(named, {.certificate_authority = authority().pem(), .server_name = name}), "ostname mismatch");
  }
  refused(dial_error(named, trust), "IP address mismatch");
  refused(dial_error(authority().issue({.addresses = {"127.0.0.2"}}), trust), "IP address mismatch");
  // The common name is a name for people.
  const Pair common = authority().issue({.names = {}, .addresses = {}, .common_name = "chat.example.org"});
  refused(dial_error(common, {.certificate_authority = authority().pem(), .server_name = "chat.example.org"}),
          "ostname mismatch");
}

TEST_CASE("tls: the name a client means is sent along, an address is not") {
  const auto hello_of = [](const std::string& name) {
    RawListener listener;
    auto dialer = make_tcp_dialer({"127.0.0.1", listener.port()}, 1 << 20, TlsClientOptions{.server_name = name});
    dialer->dial([](auto) {});
    std::string hello;
    CHECK(until([&] { return listener.receive(hello) && hello.size() > 100; }, *dialer));
    return hello;
  };
  CHECK(contains(hello_of("chat.example.org"),
                 "\x10"
                 "chat.example.org"));  // behind its length
  CHECK_FALSE(contains(hello_of("127.0.0.1"), "127.0.0.1"));
  CHECK_FALSE(contains(hello_of(""), "127.0.0.1"));
}

TEST_CASE("tls: without an authority the system's are trusted") {
  const std::string path = "/tmp/chatcore_tls_test_" + std::to_string(::getpid()) + ".pem";
  CHECK(contains(dial_error(authority().issue(), {}).message, "unable to get local issuer certificate"));
  std::ofstream(path) << authority().pem();
  ::setenv("SSL_CERT_FILE", path.c_str(), 1);  // where OpenSSL looks for the system's
  const Error error = dial_error(authority().issue(), {});
  ::unsetenv("SSL_CERT_FILE");
  ::unlink(path.c_str());
  CHECK_MESSAGE(error.code == ErrorCode::ok, error.message);
}

TEST_CASE("tls: a client's options that make no sense are said to be") {
  const auto error_of = [](TlsClientOptions trust, const char* address = "127.0.0.1") {
    auto dialer = make_tcp_dialer({address, 1}, 1 << 20, std::move(trust));
    Error why;
    CHECK_FALSE(dial(*dialer, why));
    return why;
  };
  CHECK(error_of({.certificate_authority = "trust me"}).code == ErrorCode::invalid);
  CHECK(contains(error_of({.certificate_authority = "trust me"}).message, "certificate_authority"));
  const std::string pem = authority().pem();
  CHECK(error_of({.certificate_authority = pem + pem.substr(0, 100)}).code == ErrorCode::invalid);
  CHECK(contains(error_of({.server_name = std::string(300, 'x')}).message, "server_name"));
  CHECK(contains(error_of({}, "").message, "server_name"));
}

// ---- the pair

TEST_CASE("tls: a pair that cannot be used is refused with the reason") {
  const Pair good = authority().issue(), other = authority().issue();
  const auto reason = [](const std::string& chain, const std::string& key) {
    const auto made = Certificates::make(chain, key);
    REQUIRE_FALSE(made);
    CHECK(made.error().code == ErrorCode::invalid);
    return made.error().message;
  };
  CHECK(contains(reason(good.chain, other.key), "does not belong to the first certificate"));
  CHECK(contains(reason(authority().pem() + good.chain, good.key), "does not belong to the first certificate"));
  CHECK(contains(reason("", good.key), "certificate chain: there is none"));
  CHECK(contains(reason("not PEM", good.key), "certificate chain: there is none"));
  CHECK(contains(reason(good.key, good.chain), "certificate chain: there is none"));
  CHECK(contains(reason(good.chain, ""), "no private key in PEM"));
  CHECK(contains(reason(good.chain, good.chain), "no private key in PEM"));
  CHECK(contains(reason(good.chain, support::encrypted(good.key, "secret")), "passphrase"));
  CHECK(contains(reason(good.chain.substr(0, good.chain.size() / 2), good.key), "certificate chain: certificate 1"));
  CHECK(contains(reason(good.chain + good.chain.substr(0, 200), good.key), "certificate chain: certificate 2"));
  std::string damaged = good.chain;
  damaged[damaged.size() / 2] = '!';
  CHECK(contains(reason(damaged, good.key), "certificate chain: certificate 1"));
  damaged = good.key;
  damaged.erase(damaged.size() / 2, 8);
  CHECK(contains(reason(good.chain, damaged), "the private key: "));
  const Pair weak = authority().issue({.rsa_bits = 1024});
  CHECK(contains(reason(weak.chain, weak.key), "too small"));
  CHECK(ERR_peek_error() == 0);  // the host's OpenSSL is left as it was
}

TEST_CASE("tls: a replaced certificate is for new connections, those that are open go on") {
  auto shown = Secured::certificates({.common_name = "old"});
  Server<Secured> server({.port = 0, .tls = shown});
  TlsSocket before, during, after, last;
  const auto first = server.accept(before);
  CHECK(before.common_name() == "old");
  REQUIRE(during.connect(server.port));
  settle(*server.transport);  // accepted, not yet begun

  const Pair pair = authority().issue({.common_name = "new"});
  CHECK(shown->replace(pair.chain, pair.key));
  CHECK(until([&] { return during.shake() && server.acceptor.peers.size() == 2; }, *server.transport));
  CHECK(during.common_name() == "new");
  server.accept(after);
  CHECK(after.common_name() == "new");

  CHECK(shown->replace(pair.chain, authority().issue().key).error().code == ErrorCode::invalid);
  server.accept(last);
  CHECK(last.common_name() == "new");

  CHECK(before.send(framed("still here")));
  CHECK(until([&] { return first->frames == Strings{"still here"}; }, *server.transport));
  CHECK(first->send("you too").taken == 1);
  std::string heard;
  CHECK(until([&] { return before.receive(heard) && heard == framed("you too"); }, *server.transport));
}

// ---- handshakes that do not end

TEST_CASE("tls: a handshake has a deadline that no single byte moves") {
  Server<Secured> server({.port = 0, .tls = Secured::certificates(), .handshake_time = 300ms});
  TlsSocket slow, silent;
  REQUIRE(slow.connect(server.port));
  REQUIRE(silent.connect(server.port));
  SSL_do_handshake(slow.ssl());
  const std::string hello = slow.take();
  const auto begun = std::chrono::steady_clock::now();
  std::size_t sent = 0;
  std::string ignored;
  bool slow_open = true, silent_open = true;
  CHECK(until(
      [&] {
        const auto due = static_cast<std::size_t>((std::chrono::steady_clock::now() - begun) / 5ms);
        if (sent < std::min(due, hello.size() - 1)) slow.raw.send(hello.substr(sent++, 1));
        slow_open = slow_open && slow.raw.receive(ignored);
        silent_open = silent_open && silent.raw.receive(ignored);
        return !slow_open && !silent_open;
      },
      *server.transport));
  const auto took = std::chrono::steady_clock::now() - begun;
  CHECK(took >= 290ms);
  CHECK(took < 3s);
  CHECK(sent > 20);
  CHECK(server.acceptor.peers.empty());
}

TEST_CASE("tls: the deadline is the handshake's: who is done stays") {
  Server<Secured> server({.port = 0, .tls = Secured::certificates(), .handshake_time = 100ms});
  TlsSocket client;
  const auto peer = server.accept(client);
  const auto end = std::chrono::steady_clock::now() + 250ms;
  CHECK(until([&] { return std::chrono::steady_clock::now() > end; }, *server.transport));
  CHECK(peer->closes == 0);
  CHECK(client.send(framed("x")));
  CHECK(until([&] { return peer->frames.size() == 1; }, *server.transport));
}

TEST_CASE("tls: beyond so many handshakes the oldest ends, and the newest is served") {
  Server<Secured> server({.port = 0, .tls = Secured::certificates(), .handshakes = 3});
  RawSocket silent[5];
  for (RawSocket& one : silent) {
    REQUIRE(one.connect(server.port));
    settle(*server.transport);
  }
  std::string ignored;
  for (int i = 0; i < 5; ++i) CHECK(silent[i].receive(ignored) == (i >= 2));
  TlsSocket client;
  const auto peer = server.accept(client);  // takes the place of the third, and leaves it
  CHECK_FALSE(silent[2].receive(ignored));
  RawSocket more;
  REQUIRE(more.connect(server.port));
  settle(*server.transport);
  CHECK(silent[3].receive(ignored));
  CHECK(silent[4].receive(ignored));
  CHECK(peer->closes == 0);  // does not count any more
  server.transport->stop();
  CHECK_FALSE(silent[4].receive(ignored));
  CHECK(server.acceptor.peers.size() == 1);
}

// ---- bytes that are not TLS, or not what was sent

TEST_CASE("tls: what is not TLS is closed, reaches nobody, and harms nobody") {
  Server<Secured> server;
  TlsSocket good;
  const auto peer = server.accept(good);
  std::string random(20'000, '\0');
  for (std::size_t i = 0, state = 1; i < random.size(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    random[i] = static_cast<char>(state >> 56);
  }
  TlsSocket twice;
  SSL_do_handshake(twice.ssl());
  const std::string hello = twice.take();
  std::string broken = hello;
  broken[20] = broken[50] = '\x7f';
  broken.replace(43, 3, "\xff\xff\xff");
  for (const std::string& bytes :
       {framed("a plain client"), std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), random, std::string(100, '\0'),
        std::string("\x16\x03\x01\xff\xff", 5) + random, std::string("\x80\x2e\x01\x00\x02", 5) + random, broken,
        std::string("\x15\x03\x03\x00\x02\x02\x28", 7), hello + random, hello + hello}) {
    RawSocket client(server.port);
    REQUIRE(client.send(bytes));
    std::string answer;
    CHECK(until([&] { return !client.receive(answer); }, *server.transport));
    CHECK_FALSE(client.was_reset());
  }
  {
    RawSocket client(server.port);  // says nothing and goes
    settle(*server.transport);
  }
  settle(*server.transport);
  CHECK(server.acceptor.peers.size() == 1);
  CHECK(good.send(framed("well")));
  CHECK(until([&] { return peer->frames == Strings{"well"}; }, *server.transport));
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("tls: a record that was changed on the way closes the connection") {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Server<Secured> server;
    TlsSocket client(version, version);
    const auto peer = server.accept(client);
    std::string record = client.encrypt(framed("transfer 100"));
    record[record.size() - 20] ^= 1;
    REQUIRE(client.raw.send(record));
    std::string got;
    CHECK(until([&] { return !client.receive(got); }, *server.transport));
    CHECK(contains(client.why(), "bad record mac"));  // it is told
    client.close();
    CHECK(until([&] { return peer->closes == 1; }, *server.transport));
    CHECK(peer->frames.empty());
    CHECK(peer->reason.code == ErrorCode::transport_failed);
  }
}

TEST_CASE("tls: an end that TLS did not say is a cut, wherever it comes") {
  Server<Secured> server;
  for (const std::size_t missing : {0u, 1u, 30u}) {  // of the last record
    TlsSocket client;
    const auto peer = server.accept(client);
    REQUIRE(client.send(framed("whole")));
    const std::string record = client.encrypt(framed("the last one"));
    REQUIRE(client.raw.send(record.substr(0, record.size() - missing)));
    client.close();
    REQUIRE(until([&] { return peer->closes == 1; }, *server.transport));
    CHECK(contains(peer->reason.message, "was cut"));
    CHECK(peer->frames.size() == (missing == 0 ? 2 : 1));
  }
  TlsSocket client;
  const auto peer = server.accept(client);
  REQUIRE(client.send(framed("whole")));
  client.say_end();
  REQUIRE(until([&] { return peer->closes == 1; }, *server.transport));
  CHECK(contains(peer->reason.message, "the peer closed"));
  CHECK(peer->frames == Strings{"whole"});
  std::string got;  // and answers with its own end
  CHECK(until([&] { return !client.receive(got); }, *server.transport));
  CHECK(client.heard_end());
}

TEST_CASE("tls: close says TLS's own end behind the last frame") {
  for (const std::size_t frames : {1u, 1000u}) {
    Server<Secured> server;
    TlsSocket client;
    const auto peer = server.accept(client);
    const std::vector<Frame> some(frames, frame(std::string(20'000, 'x')));
    const std::size_t taken = peer->connection->send(some).taken;
    peer->connection->close({ErrorCode::stopped, "", {}});
    std::string got;
    CHECK(until([&] { return !client.receive(got); }, *server.transport));
    CHECK(got.size() == taken * 20'004);
    CHECK(client.heard_end());
    CHECK_FALSE(client.was_reset());
  }
}

TEST_CASE("tls: who wants to renegotiate is closed, others go on") {
  Server<Secured> server;
  TlsSocket good, client(TLS1_2_VERSION, TLS1_2_VERSION);
  const auto other = server.accept(good);
  const auto peer = server.accept(client);
  REQUIRE(SSL_renegotiate(client.ssl()) == 1);
  SSL_do_handshake(client.ssl());
  REQUIRE(client.raw.send(client.take()));
  REQUIRE(until(
      [&] {
        std::string got;
        return !client.receive(got) || peer->closes == 1;
      },
      *server.transport));
  client.close();
  REQUIRE(until([&] { return peer->closes == 1; }, *server.transport));
  CHECK(contains(peer->reason.message, "renegotiation"));
  CHECK(good.send(framed("well")));
  CHECK(until([&] { return other->frames == Strings{"well"}; }, *server.transport));
}

TEST_CASE("tls: keys are changed under way as often as the client likes") {
  Server<Secured> server;
  TlsSocket client;
  const auto peer = server.accept(client);
  std::string got, expected;
  for (int i = 0; i < 50; ++i) {
    REQUIRE(SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED) == 1);
    REQUIRE(client.send(framed(std::to_string(i))));
    REQUIRE(until([&] { return peer->frames.size() == static_cast<std::size_t>(i + 1); }, *server.transport));
    peer->send(std::to_string(i));
    expected += framed(std::to_string(i));
    REQUIRE(until([&] { return client.receive(got) && got == expected; }, *server.transport));
  }
}

TEST_CASE("tls: who makes the server answer and reads nothing is cut before that costs much") {
  Server<Secured> server;
  TlsSocket good, client;
  const auto other = server.accept(good);
  client.raw.small_window();
  const auto peer = server.accept(client);
  std::size_t asked = 0;
  while (peer->closes == 0 && asked < 1'000'000) {
    std::string records;
    for (int i = 0; i < 2000; ++i, ++asked) {
      SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED);
      SSL_do_handshake(client.ssl());
      records += client.take();
    }
    client.raw.send(records);  // about 30 bytes for each, and as many back
    settle(*server.transport);
  }
  CHECK(peer->closes == 1);
  CHECK(good.send(framed("well")));
  CHECK(until([&] { return other->frames == Strings{"well"}; }, *server.transport));
}

// ---- records and frames

TEST_CASE("tls: frames of any size, cut anywhere, both ways") {
  Server<Secured> server;
  TlsSocket client;
  const auto peer = server.accept(client);
  std::string sent, got;
  for (const std::size_t size : {1u, 16'379u, 16'380u, 16'381u, 65'535u, 65'536u, 300'000u, 1u << 20}) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + size);
    REQUIRE(peer->send(text).taken == 1);
    sent += framed(text);
    REQUIRE(until([&] { return client.receive(got) && got.size() == sent.size(); }, *server.transport));
    CHECK(got == sent);

    const std::string cipher = client.encrypt(framed(text));
    std::size_t at = 0;
    REQUIRE(until(
        [&] {
          if (at < cipher.size()) client.raw.send(cipher.substr(at, 10'007));
          at += 10'007;
          return !peer->frames.empty();
        },
        *server.transport));
    CHECK(peer->frames == Strings{text});
    peer->frames.clear();
  }
}

TEST_CASE("tls: a handshake and a record that come byte by byte") {
  Server<Secured> server;
  TlsSocket client;
  REQUIRE(client.connect(server.port));
  const auto trickle = [&](const std::string& bytes) {
    for (const char byte : bytes) {
      REQUIRE(client.raw.send({&byte, 1}));
      server.transport->poll(1ms);
    }
  };
  std::string cipher;
  SSL_do_handshake(client.ssl());
  trickle(client.take());
  std::string got;
  REQUIRE(until(
      [&] {
        client.receive(got);  // feeds what came, and goes on with the handshake
        return SSL_is_init_finished(client.ssl()) == 1;
      },
      *server.transport));
  REQUIRE(until([&] { return server.acceptor.peers.size() == 1; }, *server.transport));
  trickle(client.encrypt(framed("drop by drop")));
  const auto peer = server.acceptor.peers[0];
  CHECK(until([&] { return peer->frames == Strings{"drop by drop"}; }, *server.transport));
}

TEST_CASE("tls: half a record is waited for, not asked for again and again") {
  Server<Secured> server;
  TlsSocket client;
  const auto peer = server.accept(client);
  const std::string record = client.encrypt(framed("in two parts"));
  REQUIRE(client.raw.send(record.substr(0, record.size() / 2)));
  int handled = 0;
  for (int i = 0; i < 50; ++i) handled += server.transport->poll(1ms);
  CHECK(handled < 5);
  REQUIRE(client.raw.send(record.substr(record.size() / 2)));
  CHECK(until([&] { return peer->frames.size() == 1; }, *server.transport));
}

TEST_CASE("tls: what was decrypted before a pause comes after it, though the socket has no more") {
  Server<Secured> server;
  TlsSocket client;
  const auto peer = server.accept(client);
  std::string all;
  for (int i = 0; i < 20; ++i) all += client.encrypt(framed(std::to_string(i)));  // a record each
  peer->on_receive = [&] { peer->connection->pause_reading(true); };
  REQUIRE(client.raw.send(all));
  for (std::size_t i = 1; i <= 20; ++i) {
    REQUIRE(until([&] { return peer->frames.size() >= i; }, *server.transport));
    settle(*server.transport);
    CHECK(peer->frames.size() == i);  // a record at a time
    peer->connection->pause_reading(false);
  }
}

TEST_CASE("tls: data behind the client's last word of the handshake is not lost") {
  Server<Secured> server;
  TlsSocket client;
  REQUIRE(client.connect(server.port));
  SSL_do_handshake(client.ssl());
  REQUIRE(client.raw.send(client.take()));
  std::string flight;
  BIO* in = SSL_get_rbio(client.ssl());
  REQUIRE(until(
      [&] {
        std::string more;
        client.raw.receive(more);
        BIO_write(in, more.data(), static_cast<int>(more.size()));
        return SSL_do_handshake(client.ssl()) == 1;
      },
      *server.transport));
  std::string last = client.take();
  last += client.encrypt(framed("early bird"));
  REQUIRE(client.raw.send(last));  // in one segment
  REQUIRE(until([&] { return server.acceptor.peers.size() == 1 && !server.acceptor.peers[0]->frames.empty(); },
                *server.transport));
  CHECK(server.acceptor.peers[0]->frames == Strings{"early bird"});
}

TEST_CASE("tls: a peer that is reset under a send raises no signal") {
  Server<Secured> server;
  TlsSocket client;
  const auto peer = server.accept(client);
  peer->connection->pause_reading(true);
  for (int i = 0; i < 100; ++i) peer->send(std::string(1000, 'x'));
  client.close();  // unread bytes: a reset
  CHECK(until([&] { return peer->send(std::string(20'000, 'x')).closed; }));
  CHECK(until([&] { return peer->closes == 1; }, *server.transport));
}

TEST_CASE("tls: a dial is refused by what is no TLS server") {
  RawSocket unused;
  FakeAcceptor acceptor;
  auto plain = make_tcp_transport({.port = 0});
  const auto at = plain->start(acceptor);
  REQUIRE(at);
  auto dialer = make_tcp_dialer(*at, 1 << 20, TlsClientOptions{.certificate_authority = authority().pem()});
  std::optional<Error> why;
  dialer->dial([&](auto result) { why = result.error(); });
  REQUIRE(until([&] { return !acceptor.peers.empty(); }, *plain, *dialer));
  acceptor.peers[0]->send("SSH-2.0-OpenSSH");
  REQUIRE(until([&] { return why.has_value(); }, *plain, *dialer));
  CHECK(why->code == ErrorCode::transport_failed);
  CHECK_MESSAGE(contains(why->message, "TLS: wrong version number"), why->message);

  why.reset();  // and one under way ends with the dialer
  dialer->dial([&](auto result) { why = result.error(); });
  REQUIRE(until([&] { return acceptor.peers.size() == 2; }, *plain, *dialer));
  dialer->stop();
  REQUIRE(why);
  CHECK(why->code == ErrorCode::stopped);
}
