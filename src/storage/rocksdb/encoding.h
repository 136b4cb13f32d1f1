#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <rocksdb/slice.h>

#include <chatcore/storage.h>

// The bytes on disk, and nothing that reads or writes them. Described in docs/storage.md.
namespace chatcore {
inline namespace v1 {
namespace rocks {

using rocksdb::Slice;

// A partition's name, interned: keys stay short however long the host's ids are. 0: no such partition.
using Number = std::uint64_t;

inline Slice slice(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view view(const Slice& slice) { return {slice.data(), slice.size()}; }

void put_fixed64(std::string& out, std::uint64_t);  // big-endian: sorts as the number does
std::uint64_t get_fixed64(const char* in);
void put_varint(std::string& out, std::uint64_t);
bool get_varint(std::string_view& in, std::uint64_t& value);

// The key of a run of events, or, with one number only, of a feed batch.
template <std::size_t Numbers>
class NumberKey {
 public:
  template <class... N>
  explicit NumberKey(N... numbers) {
    static_assert(sizeof...(N) == Numbers);
    char* out = bytes_.data();
    const auto put = [&](std::uint64_t number) {
      for (int shift = 56; shift >= 0; shift -= 8) *out++ = static_cast<char>(number >> shift);
    };
    (put(numbers), ...);
  }
  operator Slice() const { return {bytes_.data(), bytes_.size()}; }

 private:
  std::array<char, 8 * Numbers> bytes_;
};
using RunKey = NumberKey<2>;   // partition, first seq
using FeedKey = NumberKey<1>;  // batch

std::string row_key(Number partition, Table, std::string_view key);
std::string partition_key(std::string_view name);

// A value with the checksum of key and value behind it, so that a row that is damaged, or in the wrong place, is
// found out. unseal() gives back the value, or nothing.
void seal(const Slice& key, std::string& value);
std::optional<std::string_view> unseal(const Slice& key, const Slice& sealed);

// A run: neighbouring events of one log, written by one change. RocksDB's cost is by row, so a run is one row.
struct RunEvent {
  Seq seq{};
  std::string_view bytes{};
};
using Run = std::vector<RunEvent>;  // ascending, not empty; a decoded one points into what it was decoded from

constexpr std::size_t max_run_events = 64;
constexpr std::size_t max_run_bytes = 32 << 10;

std::string encode_run(Number partition, const RunEvent* first, const RunEvent* last);
std::optional<Run> decode_run(const Slice& key, const Slice& sealed);

// What the events themselves don't say of a partition. Written when it is created, when it is trimmed, and when its
// head moves without an event; the head is therefore the larger of this one and the last event's.
struct PartitionRow {
  Number number = 0;
  Seq head = 0;
  Seq oldest = 1;
};
std::string encode_partition(std::string_view name, const PartitionRow&);
std::optional<PartitionRow> decode_partition(std::string_view name, const Slice& sealed);

// One batch of the feed: the partitions whose head moved.
using Moved = std::vector<std::pair<std::string, Seq>>;
std::string encode_feed(std::uint64_t batch, const Moved&);
std::optional<Moved> decode_feed(std::uint64_t batch, const Slice& sealed);

// The facts of the store as a whole, in the meta family.
constexpr std::string_view store_key = "!store";    // StoreRow
constexpr std::string_view number_key = "!number";  // the next partition number
constexpr std::string_view batch_key = "!batch";    // the last batch that moved no head
constexpr std::string_view feed_key = "!feed";      // the first batch that was not dropped from the feed

struct StoreRow {
  std::string epoch{};
  std::string boot_id{};    // of the machine's life in which it was last opened
  Durability durability{};  // with which it was last opened
  bool clean = false;       // whether it was closed since
};
std::string encode_store(const StoreRow&);
std::optional<StoreRow> decode_store(const Slice& sealed);
std::string encode_number(std::string_view key, std::uint64_t);
std::optional<std::uint64_t> decode_number(std::string_view key, const Slice& sealed);

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
