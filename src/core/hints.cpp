#include "core/hints.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <string>

#include "core/conversation.h"
#include "core/hub.h"
#include "core/reader.h"
#include "core/shard.h"
#include "core/store.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {

// A batch is told of within this: what was heard of so long ago leaves nothing behind it that is still to be told.
constexpr std::chrono::seconds a_while{5};
constexpr std::chrono::milliseconds try_again_after{1000};

// "1 <batch> <head before> <head> <conversation>": the head moved. "2 <engine> <batch>": what that engine published
// since that batch may be lost.
constexpr std::string_view moved_mark = "1", lost_mark = "2";

Frame frame_of(const std::string& text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const Bytes>(bytes, bytes + text.size());
}

std::string_view next_word(std::string_view& text) {
  const std::size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

bool next_number(std::string_view& text, std::uint64_t& number) {
  const std::string_view word = next_word(text);
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  return error == std::errc{} && end == word.data() + word.size();
}

std::optional<Hint> hint_in(std::string_view text) {
  Hint hint;
  if (!next_number(text, hint.batch) || !next_number(text, hint.before) || !next_number(text, hint.head)) return {};
  const auto id = ConversationId::make(text);
  if (!id || hint.before >= hint.head) return {};
  hint.id = *id;
  return hint;
}

struct Missed {
  std::vector<Hint> moved{};
  std::uint64_t next{};
  bool more = false;
  bool gap = false;  // the feed no longer goes back so far
};

// A page of the feed, and where each conversation in it was at `since`. Blocking.
Result<Missed> missed_after(Storage& storage, std::uint64_t after, std::uint64_t since) {
  auto page = storage.feed(after, {.rows = 1000, .bytes = 1 << 20});
  if (!page) return page.error();
  Missed missed{.next = page->next, .more = page->more && page->next > after, .gap = page->oldest > after + 1};
  std::map<std::string, Seq> heads;
  for (const auto& [partition, head] : page->moved) {
    if (partition.starts_with("c:")) heads[partition] = head;
  }
  for (const auto& [partition, head] : heads) {
    const auto id = ConversationId::make(std::string_view(partition).substr(2));
    if (!id) continue;
    auto before = covered_by(storage, partition, since, head);
    if (!before) return before.error();
    if (*before < head) missed.moved.push_back({page->next, *before, head, *id});
  }
  return missed;
}

}  // namespace

Status Hints::start() {
  // Those of one process differ by where they are, whatever its source of chance.
  engine_ = core_.random() ^ reinterpret_cast<std::uintptr_t>(this);
  heard_ = heard_then_ = heard_before_ = core_.first_batch;
  then_ = core_.clock->steady();
  Status started = Error{ErrorCode::transport_failed, "the pub/sub threw an exception", {}};
  guarded(core_, [&] { started = pubsub_->start(*this); });
  if (!started) return started;
  guarded(core_, [&] {
    pubsub_->subscribe(topic, [this](const Status& confirmed) {
      if (confirmed || confirmed.error().code == ErrorCode::stopped) return;
      core_.log(LogLevel::error, "other engines are not heard: " + confirmed.error().message);
    });
  });
  return {};
}

void Hints::stop() {
  guarded(core_, [&] { pubsub_->stop(); });
}

void Hints::moved(const Hint& hint) {
  heard_long_ago(hint.batch);
  std::string text(moved_mark);
  for (const std::uint64_t number : {hint.batch, hint.before, hint.head}) text += " " + std::to_string(number);
  guarded(core_, [&] { pubsub_->publish(topic, frame_of(text + " " + hint.id.string())); });
}

void Hints::received(std::string_view name, Frame frame) {
  if (name != topic || !frame) return;
  std::string_view text(reinterpret_cast<const char*>(frame->data()), frame->size());
  const std::string_view mark = next_word(text);
  if (mark == lost_mark) {
    std::uint64_t engine = 0, since = 0;
    const bool is_others = next_number(text, engine) && next_number(text, since) && engine != engine_;
    return is_others ? look_at_feed(since) : void();
  }
  const auto hint = mark == moved_mark ? hint_in(text) : std::nullopt;
  if (!hint) return;
  heard_long_ago(hint->batch);
  Shard& shard = core_.home(hint->id);
  shard.post([&shard, hint = *hint] { shard.conversations().hinted(hint.id, hint.before, hint.head); });
}

void Hints::link_lost() {
  std::uint64_t heard = heard_long_ago(0);
  const SteadyTime now = core_.clock->steady();
  std::lock_guard lock(mutex_);
  if (back_at_ && now - *back_at_ < a_while) heard = std::min(heard, back_since_);
  lost_since_ = std::min(heard, lost_since_.value_or(heard));
}

void Hints::link_back() {
  std::optional<std::uint64_t> since;
  const SteadyTime now = core_.clock->steady();
  {
    std::lock_guard lock(mutex_);
    since = std::exchange(lost_since_, std::nullopt);
    back_since_ = since.value_or(back_since_);
    back_at_ = now;
  }
  if (!since) return;
  const std::string words = std::string(lost_mark) + " " + std::to_string(engine_) + " " + std::to_string(*since);
  guarded(core_, [&] { pubsub_->publish(topic, frame_of(words)); });
  look_at_feed(*since);
}

// Notes that a batch was heard of; returns up to which one everything was, a while ago.
std::uint64_t Hints::heard_long_ago(std::uint64_t newest) {
  const SteadyTime now = core_.clock->steady();
  std::lock_guard lock(mutex_);
  if (now - then_ >= a_while) {
    heard_before_ = heard_then_;
    if (now - then_ >= 2 * a_while) heard_before_ = heard_;
    heard_then_ = heard_;
    then_ = now;
  }
  heard_ = std::max(heard_, newest);
  return heard_before_;
}

void Hints::look_at_feed(std::uint64_t since) {
  core_.shards.front()->post([this, since] {
    wanted_ = std::min(since, wanted_.value_or(since));
    read_feed();
  });
}

// One reading at a time; what is wanted meanwhile is read after it.
void Hints::read_feed() {
  if (reading_ || !wanted_) return;
  reading_ = true;
  const std::uint64_t since = *std::exchange(wanted_, std::nullopt);
  struct Reading {
    Hints& hints;
    const std::uint64_t since;
    void page(std::shared_ptr<Reading> self, std::uint64_t after) {
      Shard& first = *hints.core_.shards.front();
      hints.core_.store->read(
          first, [after, since = since](Storage& storage) { return missed_after(storage, after, since); },
          [self, after](Result<Missed> missed) {
            if (missed && !missed->gap) {
              self->tell(*missed);
              if (missed->more) return self->page(self, missed->next);
            }
            self->over(after, missed);
          });
    }
    void tell(const Missed& missed) {
      for (const Hint& hint : missed.moved) {
        Shard& shard = hints.core_.home(hint.id);
        shard.post([&shard, hint] { shard.conversations().hinted(hint.id, hint.before, hint.head); });
      }
    }
    void over(std::uint64_t after, const Result<Missed>& missed) {
      Core& core = hints.core_;
      hints.reading_ = false;
      if (!missed) {
        core.shards.front()->after(try_again_after, [&hints = hints, after] { hints.look_at_feed(after); });
      } else if (missed->gap) {  // too long ago: each finds out by himself
        const Error why{ErrorCode::overloaded,
                        "the other engines could not be heard for too long: come back and resume",
                        std::chrono::seconds(1)};
        for (auto& shard : core.shards) shard->post([&hub = shard->hub(), why] { hub.close_all(why); });
      }
      hints.read_feed();
    }
  };
  auto reading = std::make_shared<Reading>(Reading{*this, since});
  reading->page(reading, since);
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
