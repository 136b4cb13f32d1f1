#include "protocol/record.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "protocol/wire.h"

namespace chatcore {
inline namespace v1 {
namespace protocol {
namespace {

enum : std::uint32_t {
  checksum = 1,
  event = 2,
  key = 3,
  digest = 4,
  age_ms = 5,
  floor_batch = 6,
  base = 7,
  format = 8
};
constexpr std::uint64_t newest_format = 1;
constexpr std::size_t checksum_bytes = 5;  // its tag and four bytes

std::uint32_t checksum_of(View rest) { return static_cast<std::uint32_t>(XXH3_64bits(rest.data(), rest.size())); }

Error corruption(std::string_view why) { return {ErrorCode::corruption, std::string(why), {}}; }

void put_number(auto& out, std::uint32_t number, std::uint64_t value) {
  if (value != 0) put_varint(out, number, value);
}

// False: the field cannot be what was written.
bool take(const WireField& field, Record& record, std::uint64_t& written_format) {
  Origin& origin = record.origin;
  switch (field.number) {
    case event:
      record.event = field.bytes;
      return field.type == WireType::bytes;
    case key: {
      Decoding decoding;
      origin.key = {};
      read_message(field.bytes, origin.key, decoding);
      return field.type == WireType::bytes && !decoding.fault.set();
    }
    case digest:
      if (field.type != WireType::bytes || field.bytes.size() != origin.digest.size()) return false;
      std::copy(field.bytes.begin(), field.bytes.end(), origin.digest.begin());
      return true;
    case age_ms:
      origin.age = field.value;
      return field.type == WireType::varint;
    case floor_batch:
      origin.floor = field.value;
      return field.type == WireType::varint;
    case base:
      origin.base = field.value;
      return field.type == WireType::varint;
    case format:
      written_format = field.value;
      return field.type == WireType::varint;
    default:
      return true;
  }
}

}  // namespace

Bytes encode_record(View event_bytes, const Origin& origin) {
  const auto rest = [&](auto& out) {
    put_bytes(out, event, event_bytes);
    if (!origin.key.empty()) {
      put_tag(out, key, WireType::bytes);
      out.varint(size_of(origin.key));
      put_message(out, origin.key);
    }
    if (origin.digest != Digest{}) put_bytes(out, digest, origin.digest);
    put_number(out, age_ms, origin.age);
    put_number(out, floor_batch, origin.floor);
    put_number(out, base, origin.base);
  };
  Counter size;
  rest(size);
  Bytes record(checksum_bytes + size.total());
  Writer body(record.data() + checksum_bytes);
  rest(body);
  Writer head(record.data());
  put_tag(head, checksum, WireType::fixed32);
  head.fixed32(checksum_of(View(record).subspan(checksum_bytes)));
  return record;
}

Result<Record> decode_record(View stored) {
  if (stored.size() < checksum_bytes) return corruption("a stored record is cut short");
  WireField sum;
  if (!Reader(stored.first(checksum_bytes)).next(sum) || sum.number != checksum || sum.type != WireType::fixed32) {
    return corruption("a stored record does not begin with its checksum");
  }
  const View rest = stored.subspan(checksum_bytes);
  if (sum.value != checksum_of(rest)) return corruption("a stored record fails its checksum");

  // From here on the bytes are those that were written, by this version or by a later one.
  Record record;
  std::uint64_t written_format = newest_format;
  bool whole = true;
  Reader reader(rest);
  for (WireField field; reader.next(field);) whole = take(field, record, written_format) && whole;
  if (written_format > newest_format) {
    return Error{ErrorCode::version_too_new, "a stored record has format " + std::to_string(written_format) +
                                                 ", this version reads up to " + std::to_string(newest_format)};
  }
  if (!whole || reader.malformed()) return corruption("a stored record is not as it is written");
  return record;
}

Digest digest_of(RequestId request, View encoded_without_key) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(encoded_without_key.data(), encoded_without_key.size(),
                                                   static_cast<std::uint64_t>(request));
  XXH128_canonical_t bytes;  // the same on every machine
  XXH128_canonicalFromHash(&bytes, hash);
  Digest digest_bytes;
  static_assert(sizeof bytes == sizeof digest_bytes);
  std::memcpy(digest_bytes.data(), &bytes, sizeof bytes);
  return digest_bytes;
}

}  // namespace protocol

Result<Event> decode_event(std::span<const std::byte> stored) {
  auto record = protocol::decode_record(stored);
  if (!record) return record.error();
  auto event = protocol::decode<Event>(record->event);
  if (!event) return Error{ErrorCode::corruption, "a stored event: " + event.error().message};
  event->key = {};
  return event;
}

}  // namespace v1
}  // namespace chatcore
