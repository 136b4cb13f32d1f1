#include "client/streams.h"

#include <algorithm>
#include <utility>

namespace chatcore {
inline namespace v1 {
namespace client {
namespace {

constexpr std::size_t own_bytes = 64;    // what remembering a seq costs
constexpr std::size_t own_before = 256;  // acknowledged seqs that are remembered of a conversation not yet begun

}  // namespace

Streams::Streams(StreamsOwner& owner, std::string instance, std::size_t held_bytes)
    : owner_(owner), instance_(std::move(instance)), held_limit_(held_bytes) {}

void Streams::resume(const ConversationId& conversation, Seq seen) { streams_[conversation].seen = seen; }

void Streams::event(EventPtr event, std::size_t bytes) {
  const ConversationId conversation = event->conversation;
  const Seq seq = event->seq;
  if (seq == 0) return;
  Stream& stream = streams_[conversation];
  if (!stream.seen) stream.seen = seq - 1;
  if (seq <= *stream.seen) return;
  Held held{own(*event) ? nullptr : std::move(event), bytes};
  if (seq == *stream.seen + 1) {
    next(conversation, stream, seq, std::move(held));
    return release(conversation, stream);
  }
  stream.wanted = std::max(stream.wanted, seq);
  hold(stream, seq, std::move(held));
  pull(conversation, stream);
}

void Streams::acknowledged(const ConversationId& conversation, Seq seq) {
  if (seq == 0) return;
  Stream& stream = streams_[conversation];
  if (!stream.seen && seq == 1) stream.seen = 0;  // nothing can have been before
  if (stream.seen && seq <= *stream.seen) return;
  if (stream.seen && seq == *stream.seen + 1) {
    next(conversation, stream, seq, {});
    return release(conversation, stream);
  }
  // Either it overtook pushes that are on their way, or they will not come; then the next event shows the hole.
  hold(stream, seq, {nullptr, own_bytes});
  if (!stream.seen && stream.held.size() > own_before) {
    held_bytes_ -= stream.held.begin()->second.bytes;
    stream.held.erase(stream.held.begin());
  }
}

void Streams::head_moved(const HeadMoved& moved) {
  Stream& stream = streams_[moved.conversation];
  if (!stream.seen) {
    // Nobody has said from where on it is wanted: the application decides, and the pull makes it live again.
    stream.seen = moved.head;
    owner_.unreadable(moved);
    owner_.seen(moved.conversation, moved.head);
    release(moved.conversation, stream);
  }
  stream.wanted = std::max(stream.wanted, moved.head);
  pull(moved.conversation, stream, false,
       moved.spread);  // also where nothing is missing: only a pull makes it live again
}

void Streams::page(const ConversationId& conversation, const Result<SyncPage>& page, std::size_t bytes) {
  const auto found = streams_.find(conversation);
  if (found == streams_.end() || !found->second.pulling) return;
  Stream& stream = found->second;
  stream.pulling = false;
  --pulling_;
  if (!page) return give_up(conversation, stream);

  const Seq before = *stream.seen;
  take_page(conversation, stream, *page, bytes);
  release(conversation, stream);
  const bool moved = *stream.seen > before;
  const bool missing = page->more || stream.wanted > *stream.seen || page->live_from > *stream.seen + 1;
  // Not live, but nothing new: a new head renews the notice.
  if (missing || (moved && page->live_from == 0)) pull(conversation, stream, !moved);
}

void Streams::reset() {
  streams_.clear();
  held_bytes_ = pulling_ = 0;
}

void Streams::take_page(const ConversationId& conversation, Stream& stream, const SyncPage& page, std::size_t bytes) {
  const std::size_t each = bytes / std::max<std::size_t>(page.events.size(), 1);
  for (const EventPtr& event : page.events) {
    if (!event || event->seq <= *stream.seen) continue;
    const auto held = stream.held.find(event->seq);
    const bool acknowledged = held != stream.held.end() && !held->second.event;
    next(conversation, stream, event->seq, {own(*event) || acknowledged ? nullptr : event, each});
  }
  if (page.covers_to > *stream.seen) next(conversation, stream, page.covers_to, {});  // gaps, or nothing but gaps
}

// The server will not fill the hole: this user may no longer read there. What came as a push was for him; of the rest
// the application is told.
void Streams::give_up(const ConversationId& conversation, Stream& stream) {
  while (!stream.held.empty()) {
    auto first = stream.held.extract(stream.held.begin());
    held_bytes_ -= first.mapped().bytes;
    if (first.key() > *stream.seen) next(conversation, stream, first.key(), std::move(first.mapped()));
  }
  if (stream.wanted <= *stream.seen) return;
  owner_.unreadable({conversation, stream.wanted});
  next(conversation, stream, stream.wanted, {});
}

void Streams::next(const ConversationId& conversation, Stream& stream, Seq seq, Held held) {
  if (held.event) {
    owner_.deliver(std::move(held.event), held.bytes);
  } else {
    owner_.seen(conversation, seq);
  }
  stream.seen = seq;
}

void Streams::hold(Stream& stream, Seq seq, Held held) {
  if (held_bytes_ + held.bytes > held_limit_) return;
  const std::size_t bytes = held.bytes;
  if (stream.held.try_emplace(seq, std::move(held)).second) held_bytes_ += bytes;
}

void Streams::release(const ConversationId& conversation, Stream& stream) {
  while (!stream.held.empty() && stream.held.begin()->first <= *stream.seen + 1) {
    auto first = stream.held.extract(stream.held.begin());
    held_bytes_ -= first.mapped().bytes;
    if (first.key() > *stream.seen) next(conversation, stream, first.key(), std::move(first.mapped()));
  }
}

void Streams::pull(const ConversationId& conversation, Stream& stream, bool later, std::chrono::milliseconds spread) {
  if (stream.pulling) return;
  stream.pulling = true;
  ++pulling_;
  owner_.pull(conversation, *stream.seen, later, spread);
}

}  // namespace client
}  // namespace v1
}  // namespace chatcore
