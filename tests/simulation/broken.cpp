#include "simulation/broken.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/checkpoint.h"
#include "protocol/codec.h"
#include "protocol/record.h"
#include "protocol/rows.h"

namespace simulation {
namespace {

// A storage that passes everything on. What derives from it lies in one way.
class Through : public Storage {
 public:
  Through(std::unique_ptr<Storage> inner, Disk& disk) : inner_(std::move(inner)), disk_(disk) {}
  Result<StoreInfo> open(Durability wanted) override { return inner_->open(wanted); }
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    return inner_->commit(changes, outcome);
  }
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    return inner_->events(partition, log, start, direction, limit);
  }
  Result<std::optional<Row>> row(std::string_view partition, Table table, std::string_view key) override {
    return inner_->row(partition, table, key);
  }
  Result<RowPage> rows(std::string_view partition, Table table, std::string_view after, PageLimit limit) override {
    return inner_->rows(partition, table, after, limit);
  }
  Result<FeedPage> feed(std::uint64_t after, PageLimit limit) override { return inner_->feed(after, limit); }

 protected:
  const std::unique_ptr<Storage> inner_;
  Disk& disk_;
};

template <class Wrapper>
class BrokenStorage final : public Broken {
 public:
  std::unique_ptr<Storage> storage(std::unique_ptr<Storage> inner, Disk& disk) override {
    return std::make_unique<Wrapper>(std::move(inner), disk);
  }
};

bool is_conversation(std::string_view partition) { return partition.starts_with("c:"); }

// Says "done" first and writes with the next commit.
class AcknowledgesEarly final : public Through {
 public:
  using Through::Through;
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    for (const Kept& change : std::exchange(waiting_, {})) {
      const Change view = change.view();
      Status ignored(ErrorCode::unknown_outcome, "");
      inner_->commit({&view, 1}, {&ignored, 1});
    }
    const bool conversations =
        std::all_of(changes.begin(), changes.end(), [](const Change& c) { return is_conversation(c.partition); });
    if (!conversations) return inner_->commit(changes, outcome);
    for (const Change& change : changes) waiting_.emplace_back(change);
    for (Status& status : outcome) status = {};
    return {disk_.last_batch() + 1};
  }

 private:
  std::vector<Kept> waiting_;
};

// A conversation that is read again has no keys.
class ForgetsKeys final : public Through {
 public:
  using Through::Through;
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    auto page = inner_->events(partition, log, start, direction, limit);
    if (!page || direction != Direction::backward || limit.rows != 256) return page;  // the tail that holds them
    for (auto& [seq, bytes] : page->events) {
      auto record = protocol::decode_record(bytes);
      if (!record) continue;
      protocol::Origin origin = record->origin;
      origin.key = {};
      bytes = protocol::encode_record(record->event, origin);
    }
    return page;
  }
};

// A page begins one event too late.
class SkipsOne final : public Through {
 public:
  using Through::Through;
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    const bool is_page = direction == Direction::forward && limit.rows > 1 && start > 1;
    return inner_->events(partition, log, is_page ? start + 1 : start, direction, limit);
  }
};

// After a commit of unknown outcome, the head is still taken for what it was.
class ReusesSeqs final : public Through {
 public:
  using Through::Through;
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    CommitInfo info = inner_->commit(changes, outcome);
    for (std::size_t i = 0; i < changes.size(); ++i) {
      if (!is_conversation(changes[i].partition)) continue;
      const std::string partition(changes[i].partition);
      const auto stale = stale_.find(partition);
      if (!outcome[i] && outcome[i].error().code == ErrorCode::unknown_outcome) {
        stale_.emplace(partition, changes[i].expected_head);
      } else if (stale != stale_.end() && changes[i].expected_head == stale->second) {
        disk_.put(changes[i]);
        outcome[i] = {};
        info.batch = disk_.last_batch();
        stale_.erase(stale);
      }
    }
    return info;
  }
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    auto page = inner_->events(partition, log, start, direction, limit);
    const auto stale = stale_.find(std::string(partition));
    if (!page || stale == stale_.end()) return page;
    page->head = stale->second;
    std::erase_if(page->events, [&](const auto& event) { return event.first > stale->second; });
    return page;
  }

 private:
  std::map<std::string, Seq> stale_;
};

// After a crash there is nothing to write again.
class RecoversNothing final : public Through {
 public:
  using Through::Through;
  Result<FeedPage> feed(std::uint64_t after, PageLimit) override { return FeedPage{.oldest = 1, .next = after}; }
};

// A change whose events can be exchanged for others.
struct Altered {
  explicit Altered(const Change& c) : change(c), events(c.events.begin(), c.events.end()) {}
  Change view() const {
    Change view = change;
    view.events = events;
    return view;
  }
  Change change;
  std::vector<StoredEvent> events;
};

CommitInfo commit_altered(Storage& storage, const std::vector<Altered>& altered, std::span<Status> outcome) {
  std::vector<Change> changes;
  for (const Altered& one : altered) changes.push_back(one.view());
  return storage.commit(changes, outcome);
}

// The first events of two conversations in one commit change places.
class SwapsTwo final : public Through {
 public:
  using Through::Through;
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    std::vector<Altered> altered(changes.begin(), changes.end());
    StoredEvent* first = nullptr;
    for (Altered& one : altered) {
      if (!is_conversation(one.change.partition) || one.events.empty()) continue;
      if (!first) {
        first = &one.events.front();
      } else {
        std::swap(first->bytes, one.events.front().bytes);
        break;
      }
    }
    return commit_altered(*inner_, altered, outcome);
  }
};

// A message that is deleted keeps its row.
class KeepsTheText final : public Through {
 public:
  using Through::Through;
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    std::vector<Altered> altered(changes.begin(), changes.end());
    for (Altered& one : altered) {
      std::erase_if(one.events, [&](const StoredEvent& event) {
        const auto decoded = decode_event(event.bytes);
        const auto* posted = decoded ? decoded->as<MessagePosted>() : nullptr;
        return event.seq <= one.change.expected_head && posted && posted->deleted;
      });
    }
    return commit_altered(*inner_, altered, outcome);
  }
};

// What became of the first change counts for all.
class OneOutcomeForAll final : public Through {
 public:
  using Through::Through;
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    CommitInfo info = inner_->commit(changes, outcome);
    for (Status& status : outcome) status = outcome.front();
    if (outcome.front() && info.batch == 0) info.batch = disk_.last_batch();
    return info;
  }
};

// What was not done is readable all the same.
class ReadsTooFar final : public Through {
 public:
  using Through::Through;
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    const CommitInfo info = inner_->commit(changes, outcome);
    for (std::size_t i = 0; i < changes.size(); ++i) {
      if (!is_conversation(changes[i].partition)) continue;
      const std::string partition(changes[i].partition);
      undone_.erase(partition);
      if (!outcome[i]) undone_.emplace(partition, Kept(changes[i]));
    }
    return info;
  }
  Result<EventPage> events(std::string_view partition, Log log, Seq start, Direction direction,
                           PageLimit limit) override {
    auto page = inner_->events(partition, log, start, direction, limit);
    const auto undone = undone_.find(std::string(partition));
    if (!page || page->more || undone == undone_.end() || page->head != undone->second.expected_head) return page;
    page->head = undone->second.new_head;
    for (const StoredEvent& event : undone->second.events) {
      const bool inside = direction == Direction::forward ? event.seq >= start : event.seq <= start;
      if (event.log != log || !inside || event.seq <= undone->second.expected_head) continue;
      const auto at = direction == Direction::forward ? page->events.end() : page->events.begin();
      page->events.emplace(at, event.seq, Bytes(event.bytes.begin(), event.bytes.end()));
    }
    return page;
  }

 private:
  std::map<std::string, Kept> undone_;
};

// Who has left is a member to whoever reads the members.
class NobodyLeaves final : public Through {
 public:
  using Through::Through;
  Result<RowPage> rows(std::string_view partition, Table table, std::string_view after, PageLimit limit) override {
    auto page = inner_->rows(partition, table, after, limit);
    if (!page || table != Table::members) return page;
    for (Row& row : page->rows) {
      auto member = protocol::decode_row<protocol::MemberRow>(*row.value);
      if (!member || !member->former) continue;
      member->former = false;
      if (!member->intervals.empty()) member->intervals.back().to = 0;
      row.value = protocol::encode_row(*member);
    }
    return page;
  }
};

// What is refused is written.
class WritesWhatItRefuses final : public Through {
 public:
  using Through::Through;
  CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
    const CommitInfo info = inner_->commit(changes, outcome);
    for (std::size_t i = 0; i < changes.size(); ++i) {
      const bool refused = !outcome[i] && (outcome[i].error().code == ErrorCode::storage_full ||
                                           outcome[i].error().code == ErrorCode::storage_unavailable);
      if (refused && is_conversation(changes[i].partition)) disk_.put(changes[i]);
    }
    return info;
  }
};

// A suffix is lost and nobody is told.
class KeepsItsEpoch final : public Through {
 public:
  using Through::Through;
  Result<StoreInfo> open(Durability wanted) override {
    auto info = inner_->open(wanted);
    if (info) info->epoch = "always the same";
    return info;
  }
};

// ---- on the way to a client

// Of what a connection is sent, the first event is left out.
class DropsOne final : public Broken {
 public:
  std::vector<Frame> to_client(std::uint64_t connection, const Frame& frame, Disk&) override {
    const auto decoded = protocol::decode_server_frame(*frame);
    const auto* push = decoded ? std::get_if<Push>(&*decoded) : nullptr;
    if (push && push->event() && dropped_.insert(connection).second) return {};
    return {frame};
  }

 private:
  std::set<std::uint64_t> dropped_;
};

// A checkpoint goes ahead of what it covers.
class ChecksTooEarly final : public Broken {
 public:
  std::vector<Frame> to_client(std::uint64_t, const Frame& frame, Disk& disk) override {
    const auto decoded = protocol::decode_server_frame(*frame);
    const auto* push = decoded ? std::get_if<Push>(&*decoded) : nullptr;
    if (!push || !push->event()) return {frame};
    const core::Place place{"life" + std::to_string(disk.losses()), disk.last_batch()};
    return {std::make_shared<const Bytes>(protocol::encode_checkpoint(core::to_checkpoint(place))), frame};
  }
};

// A client comes back with a checkpoint that does not cover what it has shown.
class ComesBackTooFar final : public Broken {
 public:
  Checkpoint kept(unsigned device, Checkpoint checkpoint, Disk& disk) override {
    return first_.try_emplace({device, disk.losses()}, std::move(checkpoint)).first->second;
  }

 private:
  std::map<std::pair<unsigned, unsigned>, Checkpoint> first_;  // of each life of the disk
};

class RevokesNothing final : public Broken {
 public:
  bool revokes() override { return false; }
};

class AsksNobody final : public Broken {
 public:
  bool asks_its_policy() override { return false; }
};

// ---- to whom who is not pushed everything, and to the host's table

// It is said to be live again from a seq on, and that one is pushed to nobody: as if the session's own shard decided.
class LiveTooEarly final : public Broken {
 public:
  void was_read(unsigned device, const ConversationId& id, const SyncPage& page) override {
    if (page.live_from != 0) live_from_[{device, id}] = page.live_from;
  }
  bool gives(unsigned device, const Push& push) override {
    const Event* event = push.event();
    if (!event) return true;
    const auto found = live_from_.find({device, event->conversation});
    if (found == live_from_.end() || event->seq < found->second) return true;
    const bool in_between = event->seq == found->second;
    live_from_.erase(found);
    return !in_between;
  }

 private:
  std::map<std::pair<unsigned, ConversationId>, Seq> live_from_;
};

// Who was told of a conversation is not told again until he is pushed to again.
class TellsOnce final : public Broken {
 public:
  void was_read(unsigned device, const ConversationId& id, const SyncPage& page) override {
    if (page.live_from != 0) told_.erase({device, id});
  }
  bool gives(unsigned device, const Push& push) override {
    const auto* moved = push.as<HeadMoved>();
    return !moved || told_.insert({device, moved->conversation}).second;
  }

 private:
  std::set<std::pair<unsigned, ConversationId>> told_;
};

// The event at which the fan-out of a conversation changes is pushed to nobody.
class LosesCrossings final : public Broken {
 public:
  std::unique_ptr<Storage> storage(std::unique_ptr<Storage> inner, Disk& disk) override {
    return std::make_unique<Watching>(std::move(inner), disk, crossings_);
  }
  std::vector<Frame> to_client(std::uint64_t, const Frame& frame, Disk&) override {
    const auto place = protocol::place_of(*frame);
    if (crossings_.contains({std::string(place.conversation), place.seq})) return {};
    return {frame};
  }
  bool gives(unsigned, const Push& push) override {
    const Event* event = push.event();
    return !event || !crossings_.contains({event->conversation.string(), event->seq});
  }

 private:
  using Crossings = std::set<std::pair<std::string, Seq>>;
  class Watching final : public Through {
   public:
    Watching(std::unique_ptr<Storage> inner, Disk& disk, Crossings& crossings)
        : Through(std::move(inner), disk), crossings_(crossings) {}
    CommitInfo commit(std::span<const Change> changes, std::span<Status> outcome) override {
      for (const Change& change : changes) {
        for (const Row& row : change.rows) {
          if (row.table != Table::settings || !row.value || !is_conversation(change.partition)) continue;
          const auto state = protocol::decode_row<protocol::ConversationRow>(*row.value);
          if (state && state->crossed > change.expected_head) {
            crossings_.insert({std::string(change.partition.substr(2)), state->crossed});
          }
        }
      }
      return inner_->commit(changes, outcome);
    }

   private:
    Crossings& crossings_;
  };
  Crossings crossings_;
};

// For some steps after the host's table has changed, pushes leave under the old one.
class LearnsLate final : public Broken {
 public:
  unsigned told_after() override { return 30; }
};

template <class Kind>
std::unique_ptr<Broken> make() {
  if constexpr (std::is_base_of_v<Broken, Kind>) {
    return std::make_unique<Kind>();
  } else {
    return std::make_unique<BrokenStorage<Kind>>();
  }
}

}  // namespace

const std::vector<BrokenKind>& broken_kinds() {
  using enum Promise;
  static const std::vector<BrokenKind> kinds = {
      {"acknowledges-early", "an acknowledgement before its commit", {acknowledged}, make<AcknowledgesEarly>},
      {"forgets-a-key", "a key that is forgotten", {acknowledged, crash}, make<ForgetsKeys>},
      {"resume-drops-one", "a resume that drops an event", {resume}, make<DropsOne>},
      {"checkpoint-too-early", "a checkpoint that is sent too early", {resume}, make<ChecksTooEarly>},
      {"page-off-by-one", "a page that is off by one", {resume}, make<SkipsOne>},
      {"seq-reused",
       "a seq that is given out again after an unknown commit",
       {seqs, acknowledged, crash, resume},
       make<ReusesSeqs>},
      {"inbox-not-recovered",
       "an inbox entry that is not written again after a crash",
       {resume, list},
       make<RecoversNothing>},
      {"two-swapped", "two conversations that are swapped in one commit", {seqs}, make<SwapsTwo>},
      {"one-outcome-for-all", "the outcome of one change taken for all", {acknowledged, crash}, make<OneOutcomeForAll>},
      {"reads-too-far", "a read above the durable head", {acknowledged}, make<ReadsTooFar>},
      {"shown-after-leaving", "an event to one who has left", {privacy}, make<NobodyLeaves>},
      {"deleted-text-stays", "a deletion that leaves its text", {deletion}, make<KeepsTheText>},
      {"refused-is-written", "a refused commit that appears", {crash, resume}, make<WritesWhatItRefuses>},
      {"epoch-stays", "a lost suffix that nobody is told of", {once, resume}, make<KeepsItsEpoch>},
      {"revokes-nothing", "a revoked login that goes on", {privacy}, make<RevokesNothing>},
      {"policy-ignored", "a policy that is not asked", {privacy, seqs, acknowledged, crash}, make<AsksNobody>},
      {"live-on-session-shard",
       "a session that is said to be live again before it is pushed to",
       {resume},
       make<LiveTooEarly>},
      {"notice-not-renewed", "a notice that is not renewed until it is followed", {resume}, make<TellsOnce>},
      {"crossing-event-lost", "the event at which a fan-out changes, pushed to nobody", {resume}, make<LosesCrossings>},
      {"push-after-membership-changed", "a push that leaves under an old table", {privacy}, make<LearnsLate>},
      {"shown-twice", "a message that an application is shown twice", {once, resume}, make<ComesBackTooFar>},
  };
  return kinds;
}

}  // namespace simulation
