// What a message costs in bytes: its frame read, its record and the push of it written, its key looked up.
#include <benchmark/benchmark.h>

#include "core/keys.h"
#include "protocol/codec.h"
#include "protocol/record.h"

using namespace chatcore;

namespace {

const std::string text(128, 'x');

Send a_send() {
  return {.to = Direct{*UserId::make("bob-1234")}, .content = {.text = text}, .key = IdempotencyKey("phone-1234", 77)};
}

Event an_event() {
  Event event;
  event.conversation = *ConversationId::make("~0123456789abcdef0123456789abcdef");
  event.seq = 12'345;
  event.sender = *UserId::make("alice-1234");
  event.time = TimePoint(std::chrono::milliseconds(1'800'000'000'000));
  event.body = MessagePosted{.content = {.text = text}};
  return event;
}

void decode_send(benchmark::State& state) {
  const Bytes frame = protocol::encode_client_frame(4711, Send::id, protocol::encode(a_send()));
  for (auto _ : state) {
    const auto outer = protocol::decode_client_frame(frame);
    benchmark::DoNotOptimize(protocol::decode<Send>(outer->body));
  }
}
BENCHMARK(decode_send);

void encode_event(benchmark::State& state) {
  const Event event = an_event();
  for (auto _ : state) benchmark::DoNotOptimize(protocol::encode(event));
}
BENCHMARK(encode_event);

void encode_record_and_push(benchmark::State& state) {
  const Bytes event = protocol::encode(an_event());
  const protocol::Origin origin{.key = IdempotencyKey("phone-1234", 77), .age = 1'800'000'000'000, .floor = 99};
  for (auto _ : state) {
    benchmark::DoNotOptimize(protocol::encode_record(event, origin));
    benchmark::DoNotOptimize(protocol::encode_event_push(event));
  }
}
BENCHMARK(encode_record_and_push);

void digest_of_send(benchmark::State& state) {
  const Send send = a_send();
  for (auto _ : state) benchmark::DoNotOptimize(protocol::digest_of(Send::id, protocol::encode(send)));
}
BENCHMARK(digest_of_send);

void encode_accepted(benchmark::State& state) {
  const Accepted accepted{
      .conversation = an_event().conversation, .seq = 12'345, .time = an_event().time, .durability = Durability::disk};
  for (auto _ : state) benchmark::DoNotOptimize(protocol::encode_answer(4711, protocol::encode(accepted)));
}
BENCHMARK(encode_accepted);

// A new key: looked for, used, and in the end written down in a block. The conversation has had so many in the last
// day.
void key_of_a_message(benchmark::State& state) {
  const UserId sender = *UserId::make("alice-1234");
  core::Keys keys;
  std::vector<Row> rows;
  std::uint64_t number = 0, now = 1'800'000'000'000;
  const auto next = [&] {
    const IdempotencyKey key("phone-1234", ++number);
    benchmark::DoNotOptimize(keys.look(sender, key, now));
    keys.use(sender, key, {.seq = number, .age = now});
    keys.spill(number, now, rows);
    rows.clear();
    now += core::Keys::memory_ms / static_cast<std::uint64_t>(state.range(0));
  };
  for (std::int64_t i = 0; i < state.range(0); ++i) next();
  for (auto _ : state) next();
}
BENCHMARK(key_of_a_message)->Arg(1'000)->Arg(100'000);

}  // namespace

BENCHMARK_MAIN();
