#include "core/keys.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {

constexpr std::size_t most_recent = 256;
constexpr std::size_t block_size = 128;
constexpr std::size_t longest_source = 128;  // the gate lets no longer one in

KeyHash hash_parts(const UserId& sender, std::string_view source, std::optional<std::uint64_t> number) {
  const std::string_view user = sender.view();
  std::array<unsigned char, 1 + UserId::max_size + longest_source + sizeof(std::uint64_t)> parts;
  unsigned char* end = parts.data();
  const auto add = [&](const void* from, std::size_t size) {
    std::memcpy(end, from, size);
    end += size;
  };
  *end++ = static_cast<unsigned char>(user.size());  // keeps ("ab", "c") from ("a", "bc")
  add(user.data(), user.size());
  add(source.data(), std::min(source.size(), longest_source));
  if (number) add(&*number, sizeof *number);
  const XXH128_hash_t hash = XXH3_128bits(parts.data(), static_cast<std::size_t>(end - parts.data()));
  return {hash.low64, hash.high64};
}

void put_big_endian(std::string& to, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) to.push_back(static_cast<char>(value >> shift));
}

std::string block_row_key(Seq first) {
  std::string key;
  put_big_endian(key, first);
  return key;
}

}  // namespace

KeyHash hash_key(const UserId& sender, const IdempotencyKey& key) { return hash_parts(sender, key.source, key.number); }
KeyHash hash_source(const UserId& sender, const std::string& source) { return hash_parts(sender, source, {}); }

std::string source_row_key(KeyHash source) {
  std::string key;
  put_big_endian(key, source.high);
  put_big_endian(key, source.low);
  return key;
}

// A number is compared with its source first: the next one of a source that is known here, which is the usual case, has
// been used by nobody, and no index is asked.
Keys::Look Keys::look(const UserId& sender, const IdempotencyKey& key, std::uint64_t now) const {
  using What = Look::What;
  const Source* source = nullptr;
  if (key.number != 0) {
    const auto at = sources_.find(hash_source(sender, key.source));
    if (at != sources_.end()) source = &at->second;
    const bool known = (source && source->asked) || !sources_in_store_;
    if (known && (!source || key.number > source->used)) {
      const bool waits = source && !source->failed.empty() && key.number > *source->failed.begin();
      return {waits ? What::earlier_failed : What::unused, nullptr, 0};
    }
  }
  const KeyHash hash = hash_key(sender, key);
  if (const Recent* recent = find_recent(hash, key.number != 0)) {
    // A free string may be used again after a day; a number never.
    if (key.number != 0 || recent->used.age + memory_ms > now) return {What::used, &recent->used, recent->used.seq};
  }
  for (auto newest = blocks_.rbegin(); newest != blocks_.rend(); ++newest) {
    const Block& block = *newest;
    if (block.newest_age + memory_ms <= now) continue;
    const auto at = std::lower_bound(block.marks.begin(), block.marks.end(), hash.low,
                                     [](const protocol::KeyMark& mark, std::uint64_t h) { return mark.hash < h; });
    if (at != block.marks.end() && at->hash == hash.low) return {What::in_log, nullptr, at->seq};
  }
  if (key.number == 0) return {What::unused, nullptr, 0};
  if (!source) return {What::ask_source, nullptr, 0};
  if (!source->failed.empty() && key.number > *source->failed.begin()) return {What::earlier_failed, nullptr, 0};
  if (!source->asked && sources_in_store_) return {What::ask_source, nullptr, 0};
  if (key.number <= source->used && !source->failed.contains(key.number)) return {What::expired, nullptr, 0};
  return {What::unused, nullptr, 0};
}

const Keys::Recent* Keys::find_recent(KeyHash hash, bool numbered) const {
  if (numbered) {
    const auto at = std::find_if(recent_.rbegin(), recent_.rend(),
                                 [&](const Recent& r) { return r.hash == hash && r.number != 0; });
    return at == recent_.rend() ? nullptr : &*at;
  }
  const auto at = free_strings_.find(hash);
  if (at == free_strings_.end()) return nullptr;
  return &*std::lower_bound(recent_.begin(), recent_.end(), at->second,
                            [](const Recent& recent, Seq seq) { return recent.used.seq < seq; });
}

void Keys::use(const UserId& sender, const IdempotencyKey& key, const Used& used) {
  if (key.empty()) return recent_.push_back({.used = used});
  const KeyHash source_hash = hash_source(sender, key.source);
  recent_.push_back({used, hash_key(sender, key), source_hash, key.number, true});
  if (key.number == 0) {
    free_strings_.insert_or_assign(recent_.back().hash, used.seq);
    return;
  }
  Source& source = sources_[source_hash];
  source.used = std::max(source.used, key.number);
  source.failed.erase(key.number);
  // It wrote a newer event than any row can know of.
  source.asked = true;
}

void Keys::source_read(const UserId& sender, const std::string& name, std::uint64_t number) {
  Source& source = sources_[hash_source(sender, name)];
  source.used = std::max(source.used, number);
  source.asked = true;
  // What failed before this was known, and lies below it, can't come any more: whether it was done can't be told.
  source.failed.erase(source.failed.begin(), source.failed.upper_bound(number));
}

void Keys::failed(const UserId& sender, const IdempotencyKey& key) {
  if (key.number == 0 || key.empty()) return;
  sources_[hash_source(sender, key.source)].failed.insert(key.number);
}

void Keys::abandon(const UserId& sender, const IdempotencyKey& key) {
  if (key.number == 0) return;
  const auto source = sources_.find(hash_source(sender, key.source));
  if (source != sources_.end()) source->second.failed.erase(key.number);
}

bool Keys::any_failed() const {
  return std::any_of(sources_.begin(), sources_.end(),
                     [](const auto& source) { return !source.second.failed.empty(); });
}

void Keys::spill(Seq durable, std::uint64_t now, std::vector<Row>& rows) {
  while (!blocks_.empty() && blocks_.front().newest_age + memory_ms <= now) {
    rows.push_back({.table = Table::keys, .key = block_row_key(blocks_.front().first)});
    blocks_.pop_front();
  }
  if (recent_.size() <= most_recent || recent_[block_size - 1].used.seq > durable) return;
  protocol::KeyBlockRow block;
  std::unordered_map<KeyHash, std::uint64_t, KeyHasher> numbers;
  for (std::size_t i = 0; i < block_size; ++i) {
    const Recent& recent = recent_.front();
    block.newest_age = std::max(block.newest_age, recent.used.age);
    if (recent.has_key) {
      block.marks.push_back({recent.hash.low, recent.used.seq});
      if (recent.number != 0) {
        numbers[recent.source] = std::max(numbers[recent.source], recent.number);
      } else if (const auto at = free_strings_.find(recent.hash);
                 at != free_strings_.end() && at->second == recent.used.seq) {
        free_strings_.erase(at);
      }
    } else if (i + 1 == block_size) {
      block.marks.push_back({0, recent.used.seq});  // says how far the block reaches
    }
    recent_.pop_front();
  }
  for (const auto& [source, number] : numbers) {
    rows.push_back({.table = Table::sources,
                    .key = source_row_key(source),
                    .value = protocol::encode_row(protocol::SourceRow{number})});
    sources_in_store_ = true;
  }
  if (block.newest_age + memory_ms <= now) return;
  const auto expires = std::chrono::milliseconds(block.newest_age + memory_ms);
  blocks_.push_back(block_of(block));
  rows.push_back({.table = Table::keys,
                  .key = block_row_key(blocks_.back().first),
                  .value = protocol::encode_row(block),
                  .expires = TimePoint(expires)});
}

void Keys::clear() {
  recent_.clear();
  free_strings_.clear();
  blocks_.clear();
  std::erase_if(sources_, [](const auto& source) { return source.second.failed.empty(); });
  for (auto& [hash, source] : sources_) source = {.failed = std::move(source.failed)};
  sources_in_store_ = false;
}

void Keys::load_block(const protocol::KeyBlockRow& row) {
  if (!row.marks.empty()) blocks_.push_back(block_of(row));
}

std::size_t Keys::bytes() const {
  constexpr std::size_t a_node = 4 * sizeof(void*);
  return recent_.size() * sizeof(Recent) + free_strings_.size() * (sizeof(KeyHash) + sizeof(Seq) + a_node) +
         sources_.size() * (sizeof(KeyHash) + sizeof(Source) + a_node) +
         blocks_.size() * (sizeof(Block) + block_size * sizeof(protocol::KeyMark));
}

Seq Keys::loaded_to() const { return blocks_.empty() ? 0 : blocks_.back().last; }

Keys::Block Keys::block_of(const protocol::KeyBlockRow& row) {
  Block block{row.marks, row.marks.front().seq, row.marks.front().seq, row.newest_age};
  for (const auto& mark : block.marks) {
    block.first = std::min(block.first, mark.seq);
    block.last = std::max(block.last, mark.seq);
  }
  std::sort(block.marks.begin(), block.marks.end(),
            [](const auto& a, const auto& b) { return a.hash != b.hash ? a.hash < b.hash : a.seq > b.seq; });
  return block;
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
