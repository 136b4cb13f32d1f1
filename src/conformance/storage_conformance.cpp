#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "conformance/storage_bench.h"

namespace chatcore {
inline namespace v1 {
namespace {

using namespace conformance;

constexpr Direction forward = Direction::forward, backward = Direction::backward;

// ---- open

void reports_what_it_can_do(Bench& bench) {
  StoreInfo info;
  const auto storage = bench.fresh(&info);
  expect(info.format > 0, "StoreInfo::format is not 0");
  expect(!info.epoch.empty() && info.epoch.size() <= 32, "StoreInfo::epoch has 1 to 32 bytes");
  expect(info.max_concurrency >= 1, "StoreInfo::max_concurrency is at least 1");
  expect(info.last_batch == 0, "an empty store has no batch");
  for (const Durability wanted : {Durability::memory, Durability::process, Durability::disk}) {
    const Result<StoreInfo> each = bench.closed()->open(wanted);
    if (wanted <= info.durability) expect(bool(each), "open() gives every durability up to the strongest reported");
    if (each)
      expect(each->durability == info.durability, "open() reports the strongest durability, whatever is wanted");
  }
}

void unknown_partition_is_empty(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:other", 0).message("x").put(Table::keys, "k", "v"));
  for (const Direction direction : {forward, backward}) {
    expect_same(messages(*s, "c:a", 1, direction), "| 1..0", "events of an unknown partition");
  }
  expect_same(row(*s, "c:a", Table::keys, "k"), "none", "a row of an unknown partition");
  expect_same(rows(*s, "c:a", Table::keys), "", "the rows of an unknown partition");
}

// ---- commit

void change_is_done_whole(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:a", 0).message("a").change("b").messages(2).put(Table::keys, "k", "v").put(Table::keys, "l", "w"));
  done(*s, Step("c:a", 4)
               .message("e")
               .change("f")
               .replace(Log::messages, 3, "new")
               .put(Table::members, "m", "v")
               .erase(Table::keys, "l")
               .trim(1));
  expect_same(messages(*s, "c:a"), "3=new 4=m4 5=e | 2..6", "messages after a change of everything");
  expect_same(changes(*s, "c:a"), "2=b 6=f | 2..6", "changes after a change of everything");
  expect_same(rows(*s, "c:a", Table::keys), "k=v", "rows after a change of everything");
  expect_same(rows(*s, "c:a", Table::members), "m=v", "rows of another table after it");
}

void wrong_head_is_refused(Bench& bench) {
  const auto s = bench.fresh();
  expect_same(commit(*s, Step("c:a", 1).message("x")).outcomes, "conflict", "a change that expects an unknown head");
  done(*s, Step("c:a", 0).messages(3));
  for (const Seq expected : {Seq{0}, Seq{2}, Seq{4}}) {
    const Committed refused = commit(*s, Step("c:a", expected).message("x"));
    expect_same(refused.outcomes, "conflict",
                "a change that expects head " + std::to_string(expected) + " where it is 3");
    expect(refused.batch == 0, "a commit that did nothing has batch 0");
  }
  expect_same(messages(*s, "c:a"), "1=m1 2=m2 3=m3 | 1..3", "messages after refused changes");
}

void refused_change_leaves_nothing(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:a", 0).messages(3).put(Table::keys, "k", "v"));
  const std::uint64_t last = done(*s, Step("c:a", 3).put(Table::keys, "l", "w"));
  (void)commit(*s, Step("c:a", 2)
                       .message("x")
                       .replace(Log::messages, 1, "x")
                       .put(Table::keys, "k", "x")
                       .put(Table::keys, "n", "x")
                       .erase(Table::keys, "l")
                       .trim(2));
  (void)commit(*s, Step("c:new", 5).message("x").put(Table::keys, "k", "x"));
  expect_same(messages(*s, "c:a"), "1=m1 2=m2 3=m3 | 1..3", "messages after a refused change");
  expect_same(rows(*s, "c:a", Table::keys), "k=v l=w", "rows after a refused change");
  expect_same(messages(*s, "c:new"), "| 1..0", "a partition whose first change was refused");
  expect_same(rows(*s, "c:new", Table::keys), "", "its rows");
  expect_same(show(feed(*s, last)), "", "the feed after refused changes");
}

void every_outcome_is_set(Bench& bench) {
  const auto s = bench.fresh();
  const Committed first =
      commit(*s, Step("c:a", 0).message("x"), Step("c:b", 0).put(Table::keys, "k", "v"), Step("c:c", 0).head(3));
  expect_same(first.outcomes, "ok ok ok", "outcomes of three good changes");
  const Committed second = commit(*s, Step("c:a", 7).message("x"), Step("c:b", 1));
  expect_same(second.outcomes, "conflict conflict", "outcomes of two refused changes");
  expect(second.batch == 0, "a commit that did nothing has batch 0");
  expect(commit(*s).batch == 0, "a commit of nothing has batch 0");
}

void refused_change_stops_no_other(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:b", 0).messages(2));
  const Committed mixed =
      commit(*s, Step("c:a", 0).message("a"), Step("c:b", 1).message("x"), Step("c:c", 0).message("c"));
  expect_same(mixed.outcomes, "ok conflict ok", "outcomes of a refused change between good ones");
  expect(mixed.batch > 0, "a commit that did something has a batch number");
  expect_same(messages(*s, "c:a"), "1=a | 1..1", "the change before the refused one");
  expect_same(messages(*s, "c:b"), "1=m1 2=m2 | 1..2", "the refused one");
  expect_same(messages(*s, "c:c"), "1=c | 1..1", "the change after the refused one");
}

void partition_may_occur_twice(Bench& bench) {
  const auto s = bench.fresh();
  const Committed committed =
      commit(*s, Step("c:a", 0).messages(4).put(Table::keys, "k", "1").put(Table::keys, "gone", "1"),
             Step("c:a", 3).message("x").put(Table::keys, "k", "x"),
             Step("c:a", 4)
                 .message("m5")
                 .replace(Log::messages, 3, "new")
                 .put(Table::keys, "k", "2")
                 .erase(Table::keys, "gone"),
             Step("c:a", 5).change("c6").replace(Log::messages, 4, "newer").trim(2));
  expect_same(committed.outcomes, "ok conflict ok ok", "outcomes of four changes of one partition");
  expect_same(messages(*s, "c:a"), "3=new 4=newer 5=m5 | 3..6", "messages after them");
  expect_same(changes(*s, "c:a"), "6=c6 | 3..6", "changes after them");
  expect_same(rows(*s, "c:a", Table::keys), "k=2", "rows after them");
  expect_same(show(feed(*s, committed.batch - 1)), "c:a=6", "the feed of a partition that occurs more than once");
}

void broken_rules_are_refused(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:a", 0).messages(3).head(5));
  const std::uint64_t last = done(*s, Step("c:a", 5).put(Table::keys, "k", "v"));
  const auto refused = [&](const char* rule, const Step& step) {
    const Committed committed = commit(*s, step);
    expect_same(committed.outcomes, "invalid", rule);
    expect(committed.batch == 0, "a commit that did nothing has batch 0");
  };
  refused("a head that goes back", Step("c:a", 5).head(4).put(Table::keys, "l", "v"));
  refused("an event above new_head", Step("c:a", 5).replace(Log::messages, 6, "x").put(Table::keys, "l", "v"));
  refused("new events that do not ascend",
          Step("c:a", 5).replace(Log::messages, 7, "x").replace(Log::messages, 6, "x").head(7));
  refused("the replacement of an event that never was", Step("c:a", 5).replace(Log::messages, 4, "x").message("x"));
  refused("the replacement of an event of the other log", Step("c:a", 5).replace(Log::changes, 2, "x").message("x"));
  refused("an empty row key", Step("c:a", 5).put(Table::keys, "", "v").message("x"));
  refused("a row key of 257 bytes", Step("c:a", 5).put(Table::keys, std::string(257, 'k'), "v"));
  refused("a partition without a name", Step("", 0).message("x"));
  expect_same(messages(*s, "c:a"), "1=m1 2=m2 3=m3 | 1..5", "messages after refused changes");
  expect_same(changes(*s, "c:a"), "| 1..5", "changes after refused changes");
  expect_same(rows(*s, "c:a", Table::keys), "k=v", "rows after refused changes");
  expect_same(show(feed(*s, last)), "", "the feed after refused changes");
  const Committed mixed =
      commit(*s, Step("c:a", 5).message("a"), Step("c:a", 6).put(Table::keys, "", "v"), Step("c:a", 6).message("b"));
  expect_same(mixed.outcomes, "ok invalid ok", "outcomes of a broken change between good ones");
}

void head_moves_without_event(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:a", 0).head(3));
  expect_same(messages(*s, "c:a"), "| 1..3", "a partition whose head moved without an event");
  done(*s, Step("c:a", 3).message("m4").head(6));
  expect_same(messages(*s, "c:a"), "4=m4 | 1..6", "a head that moved past its last event");
  expect_same(commit(*s, Step("c:a", 4).message("x")).outcomes, "conflict", "a change at the last event, not the head");
  done(*s, Step("c:a", 6).message("m7"));
  expect_same(messages(*s, "c:a"), "4=m4 7=m7 | 1..7", "a head that moves on by events");
}

// ---- feed and batches

void batch_numbers_ascend(Bench& bench) {
  const auto s = bench.fresh();
  std::uint64_t last = 0;
  for (Seq head = 0; head < 20; ++head) {
    const std::uint64_t moved = done(*s, Step("c:a", head).message("x"));
    const std::uint64_t still = done(*s, Step("c:a", head + 1).put(Table::keys, "k", "v"));
    expect(moved > last && still > moved, "each batch number is larger than all before it");
    last = still;
  }
}

void feed_tells_what_moved(Bench& bench) {
  const auto s = bench.fresh();
  const FeedPage empty = feed(*s, 0);
  expect(empty.moved.empty() && empty.oldest == 0 && empty.next == 0 && !empty.more,
         "the feed of an empty store is empty");
  const std::uint64_t first = done(*s, Step("c:a", 0).messages(3), Step("c:b", 0).message("x"));
  done(*s, Step("c:a", 3).put(Table::keys, "k", "v"));
  const std::uint64_t third = done(*s, Step("c:b", 1).messages(2));
  const std::uint64_t fourth = done(*s, Step("u:a", 0).head(7));
  FeedPage page = feed(*s, 0);
  std::sort(page.moved.begin(), page.moved.begin() + std::min<std::ptrdiff_t>(2, std::ssize(page.moved)));
  expect_same(show(page), "c:a=3 c:b=1 c:b=3 u:a=7", "the whole feed");
  expect(page.next == fourth && !page.more, "the whole feed ends at the last batch");
  expect(page.oldest >= 1 && page.oldest <= first, "the feed begins at its oldest batch");
  expect_same(show(feed(*s, first)), "c:b=3 u:a=7", "the feed after the first batch");
  expect_same(show(feed(*s, third)), "u:a=7", "the feed after the third batch");
  const FeedPage end = feed(*s, fourth);
  expect(end.moved.empty() && end.next == fourth && !end.more,
         "the feed after the last batch is empty, and stays there");
}

void feed_pages_hold_whole_batches(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:a", 0).message("x"), Step("c:b", 0).message("x"), Step("c:c", 0).message("x"));
  for (Seq head = 1; head < 9; ++head) done(*s, Step("c:a", head).message("x"));
  for (const PageLimit limit : {PageLimit{1, 1 << 20}, PageLimit{2, 1 << 20}, PageLimit{3, 1 << 20},
                                PageLimit{4, 1 << 20}, PageLimit{100, 1}, PageLimit{100, 40}, PageLimit{0, 0}}) {
    std::vector<std::pair<std::string, Seq>> all;
    std::uint64_t after = 0;
    for (int pages = 0; pages < 100; ++pages) {
      const FeedPage page = feed(*s, after, limit);
      if (pages == 0) expect(page.moved.size() >= 3, "a page holds its first batch whole, whatever the limit");
      if (pages == 0 && limit.rows == 1) expect(page.moved.size() == 3 && page.more, "a page ends at its rows");
      if (limit.rows >= 3) expect(page.moved.size() <= limit.rows, "a page with room ends at its rows");
      all.insert(all.end(), page.moved.begin(), page.moved.end());
      expect(page.next > after, "a page of the feed leads on");
      after = page.next;
      if (!page.more) break;
    }
    std::sort(all.begin(), all.begin() + std::min<std::ptrdiff_t>(3, std::ssize(all)));
    expect_same(show(FeedPage{all}), "c:a=1 c:b=1 c:c=1 c:a=2 c:a=3 c:a=4 c:a=5 c:a=6 c:a=7 c:a=8 c:a=9",
                "the feed, page by page");
  }
}

// ---- over a close

void everything_outlives_a_close(Bench& bench) {
  StoreInfo before, after;
  auto s = bench.fresh(&before);
  done(*s, Step("c:a", 0).messages(100).change("c101").put(Table::keys, "k", "v").put(Table::keys, "l", "w"),
       Step("c:b", 0).messages(3));
  done(*s, Step("c:a", 101).replace(Log::messages, 99, "new").erase(Table::keys, "l").trim(98), Step("c:b", 3).trim(3));
  const std::uint64_t moved = done(*s, Step("c:c", 0).head(4));
  const std::uint64_t last = done(*s, Step("c:c", 4).put(Table::keys, "k", "v"));
  s.reset();
  s = bench.again(&after);
  expect_same(messages(*s, "c:a"), "99=new 100=m100 | 99..101", "messages after a close");
  expect_same(changes(*s, "c:a"), "101=c101 | 99..101", "changes after a close");
  expect_same(rows(*s, "c:a", Table::keys), "k=v", "rows after a close");
  expect_same(messages(*s, "c:b"), "| 4..3", "a partition that is trimmed empty, after a close");
  expect_same(messages(*s, "c:c"), "| 1..4", "a head without an event, after a close");
  expect(after.epoch == before.epoch, "a clean close keeps the epoch");
  expect(after.last_batch == last, "open() reports the last batch");
  expect_same(show(feed(*s, moved - 1)), "c:c=4", "the feed after a close");
  expect(done(*s, Step("c:b", 3).message("m4"), Step("c:c", 4).message("m5"), Step("c:d", 0).message("d")) > last,
         "batch numbers ascend over a close");
  expect_same(messages(*s, "c:b"), "4=m4 | 4..4", "an event after a close");
  expect_same(messages(*s, "c:d"), "1=d | 1..1", "a partition that is created after a close");
  expect_same(messages(*s, "c:a"), "99=new 100=m100 | 99..101", "an older partition beside it");
}

// ---- threads

void reads_run_beside_a_commit(Bench& bench) {
  StoreInfo info;
  const auto s = bench.fresh(&info);
  std::atomic<Seq> published = 0;
  std::atomic<bool> over = false;
  std::atomic<bool> running = false;
  std::mutex mutex;
  std::string wrong;  // the first thing that a reader found
  const auto reader = [&] {
    try {
      Seq before = 0;
      for (bool last = false; !last;) {
        last = over;  // one round more, of what is then all there
        const Seq floor = published;
        const EventPage page = must(s->events("c:a", Log::messages, 1, forward, no_limit), "events()");
        expect(page.head >= floor, "what a commit returned for is readable");
        expect(page.head >= before, "a head never goes back");
        for (std::size_t i = 0; i < page.events.size(); ++i) {
          expect(page.events[i].first == i + 1, "what is read beside a commit has no hole");
        }
        expect(page.events.size() >= floor && page.events.size() <= page.head,
               "a page reaches to the head, not beyond");
        const auto seen = must(s->row("c:a", Table::engine, "head"), "row()");
        expect(floor == 0 || (seen && std::stoull(to_text(*seen->value)) >= floor), "a row is as new as its commit");
        (void)feed(*s, 0);
        (void)rows(*s, "c:a", Table::engine);
        before = page.head;
        running = true;
        running.notify_all();
      }
    } catch (const std::exception& failure) {
      const std::lock_guard lock(mutex);
      if (wrong.empty()) wrong = failure.what();
    } catch (...) {
      const std::lock_guard lock(mutex);
      wrong = "a read threw something";
    }
    running = true;
    running.notify_all();
  };
  std::vector<std::thread> readers;
  for (unsigned i = 0; i < std::min(info.max_concurrency, 16u); ++i) readers.emplace_back(reader);
  running.wait(false);  // so that they do run beside the commits
  std::string failed;
  try {
    for (Seq head = 0; head < 60; head += 3) {
      done(*s, Step("c:a", head).messages(3).put(Table::engine, "head", std::to_string(head + 3)));
      published = head + 3;
    }
  } catch (const std::exception& failure) {
    failed = failure.what();
  } catch (...) {
    failed = "a commit threw something";
  }
  over = true;
  for (std::thread& each : readers) each.join();
  expect(failed.empty(), failed);
  expect(wrong.empty(), wrong);
}

void cancel_lets_calls_return(Bench& bench) {
  struct Shared {
    std::unique_ptr<Storage> storage;
    std::mutex mutex;
    std::condition_variable changed;
    std::atomic<bool> stopping = false;
    unsigned calls = 0;
    bool over = false;
  };
  // Shared with the thread, which is left behind, and keeps the storage, if a call never returns.
  const auto shared = std::make_shared<Shared>();
  shared->storage = bench.fresh();
  std::thread caller([shared] {
    bool last = false;
    for (Seq head = 0; !last;) {
      last = shared->stopping;  // one round more after cancel(): nothing may block then
      try {
        if (commit(*shared->storage, Step("c:a", head).message("x")).outcomes == "ok") ++head;
        (void)shared->storage->events("c:a", Log::messages, 1, forward, PageLimit{});
        (void)shared->storage->row("c:a", Table::keys, "k");
        (void)shared->storage->rows("c:a", Table::keys, "", PageLimit{});
        (void)shared->storage->feed(0, PageLimit{});
      } catch (...) {  // any error will do
      }
      const std::lock_guard lock(shared->mutex);
      ++shared->calls;
      shared->changed.notify_all();
    }
    const std::lock_guard lock(shared->mutex);
    shared->over = true;
    shared->changed.notify_all();
  });
  std::unique_lock lock(shared->mutex);
  const auto patience = std::chrono::seconds(10);
  const bool began = shared->changed.wait_for(lock, patience, [&] { return shared->calls > 3; });
  lock.unlock();
  shared->storage->cancel();
  shared->stopping = true;
  lock.lock();
  const bool over = shared->changed.wait_for(lock, patience, [&] { return shared->over; });
  lock.unlock();
  if (over) {
    caller.join();
  } else {
    caller.detach();
  }
  expect(began, "calls return");
  expect(over, "after cancel() every call returns");
}

constexpr Named step_checks[] = {
    {"open reports what the storage can do", reports_what_it_can_do},
    {"an unknown partition is empty", unknown_partition_is_empty},
    {"a change is done whole", change_is_done_whole},
    {"a change with a wrong expected head is refused", wrong_head_is_refused},
    {"a refused change leaves nothing behind", refused_change_leaves_nothing},
    {"every outcome is set", every_outcome_is_set},
    {"a refused change stops no other", refused_change_stops_no_other},
    {"a partition may occur more than once in a commit", partition_may_occur_twice},
    {"a change that breaks the rules is refused", broken_rules_are_refused},
    {"a head may move without an event", head_moves_without_event},
    {"batch numbers ascend", batch_numbers_ascend},
    {"the feed tells what each batch moved", feed_tells_what_moved},
    {"pages of the feed hold whole batches", feed_pages_hold_whole_batches},
    {"everything outlives a close", everything_outlives_a_close, true},
    {"reads run beside a commit", reads_run_beside_a_commit},
    {"cancel lets every call return", cancel_lets_calls_return},
};

}  // namespace

std::vector<Check> storage_conformance(Function<std::unique_ptr<Storage>()> make,
                                       Function<std::unique_ptr<Storage>()> reopen) {
  const auto bench = std::make_shared<Bench>(std::move(make), std::move(reopen));
  std::vector<Named> named(std::begin(step_checks), std::end(step_checks));
  const std::span<const Named> content = storage_content_checks();
  named.insert(named.end(), content.begin(), content.end());
  std::vector<Check> checks;
  for (const Named& each : named) {
    if (each.reopens && !bench->reopens()) continue;
    checks.push_back(make_check(each.name, [bench, check = each.check] { check(*bench); }));
  }
  return checks;
}

}  // namespace v1
}  // namespace chatcore
