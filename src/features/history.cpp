#include <algorithm>

#include "core/hub.h"
#include "core/reader.h"
#include "features/common.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

// What the reader is told of the seqs that a page covers and does not show.
void explain(std::vector<Gap>& gaps, Seq from, Seq to, Seq oldest, const core::Intervals& intervals) {
  if (from < oldest) {
    gaps.push_back({from, std::min(oldest - 1, to), Gap::Why::trimmed});
    from = oldest;
  }
  core::add_gaps(intervals, from, to, gaps);
}

template <class Page>
Page to_answer(core::ReadPage&& read, const core::Intervals& intervals, Seq head, const std::string& epoch) {
  Page page;
  for (auto& [seq, bytes] : read.events) page.raw.push_back(std::move(bytes));
  page.covers_from = read.covers_to == 0 ? 0 : read.covers_from;
  page.covers_to = read.covers_to;
  page.oldest = read.oldest;
  page.head = head;
  page.epoch = epoch;
  page.more = read.more;
  if (read.covers_to != 0) explain(page.gaps, read.covers_from, read.covers_to, read.oldest, intervals);
  return page;
}

// Reads what `prepare` makes of the range, once the conversation is in memory and the caller known to it.
template <class C, class Prepare, class Finish>
void read_page(Shard& shard, C call, bool with_changes, Prepare prepare, Finish finish) {
  auto conversation = shard.conversations().get(call.request.conversation);
  const Identity who = call.by.who;
  conversation->read_as(who, [&shard, conversation, call = std::move(call), with_changes, prepare,
                              finish](Result<core::Standing> standing) mutable {
    if (!standing) return call.reply(standing.error());
    core::ReadRange range{.head = visible_head(*conversation, standing->intervals),
                          .limit = call.request.limit,
                          .bytes = core::page_bytes(shard.core().limits),
                          .reader = call.by.who.user,
                          .intervals = standing->intervals};
    const Seq head = range.head;
    if (!prepare(call.request, range)) {
      return call.reply(
          finish(core::ReadPage{.oldest = conversation->durable().oldest}, range.intervals, head, shard.core().epoch));
    }
    conversation->read_page(std::move(range), with_changes,
                            [&shard, call = std::move(call), visible = std::move(standing->intervals), head,
                             finish](Result<core::ReadPage> page) mutable {
                              if (!page) return call.reply(page.error());
                              call.reply(finish(std::move(*page), visible, head, shard.core().epoch));
                            });
  });
}

}  // namespace

Status check_history(Core& core, const Caller&, ReadHistory& request) {
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  if (request.direction != Direction::forward && request.direction != Direction::backward) {
    return Error{ErrorCode::invalid, "direction: 1 or 2", {}};
  }
  return check_limit(core.limits, request.limit);
}

void read_history(Shard& shard, Call<ReadHistory, protocol::RawHistoryPage> call) {
  read_page(
      shard, std::move(call), false,
      [](const ReadHistory& request, core::ReadRange& range) {
        range.direction = request.direction;
        const bool forward = request.direction == Direction::forward;
        range.start = request.start != 0 ? request.start : forward ? 1 : range.head;
        if (!forward) range.start = std::min(range.start, range.head);
        return range.start <= range.head;
      },
      [](core::ReadPage page, const auto& visible, Seq head, const std::string& epoch) {
        return to_answer<protocol::RawHistoryPage>(std::move(page), visible, head, epoch);
      });
}

Status check_sync(Core& core, const Caller&, Sync& request) {
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  return check_limit(core.limits, request.limit);
}

namespace {

// For a session: what is published while the page is read belongs to it, so that "live from here" is exact; and its hub
// is told before anything later can reach it.
void sync_session(Shard& shard, Call<Sync, protocol::RawSyncPage> call) {
  auto conversation = shard.conversations().get(call.request.conversation);
  const core::ReplayFrom from{.after = call.request.after, .limit = call.request.limit, .pulls = true};
  const Identity who = call.by.who;
  conversation->replay(who, from, [&shard, conversation, call = std::move(call)](Result<core::Replayed> read) mutable {
    if (!read) return call.reply(read.error());
    protocol::RawSyncPage page;
    for (const auto& [seq, frame] : read->frames) {
      const auto event = protocol::event_in(*frame);
      page.raw.emplace_back(event.begin(), event.end());
    }
    const Seq after = call.request.after;
    if (read->covers_to > after) page.covers_from = after + 1, page.covers_to = read->covers_to;
    page.oldest = read->oldest;
    page.head = read->head;
    page.epoch = shard.core().epoch;
    page.more = read->covers_to < read->head;
    if (page.covers_to != 0) explain(page.gaps, page.covers_from, page.covers_to, page.oldest, read->intervals);
    if (read->live && !read->notify_only) {
      page.live_from = read->covers_to + 1;
      Shard& home = shard.core().home(call.by.who.user);
      home.post([&hub = home.hub(), user = call.by.who.user, session = call.by.session, id = conversation->id(),
                 to = read->covers_to] { hub.live(user, session, id, to); });
    }
    call.reply(std::move(page));
  });
}

}  // namespace

void sync(Shard& shard, Call<Sync, protocol::RawSyncPage> call) {
  if (call.by.session != 0) return sync_session(shard, std::move(call));
  read_page(
      shard, std::move(call), true,
      [](const Sync& request, core::ReadRange& range) {
        range.direction = Direction::forward;
        range.start = request.after + 1;
        return range.start != 0 && range.start <= range.head;
      },
      [](core::ReadPage page, const auto& visible, Seq head, const std::string& epoch) {
        auto answer = to_answer<protocol::RawSyncPage>(std::move(page), visible, head, epoch);
        if (!answer.more) answer.live_from = head + 1;  // there is no session; from here on he has missed nothing
        return answer;
      });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
