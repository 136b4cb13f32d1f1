#include "core/conversation.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/hub.h"
#include "core/replay.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {

constexpr std::uint64_t unused_ms = 10 * 60'000;  // then a conversation leaves memory
constexpr std::chrono::milliseconds empty_for{1000};

// Both those who were there and those who come learn that the members changed.
RosterPtr audience_of(const Core& core, const RosterPtr& before, const RosterPtr& after) {
  if (!before || before == after) return after;
  std::vector<Membership> both = after->all();
  for (Membership& m : both) {
    const Membership* was = before->find(m.user);
    if (was && was->active()) m.row.former = false;
  }
  return std::make_shared<const Roster>(core, std::move(both));
}

Error no_such_conversation() {
  return {ErrorCode::no_such_conversation, "there is no such conversation, or you are not in it", {}};
}

Error key_expired() {
  return {ErrorCode::key_expired,
          "this key is older than the engine remembers: whether it was done can't be told; look in the history and use "
          "a new key",
          {}};
}

}  // namespace

Conversation::Conversation(Shard& shard, const ConversationId& id)
    : shard_(shard), id_(id), partition_("c:" + id.string()) {}

// ---- in memory

void Conversation::when_ready(Function<void(Status)> then) {
  last_used_ = shard_.core().now();
  if (phase_ == Phase::ready) return then(Status());
  waiting_.push_back(std::move(then));
  if (phase_ == Phase::unloaded) load();
}

void Conversation::load() {
  phase_ = Phase::loading;
  shard_.core().store->read(
      shard_,
      [partition = partition_, now = shard_.core().now()](Storage& storage) {
        return load_conversation(storage, partition, now);
      },
      [self = shared_from_this()](Result<LoadedConversation> result) { self->loaded(std::move(result)); });
}

void Conversation::loaded(Result<LoadedConversation> result) {
  auto waiting = std::exchange(waiting_, {});
  if (!result) {
    phase_ = Phase::unloaded;
    for (auto& then : waiting) then(result.error());
    return;
  }
  const bool again = generation_ != 0;
  const Seq known = durable_.head;
  const RosterPtr before = durable_.roster;
  keys_.clear();
  for (const auto& block : result->key_blocks) keys_.load_block(block);
  keys_.has_sources(result->any_sources);
  for (const auto& event : result->tail) {
    keys_.use(event.sender, event.origin.key, {event.seq, event.time, event.origin.digest, event.origin.age});
  }
  durable_ = {.exists = result->exists,
              .head = result->head,
              .oldest = std::max<Seq>(result->oldest, 1),
              .kind = result->conversation.kind,
              .settings = std::make_shared<const ConversationSettings>(std::move(result->conversation.settings)),
              .roster = std::make_shared<const Roster>(shard_.core(), std::move(result->members))};
  assigned_ = durable_;
  // The batch of what landed unnoticed is not known: no event given out now may claim that it covers it.
  floor_ = floor_unknown_ ? std::numeric_limits<std::uint64_t>::max() : shard_.core().store->last_batch();
  phase_ = Phase::ready;
  ++generation_;
  if (!durable_.exists) shard_.conversations().forget_soon(id_);
  if (again && durable_.head > known) {
    // It was never published; whoever is here is told to read it. Its batch may lie before checkpoints that were given
    // out since: for one who comes back with them it counts as newer.
    const Frame frame = std::make_shared<const Bytes>(protocol::encode_head_moved({id_, durable_.head}));
    publish({{.frame = frame,
              .with_key = frame,
              .seq = durable_.head,
              .age = last_used_,
              .to = audience_of(shard_.core(), before, durable_.roster)}},
            shard_.core().store->last_batch() + 1);
  }
  for (auto& then : waiting) then(Status());
}

bool Conversation::idle() const {
  return phase_ != Phase::loading && !flying_.change && !next_.change && waiting_.empty() && held_.empty() &&
         replays_.empty() && !floor_unknown_;
}

Result<std::vector<protocol::Interval>> Conversation::visible_to(const Identity& who) const {
  if (!durable_.exists) return no_such_conversation();
  if (who.trusted) return std::vector<protocol::Interval>{{1, 0}};
  const Membership* member = durable_.roster->find(who.user);
  if (!member) return no_such_conversation();
  return member->row.intervals;
}

// ---- an attempt, step by step

void Conversation::change(Attempt attempt, Apply apply) {
  if (const auto held = held_.find(attempt.by.who.user); held != held_.end()) {
    held->second.behind.push_back(
        [self = shared_from_this(), attempt = std::move(attempt), apply = std::move(apply)]() mutable {
          self->change(std::move(attempt), std::move(apply));
        });
    return;
  }
  when_ready([self = shared_from_this(), attempt = std::move(attempt), apply = std::move(apply)](Status ready) mutable {
    if (!ready) return self->refuse(attempt, ready.error());
    // Once more: another one that waited for the load may have come to a read.
    if (self->held_.contains(attempt.by.who.user)) return self->change(std::move(attempt), std::move(apply));
    self->proceed(std::move(attempt), std::move(apply));
  });
}

template <class Job, class Then>
void Conversation::read_for(Attempt attempt, Apply apply, Job job, Then then) {
  const UserId sender = attempt.by.who.user;
  ++held_[sender].reads;
  shard_.core().store->read(
      shard_, std::move(job),
      [self = shared_from_this(), sender, generation = generation_, attempt = std::move(attempt),
       apply = std::move(apply), then = std::move(then)](auto result) mutable {
        if (self->generation_ == generation && self->phase_ == Phase::ready) {
          then(*self, std::move(attempt), std::move(apply), std::move(result));
          const auto held = self->held_.find(sender);
          if (--held->second.reads > 0) return;
          auto behind = std::move(held->second.behind);
          self->held_.erase(held);
          for (auto& next : behind) next();
        } else {  // what was read may be old by now: from the start, and those behind it behind it
          auto behind = std::move(self->held_[sender].behind);
          self->held_.erase(sender);
          self->change(std::move(attempt), std::move(apply));
          for (auto& next : behind) next();
        }
      });
}

void Conversation::proceed(Attempt attempt, Apply apply) {
  if (attempt.key.empty()) return check_member(std::move(attempt), std::move(apply));
  using What = Keys::Look::What;
  const Keys::Look look = keys_.look(attempt.by.who.user, attempt.key, shard_.core().now());
  switch (look.what) {
    case What::unused:
      return check_member(std::move(attempt), std::move(apply));
    case What::used:
      return repeat(std::move(attempt), *look.recent);
    case What::in_log:
      return look_in_log(std::move(attempt), std::move(apply), look.seq);
    case What::ask_source:
      return ask_source(std::move(attempt), std::move(apply));
    case What::expired:
      return refuse(attempt, key_expired());
    case What::earlier_failed:
      return refuse(attempt, {ErrorCode::earlier_failed,
                              "a request with a smaller number failed: send that one again first, or abandon it",
                              {}});
  }
}

void Conversation::look_in_log(Attempt attempt, Apply apply, Seq seq) {
  read_for(
      std::move(attempt), std::move(apply),
      [partition = partition_, seq](Storage& storage) { return read_event(storage, partition, seq); },
      [seq](Conversation& self, Attempt a, Apply f, Result<std::optional<Bytes>> read) {
        if (!read) return self.refuse(a, read.error());
        if (!*read) return self.refuse(a, key_expired());  // it was trimmed
        const auto record = protocol::decode_record(**read);
        const auto event = record ? protocol::decode<Event>(record->event) : record.error();
        if (!event) return self.refuse(a, event.error());
        const bool same = record->origin.key == a.key && event->sender == a.by.who.user;  // else: the same hash
        const bool forgotten = a.key.number == 0 && record->origin.age + Keys::memory_ms <= self.shard_.core().now();
        if (!same || forgotten) return self.check_member(std::move(a), std::move(f));
        self.repeat(std::move(a), {seq, event->time, record->origin.digest, record->origin.age});
      });
}

void Conversation::ask_source(Attempt attempt, Apply apply) {
  const std::string key = source_row_key(hash_source(attempt.by.who.user, attempt.key.source));
  read_for(
      std::move(attempt), std::move(apply),
      [partition = partition_, key](Storage& storage) { return storage.row(partition, Table::sources, key); },
      [](Conversation& self, Attempt a, Apply f, Result<std::optional<Row>> row) {
        if (!row) return self.refuse(a, row.error());
        std::uint64_t number = 0;
        if (*row) {
          const auto source = protocol::decode_row<protocol::SourceRow>(*(*row)->value);
          if (!source) return self.refuse(a, source.error());
          number = source->number;
        }
        // One that never wrote here leaves nothing behind until it does.
        if (number == 0) return self.check_member(std::move(a), std::move(f));
        self.keys_.source_read(a.by.who.user, a.key.source, number);
        self.proceed(std::move(a), std::move(f));
      });
}

void Conversation::repeat(Attempt attempt, const Keys::Used& used) {
  if (used.digest != attempt.digest) {
    return refuse(attempt, {ErrorCode::conflict, "this key was used for another request: use a new one", {}});
  }
  add(shard_.core().counters.duplicates);
  keys_.abandon(attempt.by.who.user, attempt.key);
  Accepted answer{id_, used.seq, used.time, shard_.core().durability, true};
  for (Pending* pending : {&next_, &flying_}) {
    if (pending->change && used.seq > pending->change->expected_head) {
      // The first attempt is still under way: both learn together what became of it.
      pending->waiters.push_back({std::move(attempt.reply), answer, attempt.by.who.user, attempt.key});
      return;
    }
  }
  attempt.reply(std::move(answer));
}

void Conversation::check_member(Attempt attempt, Apply apply) {
  if (attempt.from == Attempt::From::members) {
    if (!assigned_.exists) return refuse(attempt, no_such_conversation());
    if (!attempt.by.who.trusted) {
      const Membership* member = assigned_.roster->find(attempt.by.who.user);
      if (!member) return refuse(attempt, no_such_conversation());
      if (!member->active()) {
        return refuse(attempt, {ErrorCode::forbidden, "you are no longer in this conversation", {}});
      }
    }
  }
  if (attempt.target != 0) return read_target(std::move(attempt), std::move(apply));
  this->apply(std::move(attempt), std::move(apply), {});
}

// A row that is being written is not yet what the store would say.
const Bytes* Conversation::unwritten(Seq seq) const {
  for (const Pending* pending : {&next_, &flying_}) {
    if (!pending->change) continue;
    for (const OwnedEvent& event : pending->change->events) {
      if (event.seq == seq) return &event.bytes;
    }
  }
  return nullptr;
}

void Conversation::read_target(Attempt attempt, Apply apply) {
  const auto decode = [](const Bytes& bytes) -> Result<std::optional<StoredMessage>> {
    auto record = protocol::decode_record(bytes);
    if (!record) return record.error();
    auto event = protocol::decode<Event>(record->event);
    if (!event) return event.error();
    return std::optional(StoredMessage{std::move(*event), std::move(record->origin)});
  };
  const Seq target = attempt.target;
  if (const Bytes* bytes = unwritten(target)) {
    auto message = decode(*bytes);
    if (!message) return refuse(attempt, message.error());
    return this->apply(std::move(attempt), std::move(apply), std::move(*message));
  }
  read_for(
      std::move(attempt), std::move(apply),
      [partition = partition_, target, decode](Storage& storage) -> Result<std::optional<StoredMessage>> {
        auto bytes = read_event(storage, partition, target);
        if (!bytes) return bytes.error();
        if (!*bytes) return std::optional<StoredMessage>();
        return decode(**bytes);
      },
      [rewrites = rewrites_](Conversation& self, Attempt a, Apply f, Result<std::optional<StoredMessage>> message) {
        if (!message) return self.refuse(a, message.error());
        if (self.rewrites_ != rewrites) return self.check_member(std::move(a), std::move(f));
        self.apply(std::move(a), std::move(f), std::move(*message));
      });
}

void Conversation::apply(Attempt attempt, Apply apply, std::optional<StoredMessage> target) {
  Draft draft(shard_.core(), id_, attempt.by, assigned_);
  draft.target_ = std::move(target);
  if (Status applied = apply(draft); !applied) return refuse(attempt, applied.error());
  if (draft.events_.empty()) {
    // Nothing to change; what it found so may still be under way.
    Accepted answer{id_, 0, shard_.core().clock->wall(), shard_.core().durability, false};
    Pending& last = next_.change ? next_ : flying_;
    keys_.abandon(attempt.by.who.user, attempt.key);
    if (!last.change) return attempt.reply(std::move(answer));
    last.waiters.push_back({std::move(attempt.reply), answer, attempt.by.who.user, std::move(attempt.key)});
    return;
  }
  assign(std::move(attempt), draft);
}

const Frame& Publication::shown_to(const UserId& user) const {
  if (blind) {
    const Membership* reader = to->find(user);
    if (!reader || !reader->sees(target)) return blind;
  }
  return sender == user ? with_key : frame;
}

// ---- the seq is given out

void Conversation::assign(Attempt attempt, Draft& draft) {
  const Core& core = shard_.core();
  if (!next_.change) {
    next_.change = std::make_shared<OwnedChange>();
    next_.change->partition = partition_;
    next_.change->expected_head = assigned_.head;
  }
  const Seq first = assigned_.head + 1;
  const TimePoint wall = core.clock->wall();
  RosterPtr before = assigned_.roster;
  if (draft.after_) {
    const Seq head = assigned_.head;
    assigned_ = std::move(*draft.after_);
    assigned_.head = head;
  }
  const RosterPtr audience = audience_of(core, before, assigned_.roster);
  if (draft.replaced_) replace_target(draft);
  for (auto& fresh : draft.events_) {
    Event event{id_, ++assigned_.head, attempt.by.who.user, wall, std::move(fresh.body), {}};
    protocol::Origin origin{.age = core.now(), .floor = floor_, .base = durable_.head};
    if (event.seq == first) {
      origin.key = attempt.key;
      origin.digest = attempt.digest;
    }
    const Bytes bytes = protocol::encode(event);
    next_.change->events.push_back({fresh.log, event.seq, protocol::encode_record(bytes, origin)});
    Publication publication{.frame = std::make_shared<const Bytes>(protocol::encode_event_push(bytes)),
                            .sender = attempt.by.who.user,
                            .session = attempt.by.session,
                            .seq = event.seq,
                            .age = origin.age,
                            .to = audience};
    publication.with_key = origin.key.empty()
                               ? publication.frame
                               : std::make_shared<const Bytes>(protocol::encode_event_push(bytes, origin.key));
    if (const auto* changed = event.as<MessageChanged>()) {
      publication.target = changed->target;
      const auto& all = audience->all();
      if (std::any_of(all.begin(), all.end(),
                      [&](const Membership& m) { return m.active() && !m.sees(changed->target); })) {
        publication.blind = publication.frame;
      }
      show_changed(publication, std::move(event), *draft.replaced_, origin.key);
    }
    next_.publications.push_back(std::move(publication));
  }
  std::move(draft.rows_.begin(), draft.rows_.end(), std::back_inserter(next_.change->rows));
  const std::uint64_t now = core.now();
  keys_.use(attempt.by.who.user, attempt.key, {first, wall, attempt.digest, now});
  keys_.spill(durable_.head, now, next_.change->rows);
  next_.change->new_head = assigned_.head;
  next_.after = assigned_;
  next_.waiters.push_back({std::move(attempt.reply), Accepted{id_, first, wall, core.durability, false},
                           attempt.by.who.user, std::move(attempt.key)});
  if (!flying_.change && !std::exchange(is_changed_, true)) shard_.changed(shared_from_this());
}

// A change is shown with what it made, stored without.
void Conversation::show_changed(Publication& publication, Event event, const MessagePosted& now,
                                const IdempotencyKey& key) const {
  MessageChanged shown = *event.as<MessageChanged>();
  shown.now = now;
  event.body = std::move(shown);
  const Bytes bytes = protocol::encode(event);
  publication.frame = std::make_shared<const Bytes>(protocol::encode_event_push(bytes));
  publication.with_key =
      key.empty() ? publication.frame : std::make_shared<const Bytes>(protocol::encode_event_push(bytes, key));
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
      if (changed) show_changed(publication, std::move(*changed), *draft.replaced_, stored->origin.key);
    }
  }
  for (OwnedEvent& waiting : next_.change->events) {
    if (waiting.seq != event.seq) continue;
    waiting.bytes = std::move(record);
    for (Publication& publication : next_.publications) {
      if (publication.seq != event.seq) continue;
      publication.frame = std::make_shared<const Bytes>(protocol::encode_event_push(bytes));
      publication.with_key =
          std::make_shared<const Bytes>(protocol::encode_event_push(bytes, draft.target_->origin.key));
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

void Conversation::clear() {
  waiting_.clear();
  held_.clear();
  next_ = {};
  flying_ = {};
}

// ---- those of a shard

std::shared_ptr<Conversation> Conversations::get(const ConversationId& id) {
  auto& conversation = conversations_[id];
  if (!conversation) {
    conversation = std::make_shared<Conversation>(shard_, id);
    add(shard_.core().counters.conversations);
  }
  return conversation;
}

std::shared_ptr<Conversation> Conversations::find(const ConversationId& id) {
  const auto at = conversations_.find(id);
  return at == conversations_.end() ? nullptr : at->second;
}

void Conversations::clear() {
  for (auto& [id, conversation] : conversations_) conversation->clear();
  conversations_.clear();
}

void Conversations::forget_soon(const ConversationId& id) {
  empty_.push_back(id);
  if (empty_.size() > 1) return;
  shard_.after(empty_for, [this] {
    for (const ConversationId& each : std::exchange(empty_, {})) {
      const auto at = conversations_.find(each);
      if (at == conversations_.end() || !at->second->empty()) continue;
      conversations_.erase(at);
      sub(shard_.core().counters.conversations);
    }
  });
}

void Conversations::sweep() {
  const std::uint64_t now = shard_.core().now();
  const auto gone = std::erase_if(conversations_, [&](const auto& entry) {
    return entry.second->idle() && entry.second->last_used() + unused_ms < now;
  });
  sub(shard_.core().counters.conversations, gone);
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
