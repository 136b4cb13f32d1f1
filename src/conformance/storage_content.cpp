#include <string>
#include <vector>

#include "conformance/storage_bench.h"

namespace chatcore {
inline namespace v1 {
namespace conformance {
namespace {

constexpr Direction forward = Direction::forward, backward = Direction::backward;

// ---- events

void bytes_come_back(Bench& bench) {
  const auto s = bench.fresh();
  const std::string zeros("\0a\0\xff\n", 5), large(200 << 10, '\x80');
  const std::string strange("c:\0\xff", 4);
  done(*s, Step(strange, 0).message(zeros).message("").message(large).change(zeros).message("end"),
       Step("c:", 0).message("short"));
  const EventPage page = must(s->events(strange, Log::messages, 1, forward, no_limit), "events()");
  expect(page.events.size() == 4 && page.head == 5, "empty, binary and large events are all there");
  expect(to_text(page.events[0].second) == zeros, "an event with zero bytes comes back as it was");
  expect(page.events[1].second.empty(), "an empty event comes back empty");
  expect(to_text(page.events[2].second) == large, "an event of 200 KiB comes back as it was");
  expect_same(messages(*s, strange, 5), "5=end | 1..5", "an event behind a large one");
  done(*s, Step("c:rows", 0)
               .put(Table::keys, std::string("\0", 1), "")
               .put(Table::keys, std::string(256, '\xff'), large)
               .put(Table::keys, std::string("\0\0", 2), zeros));
  expect_same(row(*s, "c:rows", Table::keys, std::string("\0", 1)),
              "\\00=", "a row with a key of one zero byte, empty");
  expect_same(row(*s, "c:rows", Table::keys, std::string("\0\0", 2)), "\\00\\00=\\00a\\00\\ff\\0a",
              "a row with zero bytes");
  const auto found = must(s->row("c:rows", Table::keys, std::string(256, '\xff')), "row()");
  expect(found && found->value && to_text(*found->value) == large,
         "a row of 200 KiB under a key of 256 bytes comes back");
}

void partitions_lie_apart(Bench& bench) {
  const auto s = bench.fresh();
  const std::string longest = "c:" + std::string(63, 'z');
  done(*s, Step("c:a", 0).message("1"), Step("c:ab", 0).message("2"), Step("u:a", 0).message("3"),
       Step(longest, 0).message("4").put(Table::keys, "k", "4"), Step("c:a", 1).put(Table::keys, "k", "1"),
       Step("c:ab", 1).put(Table::keys, "k", "2"));
  expect_same(messages(*s, "c:a"), "1=1 | 1..1", "events of c:a");
  expect_same(messages(*s, "c:ab"), "1=2 | 1..1", "events of c:ab");
  expect_same(messages(*s, "u:a"), "1=3 | 1..1", "events of u:a");
  expect_same(messages(*s, longest), "1=4 | 1..1", "events of a partition with the longest name");
  expect_same(rows(*s, "c:a", Table::keys), "k=1", "rows of c:a");
  expect_same(rows(*s, "c:ab", Table::keys), "k=2", "rows of c:ab");
  expect_same(rows(*s, "u:a", Table::keys), "", "rows of u:a");
}

void logs_share_one_seq(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:a", 0).message("a").change("b").change("c").message("d").change("e"));
  expect_same(messages(*s, "c:a"), "1=a 4=d | 1..5", "the messages");
  expect_same(changes(*s, "c:a"), "2=b 3=c 5=e | 1..5", "the changes");
  expect_same(messages(*s, "c:a", 2), "4=d | 1..5", "messages from a seq that stands in the other log");
  expect_same(messages(*s, "c:a", 3, backward), "1=a | 1..5", "messages backward from a seq of the other log");
  expect_same(events(*s, "c:a", Log::changes, 4, backward), "3=c 2=b | 1..5",
              "changes backward from a seq of the other log");
}

void events_run_both_ways(Bench& bench) {
  const auto s = bench.fresh();
  std::string all, reversed;
  for (Seq head = 0; head < 200;) {  // many events a change, and one
    const unsigned count = head % 3 == 0 ? 70 : 1;
    done(*s, Step("c:a", head).messages(count));
    head += count;
  }
  const Seq head = must(s->events("c:a", Log::messages, 1, forward, no_limit), "events()").head;
  for (Seq seq = 1; seq <= head; ++seq) all += std::to_string(seq) + "=m" + std::to_string(seq) + " ";
  for (Seq seq = head; seq > 0; --seq) reversed += std::to_string(seq) + "=m" + std::to_string(seq) + " ";
  const std::string bounds = "| 1.." + std::to_string(head);
  expect_same(messages(*s, "c:a", 0), all + bounds, "forward from 0");
  expect_same(messages(*s, "c:a", 1), all + bounds, "forward from the first");
  expect_same(messages(*s, "c:a", head, backward), reversed + bounds, "backward from the head");
  expect_same(messages(*s, "c:a", ~Seq{0}, backward), reversed + bounds, "backward from far above the head");
  expect_same(messages(*s, "c:a", head + 1), bounds, "forward from above the head");
  expect_same(messages(*s, "c:a", 0, backward), bounds, "backward from 0");
  const PageLimit three{.rows = 3, .bytes = 1 << 20};
  for (const Seq start : {Seq{2}, Seq{64}, Seq{69}, Seq{71}, Seq{140}}) {
    const auto at = [](Seq seq) { return std::to_string(seq) + "=m" + std::to_string(seq) + " "; };
    expect_same(messages(*s, "c:a", start, forward, three), at(start) + at(start + 1) + at(start + 2) + bounds,
                "forward from the middle, which is included");
    const std::string third = start > 2 ? at(start - 2) : "";
    expect_same(messages(*s, "c:a", start, backward, three), at(start) + at(start - 1) + third + bounds,
                "backward from the middle, which is included");
  }
}

void event_pages_keep_limits(Bench& bench) {
  const auto s = bench.fresh();
  Step step("c:a", 0);
  for (char c = 'a'; c < 'k'; ++c) step.message(std::string(1000, c));
  done(*s, step);
  for (const Direction direction : {forward, backward}) {
    const Seq start = direction == forward ? 1 : 10;
    const auto more = [&](PageLimit limit) {
      return must(s->events("c:a", Log::messages, start, direction, limit), "events()").more;
    };
    const auto count = [&](PageLimit limit) {
      return must(s->events("c:a", Log::messages, start, direction, limit), "events()").events.size();
    };
    expect(count({.rows = 4, .bytes = 1 << 20}) == 4, "a page ends at its rows");
    expect(count({.rows = 100, .bytes = 3500}) <= 3, "a page ends before its bytes are exceeded");
    expect(count({.rows = 100, .bytes = 10}) == 1, "a page holds one event, however large");
    expect(count({.rows = 0, .bytes = 0}) == 1, "a page holds one event, whatever the limit");
    expect(count({.rows = 10, .bytes = 1 << 20}) == 10, "a page that the log just fills");
    expect(!more({.rows = 10, .bytes = 1 << 20}), "a page that holds the last event says that there is no more");
    expect(more({.rows = 9, .bytes = 1 << 20}), "a page that its rows ended says that there is more");
    expect(more({.rows = 100, .bytes = 3500}), "a page that its bytes ended says that there is more");
  }
}

void replaced_event_keeps_its_place(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:a", 0).messages(150).change("c151").change("c152"));
  done(*s, Step("c:a", 152).replace(Log::messages, 1, "first").replace(Log::messages, 150, std::string(40 << 10, 'x')));
  done(*s, Step("c:a", 152).replace(Log::messages, 70, "").replace(Log::changes, 151, "C"));
  const PageLimit two{.rows = 2, .bytes = 1 << 20};
  expect_same(messages(*s, "c:a", 1, forward, two), "1=first 2=m2 | 1..152", "a replaced event at the beginning");
  expect_same(messages(*s, "c:a", 71, backward, two), "71=m71 70= | 1..152", "an event replaced by an empty one");
  expect_same(messages(*s, "c:a", 150), "150=(40960 bytes) | 1..152", "an event replaced by a large one");
  expect_same(messages(*s, "c:a", 149, backward, two), "149=m149 148=m148 | 1..152", "its neighbours");
  expect_same(changes(*s, "c:a"), "151=C 152=c152 | 1..152", "a replaced change");
  const std::uint64_t last = done(*s, Step("c:a", 152).replace(Log::messages, 2, "second"));
  expect_same(show(feed(*s, last - 1)), "", "the feed of a replacement, which moves no head");
}

// ---- trim

void trim_drops_the_oldest(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:a", 0).messages(100).change("c101").messages(9));
  done(*s, Step("c:a", 110).trim(97));
  expect_same(messages(*s, "c:a", 1, forward, {.rows = 3, .bytes = 1 << 20}), "98=m98 99=m99 100=m100 | 98..110",
              "forward into a trimmed part");
  expect_same(messages(*s, "c:a", 99, backward), "99=m99 98=m98 | 98..110", "backward into a trimmed part");
  expect_same(messages(*s, "c:a", 97, backward), "| 98..110", "backward inside a trimmed part");
  done(*s, Step("c:a", 110).trim(50));
  expect_same(changes(*s, "c:a"), "101=c101 | 98..110", "a trim below an earlier one");
  done(*s, Step("c:a", 110).trim(105).message("m111").put(Table::keys, "k", "v"));
  expect_same(messages(*s, "c:a"), "106=m106 107=m107 108=m108 109=m109 110=m110 111=m111 | 106..111",
              "a trim beside a new event");
  expect_same(changes(*s, "c:a"), "| 106..111", "the changes, all trimmed");
  expect_same(row(*s, "c:a", Table::keys, "k"), "k=v", "a row beside a trim");
}

void trim_keeps_the_head(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:a", 0).messages(5));
  done(*s, Step("c:a", 5).trim(5));
  expect_same(messages(*s, "c:a"), "| 6..5", "a partition that is trimmed empty");
  expect_same(commit(*s, Step("c:a", 0).message("x")).outcomes, "conflict",
              "a change that would use a trimmed seq again");
  done(*s, Step("c:a", 5).message("m6"));
  expect_same(messages(*s, "c:a"), "6=m6 | 6..6", "the first event after everything was trimmed");
  done(*s, Step("c:a", 6).message("m7").trim(100));
  expect_same(messages(*s, "c:a"), "| 8..7", "a trim above the head");
  done(*s, Step("c:a", 7).messages(2));
  expect_same(messages(*s, "c:a"), "8=m8 9=m9 | 8..9", "events after a trim above the head");
}

void trimmed_replacement_is_left_out(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:a", 0).messages(5));
  done(*s, Step("c:a", 5).trim(3));
  done(*s, Step("c:a", 5).replace(Log::messages, 2, "x").replace(Log::messages, 4, "new").message("m6"));
  expect_same(messages(*s, "c:a", 0), "4=new 5=m5 6=m6 | 4..6", "messages after replacing a trimmed one");
  expect_same(messages(*s, "c:a", 3, backward), "| 4..6", "the trimmed part after it");
}

// ---- rows

void rows_are_put_and_deleted(Bench& bench) {
  const auto s = bench.fresh();
  done(*s, Step("c:a", 0).put(Table::keys, "k", "1").put(Table::keys, "k", "2").put(Table::members, "k", "other"));
  expect_same(row(*s, "c:a", Table::keys, "k"), "k=2", "the later put of one change counts");
  done(*s, Step("c:a", 0).put(Table::keys, "k", "").put(Table::keys, "l", "1"));
  expect_same(rows(*s, "c:a", Table::keys), "k= l=1", "a row put again, with an empty value");
  done(*s, Step("c:a", 0)
               .erase(Table::keys, "k")
               .erase(Table::keys, "missing")
               .put(Table::keys, "m", "1")
               .erase(Table::keys, "m"));
  expect_same(rows(*s, "c:a", Table::keys), "l=1", "rows after deletes");
  expect_same(row(*s, "c:a", Table::keys, "k"), "none", "a deleted row");
  expect_same(row(*s, "c:a", Table::members, "k"), "k=other", "a row of the same key in another table");
  done(*s, Step("c:a", 0).erase(Table::keys, "l").put(Table::keys, "l", "2"));
  expect_same(rows(*s, "c:a", Table::keys), "l=2", "a row deleted and put in one change");
  const TimePoint far(std::chrono::milliseconds(32'503'680'000'000));  // the year 3000
  done(*s, Step("c:a", 0).put(Table::sources, "later", "1").expiring(far));
  expect_same(rows(*s, "c:a", Table::sources), "later=1", "a row before it expires");
}

void rows_sort_by_bytes(Bench& bench) {
  const auto s = bench.fresh();
  Step step("c:a", 0);
  const std::vector<std::string> keys = {"\xff", "a",  std::string("a\0", 2), "B", "\x7f",
                                         "\x80", "ab", std::string("\0", 1),  "b"};
  for (const std::string& key : keys) step.put(Table::inbox, key, "");
  done(*s, step);
  expect_same(rows(*s, "c:a", Table::inbox), "\\00= B= a= a\\00= ab= b= \\7f= \\80= \\ff=", "the order of rows");
}

void rows_are_paged(Bench& bench) {
  const auto s = bench.fresh();
  const auto put = [&](Table table, const std::string& prefix) {
    Step step("c:a", 0);
    for (char c = 'a'; c < 'k'; ++c) step.put(table, prefix + c, std::string(1000, c));
    done(*s, step);
  };
  put(Table::settings, "x");
  put(Table::keys, "y");
  put(Table::sources, "z");
  const std::string all = rows(*s, "c:a", Table::keys);
  for (const PageLimit limit : {PageLimit{1, 1 << 20}, PageLimit{3, 1 << 20}, PageLimit{5, 1 << 20},
                                PageLimit{10, 1 << 20}, PageLimit{100, 2500}, PageLimit{100, 1}, PageLimit{0, 0}}) {
    expect_same(rows(*s, "c:a", Table::keys, limit), all, "the rows of a table, page by page");
  }
  const auto page = [&](const char* after, PageLimit limit) {
    return must(s->rows("c:a", Table::keys, after, limit), "rows()").rows;
  };
  expect(page("", {4, 1 << 20}).size() == 4, "a page ends at its rows");
  expect(page("", {100, 3500}).size() <= 3, "a page ends before its bytes are exceeded");
  expect(page("", {100, 10}).size() == 1, "a page holds one row, however large");
  expect(page("yc", {100, 1 << 20}).front().key == "yd", "rows begin after the key given, which is left out");
  expect(page("yc1", {100, 1 << 20}).front().key == "yd", "rows begin after a key that is not there");
  expect(page("yj", {100, 1 << 20}).empty(), "there are no rows after the last");
}

constexpr Named checks[] = {
    {"bytes come back as they were", bytes_come_back},
    {"partitions lie apart", partitions_lie_apart},
    {"the two logs share one seq", logs_share_one_seq},
    {"events run in both directions", events_run_both_ways},
    {"pages of events keep to their limits", event_pages_keep_limits},
    {"a replaced event keeps its place", replaced_event_keeps_its_place},
    {"a trim drops the oldest events", trim_drops_the_oldest},
    {"a trim keeps the head", trim_keeps_the_head},
    {"replacing a trimmed event is left out", trimmed_replacement_is_left_out},
    {"rows are put and deleted", rows_are_put_and_deleted},
    {"rows sort by unsigned bytes", rows_sort_by_bytes},
    {"rows come page by page", rows_are_paged},
};

}  // namespace

std::span<const Named> storage_content_checks() { return checks; }

}  // namespace conformance
}  // namespace v1
}  // namespace chatcore
