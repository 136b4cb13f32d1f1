#include "core/pages.h"

#include <functional>
#include <string_view>
#include <utility>

#include "core/shard.h"
#include "core/store.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {
// A storage may drop old events by itself: what was read before is not shown for much longer.
constexpr std::chrono::seconds longest_kept{5};
}  // namespace

std::size_t Pages::Hash::operator()(const Key& key) const noexcept {
  const std::size_t id = std::hash<std::string_view>{}(key.id.view());
  return id ^ (key.start * 0x9e3779b97f4a7c15ULL + key.limit * 4 + static_cast<std::size_t>(key.direction) * 2 +
               (key.with_changes ? 1 : 0));
}

Pages::~Pages() { shrink(0); }

void Pages::read(const ConversationId& id, PageRange range, std::uint64_t version, Then then) {
  const Key key{id, range.with_changes, range.direction, range.start, range.limit};
  const SteadyTime now = shard_.core().clock->steady();
  if (const auto found = index_.find(key); found != index_.end()) {
    const auto kept = found->second;
    // A page that ends before the head says the same whatever came after.
    const bool holds = kept->version == version && now - kept->read_at < longest_kept &&
                       (range.direction == Direction::backward || kept->page->more || kept->page->head == range.head);
    if (holds) {
      kept_.splice(kept_.begin(), kept_, kept);
      return then(kept->page);
    }
    drop(kept);
  }
  if (const auto found = reading_.find(key); found != reading_.end()) {
    if (found->second->version == version && found->second->head == range.head) {
      found->second->waiting.push_back(std::move(then));
      return;
    }
  }
  auto reading = std::make_shared<Reading>(Reading{.version = version, .head = range.head});
  reading->waiting.push_back(std::move(then));
  reading_[key] = reading;
  shard_.core().store->read(
      shard_,
      [partition = "c:" + id.string(), range](Storage& storage) { return read_stored(storage, partition, range); },
      [this, key, reading](Result<StoredPagePtr> page) {
        if (const auto mine = reading_.find(key); mine != reading_.end() && mine->second == reading) {
          reading_.erase(mine);
          if (page) keep(key, reading->version, *page);
        }
        for (Then& each : reading->waiting) each(page);
      });
}

void Pages::keep(const Key& key, std::uint64_t version, StoredPagePtr page) {
  if (const auto found = index_.find(key); found != index_.end()) drop(found->second);
  const std::size_t most = shard_.core().limits.page_cache_bytes / shard_.core().shards.size();
  if (page->bytes > most || shard_.core().is_tight() || !shard_.core().fits(page->bytes)) return;
  shrink(most - page->bytes);
  bytes_ += page->bytes;
  add(shard_.core().counters.page_bytes, page->bytes);
  kept_.push_front({key, version, shard_.core().clock->steady(), std::move(page)});
  index_[key] = kept_.begin();
}

void Pages::drop(std::list<Kept>::iterator kept) {
  bytes_ -= kept->page->bytes;
  sub(shard_.core().counters.page_bytes, kept->page->bytes);
  index_.erase(kept->key);
  kept_.erase(kept);
}

void Pages::shrink(std::size_t bytes) {
  while (bytes_ > bytes && !kept_.empty()) drop(std::prev(kept_.end()));
}

void Pages::clear() {
  shrink(0);
  for (auto& [key, reading] : std::exchange(reading_, {})) reading->waiting.clear();
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
