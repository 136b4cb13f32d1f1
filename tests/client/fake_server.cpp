#include "client/fake_server.h"

namespace chatcore::client_tests {

struct FakeServer::Network {
  mutable std::mutex mutex;
  std::condition_variable changed;
  bool up = true, woken = false, stopped = false, paused = false;
  std::size_t dials = 0, room = SIZE_MAX;
  bool wanted_room = false;
  Done<std::shared_ptr<Connection>> dialing{};
  std::uint64_t connection = 0;  // its number, or 0
  std::uint64_t connections = 0;
  std::atomic<std::size_t> alive{0};
  std::map<std::uint64_t, Link> links{};
  std::deque<Bytes> to_client{};
  std::deque<Asked> asked{};
  std::vector<protocol::Login> logins{};
  std::size_t pings = 0;
  std::vector<std::pair<std::uint64_t, Error>> gone{};  // to be told the link
  std::vector<Error> closed{};
  FakeServer* server = nullptr;

  void heard(const Bytes& frame);
};

void FakeServer::Network::heard(const Bytes& frame) {
  const auto decoded = protocol::decode_client_frame(frame);
  REQUIRE(decoded);
  Asked next{decoded->call, static_cast<RequestId>(decoded->request), {decoded->body.begin(), decoded->body.end()}};
  if (next.id == RequestId::login) {
    logins.push_back(*protocol::decode<protocol::Login>(next.body));
    if (!server->answers_logins) return;
    to_client.push_back(server->refusal ? protocol::encode_answer(next.call, *server->refusal)
                                        : protocol::encode_answer(next.call, protocol::encode(server->welcome)));
  } else if (next.id == RequestId::ping) {
    ++pings;
    if (server->answers_pings)
      to_client.push_back(protocol::encode_answer(next.call, protocol::encode(protocol::Pong{})));
  } else {
    asked.push_back(std::move(next));
  }
}

struct FakeServer::FakeConnection : Connection {
  FakeConnection(std::shared_ptr<Network> network, std::uint64_t number)
      : network_(std::move(network)), number_(number) {
    ++network_->alive;
  }
  ~FakeConnection() override { --network_->alive; }
  void attached(Link link) override {
    std::lock_guard lock(network_->mutex);
    network_->links[number_] = std::move(link);
  }
  SendResult send(std::span<const Frame> frames) override {
    std::lock_guard lock(network_->mutex);
    if (network_->connection != number_) return {.closed = true};
    SendResult result;
    for (const Frame& frame : frames) {
      if (network_->room == 0) break;
      if (network_->room != SIZE_MAX) --network_->room;
      network_->heard(*frame);
      ++result.taken;
    }
    network_->wanted_room = result.taken < frames.size();
    return result;
  }
  void pause_reading(bool paused) override {
    std::lock_guard lock(network_->mutex);
    network_->paused = paused;
  }
  void close(const Error& why) override {
    std::lock_guard lock(network_->mutex);
    network_->closed.push_back(why);
    network_->gone.emplace_back(number_, Error{});
    if (network_->connection == number_) network_->connection = 0;
  }

 private:
  std::shared_ptr<Network> network_;
  std::uint64_t number_;
};

struct FakeServer::FakeDialer : Dialer {
  explicit FakeDialer(std::shared_ptr<Network> network) : network_(std::move(network)) {}
  void dial(Done<std::shared_ptr<Connection>> done) override {
    std::lock_guard lock(network_->mutex);
    ++network_->dials;
    network_->dialing = std::move(done);
  }
  bool poll(std::chrono::microseconds wait) override {
    std::unique_lock lock(network_->mutex);
    const auto something = [this] {
      const Network& n = *network_;
      return n.woken || n.dialing || !n.gone.empty() || (n.wanted_room && n.room > 0) ||
             (n.connection != 0 && !n.paused && !n.to_client.empty());
    };
    if (wait > 0us) network_->changed.wait_for(lock, wait, something);
    network_->woken = false;
    if (!something()) return false;
    if (auto done = std::exchange(network_->dialing, {})) {
      const bool up = network_->up;
      if (up) {
        network_->connection = ++network_->connections;
        network_->to_client.clear();
        network_->paused = network_->wanted_room = false;
      }
      const std::uint64_t number = network_->connection;
      lock.unlock();
      if (up) {
        done(std::shared_ptr<Connection>(std::make_shared<FakeConnection>(network_, number)));
      } else {
        done(Error{ErrorCode::transport_failed, "unreachable"});
      }
    } else if (!network_->gone.empty()) {
      const auto [number, why] = network_->gone.front();
      network_->gone.erase(network_->gone.begin());
      auto link = network_->links.extract(number);
      lock.unlock();
      if (!link.empty()) link.mapped().closed(why);
    } else if (network_->wanted_room && network_->room > 0) {
      network_->wanted_room = false;
      Link link = network_->links.at(network_->connection);
      lock.unlock();
      link.writable();
    } else {
      const Bytes frame = std::move(network_->to_client.front());
      network_->to_client.pop_front();
      Link link = network_->links.at(network_->connection);
      lock.unlock();
      link.receive(frame);
    }
    return true;
  }
  void wake() override {
    std::lock_guard lock(network_->mutex);
    network_->woken = true;
    network_->changed.notify_all();
  }
  void stop() override {
    std::lock_guard lock(network_->mutex);
    network_->connection = 0;
    network_->links.clear();
    network_->stopped = true;
  }

 private:
  std::shared_ptr<Network> network_;
};

FakeServer::FakeServer() : network_(std::make_shared<Network>()) { network_->server = this; }

std::unique_ptr<Dialer> FakeServer::dialer() { return std::make_unique<FakeDialer>(network_); }

void FakeServer::reachable(bool up) {
  std::lock_guard lock(network_->mutex);
  network_->up = up;
}

void FakeServer::cut() {
  std::lock_guard lock(network_->mutex);
  if (network_->connection == 0) return;
  network_->gone.emplace_back(std::exchange(network_->connection, 0), Error{ErrorCode::transport_failed, "cut"});
  network_->asked.clear();
  network_->to_client.clear();
  network_->changed.notify_all();
}

void FakeServer::room(std::size_t frames) {
  std::lock_guard lock(network_->mutex);
  network_->room = frames;
}

std::size_t FakeServer::dials() const {
  std::lock_guard lock(network_->mutex);
  return network_->dials;
}

bool FakeServer::connected() const {
  std::lock_guard lock(network_->mutex);
  return network_->connection != 0;
}

bool FakeServer::reading() const {
  std::lock_guard lock(network_->mutex);
  return !network_->paused;
}

std::size_t FakeServer::alive() const { return network_->alive; }

std::vector<Error> FakeServer::closed() const {
  std::lock_guard lock(network_->mutex);
  return network_->closed;
}

std::vector<protocol::Login> FakeServer::logins() const {
  std::lock_guard lock(network_->mutex);
  return network_->logins;
}

std::size_t FakeServer::pings() const {
  std::lock_guard lock(network_->mutex);
  return network_->pings;
}

std::optional<FakeServer::Asked> FakeServer::asked() {
  std::lock_guard lock(network_->mutex);
  if (network_->asked.empty()) return std::nullopt;
  Asked next = std::move(network_->asked.front());
  network_->asked.pop_front();
  return next;
}

std::size_t FakeServer::waiting() const {
  std::lock_guard lock(network_->mutex);
  return network_->asked.size();
}

void FakeServer::refuse(std::uint64_t call, ErrorCode code, std::chrono::milliseconds retry_after) {
  say(protocol::encode_answer(call, Error{code, "no", retry_after}));
}

void FakeServer::accept(std::uint64_t call, Seq seq, ConversationId conversation, bool duplicate) {
  answer(call, Accepted{conversation, seq, TimePoint(1s), Durability::disk, duplicate});
}

void FakeServer::says(Seq seq, std::string text, ConversationId conversation, IdempotencyKey key) {
  say(protocol::encode_event_push(protocol::encode(*message(seq, std::move(text), conversation, std::move(key)))));
}

void FakeServer::say(Bytes frame) {
  std::lock_guard lock(network_->mutex);
  network_->to_client.push_back(std::move(frame));
  network_->changed.notify_all();
}

void FakeServer::thrust(const Bytes& frame) {
  Link link;
  {
    std::lock_guard lock(network_->mutex);
    link = network_->links.at(network_->connection);
  }
  link.receive(frame);
}

EventPtr message(Seq seq, std::string text, ConversationId conversation, IdempotencyKey key) {
  return std::make_shared<const Event>(Event{.conversation = conversation,
                                             .seq = seq,
                                             .sender = "bob",
                                             .time = TimePoint(1s),
                                             .body = MessagePosted{.content = {.text = std::move(text)}},
                                             .key = std::move(key)});
}

// ---- Alice

Alice::Alice(ClientOptions options, FakeServer* at)
    : own_server(at ? nullptr : std::make_unique<FakeServer>()), server(at ? *at : *own_server) {
  options.dialer = server.dialer();
  options.threads = 0;
  options.runtime.clock = clock;
  if (!options.runtime.random) {
    // The same in every run, but no two clients alike: their instances come from here.
    static std::atomic<std::uint64_t> clients{0};
    options.runtime.random = [next = ++clients * 1'000'003]() mutable { return next *= 6'364'136'223'846'793'005; };
  }
  if (!options.token) options.token = [] { return std::string("alice's token"); };
  auto opened = Client::open(std::move(options));
  REQUIRE(opened);
  client.emplace(std::move(*opened));
}

void Alice::settles() {
  while (client->poll(1s).handled > 0) {
  }
}

void Alice::waits(std::chrono::milliseconds time) {
  settles();
  for (; time > 0ms; time -= 1ms) {
    clock->advance(1ms);
    settles();
  }
}

void Alice::sends(std::string text, ConversationId conversation) {
  client->call(Send{.to = conversation, .content = {.text = text}}, [answers = answers_, text](Result<Sent> sent) {
    answers->push_back(text + ": " + (sent ? std::to_string(sent->seq) : std::string(name(sent.error().code))));
  });
}

std::vector<std::string> Alice::hears() {
  settles();
  std::vector<std::string> heard;
  while (auto push = client->take()) heard.push_back(described(*push));
  return heard;
}

std::string described(const Push& push) {
  if (const auto* posted = push.as<MessagePosted>()) return posted->content.text;
  if (const auto* moved = push.as<HeadMoved>()) return "head " + std::to_string(moved->head);
  if (const auto* shown = push.as<Ephemeral>()) return "ephemeral " + shown->content.text;
  if (push.as<Reset>()) return "reset";
  if (const auto* closed = push.as<Closed>()) return "closed: " + std::string(name(closed->why.code));
  return "something else";
}

}  // namespace chatcore::client_tests
