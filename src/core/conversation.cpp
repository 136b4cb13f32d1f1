#include "core/conversation.h"

#include <algorithm>
#include <array>
#include <limits>
#include <shared_mutex>
#include <utility>

#include "core/go_on.h"
#include "core/hub.h"
#include "core/replay.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {
constexpr std::chrono::milliseconds look_again_after{1000};

Error no_such_conversation() {
  return {ErrorCode::no_such_conversation, "there is no such conversation, or you are not in it", {}};
}

Error key_expired() {
  return {ErrorCode::key_expired,
          "this key is older than the engine remembers: whether it was done can't be told; look in the history and use "
          "a new key",
          {}};
}

constexpr char reserved = '~';  // ids of direct conversations begin with it

bool is_hosted(const Core& core, const ConversationId& id) {
  bool hosted = false;
  if (core.membership && !id.view().starts_with(reserved)) guarded(core, [&] { hosted = core.membership->owns(id); });
  return hosted;
}

}  // namespace

Conversation::Conversation(Shard& shard, const ConversationId& id)
    : shard_(shard),
      id_(id),
      partition_("c:" + id.string()),
      rows_version_(++shard.core().lives << 32),
      hosted_(is_hosted(shard.core(), id)) {}

Conversation::~Conversation() { sub(shard_.core().counters.conversation_bytes, weight_); }

// ---- in memory

void Conversation::weigh() {
  constexpr std::size_t a_member = sizeof(Participant) + sizeof(UserId) + 2 * sizeof(protocol::Interval);
  std::size_t weight = sizeof(Conversation) + 256 + keys_.bytes();
  for (const RosterPtr& roster : {durable_.roster, standby_}) weight += roster ? roster->all().size() * a_member : 0;
  weight += (known_.size() + host_rows_.size()) * (a_member + 64);
  Counters& counters = shard_.core().counters;
  weight > weight_ ? add(counters.conversation_bytes, weight - weight_)
                   : sub(counters.conversation_bytes, weight_ - weight);
  weight_ = weight;
}

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
      [partition = partition_, now = shard_.core().now(),
       known = generation_ != 0 ? std::optional(durable_.head) : std::nullopt](Storage& storage) {
        return load_conversation(storage, partition, now, known);
      },
      [self = shared_from_this()](Result<LoadedConversation> result) { self->loaded(std::move(result)); });
}

// What may have landed is to be told, though nobody asks.
void Conversation::look_again() {
  if (std::exchange(looks_again_, true)) return;
  shard_.after(look_again_after, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->looks_again_ = false;
    if (self->phase_ == Phase::unloaded) self->load();
  });
}

void Conversation::hinted(Seq before, Seq head) {
  if (phase_ != Phase::ready) {
    hinted_ = std::min(before, hinted_.value_or(before));
    hinted_head_ = std::max(hinted_head_, head);  // what is being read may be older
    if (phase_ == Phase::unloaded) generation_ == 0 ? when_ready([](Status) {}) : look_again();
    return;
  }
  show_from(before);
  if (head <= durable_.head) return;
  if (!flying_.change && !next_.change) return load();
  hinted_head_ = std::max(hinted_head_, head);  // mostly what is under way here is refused, and it is read again
}

// It was read, by somebody who asked, before the hint of what it then held: nobody here has been shown that.
void Conversation::show_from(Seq before) {
  if (before >= first_head_) return;
  first_head_ = before;
  publish_unseen(before, durable_.roster, {});
}

void Conversation::loaded(Result<LoadedConversation> result) {
  auto waiting = std::exchange(waiting_, {});
  if (!result) {
    phase_ = Phase::unloaded;
    if (floor_unknown_ || hinted_) look_again();
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
  const auto& stored = result->conversation;
  durable_ = {.exists = result->exists || hosted_,
              .head = result->head,
              .oldest = std::max<Seq>(result->oldest, 1),
              .age = result->tail.empty() ? 0 : result->tail.back().origin.age,
              .kind = result->exists ? stored.kind : ConversationKind::group,
              .settings = std::make_shared<const ConversationSettings>(std::move(result->conversation.settings)),
              .on_read = stored.on_read && !hosted_,
              .members = static_cast<std::uint32_t>(stored.members),
              .owners = static_cast<std::uint32_t>(stored.owners),
              .crossed = stored.crossed};
  RosterPtr moved;
  known_.clear();
  standby_.reset();
  if (hosted_) {
    take_host_rows(std::move(result->members));
  } else if (durable_.on_read) {
    for (const Participant& each : result->members) known_.put(each.user, each.row);
    moved = std::make_shared<const Roster>(shard_.core(), std::move(result->members), Roster::Reach::all);
  } else {
    durable_.roster = std::make_shared<const Roster>(shard_.core(), std::move(result->members));
    durable_.members = durable_.roster->count();
    durable_.owners = durable_.roster->owners();
  }
  assigned_ = durable_;
  ++rows_version_;
  // The batch of what landed unnoticed is not known: no event given out now may claim that it covers it.
  floor_ = floor_unknown_ ? std::numeric_limits<std::uint64_t>::max() : shard_.core().store->last_batch();
  const Store& store = *shard_.core().store;
  const bool any_unknown = store.sure_to() != std::numeric_limits<std::uint64_t>::max();
  all_by_ = any_unknown ? std::numeric_limits<std::uint64_t>::max() : store.last_batch() + 1;
  phase_ = Phase::ready;
  ++generation_;
  weigh();
  if (!durable_.exists) shard_.conversations().forget_soon(id_);
  const auto unseen = std::exchange(hinted_, std::nullopt);
  const Seq hinted_head = std::exchange(hinted_head_, 0);
  if (!again) first_head_ = durable_.head;
  if (again && durable_.head > known) publish_unseen(known, before, moved);
  if (!again && unseen && durable_.head > *unseen) {
    first_head_ = *unseen;
    publish_unseen(*unseen, durable_.roster, moved);
  }
  if (unseen) show_from(*unseen);
  for (auto& then : waiting) then(Status());
  if (phase_ == Phase::ready && hinted_head > durable_.head) hinted(durable_.head, hinted_head);
}

// What landed unnoticed: whoever is here catches up with it. Its batch may lie before checkpoints that were given out
// since: for one who comes back with them it counts as newer.
void Conversation::publish_unseen(Seq known, const RosterPtr& before, const RosterPtr& moved) {
  Publication unseen{.frame = std::make_shared<const Bytes>(protocol::encode_head_moved({id_, durable_.head})),
                     .seq = durable_.head,
                     .age = last_used_,
                     .unseen_from = known};
  const bool was_on_read = !before;
  if (hosted_) {  // whether it still is, the host has to say anew
    unseen.fanout = was_on_read ? Fanout::on_read : Fanout::on_write;
    unseen.to = before;
  } else if (durable_.on_read) {
    unseen.fanout = was_on_read ? Fanout::on_read : Fanout::crossing_up;
    // With those who came by what landed, and those who left.
    unseen.to =
        was_on_read ? moved : audience_of(shard_.core(), before, with(shard_.core(), *before, moved->all()), known);
  } else {
    unseen.fanout = was_on_read && durable_.crossed > known ? Fanout::crossing_down : Fanout::on_write;
    unseen.to = audience_of(shard_.core(), before, durable_.roster, known);
  }
  if (!unseen.to && unseen.fanout != Fanout::on_read) return;
  publish({std::move(unseen)}, shard_.core().store->last_batch() + 1);
}

// The host's own members: what the store has of them, and what it should have.
void Conversation::take_host_rows(std::vector<Participant> stored) {
  auto rows = std::exchange(host_rows_, {});
  auto unkept = std::exchange(unkept_, {});
  for (Participant& each : stored) host_rows_[each.user] = std::move(each.row);
  for (const UserId& user : unkept) {
    protocol::MemberRow row = std::move(rows[user]);
    // What he would have seen last may not have landed.
    if (row.former && !row.intervals.empty()) close_interval(row, std::min(row.intervals.back().to, durable_.head));
    host_rows_[user] = std::move(row);
    unkept_.insert(user);
  }
  host_known_ = false;
  durable_.roster = std::make_shared<const Roster>(shard_.core(), std::vector<Participant>());
}

bool Conversation::idle() const {
  return phase_ != Phase::loading && !flying_.change && !next_.change && waiting_.empty() && held_.empty() &&
         replays_.empty() && !floor_unknown_ && !hinted_ && asked_for_.empty() && unkept_.empty();
}

bool Conversation::rested() const { return idle() && (!limit_ || limit_->is_full(shard_.core().clock->steady())); }

// ---- an attempt, step by step

void Conversation::change(Attempt attempt, Apply apply) {
  if (const auto held = held_.find(attempt.by.who.user); held != held_.end()) {
    held->second.behind.push_back(
        [self = shared_from_this(), attempt = std::move(attempt), apply = std::move(apply)]() mutable {
          self->change(std::move(attempt), std::move(apply));
        });
    return;
  }
  if (phase_ == Phase::ready) {
    last_used_ = shard_.core().now();
    return proceed(std::move(attempt), std::move(apply));
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
  ++held_[attempt.by.who.user].waits;
  shard_.core().store->read(
      shard_, std::move(job),
      [self = shared_from_this(), generation = generation_, attempt = std::move(attempt), apply = std::move(apply),
       then = std::move(then)](auto result) mutable {
        self->go_on(generation, std::move(attempt), std::move(apply),
                    [then = std::move(then), result = std::move(result)](Conversation& c, Attempt a, Apply f) mutable {
                      then(c, std::move(a), std::move(f), std::move(result));
                    });
      });
}

void Conversation::proceed(Attempt attempt, Apply apply) {
  if (attempt.key.empty()) return know(std::move(attempt), std::move(apply));
  using What = Keys::Look::What;
  const Keys::Look look = keys_.look(attempt.by.who.user, attempt.key, shard_.core().now());
  switch (look.what) {
    case What::unused:
      return know(std::move(attempt), std::move(apply));
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
        if (!same || forgotten) return self.know(std::move(a), std::move(f));
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
        if (number == 0) return self.know(std::move(a), std::move(f));
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
      const protocol::MemberRow* row = row_of(assigned_, attempt.by.who.user);
      if (!row || row->intervals.empty()) return refuse(attempt, no_such_conversation());
      if (row->former) {
        return refuse(attempt, {ErrorCode::forbidden, "you are no longer in this conversation", {}});
      }
    }
    if (assigned_.kind == ConversationKind::own) {
      return refuse(attempt, {ErrorCode::forbidden, "a user's own log holds what he marks, and nothing else", {}});
    }
  }
  admit(std::move(attempt), std::move(apply));
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
        if (self.rewrites_ != rewrites) return self.know(std::move(a), std::move(f));
        self.apply(std::move(a), std::move(f), std::move(*message));
      });
}

void Conversation::apply(Attempt attempt, Apply apply, std::optional<StoredMessage> target) {
  Draft draft(shard_.core(), *this, attempt, assigned_);
  draft.target_ = std::move(target);
  // From here to the seq nothing may change in the host's table.
  std::shared_lock table(shard_.core().membership_changes.mutex, std::defer_lock);
  if (hosted_) {
    table.lock();
    const std::array users{attempt.by.who.user};
    if (!knows_now(users) || !moved_now().empty()) {
      table.unlock();
      return know(std::move(attempt), std::move(apply));
    }
  }
  Status applied = apply(draft);
  if (applied && (!draft.events_.empty() || !draft.rows_.empty())) return assign(std::move(attempt), draft);
  if (hosted_) table.unlock();
  if (!applied) return refuse(attempt, applied.error());
  // Nothing to change; what it found so may still be under way.
  Accepted answer{id_, 0, shard_.core().clock->wall(), shard_.core().durability, false};
  Pending& last = next_.change ? next_ : flying_;
  keys_.abandon(attempt.by.who.user, attempt.key);
  if (!last.change) return attempt.reply(std::move(answer));
  last.waiters.push_back({std::move(attempt.reply), answer, attempt.by.who.user, std::move(attempt.key)});
}

void Conversation::clear() {
  waiting_.clear();
  held_.clear();
  askers_.clear();
  asked_for_.clear();
  next_ = {};
  flying_ = {};
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
