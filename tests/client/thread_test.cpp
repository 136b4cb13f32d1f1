#include <future>
#include <thread>

#include "client/fake_server.h"

namespace chatcore::client_tests {
namespace {

// A dialer whose poll does not wait.
class Hasty final : public Dialer {
 public:
  explicit Hasty(std::unique_ptr<Dialer> dialer) : dialer_(std::move(dialer)) {}
  void dial(Done<std::shared_ptr<Connection>> done) override { dialer_->dial(std::move(done)); }
  bool poll(std::chrono::microseconds) override { return ++polls, dialer_->poll(0us); }
  void stop() override { dialer_->stop(); }
  std::atomic<int> polls{0};

 private:
  std::unique_ptr<Dialer> dialer_;
};

ClientOptions threaded(FakeServer& server) {
  ClientOptions options;
  options.token = [] { return std::string("token"); };
  options.dialer = server.dialer();
  return options;
}

// Answers everything, until `answers` are given; the keys have to come in order.
std::thread answering(FakeServer& server, Seq answers) {
  return std::thread([&server, answers] {
    for (Seq seq = 0; seq < answers;) {
      if (const auto asked = server.asked()) {
        CHECK(protocol::decode<Send>(asked->body)->key.number == seq + 1);
        server.accept(asked->call, ++seq);
      } else {
        std::this_thread::yield();
      }
    }
  });
}

}  // namespace

TEST_CASE("several threads send through one client, and each hears its answers") {
  FakeServer server;
  auto opened = Client::open(threaded(server));
  REQUIRE(opened);
  Client& client = *opened;
  std::thread answers = answering(server, 400);
  std::atomic<int> acknowledged{0};
  std::vector<std::thread> senders;
  for (int i = 0; i < 4; ++i) {
    senders.emplace_back([&] {
      for (int n = 0; n < 100; ++n) {
        std::promise<bool> done;
        client.call(Send{.to = general, .content = {.text = "hi"}},
                    [&](Result<Sent> sent) { done.set_value(bool(sent)); });
        if (done.get_future().get()) ++acknowledged;
        (void)client.status();
        (void)client.checkpoint();
      }
    });
  }
  for (auto& sender : senders) sender.join();
  answers.join();
  CHECK(acknowledged == 400);
}

TEST_CASE("take waits for what comes, and close ends the wait") {
  FakeServer server;
  auto opened = Client::open(threaded(server));
  REQUIRE(opened);
  std::thread bob([&] {
    while (server.logins().empty() || !server.connected()) std::this_thread::yield();
    server.says(1, "hi");
  });
  const auto push = opened->take(60s);
  bob.join();
  REQUIRE(push);
  CHECK(described(*push) == "hi");
  std::thread closer([&] { opened->close(); });
  const auto last = opened->take(60s);
  closer.join();
  REQUIRE(last);
  CHECK(described(*last) == "closed: stopped");
  CHECK(!opened->take(60s));
}

TEST_CASE("a full inbox goes on once it was taken") {
  FakeServer server;
  ClientOptions options = threaded(server);
  options.inbox_bytes = 200;
  auto opened = Client::open(std::move(options));
  REQUIRE(opened);
  while (server.logins().empty()) std::this_thread::yield();
  for (Seq seq = 1; seq <= 100; ++seq) server.says(seq, std::to_string(seq));
  for (Seq seq = 1; seq <= 100; ++seq) {
    const auto push = opened->take(60s);
    REQUIRE(push);
    CHECK(described(*push) == std::to_string(seq));
  }
}

TEST_CASE("a dialer whose poll does not wait does not keep a processor busy") {
  FakeServer server;
  ClientOptions options = threaded(server);
  auto dialer = std::make_unique<Hasty>(server.dialer());
  const Hasty& hasty = *dialer;
  options.dialer = std::move(dialer);
  auto opened = Client::open(std::move(options));
  REQUIRE(opened);
  while (!opened->status().connected) std::this_thread::yield();
  const int before = hasty.polls;
  server.thrust(protocol::encode_event_push(protocol::encode(*message(1, "hi"))));
  CHECK(opened->take(60s));
  CHECK(!opened->take(50ms));
  CHECK(hasty.polls - before < 100);
}

TEST_CASE("calls after close are answered, by the client's thread") {
  FakeServer server;
  auto opened = Client::open(threaded(server));
  REQUIRE(opened);
  opened->close();
  std::promise<ErrorCode> answered;
  std::thread::id on;
  opened->call(Send{}, [&](Result<Sent> sent) {
    on = std::this_thread::get_id();
    answered.set_value(sent.error().code);
  });
  CHECK(answered.get_future().get() == ErrorCode::stopped);
  CHECK(on != std::this_thread::get_id());
}

TEST_CASE("a client with a thread may be closed and destroyed by its own callback") {
  FakeServer server;
  auto opened = Client::open(threaded(server));
  REQUIRE(opened);
  std::optional<Client> client(std::move(*opened));
  std::promise<void> gone;
  client->call(Send{.to = general, .content = {.text = "hi"}}, [&](Result<Sent>) {
    client->close();
    client.reset();
    gone.set_value();
  });
  std::thread answers = answering(server, 1);
  gone.get_future().wait();
  answers.join();
}

TEST_CASE("clients are opened and closed at any moment") {
  for (int i = 0; i < 200; ++i) {
    FakeServer server;
    auto opened = Client::open(threaded(server));
    REQUIRE(opened);
    opened->call(Send{.to = general, .content = {.text = "hi"}});
    if (i % 2) opened->close();
  }
}

}  // namespace chatcore::client_tests
