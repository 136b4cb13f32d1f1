#include "core/feed.h"

#include <algorithm>

#include "core/shard.h"
#include "core/store.h"
#include "protocol/record.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {

constexpr std::size_t page_bytes = 1 << 20;
constexpr std::uint32_t most_events = 10'000, usual_events = 200;
constexpr unsigned most_readers = 64;
constexpr unsigned reads_a_step = 64;
constexpr std::size_t most_heads = 10'000;
constexpr PageLimit one_batch{.rows = 1, .bytes = 1 << 20}, a_page{.rows = 256, .bytes = 1 << 20};
constexpr std::chrono::milliseconds look_every{1000};
constexpr std::chrono::milliseconds longest_wait = std::chrono::hours(24);

// Where a conversation was before a batch is said by its own log (Origin::base), but for a change that was written
// while the one before it was under way. That one lies in one of the last batches.
constexpr std::uint64_t overlap = 16;

}  // namespace

// ---- a page

Result<bool> FeedPageReader::step(Storage& storage) {
  Status did = has_begun_ ? Status() : begin(storage);
  for (unsigned reads = 0; did && reads < reads_a_step; ++reads) {
    if (!batch_) {
      if (page_.events.size() >= limit_ || bytes_ >= page_bytes) return true;
      did = next_batch(storage);
      if (did && !batch_) return true;
    } else if (batch_->moved.empty()) {
      end_batch();
    } else {
      const auto& [partition, head] = batch_->moved.front();
      did = read_moved(storage, partition, head);
      if (did) batch_->moved.pop_front();
    }
  }
  if (did) return false;
  if (is_empty()) return did.error();
  page_.more = true;  // who comes back for it is told what is wrong
  return true;
}

Status FeedPageReader::begin(Storage& storage) {
  const std::uint64_t after = page_.next;
  if (after > newest_) {  // another engine may have written it
    auto page = storage.feed(after - 1, one_batch);
    if (!page) return page.error();
    if (page->moved.empty()) {
      return Error{ErrorCode::invalid,
                   "after: there is no batch " + std::to_string(after) + ", the newest is " + std::to_string(newest_),
                   {}};
    }
  }
  for (std::uint64_t at = after - std::min(after, overlap); at < after;) {
    auto page = storage.feed(at, one_batch);
    if (!page) return page.error();
    if (page->moved.empty() || page->next > after) break;
    for (const auto& [partition, head] : page->moved) heads_.insert_or_assign(partition, head);
    at = page->next;
  }
  has_begun_ = true;
  return {};
}

Status FeedPageReader::next_batch(Storage& storage) {
  auto page = storage.feed(page_.next, one_batch);
  if (!page) return page.error();
  if (page->oldest > page_.next + 1) {
    return Error{ErrorCode::gone,
                 "after: the storage holds what came after batch " + std::to_string(page->oldest - 1) +
                     "; what came before is in the conversations themselves",
                 {}};
  }
  page_.more = page->more;
  if (page->moved.empty()) return {};
  batch_ = {.number = page->next, .more = page->more};
  for (auto& moved : page->moved) {
    if (moved.first.starts_with("c:")) batch_->moved.push_back(std::move(moved));
  }
  return {};
}

void FeedPageReader::end_batch() {
  page_.next = batch_->number;
  page_.more = batch_->more;
  page_.events.insert(page_.events.end(), batch_->events.begin(), batch_->events.end());
  bytes_ += batch_->bytes;
  batch_.reset();
  if (heads_.size() > most_heads) heads_.clear();  // from here on the logs say it
}

// Backward from the head, until where the conversation was before. What is above the base of any of its records was
// committed after that record was made, so the bases say where, if it is not known.
Status FeedPageReader::read_moved(Storage& storage, const std::string& partition, Seq head) {
  const std::string id = partition.substr(2);
  const auto known = heads_.find(partition);
  Seq before = known == heads_.end() ? 0 : known->second;
  std::vector<EventPtr> found;
  std::size_t bytes = 0;
  for (const Log log : {Log::messages, Log::changes}) {
    for (Seq start = head; start > before;) {
      auto page = storage.events(partition, log, start, Direction::backward, a_page);
      if (!page) return page.error().code == ErrorCode::corruption ? damaged(id, start, page.error()) : page.error();
      if (page->events.empty()) break;
      for (const auto& [seq, stored] : page->events) {
        start = seq - 1;
        if (seq <= before) break;
        auto record = protocol::decode_record(stored);
        if (!record) return damaged(id, seq, record.error());
        auto event = protocol::decode<Event>(record->event);
        if (!event) return damaged(id, seq, event.error());
        event->key = {};
        before = std::max(before, record->origin.base);
        bytes += record->event.size();
        found.push_back(std::make_shared<const Event>(std::move(*event)));
      }
    }
  }
  std::erase_if(found, [&](const EventPtr& event) { return event->seq <= before; });
  std::sort(found.begin(), found.end(), [](const EventPtr& a, const EventPtr& b) { return a->seq < b->seq; });
  batch_->events.insert(batch_->events.end(), found.begin(), found.end());
  batch_->bytes += bytes;
  heads_.insert_or_assign(partition, head);
  return {};
}

Error FeedPageReader::damaged(const std::string& conversation, Seq seq, const Error& why) const {
  return {why.code == ErrorCode::version_too_new ? why.code : ErrorCode::corruption,
          "conversation " + conversation + ", seq " + std::to_string(seq) + ", batch " +
              std::to_string(batch_->number) + ": " + why.message,
          {}};
}

// ---- who reads

void Feed::read(Shard& first, std::uint64_t after, std::uint32_t limit, std::chrono::milliseconds wait,
                Reply<FeedEvents> reply) {
  const Core& core = first.core();
  if (core.stopping) return reply(Error{ErrorCode::stopped, "the engine is stopped", {}});
  if (limit > most_events) {
    return reply(Error{ErrorCode::invalid, "limit: at most " + std::to_string(most_events), {}});
  }
  if (readers_ >= most_readers || !core.fits(0)) {
    return reply(Error{ErrorCode::overloaded, "too many read the feed: retry later", std::chrono::seconds(1)});
  }
  ++readers_;
  const std::uint64_t newest = core.store->last_batch();
  wait = std::clamp(wait, std::chrono::milliseconds(0), longest_wait);
  go_on(first, std::make_shared<Reader>(
                   Reader{.page = std::make_shared<FeedPageReader>(after == feed_end ? newest : after,
                                                                   limit == 0 ? usual_events : limit, newest),
                          .until = core.clock->steady() + wait,
                          .reply = std::move(reply)}));
}

void Feed::go_on(Shard& first, ReaderPtr reader) {
  reader->moves = moves_;
  first.core().store->read(
      first, [page = reader->page](Storage& storage) { return page->step(storage); },
      [this, &first, reader](Result<bool> whole) { has_read(first, reader, std::move(whole)); });
}

void Feed::has_read(Shard& first, ReaderPtr reader, Result<bool> whole) {
  const Core& core = first.core();
  if (!whole) return end(*reader, whole.error());
  if (!*whole) return go_on(first, std::move(reader));
  if (!reader->page->is_empty() || reader->is_last) return end(*reader, reader->page->take());
  if (core.stopping) return end(*reader, Error{ErrorCode::stopped, "the engine is stopped", {}});
  if (reader->moves != moves_) return go_on(first, std::move(reader));
  if (reader->until <= core.clock->steady()) return end(*reader, reader->page->take());
  waiting_.push_back(std::move(reader));
  schedule(first);
}

void Feed::end(Reader& reader, Result<FeedEvents> result) {
  --readers_;
  reader.reply(std::move(result));
}

void Feed::moved(Shard& first) {
  ++moves_;
  for (ReaderPtr& reader : std::exchange(waiting_, {})) go_on(first, std::move(reader));
}

void Feed::give_up() {
  for (ReaderPtr& reader : std::exchange(waiting_, {})) {
    end(*reader, Error{ErrorCode::stopped, "the engine is stopped", {}});
  }
}

// One timer for all, and never far ahead: what it was for may be over long before.
void Feed::schedule(Shard& first) {
  const SteadyTime now = first.core().clock->steady();
  SteadyTime next = now + look_every;
  for (const ReaderPtr& reader : waiting_) next = std::min(next, reader->until);
  if (timer_ && *timer_ <= next) return;
  timer_ = next;
  first.after(std::chrono::ceil<std::chrono::milliseconds>(next - now), [this, &first, next] {
    if (timer_ != next) return;
    timer_.reset();
    look(first);
  });
}

// Whose time is over looks once more. Where there are other engines, all do, as these need not tell what they commit.
void Feed::look(Shard& first) {
  const SteadyTime now = first.core().clock->steady();
  for (ReaderPtr& reader : std::exchange(waiting_, {})) {
    reader->is_last = reader->until <= now;
    if (reader->is_last || first.core().hints) {
      go_on(first, std::move(reader));
    } else {
      waiting_.push_back(std::move(reader));
    }
  }
  if (!waiting_.empty()) schedule(first);
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
