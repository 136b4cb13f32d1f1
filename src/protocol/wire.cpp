#include "protocol/wire.h"

namespace chatcore {
inline namespace v1 {
namespace protocol {

bool Reader::next(WireField& field) {
  if (malformed_ || rest_.empty()) return false;
  malformed_ = !tag(field) || !value(field, 0);
  return !malformed_;
}

bool Reader::tag(WireField& field) {
  std::uint64_t both = 0;
  if (!varint(both) || both > UINT32_MAX) return false;
  field = {.number = static_cast<std::uint32_t>(both) >> 3, .type = static_cast<WireType>(both & 7)};
  return field.number != 0;
}

bool Reader::value(WireField& field, int depth) {
  switch (field.type) {
    case WireType::varint:
      return varint(field.value);
    case WireType::fixed64:
      return fixed(8, field.value);
    case WireType::bytes:
      return bytes(field.bytes);
    case WireType::start_group:
      return group(field.number, depth + 1);
    case WireType::fixed32:
      return fixed(4, field.value);
    case WireType::end_group:
      break;
  }
  return false;
}

bool Reader::varint(std::uint64_t& value) {
  constexpr std::size_t most = 10;
  value = 0;
  for (std::size_t i = 0; i < most && i < rest_.size(); ++i) {
    const auto byte = static_cast<std::uint64_t>(rest_[i]);
    value |= (byte & 0x7f) << 7 * i;  // of the tenth byte, what does not fit is dropped, as Protobuf does
    if (byte < 0x80) {
      rest_ = rest_.subspan(i + 1);
      return true;
    }
  }
  return false;
}

bool Reader::fixed(std::size_t size, std::uint64_t& value) {
  if (rest_.size() < size) return false;
  value = 0;
  for (std::size_t i = 0; i < size; ++i) value |= static_cast<std::uint64_t>(rest_[i]) << 8 * i;
  rest_ = rest_.subspan(size);
  return true;
}

bool Reader::bytes(View& bytes) {
  std::uint64_t size = 0;
  if (!varint(size) || size > rest_.size()) return false;
  bytes = rest_.first(static_cast<std::size_t>(size));
  rest_ = rest_.subspan(static_cast<std::size_t>(size));
  return true;
}

// proto3 has no groups, but a parser passes over them.
bool Reader::group(std::uint32_t number, int depth) {
  constexpr int deepest = 100;
  if (depth > deepest) return false;
  for (WireField inner; tag(inner);) {
    if (inner.type == WireType::end_group) return inner.number == number;
    if (!value(inner, depth)) return false;
  }
  return false;
}

void Fault::report(std::string_view field, std::string_view what) {
  if (set_) return;
  set_ = true;
  path_ = field;
  what_ = what;
}

void Fault::inside(std::string_view field) {
  path_ = path_.empty() ? std::string(field) : std::string(field).append(1, '.').append(path_);
}

Error Fault::error() const { return {ErrorCode::invalid, (path_.empty() ? "the message" : path_) + what_, {}}; }

void Decode::take_blob(const char* name, std::string& to, Plain) {
  if (!is_utf8(text_of(field_.bytes))) return decoding_.fault.report(name, " is not UTF-8");
  to = text_of(field_.bytes);
}

void Decode::take_entry(const char* name, Metadata& to) {
  std::string_view text[2]{};
  Reader reader(field_.bytes);
  for (WireField field; reader.next(field);) {
    if (field.type == WireType::bytes && field.number <= 2) text[field.number - 1] = text_of(field.bytes);
  }
  if (reader.malformed()) return decoding_.fault.report(name, " is not Protobuf");
  if (!is_utf8(text[0]) || !is_utf8(text[1])) return decoding_.fault.report(name, " is not UTF-8");
  to.insert_or_assign(std::string(text[0]), std::string(text[1]));
}

}  // namespace protocol
}  // namespace v1
}  // namespace chatcore
