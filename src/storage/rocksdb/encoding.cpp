#include "encoding.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace chatcore {
inline namespace v1 {
namespace rocks {
namespace {

constexpr std::size_t seal_size = 8;

std::uint64_t checksum(const Slice& key, std::string_view value) {
  return XXH3_64bits_withSeed(value.data(), value.size(), XXH3_64bits(key.data(), key.size()));
}

void put_text(std::string& out, std::string_view text) {
  put_varint(out, text.size());
  out.append(text);
}

bool get_text(std::string_view& in, std::string_view& text) {
  std::uint64_t size = 0;
  if (!get_varint(in, size) || size > in.size()) return false;
  text = in.substr(0, size);
  in.remove_prefix(size);
  return true;
}

}  // namespace

void put_fixed64(std::string& out, std::uint64_t number) { out.append(view(FeedKey(number))); }

std::uint64_t get_fixed64(const char* in) {
  std::uint64_t number = 0;
  for (int i = 0; i < 8; ++i) number = number << 8 | static_cast<unsigned char>(in[i]);
  return number;
}

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

bool get_varint(std::string_view& in, std::uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

std::string row_key(Number partition, Table table, std::string_view key) {
  std::string out;
  out.reserve(9 + key.size());
  put_fixed64(out, partition);
  out.push_back(static_cast<char>(table));
  return out.append(key);
}

std::string partition_key(std::string_view name) { return std::string("p").append(name); }

void seal(const Slice& key, std::string& value) { put_fixed64(value, checksum(key, value)); }

std::optional<std::string_view> unseal(const Slice& key, const Slice& sealed) {
  if (sealed.size() < seal_size) return {};
  const std::string_view value(sealed.data(), sealed.size() - seal_size);
  if (get_fixed64(sealed.data() + value.size()) != checksum(key, value)) return {};
  return value;
}

std::string encode_run(Number partition, const RunEvent* first, const RunEvent* last) {
  std::size_t size = seal_size;
  for (const RunEvent* event = first; event != last; ++event) size += event->bytes.size() + 8;
  std::string out;
  out.reserve(size);
  for (const RunEvent* event = first; event != last; ++event) {
    put_varint(out, event->seq - first->seq);
    put_text(out, event->bytes);
  }
  seal(RunKey(partition, first->seq), out);
  return out;
}

std::optional<Run> decode_run(const Slice& key, const Slice& sealed) {
  auto in = unseal(key, sealed);
  if (!in || key.size() != 16) return {};
  const Seq first = get_fixed64(key.data() + 8);
  Run run;
  while (!in->empty()) {
    std::uint64_t delta = 0;
    std::string_view bytes;
    if (!get_varint(*in, delta) || !get_text(*in, bytes)) return {};
    run.push_back({first + delta, bytes});
  }
  if (run.empty()) return {};
  return run;
}

std::string encode_partition(std::string_view name, const PartitionRow& row) {
  std::string out;
  put_varint(out, row.number);
  put_varint(out, row.head);
  put_varint(out, row.oldest);
  seal(slice(partition_key(name)), out);
  return out;
}

std::optional<PartitionRow> decode_partition(std::string_view name, const Slice& sealed) {
  auto in = unseal(slice(partition_key(name)), sealed);
  PartitionRow row;
  if (!in || !get_varint(*in, row.number) || !get_varint(*in, row.head) || !get_varint(*in, row.oldest)) return {};
  return row;
}

std::string encode_feed(std::uint64_t batch, const Moved& moved) {
  std::string out;
  for (const auto& [name, head] : moved) {
    put_text(out, name);
    put_varint(out, head);
  }
  seal(FeedKey(batch), out);
  return out;
}

std::optional<Moved> decode_feed(std::uint64_t batch, const Slice& sealed) {
  auto in = unseal(FeedKey(batch), sealed);
  if (!in) return {};
  Moved moved;
  while (!in->empty()) {
    std::string_view name;
    Seq head = 0;
    if (!get_text(*in, name) || !get_varint(*in, head)) return {};
    moved.emplace_back(name, head);
  }
  return moved;
}

std::string encode_store(const StoreRow& row) {
  std::string out;
  put_text(out, row.epoch);
  put_text(out, row.boot_id);
  put_varint(out, static_cast<std::uint64_t>(row.durability));
  put_varint(out, row.clean);
  seal(slice(store_key), out);
  return out;
}

std::optional<StoreRow> decode_store(const Slice& sealed) {
  auto in = unseal(slice(store_key), sealed);
  std::string_view epoch, boot_id;
  std::uint64_t durability = 0, clean = 0;
  if (!in || !get_text(*in, epoch) || !get_text(*in, boot_id) || !get_varint(*in, durability) ||
      !get_varint(*in, clean)) {
    return {};
  }
  return StoreRow{std::string(epoch), std::string(boot_id), static_cast<Durability>(durability), clean != 0};
}

std::string encode_number(std::string_view key, std::uint64_t number) {
  std::string out;
  put_fixed64(out, number);
  seal(slice(key), out);
  return out;
}

std::optional<std::uint64_t> decode_number(std::string_view key, const Slice& sealed) {
  const auto in = unseal(slice(key), sealed);
  if (!in || in->size() != 8) return {};
  return get_fixed64(in->data());
}

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
