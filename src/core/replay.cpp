#include "core/replay.h"

#include <algorithm>
#include <iterator>

#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {
constexpr std::size_t most_collected = 256;
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

void Conversation::replay(const Identity& who, ReplayFrom from, Function<void(Result<Replayed>)> done) {
  when_ready([self = shared_from_this(), who, from, done = std::move(done)](Status ready) mutable {
    if (!ready) return done(ready.error());
    auto visible = self->visible_to(who);
    if (!visible) return done(visible.error());
    const Seq head = last_visible(self->durable_.head, *visible);
    if (from.after && *from.after >= head) {
      return done(Replayed{.covers_to = head,
                           .oldest = self->durable_.oldest,
                           .head = head,
                           .intervals = std::move(*visible),
                           .live = true});
    }
    auto replay = std::make_shared<Replay>(who.user);
    self->replays_.push_back(replay);
    ReadRange range{.direction = Direction::forward,
                    .head = head,
                    .limit = from.limit,
                    .bytes = page_bytes(self->shard_.core().limits),
                    .reader = who.user,
                    .intervals = *visible};
    self->shard_.core().store->read(
        self->shard_,
        [partition = self->partition_, from, range = std::move(range)](Storage& storage) mutable -> Result<ReadPage> {
          if (!from.after) {
            auto covered = covered_by(storage, partition, from.batch, range.head);
            if (!covered) return covered.error();
            from.after = *covered;
          }
          range.start = *from.after + 1;
          if (range.start > range.head) return ReadPage{.covers_to = range.head, .oldest = 1};
          return read_all(storage, partition, range);
        },
        [self, who, replay, visible = std::move(*visible), head,
         done = std::move(done)](Result<ReadPage> page) mutable {
          std::erase(self->replays_, replay);
          if (!page) return done(page.error());
          Replayed replayed{.covers_to = page->covers_to,
                            .oldest = std::max<Seq>(page->oldest, 1),
                            .head = head,
                            .intervals = std::move(visible)};
          std::size_t bytes = 0;
          for (const auto& [seq, event] : page->events) {
            replayed.frames.emplace_back(seq, std::make_shared<const Bytes>(protocol::encode_event_push(event)));
            bytes += event.size();
          }
          for (const auto& [seq, frame] : replay->frames) bytes += frame->size();
          if (!page->more && !replay->overflowed && bytes <= self->shard_.core().limits.frame_bytes * 3 / 4) {
            std::move(replay->frames.begin(), replay->frames.end(), std::back_inserter(replayed.frames));
            if (auto now = self->visible_to(who)) replayed.intervals = std::move(*now);
            replayed.covers_to = replayed.head = last_visible(self->durable_.head, replayed.intervals);
            replayed.live = true;
          }
          done(std::move(replayed));
        });
  });
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
