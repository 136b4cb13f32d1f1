#pragma once

#include <array>
#include <cstdint>
#include <span>

#include <chatcore/event.h>
#include <chatcore/storage.h>

#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace protocol {

using Digest = std::array<std::byte, 16>;

// What one row of a log holds beside the event as it goes on the wire. It survives every later change of the row.
struct Origin {
  IdempotencyKey key{};   // of the request that made the event; empty: it had none
  Digest digest{};        // of that request as it was sent
  std::uint64_t age{};    // the engine's time when the seq was given out, ms: what "24 hours" is counted by
  std::uint64_t floor{};  // a batch that was complete then: the event's own batch is larger ...
  Seq base{};             // ... and everything up to this seq lies in batches up to `floor`
};

// The format: Protobuf message StoredRecord { fixed32 checksum = 1; bytes event = 2; origin fields 3... }, fields in
// this order, each once; checksum is the low 32 bits of XXH3_64 of all bytes after the checksum field.
Bytes encode_record(View event, const Origin&);

struct Record {
  View event{};  // an encoded Event, into the bytes decoded
  Origin origin{};
};
Result<Record> decode_record(View stored);  // corruption, version_too_new

// XXH3_128 of the request's encoding without its key: equal requests have equal digests.
Digest digest_of(RequestId, View encoded_without_key);

}  // namespace protocol
}  // namespace v1
}  // namespace chatcore
