#include "client/place.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace chatcore {
inline namespace v1 {
namespace client {
namespace {

// version, checksum of the rest (8 bytes), server checkpoint, number of conversations, each an id and its seq.
// Numbers are little-endian base 128, texts stand behind their length.
constexpr char format = 1;
constexpr std::size_t header = 9;

std::uint64_t checksum(std::string_view bytes) {  // FNV-1a: against a torn file, not against an adversary
  std::uint64_t sum = 0xcbf29ce484222325;
  for (const char byte : bytes) sum = (sum ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  return sum;
}

void put(std::string& out, std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) out.push_back(static_cast<char>(number | 0x80));
  out.push_back(static_cast<char>(number));
}

void put(std::string& out, std::string_view text) {
  put(out, text.size());
  out.append(text);
}

class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}

  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (in_.empty()) break;
      const auto byte = static_cast<unsigned char>(in_.front());
      in_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }
  std::string_view text() {
    const std::uint64_t size = number();
    if (size > in_.size()) ok_ = false;
    if (!ok_) return {};
    const std::string_view text = in_.substr(0, size);
    in_.remove_prefix(size);
    return text;
  }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && in_.empty(); }

 private:
  std::string_view in_;
  bool ok_ = true;
};

}  // namespace

Checkpoint encode_place(const Place& place) {
  std::string rest;
  put(rest, place.server.opaque);
  put(rest, place.seen.size());
  for (const auto& [conversation, seq] : place.seen) {
    put(rest, conversation.view());
    put(rest, seq);
  }
  std::string out(1, format);
  for (std::uint64_t sum = checksum(rest), i = 0; i < 8; ++i, sum >>= 8) out.push_back(static_cast<char>(sum));
  return {out + rest};
}

std::optional<Place> decode_place(const Checkpoint& checkpoint) {
  const std::string_view in = checkpoint.opaque;
  if (in.size() < header || in[0] != format) return std::nullopt;
  std::uint64_t sum = 0;
  for (std::size_t i = header - 1; i > 0; --i) sum = sum << 8 | static_cast<unsigned char>(in[i]);
  if (sum != checksum(in.substr(header))) return std::nullopt;

  Reader reader(in.substr(header));
  Place place;
  place.server.opaque = reader.text();
  const std::uint64_t count = reader.number();
  if (count > Place::most_conversations) return std::nullopt;
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    const auto conversation = ConversationId::make(reader.text());
    const Seq seq = reader.number();
    if (!conversation) return std::nullopt;
    place.seen.emplace_back(*conversation, seq);
  }
  if (!reader.at_end()) return std::nullopt;
  return place;
}

}  // namespace client
}  // namespace v1
}  // namespace chatcore
