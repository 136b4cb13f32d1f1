#include "core/replay.h"

#include <algorithm>
#include <utility>

#include "core/pages.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {
constexpr std::size_t most_collected = 256;
}  // namespace

void Replay::collect(const std::vector<Publication>& publications) {
  for (const Publication& publication : publications) {
    if (!publication.frame) continue;
    const Participant* reader = publication.to ? publication.to->find(user_) : nullptr;
    const bool follows = publication.fanout == Fanout::on_read && standing_.active;
    if (publication.fanout == Fanout::on_read && reader) {
      standing_.active = reader->active();
      standing_.intervals = reader->row.intervals;
    } else if (!follows && (!reader || !reader->active())) {
      continue;
    }
    if (frames.size() >= most_collected || publication.unseen_from) {
      overflowed = true;
      return;
    }
    frames.emplace_back(publication.seq, publication.shown_to(user_, reader ? nullptr : &standing_.intervals));
  }
}

void Conversation::read_page(ReadRange range, bool with_changes, Function<void(Result<ReadPage>)> then) {
  const PageRange stored{.with_changes = with_changes,
                         .start = range.start,
                         .direction = range.direction,
                         .head = durable_.head,
                         .limit = range.limit,
                         .bytes = range.bytes};
  shard_.pages().read(id_, stored, rows_version_,
                      [range = std::move(range), then = std::move(then)](Result<StoredPagePtr> page) mutable {
                        page ? then(shown_to(range, **page)) : then(page.error());
                      });
}

std::uint64_t Conversation::asked_at_of(const UserId& user) const {
  if (!hosted_) return 0;
  return durable_.on_read ? known_.version(user) : asked_at_;
}

void Conversation::replay(const Identity& who, ReplayFrom from, Function<void(Result<Replayed>)> done) {
  read_as(who, [self = shared_from_this(), who, from, done = std::move(done)](Result<Standing> standing) mutable {
    if (!standing) return done(standing.error());
    const Seq head = last_visible(self->durable_.head, standing->intervals);
    const bool nothing_newer = from.after ? *from.after >= head : from.batch >= self->all_by_;
    // Who has left the host's table is pushed nothing any more; he may still read what he could see.
    const bool is_out = self->hosted_ && !standing->active && !from.pulls;
    if (nothing_newer || is_out) return done(self->replayed_to_the_end(who, std::move(*standing)));
    if (self->durable_.settings->notify_only && !from.pulls) {
      Replayed replayed = self->replayed_to_the_end(who, std::move(*standing));
      replayed.notice = true;
      return done(std::move(replayed));
    }
    auto replay = std::make_shared<Replay>(who.user, *standing);
    self->replays_.push_back(replay);
    ReadRange range{.direction = Direction::forward,
                    .head = head,
                    .limit = from.limit,
                    .bytes = page_bytes(self->shard_.core().limits),
                    .reader = who.user,
                    .intervals = std::move(standing->intervals)};
    auto read = [self, who, replay, head, pulls = from.pulls, done = std::move(done)](Result<ReadPage> page) mutable {
      // Once more: what he may see may have ended meanwhile.
      self->read_as(
          who, [self, who, replay, head, pulls, page = std::move(page), done = std::move(done)](Result<Standing> now) mutable {
            std::erase(self->replays_, replay);
            if (!page) return done(page.error());
            if (!now) return done(now.error());
            const bool went = self->hosted_ && !now->active && !pulls;
            if (went) return done(self->replayed_to_the_end(who, std::move(*now)));
            done(self->replayed(who, std::move(*page), std::move(*replay), head, std::move(*now)));
          });
    };
    if (from.after) {
      range.start = *from.after + 1;
      return self->read_page(std::move(range), true, std::move(read));
    }
    self->shard_.core().store->read(
        self->shard_,
        [partition = self->partition_, batch = from.batch, head](Storage& storage) {
          return covered_by(storage, partition, batch, head);
        },
        [self, range = std::move(range), read = std::move(read)](Result<Seq> covered) mutable {
          if (!covered) return read(covered.error());
          range.start = *covered + 1;
          if (range.start > range.head) return read(ReadPage{.covers_to = range.head, .oldest = 1});
          self->read_page(std::move(range), true, std::move(read));
        });
  });
}

// A page, and behind its last one what was published while it was read.
Replayed Conversation::replayed(const Identity& who, ReadPage page, Replay meanwhile, Seq head, Standing now) const {
  std::vector<std::pair<Seq, Frame>> frames;
  std::size_t bytes = 0;
  for (const auto& [seq, event] : page.events) {
    if (!sees(now.intervals, seq)) continue;
    frames.emplace_back(seq, std::make_shared<const Bytes>(protocol::encode_event_push(event)));
    bytes += event.size();
  }
  for (const auto& [seq, frame] : meanwhile.frames) bytes += frame->size();
  if (page.more || meanwhile.overflowed || bytes > shard_.core().limits.frame_bytes * 3 / 4) {
    return {.frames = std::move(frames),
            .covers_to = page.covers_to,
            .oldest = std::max<Seq>(page.oldest, 1),
            .head = head,
            .intervals = std::move(now.intervals),
            .asked_at = asked_at_of(who.user)};
  }
  for (auto& [seq, frame] : meanwhile.frames) {
    if (sees(now.intervals, seq)) frames.emplace_back(seq, std::move(frame));
  }
  Replayed replayed = replayed_to_the_end(who, std::move(now));
  replayed.frames = std::move(frames);
  replayed.oldest = std::max<Seq>(page.oldest, 1);
  return replayed;
}

Replayed Conversation::replayed_to_the_end(const Identity& who, Standing standing) const {
  const Seq head = last_visible(durable_.head, standing.intervals);
  return {.covers_to = head,
          .oldest = durable_.oldest,
          .head = head,
          .intervals = std::move(standing.intervals),
          .live = true,
          .follow = durable_.on_read && standing.active && !standing.trusted,
          .notify_only = durable_.settings->notify_only,
          .asked_at = asked_at_of(who.user)};
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
