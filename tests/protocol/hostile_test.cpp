#include <doctest/doctest.h>

#include <random>

#include "protocol/record.h"
#include "protocol/samples.h"

// Bytes from a network or a broken disk: whatever they are, decoding ends with an error or a value, and nothing else.
// The sanitizers watch.

using namespace samples;

namespace {

class Mutator {
 public:
  Bytes operator()(Bytes bytes) {
    for (std::uint64_t changes = 1 + random_() % 4; changes != 0; --changes) {
      const std::size_t at = bytes.empty() ? 0 : random_() % bytes.size();
      const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
      switch (bytes.empty() ? 1 : random_() % 4) {
        case 0:
          bytes[at] ^= static_cast<std::byte>(1u << random_() % 8);
          break;
        case 1:
          bytes.insert(place, static_cast<std::byte>(random_()));
          break;
        case 2:
          bytes.erase(place);
          break;
        case 3:
          bytes[at] = static_cast<std::byte>(random_());
          break;
      }
    }
    return bytes;
  }

 private:
  std::mt19937_64 random_{7};
};

// What was taken must be a value like any other: it is written, read and written again to the same bytes.
template <class T>
bool stable(const Result<T>& taken) {
  if (!taken) return taken.error().code == ErrorCode::invalid && !taken.error().message.empty();
  const Bytes once = encode(*taken);
  const auto again = decode<T>(once);
  return again && encode(*again) == once;
}

}  // namespace

TEST_CASE("hostile: messages cut short") {
  samples::for_each([](const char* name, const auto& sample) {
    CAPTURE(name);
    const Bytes good = encode(sample);
    for (std::size_t size = 0; size <= good.size(); ++size) {
      const Bytes part(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));  // its own end is watched
      if (!stable(decode<std::decay_t<decltype(sample)>>(part))) FAIL_CHECK(size);
    }
  });
}

TEST_CASE("hostile: messages with random changes") {
  Mutator mutate;
  samples::for_each([&](const char* name, const auto& sample) {
    CAPTURE(name);
    const Bytes good = encode(sample);
    for (int i = 0; i < 2000; ++i) {
      const Bytes bad = mutate(good);
      if (!stable(decode<std::decay_t<decltype(sample)>>(bad))) FAIL_CHECK(hex(bad));
    }
  });
}

TEST_CASE("hostile: frames and records with random changes") {
  Mutator mutate;
  const Bytes stored = encode(event());
  const Bytes frames[] = {
      encode_client_frame(5, RequestId::mark_read, encode(MarkRead{.conversation = "c1", .seq = 9})),
      encode_answer(5, encode(history_page())),
      encode_answer(5, error()),
      encode_event_push(stored, key()),
      encode_signal_push(ephemeral()),
      encode_signal_push(typing()),
      encode_signal_push(presence_changed()),
      encode_signal_push(online_count()),
      encode_signal_push(receipts()),
      encode_signal_push(profile_changed()),
      encode_head_moved({.conversation = "c1", .head = 9}),
      encode_reset(),
      encode_closed(error()),
      encode_checkpoint({"abc"}),
      encode_record(stored, {.key = key(), .age = 1}),
  };
  for (const Bytes& good : frames) {
    for (int i = 0; i < 2000; ++i) {
      const Bytes bad = mutate(good);
      if (const auto frame = decode_client_frame(bad); !frame) {
        if (frame.error().code != ErrorCode::malformed_frame) FAIL_CHECK(hex(bad));
      }
      if (const auto frame = decode_server_frame(bad); !frame) {
        if (frame.error().code != ErrorCode::malformed_frame) FAIL_CHECK(hex(bad));
      }
      const auto record = decode_event(bad);
      if (!record && record.error().code != ErrorCode::corruption) FAIL_CHECK(hex(bad));
    }
  }
}

TEST_CASE("hostile: lengths and nesting that promise more than there is") {
  CHECK_FALSE(decode<Content>(unhex("1affffffff07")));            // 2^31 - 1 bytes of data
  CHECK_FALSE(decode<Content>(unhex("1affffffffffffffffff01")));  // 2^64 - 1
  CHECK_FALSE(decode<Content>(unhex("22021aff")));                // a map entry that runs out
  Bytes groups(1 << 16, std::byte{0x0b});                         // groups in groups
  CHECK_FALSE(decode<Content>(groups));
}
