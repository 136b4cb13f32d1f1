// A message through the whole engine, with no socket and no disk: hub, outboxes, gathered sends.
#include <benchmark/benchmark.h>
#include <chatcore/chatcore.h>
#include <chatcore/testing.h>

#include "protocol/codec.h"

using namespace chatcore;

namespace {

// Takes everything at once.
class Sink final : public Connection {
 public:
  void attached(Link link) override { link_ = link; }
  SendResult send(std::span<const Frame> frames) override {
    frames_ += frames.size();
    return {.taken = frames.size()};
  }
  void pause_reading(bool) override {}
  void close(const Error& why) override { link_.closed(why); }

  void receive(const Bytes& frame) { link_.receive(frame); }
  std::size_t frames() const { return frames_; }

 private:
  Link link_;
  std::size_t frames_ = 0;
};

std::shared_ptr<Sink> connect(TestEngine& engine, const std::string& user) {
  auto sink = std::make_shared<Sink>();
  engine.engine().attach(sink, {.identity = Identity{.user = *UserId::make(user)}});
  engine.settle();
  sink->receive(protocol::encode_client_frame(1, protocol::Login::id, protocol::encode(protocol::Login{})));
  engine.settle();
  return sink;
}

Bytes send_frame(const Target& to, std::uint64_t number) {
  return protocol::encode_client_frame(
      number, Send::id,
      protocol::encode(
          Send{.to = to, .content = {.text = std::string(128, 'x')}, .key = IdempotencyKey("phone", number)}));
}

// Sixteen at a time.
void send_sixteen(benchmark::State& state, TestEngine& engine, Sink& from, const Target& to, std::uint64_t& number) {
  state.PauseTiming();
  std::vector<Bytes> frames;
  for (int i = 0; i < 16; ++i) frames.push_back(send_frame(to, ++number));
  state.ResumeTiming();
  for (const Bytes& frame : frames) from.receive(frame);
  engine.settle();
}

void direct_message(benchmark::State& state) {
  TestEngine engine = TestEngine::open({.limits = {.messages_per_second = 0, .requests_per_second = 0}});
  const auto alice = connect(engine, "alice"), bob = connect(engine, "bob");
  std::uint64_t number = 1;
  const std::size_t before = bob->frames();
  for (auto _ : state) send_sixteen(state, engine, *alice, Direct{*UserId::make("bob")}, number);
  if (bob->frames() - before != number - 1) state.SkipWithError("not everything was delivered");
  state.SetItemsProcessed(static_cast<std::int64_t>(number - 1));
}
BENCHMARK(direct_message);

void group_delivery(benchmark::State& state) {
  TestEngine engine =
      TestEngine::open({.limits = {.clients_choose_ids = true, .messages_per_second = 0, .requests_per_second = 0}});
  const auto alice = connect(engine, "alice");
  std::vector<std::shared_ptr<Sink>> members;
  CreateConversation group{.conversation = *ConversationId::make("group")};
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    members.push_back(connect(engine, "member-" + std::to_string(i)));
    group.members.push_back({.user = *UserId::make("member-" + std::to_string(i))});
  }
  std::string failed = "the group was not made";
  engine.engine().call({.user = *UserId::make("alice")}, group,
                       [&](Result<Accepted> made) { failed = made ? "" : made.error().message; });
  engine.settle();
  if (!failed.empty()) return state.SkipWithError(failed.c_str());
  std::uint64_t number = 1;
  const std::size_t before = members.back()->frames();
  for (auto _ : state) send_sixteen(state, engine, *alice, group.conversation, number);
  if (members.back()->frames() - before != number - 1) state.SkipWithError("not everything was delivered");
  state.SetItemsProcessed(static_cast<std::int64_t>(number - 1) * state.range(0));
}
BENCHMARK(group_delivery)->Arg(10)->Arg(499);

}  // namespace
