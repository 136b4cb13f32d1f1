#include "protocol/rows.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "protocol/wire.h"

namespace chatcore {
inline namespace v1 {
namespace protocol {

void describe(Is<Interval> auto& self, auto&& field) {
  field(1, "from", self.from);
  field(2, "to", self.to);
}
void describe(Is<MemberRow> auto& self, auto&& field) {
  field(1, "role", self.role, defaulted);
  field(2, "former", self.former);
  field(3, "intervals", self.intervals);
  field(4, "since", self.since);
}
void describe(Is<ConversationRow> auto& self, auto&& field) {
  field(1, "kind", self.kind, defaulted);
  field(2, "settings", self.settings);
  field(3, "on_read", self.on_read);
  field(4, "members", self.members);
  field(5, "owners", self.owners);
  field(6, "crossed", self.crossed);
}
void describe(Is<KeyMark> auto& self, auto&& field) {
  field(1, "hash", self.hash);
  field(2, "seq", self.seq);
}
void describe(Is<KeyBlockRow> auto& self, auto&& field) {
  field(1, "marks", self.marks);
  field(2, "newest_age", self.newest_age);
}
void describe(Is<SourceRow> auto& self, auto&& field) { field(1, "number", self.number); }
void describe(Is<InboxRow> auto& self, auto&& field) {
  field(1, "head", self.head);
  field(2, "batch", self.batch);
  field(3, "age", self.age);
}
void describe(Is<OwnSettingsRow> auto& self, auto&& field) { field(1, "hides_receipts", self.hides_receipts); }
void describe(Is<ReceiptRow> auto& self, auto&& field) {
  field(1, "delivered", self.delivered);
  field(2, "read", self.read);
}
void describe(Is<NumberRow> auto& self, auto&& field) { field(1, "number", self.number); }

namespace {
constexpr std::size_t checksum_bytes = 4;
std::uint32_t checksum_of(View bytes) { return static_cast<std::uint32_t>(XXH3_64bits(bytes.data(), bytes.size())); }
}  // namespace

template <class T>
Bytes encode_row(const T& row) {
  Bytes stored = written([&](auto& out) {
    out.raw(Bytes(checksum_bytes));
    put_message(out, row);
  });
  Writer(stored.data()).fixed32(checksum_of(View(stored).subspan(checksum_bytes)));
  return stored;
}

template <class T>
Result<T> decode_row(View stored) {
  const auto damaged = [] { return Error{ErrorCode::corruption, "a stored row is damaged", {}}; };
  if (stored.size() < checksum_bytes) return damaged();
  std::uint32_t expected = 0;
  for (std::size_t i = checksum_bytes; i-- > 0;) expected = expected << 8 | static_cast<std::uint32_t>(stored[i]);
  const View body = stored.subspan(checksum_bytes);
  if (checksum_of(body) != expected) return damaged();
  T row{};
  Decoding decoding;
  read_message(body, row, decoding);
  if (decoding.fault.set()) return damaged();
  return row;
}

template Bytes encode_row(const MemberRow&);
template Bytes encode_row(const ConversationRow&);
template Bytes encode_row(const KeyBlockRow&);
template Bytes encode_row(const SourceRow&);
template Bytes encode_row(const InboxRow&);
template Bytes encode_row(const NumberRow&);
template Bytes encode_row(const Marks&);
template Bytes encode_row(const OwnSettingsRow&);
template Bytes encode_row(const ReceiptRow&);
template Bytes encode_row(const Profile&);
template Result<MemberRow> decode_row(View);
template Result<ConversationRow> decode_row(View);
template Result<KeyBlockRow> decode_row(View);
template Result<SourceRow> decode_row(View);
template Result<InboxRow> decode_row(View);
template Result<NumberRow> decode_row(View);
template Result<Marks> decode_row(View);
template Result<OwnSettingsRow> decode_row(View);
template Result<ReceiptRow> decode_row(View);
template Result<Profile> decode_row(View);

}  // namespace protocol
}  // namespace v1
}  // namespace chatcore
