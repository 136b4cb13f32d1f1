#include <algorithm>
#include <limits>
#include <utility>

#include "core/conversation.h"
#include "core/hints.h"
#include "core/hub.h"
#include "core/replay.h"
#include "core/shard.h"

// The second half of the writer: from the seq that is given out to the event that is published.

namespace chatcore {
inline namespace v1 {
namespace core {

Frame Publication::shown_to(const UserId& user, const Intervals* reader) const {
  if (blind) {
    const Participant* member = reader || !to ? nullptr : to->find(user);
    if (reader ? !sees(*reader, target) : !member || !member->sees(target)) return blind;
  }
  if (key.empty() || sender != user) return frame;
  return std::make_shared<const Bytes>(protocol::push_with_key(*frame, key));
}

// ---- the seq is given out

void Conversation::begin_change() {
  if (next_.change) return;
  next_.change = std::make_shared<OwnedChange>();
  next_.change->partition = partition_;
  next_.change->expected_head = next_.change->new_head = assigned_.head;
  for (const UserId& user : unkept_) {  // what an earlier change should have written of the host's members
    const auto flies = std::any_of(flying_.members.begin(), flying_.members.end(),
                                   [&](const Participant& each) { return each.user == user; });
    if (!flies) write_host_row(user, host_rows_[user]);
  }
}

void Conversation::assign(Attempt attempt, Draft& draft) {
  const Core& core = shard_.core();
  if (!next_.change) {
    begin_change();
    next_.waiters.reserve(8);
    next_.publications.reserve(8);
  }
  const Seq first = assigned_.head + 1;
  const TimePoint wall = core.clock->wall();
  const std::uint64_t now = core.now();
  const State before = draft.after_ || !draft.members_.empty() ? assigned_ : State{};
  Fanout fanout = assigned_.on_read ? Fanout::on_read : Fanout::on_write;
  RosterPtr audience = assigned_.roster;
  if (draft.after_ || !draft.members_.empty()) {
    fanout = apply_members(draft);
    audience = this->audience(draft, before, fanout);
  }
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
                            .to = audience,
                            .fanout = fanout,
                            .notify_only = assigned_.settings->notify_only,
                            .asked_at = hosted_ ? asked_at_ : 0};
    if (const auto* changed = event.as<MessageChanged>()) {
      publication.target = changed->target;
      const auto can_see = [&](const Participant& m) { return !m.active() || m.sees(changed->target); };
      if (!audience || !std::all_of(audience->all().begin(), audience->all().end(), can_see)) {
        publication.blind = publication.frame;
      }
      show_changed(publication, std::move(event), *draft.replaced_);
    }
    if (publication.seq == first) attempt.key = std::move(origin.key);
    next_.publications.push_back(std::move(publication));
  }
  std::move(draft.rows_.begin(), draft.rows_.end(), std::back_inserter(next_.change->rows));
  const bool has_event = !draft.events_.empty();
  if (has_event) {
    assigned_.age = now;
    keys_.use(attempt.by.who.user, attempt.key, {first, wall, attempt.digest, now});
  }
  keys_.spill(durable_.head, now, next_.change->rows);
  next_.change->new_head = assigned_.head;
  next_.after = assigned_;
  next_.waiters.push_back({std::move(attempt.reply), Accepted{id_, has_event ? first : 0, wall, core.durability, false},
                           attempt.by.who.user, std::move(attempt.key)});
  if (!flying_.change && !std::exchange(is_changed_, true)) shard_.changed(shared_from_this());
}

// The draft's members and settings become the state that is given out. How it is fanned out follows from their number.
Fanout Conversation::apply_members(Draft& draft) {
  const Core& core = shard_.core();
  const Seq seq = assigned_.head + 1;
  const bool was_on_read = assigned_.on_read;
  State after = draft.after_ ? std::move(*draft.after_) : assigned_;
  after.head = assigned_.head;
  for (const Participant& each : draft.members_) {
    const protocol::MemberRow* before = row_of(assigned_, each.user);
    const auto is_owner = [](const protocol::MemberRow* row) {
      return row && !row->former && row->role == Role::owner ? 1u : 0u;
    };
    after.members = after.members + (each.active() ? 1u : 0u) - (before && !before->former ? 1u : 0u);
    after.owners = after.owners + is_owner(&each.row) - is_owner(before);
  }
  if (!draft.members_.empty()) {
    ++member_changes_;
    if (after.roster) after.roster = with(core, *after.roster, draft.members_);
    if (standby_) standby_ = with(core, *standby_, draft.members_);
    for (const Participant& each : draft.members_) {
      next_.change->rows.push_back(
          {.table = Table::members, .key = each.user.string(), .value = protocol::encode_row(each.row)});
      next_.members.push_back(each);
    }
  }
  Fanout fanout = was_on_read ? Fanout::on_read : Fanout::on_write;
  if (!hosted_ && !was_on_read && after.members > core.limits.fan_out_on_read) {
    fanout = Fanout::crossing_up;
    after.on_read = true;
    crossing_ = std::exchange(after.roster, nullptr);
  } else if (!hosted_ && was_on_read && standby_ && after.members < core.limits.fan_out_on_write) {
    fanout = Fanout::crossing_down;
    after.on_read = false;
    after.roster = std::exchange(standby_, nullptr);
  }
  if (fanout == Fanout::crossing_up || fanout == Fanout::crossing_down) after.crossed = seq;
  if (standby_ && after.members > 2 * core.limits.fan_out_on_write) standby_.reset();
  if (after.on_read) {
    for (const Participant& each : draft.members_) known_.assign(each.user, each.row);
  }
  if (draft.after_ || after.on_read || after.crossed == seq || !assigned_.exists) {
    const protocol::ConversationRow row{.kind = after.kind,
                                        .settings = *after.settings,
                                        .on_read = after.on_read,
                                        .members = after.on_read ? after.members : 0,
                                        .owners = after.on_read ? after.owners : 0,
                                        .crossed = after.crossed};
    next_.change->rows.push_back(
        {.table = Table::settings, .key = std::string(settings_row), .value = protocol::encode_row(row)});
  }
  assigned_ = std::move(after);
  return fanout;
}

// Who learns of a change of members.
RosterPtr Conversation::audience(const Draft& draft, const State& before, Fanout fanout) const {
  const Core& core = shard_.core();
  switch (fanout) {
    case Fanout::on_write:
      return audience_of(core, before.roster, assigned_.roster, before.head);
    case Fanout::on_read: {
      if (draft.members_.empty()) return nullptr;
      std::vector<Participant> rows = draft.members_;
      std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.user < b.user; });
      return std::make_shared<const Roster>(core, std::move(rows), Roster::Reach::all);
    }
    case Fanout::crossing_up:
      return audience_of(core, before.roster, crossing_, before.head);
    case Fanout::crossing_down: {
      const auto nobody = std::make_shared<const Roster>(core, std::vector<Participant>());
      return audience_of(core, nobody, assigned_.roster, before.head);  // and who leaves with it
    }
  }
  return nullptr;
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
  next_.rewrites = true;
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
  const Seq before = durable_.head;
  become_durable(done);
  if (Hints* hints = shard_.core().hints.get(); hints && durable_.head > before) {
    hints->moved({batch, before, durable_.head, id_});
  }
  floor_ = batch;
  if (all_by_ != std::numeric_limits<std::uint64_t>::max()) all_by_ = batch;
  floor_unknown_ = false;
  add(shard_.core().counters.messages, done.publications.size());
  publish(std::move(done.publications), batch);
  // After what is published has been handed over: who asks for his list on hearing of it finds it there.
  shard_.post([waiters = std::move(done.waiters)]() mutable {
    for (Waiter& waiter : waiters) waiter.reply(std::move(waiter.answer));
  });
  if (next_.change && !std::exchange(is_changed_, true)) shard_.changed(shared_from_this());
  if (hinted_head_ > durable_.head && !next_.change) load();
}

void Conversation::become_durable(Pending& done) {
  State after = std::move(done.after);
  if (hosted_) {  // the host's members are no part of it
    after.on_read = durable_.on_read;
    after.roster = durable_.roster;
    after.members = durable_.members;
    after.owners = durable_.owners;
    for (const Participant& each : done.members) unkept_.erase(each.user);
    for (const Participant& each : next_.members) unkept_.insert(each.user);
  } else {
    for (const Participant& each : done.members) known_.committed(each.user, each.row);
  }
  durable_ = std::move(after);
  if (done.rewrites) ++rows_version_;
  weigh();
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
    const bool concerned = std::any_of(publications->begin(), publications->end(), [&](const Publication& p) {
      return p.fanout != Fanout::on_write || !p.to->on(shard->index()).empty();
    });
    if (!concerned) continue;
    shard->post([&hub = shard->hub(), id = id_, publications, batch] { hub.publish(id, publications, batch); });
  }
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
