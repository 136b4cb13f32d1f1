#include <algorithm>
#include <utility>

#include "core/conversation.h"
#include "core/hub.h"
#include "core/replay.h"
#include "core/shard.h"

// The second half of the writer: from the seq that is given out to the event that is published.

namespace chatcore {
inline namespace v1 {
namespace core {

Frame Publication::shown_to(const UserId& user) const {
  if (blind) {
    const Membership* reader = to->find(user);
    if (!reader || !reader->sees(target)) return blind;
  }
  if (key.empty() || sender != user) return frame;
  return std::make_shared<const Bytes>(protocol::push_with_key(*frame, key));
}

// ---- the seq is given out

void Conversation::assign(Attempt attempt, Draft& draft) {
  const Core& core = shard_.core();
  if (!next_.change) {
    next_.change = std::make_shared<OwnedChange>();
    next_.change->partition = partition_;
    next_.change->expected_head = assigned_.head;
    next_.waiters.reserve(8);
    next_.publications.reserve(8);
  }
  const Seq first = assigned_.head + 1;
  const TimePoint wall = core.clock->wall();
  const std::uint64_t now = core.now();
  RosterPtr before = assigned_.roster;
  if (draft.after_) {
    const Seq head = assigned_.head;
    assigned_ = std::move(*draft.after_);
    assigned_.head = head;
  }
  const RosterPtr audience = audience_of(core, before, assigned_.roster, assigned_.head);
  if (draft.replaced_) replace_target(draft);
  for (auto& fresh : draft.events_) {
    Event event{id_, ++assigned_.head, attempt.by.who.user, wall, std::move(fresh.body), {}};
    protocol::Origin origin{.age = now, .floor = floor_, .base = durable_.head};
    if (event.seq == first) {
      origin.key = std::move(attempt.key);
      origin.digest = attempt.digest;
    }
    Frame frame = std::make_shared<const Bytes>(protocol::encode_event_push(event));
    next_.change->events.push_back({fresh.log, event.seq, protocol::encode_record(protocol::event_in(*frame), origin)});
    Publication publication{.frame = std::move(frame),
                            .sender = attempt.by.who.user,
                            .key = origin.key,
                            .session = attempt.by.session,
                            .seq = event.seq,
                            .age = origin.age,
                            .to = audience};
    if (const auto* changed = event.as<MessageChanged>()) {
      publication.target = changed->target;
      const auto& all = audience->all();
      if (std::any_of(all.begin(), all.end(),
                      [&](const Membership& m) { return m.active() && !m.sees(changed->target); })) {
        publication.blind = publication.frame;
      }
      show_changed(publication, std::move(event), *draft.replaced_);
    }
    if (publication.seq == first) attempt.key = std::move(origin.key);
    next_.publications.push_back(std::move(publication));
  }
  std::move(draft.rows_.begin(), draft.rows_.end(), std::back_inserter(next_.change->rows));
  keys_.use(attempt.by.who.user, attempt.key, {first, wall, attempt.digest, now});
  keys_.spill(durable_.head, now, next_.change->rows);
  next_.change->new_head = assigned_.head;
  next_.after = assigned_;
  next_.waiters.push_back({std::move(attempt.reply), Accepted{id_, first, wall, core.durability, false},
                           attempt.by.who.user, std::move(attempt.key)});
  if (!flying_.change && !std::exchange(is_changed_, true)) shard_.changed(shared_from_this());
}

// A change is shown with what it made, stored without.
void Conversation::show_changed(Publication& publication, Event event, const MessagePosted& now) const {
  MessageChanged shown = *event.as<MessageChanged>();
  shown.now = now;
  event.body = std::move(shown);
  publication.frame = std::make_shared<const Bytes>(protocol::encode_event_push(event));
}

// The target's own row gets its new state, and keeps the key and digest that made it. Changes to it in the same commit
// show that state too: what is deleted by then is in none of them.
void Conversation::replace_target(Draft& draft) {
  ++rewrites_;
  Event event = draft.target_->event;
  event.body = *draft.replaced_;
  const Bytes bytes = protocol::encode(event);
  Bytes record = protocol::encode_record(bytes, draft.target_->origin);
  for (Publication& publication : next_.publications) {
    if (publication.target != event.seq) continue;
    for (const OwnedEvent& change : next_.change->events) {
      if (change.seq != publication.seq) continue;
      const auto stored = protocol::decode_record(change.bytes);
      auto changed = stored ? protocol::decode<Event>(stored->event) : stored.error();
      if (changed) show_changed(publication, std::move(*changed), *draft.replaced_);
    }
  }
  for (OwnedEvent& waiting : next_.change->events) {
    if (waiting.seq != event.seq) continue;
    waiting.bytes = std::move(record);
    for (Publication& publication : next_.publications) {
      if (publication.seq != event.seq) continue;
      publication.frame = std::make_shared<const Bytes>(protocol::encode_event_push(bytes));
    }
    return;
  }
  next_.change->events.push_back({Log::messages, event.seq, std::move(record)});
}

// ---- the store, and what comes back

void Conversation::submit() {
  is_changed_ = false;
  if (flying_.change || !next_.change) return;
  flying_ = std::exchange(next_, {});
  shard_.core().store->submit(
      shard_, flying_.change,
      [self = shared_from_this()](const Status& status, std::uint64_t batch) { self->committed(status, batch); });
}

void Conversation::committed(const Status& status, std::uint64_t batch) {
  Pending done = std::exchange(flying_, {});
  if (!status) {
    const Error& error = status.error();
    const bool other_writer = error.code == ErrorCode::conflict;
    if (error.code == ErrorCode::unknown_outcome) floor_unknown_ = true;
    ++generation_;
    assigned_ = durable_;
    Pending behind = std::exchange(next_, {});
    load();
    fail(std::move(done), other_writer ? Error{ErrorCode::storage_unavailable,
                                               "the conversation was written by someone else meanwhile; retry",
                                               {}}
                                       : error);
    fail(std::move(behind), {ErrorCode::storage_unavailable, "a change before this one failed; retry", {}});
    return;
  }
  durable_ = std::move(done.after);
  floor_ = batch;
  floor_unknown_ = false;
  add(shard_.core().counters.messages, done.publications.size());
  publish(std::move(done.publications), batch);
  // After what is published has been handed over: who asks for his list on hearing of it finds it there.
  shard_.post([waiters = std::move(done.waiters)]() mutable {
    for (Waiter& waiter : waiters) waiter.reply(std::move(waiter.answer));
  });
  if (next_.change && !std::exchange(is_changed_, true)) shard_.changed(shared_from_this());
}

void Conversation::fail(Pending pending, const Error& error) {
  // All are marked before one is answered: an answer may bring the next attempt at once.
  if (error.retryable()) {
    for (const Waiter& waiter : pending.waiters) keys_.failed(waiter.sender, waiter.key);
  }
  for (Waiter& waiter : pending.waiters) waiter.reply(error);
}

void Conversation::refuse(Attempt& attempt, Error error) {
  if (!error.retryable()) {
    keys_.abandon(attempt.by.who.user, attempt.key);
  } else if (error.code != ErrorCode::earlier_failed) {
    keys_.failed(attempt.by.who.user, attempt.key);
  }
  attempt.reply(std::move(error));
}

void Conversation::abandon(const UserId& sender, const IdempotencyKey& key) { keys_.abandon(sender, key); }

void Conversation::publish(std::vector<Publication> list, std::uint64_t batch) {
  for (const auto& replay : replays_) replay->collect(list);
  const auto publications = std::make_shared<const std::vector<Publication>>(std::move(list));
  for (const auto& shard : shard_.core().shards) {
    const bool concerned = std::any_of(publications->begin(), publications->end(),
                                       [&](const Publication& p) { return !p.to->on(shard->index()).empty(); });
    if (!concerned) continue;
    shard->post([&hub = shard->hub(), id = id_, publications, batch] { hub.publish(id, publications, batch); });
  }
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
