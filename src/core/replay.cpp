#include "core/replay.h"

#include <algorithm>

#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {
constexpr std::size_t most_collected = 256;
constexpr std::uint32_t page_events = 100;
}  // namespace

void Replay::collect(const std::vector<Publication>& publications) {
  for (const Publication& publication : publications) {
    const Membership* reader = publication.to->find(user_);
    if (!reader || !reader->active()) continue;
    if (frames.size() >= most_collected) {
      overflowed = true;
      return;
    }
    frames.emplace_back(publication.seq, publication.shown_to(user_));
  }
}

void Conversation::replay(const UserId& user, ReplayFrom from, Function<void(Result<Replayed>)> done) {
  when_ready([self = shared_from_this(), user, from, done = std::move(done)](Status ready) mutable {
    if (!ready) return done(ready.error());
    const Seq head = self->durable_.head;
    auto visible = self->visible_to({.user = user});
    if (!visible || (from.after && *from.after >= head)) return done(Replayed{.covers_to = head, .live = true});
    auto replay = std::make_shared<Replay>(user);
    self->replays_.push_back(replay);
    ReadRange range{.direction = Direction::forward,
                    .head = head,
                    .limit = page_events,
                    .bytes = page_bytes(self->shard_.core().limits),
                    .reader = user,
                    .intervals = std::move(*visible)};
    self->shard_.core().store->read(
        self->shard_,
        [partition = self->partition_, from, range = std::move(range)](Storage& storage) mutable -> Result<ReadPage> {
          if (!from.after) {
            auto covered = covered_by(storage, partition, from.batch, range.head);
            if (!covered) return covered.error();
            from.after = *covered;
          }
          range.start = *from.after + 1;
          if (range.start > range.head) return ReadPage{.covers_to = range.head};
          return read_all(storage, partition, range);
        },
        [self, replay, done = std::move(done)](Result<ReadPage> page) mutable {
          std::erase(self->replays_, replay);
          if (!page) return done(page.error());
          Replayed replayed{.covers_to = page->covers_to};
          for (const auto& [seq, event] : page->events) {
            replayed.frames.emplace_back(seq, std::make_shared<const Bytes>(protocol::encode_event_push(event)));
          }
          if (!page->more && !replay->overflowed) {
            std::move(replay->frames.begin(), replay->frames.end(), std::back_inserter(replayed.frames));
            replayed.covers_to = self->durable_.head;
            replayed.live = true;
          }
          done(std::move(replayed));
        });
  });
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
