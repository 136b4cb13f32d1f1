#pragma once

#include <string>
#include <utility>
#include <vector>

#include <chatcore/storage.h>

#include "conformance/check.h"

// What the checks of storage_conformance.cpp are written in: steps, commits and pages as short texts.
namespace chatcore {
inline namespace v1 {
namespace conformance {

inline Bytes to_bytes(std::string_view text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(first, first + text.size());
}
inline std::string to_text(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// A change that owns what it points to, built up in words: Step("c:a", 0).message("hi").put(Table::keys, "k", "v").
class Step {
 public:
  Step(std::string partition, Seq expected_head)
      : partition_(std::move(partition)), expected_head_(expected_head), head_(expected_head) {}

  Step& message(std::string text) { return replace(Log::messages, ++head_, std::move(text)); }
  Step& change(std::string text) { return replace(Log::changes, ++head_, std::move(text)); }
  Step& messages(unsigned count, const std::string& prefix = "m") {
    for (unsigned i = 0; i < count; ++i) message(prefix + std::to_string(head_ + 1));
    return *this;
  }
  Step& replace(Log log, Seq seq, std::string text) {
    events_.push_back({log, seq, std::move(text)});
    return *this;
  }
  Step& put(Table table, std::string key, std::string_view value) {
    rows_.push_back(Row{table, std::move(key), to_bytes(value)});
    return *this;
  }
  Step& erase(Table table, std::string key) {
    rows_.push_back(Row{table, std::move(key), {}});
    return *this;
  }
  Step& expiring(TimePoint when) {
    rows_.back().expires = when;
    return *this;
  }
  Step& head(Seq head) {
    head_ = head;
    return *this;
  }
  Step& trim(Seq to) {
    trim_to_ = to;
    return *this;
  }

  // Valid as long as the step and `stored` are.
  Change as_change(std::vector<StoredEvent>& stored) const {
    for (const auto& event : events_) stored.push_back({event.log, event.seq, std::as_bytes(std::span(event.text))});
    return {partition_, expected_head_, head_, stored, rows_, trim_to_};
  }

 private:
  struct Event {
    Log log;
    Seq seq;
    std::string text;
  };
  std::string partition_;
  Seq expected_head_, head_;
  std::vector<Event> events_;
  std::vector<Row> rows_;
  Seq trim_to_ = 0;
};

// What a commit came to: "ok conflict", in the order of its steps.
struct Committed {
  std::uint64_t batch{};
  std::string outcomes{};
};

inline std::string outcome_name(const Status& status) {
  if (status) return "ok";
  switch (status.error().code) {
    case ErrorCode::conflict:
      return "conflict";
    case ErrorCode::invalid:
      return "invalid";
    case ErrorCode::unknown_outcome:
      return "unknown";
    default:
      return "error " + std::to_string(static_cast<int>(status.error().code));
  }
}

template <class... Steps>
Committed commit(Storage& storage, const Steps&... steps) {
  std::vector<StoredEvent> stored[sizeof...(Steps) + 1];
  std::vector<Change> changes;
  std::size_t i = 0;
  (changes.push_back(steps.as_change(stored[i++])), ...);
  std::vector<Status> outcome(changes.size(), Status(ErrorCode::unknown_outcome, "not set"));
  Committed committed{storage.commit(changes, outcome).batch, {}};
  for (const Status& each : outcome) committed.outcomes += (committed.outcomes.empty() ? "" : " ") + outcome_name(each);
  return committed;
}

// A commit that has to be done, with everything in it.
template <class... Steps>
std::uint64_t done(Storage& storage, const Steps&... steps) {
  const Committed committed = commit(storage, steps...);
  std::string all = "ok";
  for (std::size_t i = 1; i < sizeof...(Steps); ++i) all += " ok";
  expect_same(committed.outcomes, all, "the outcomes of a commit without a conflict");
  expect(committed.batch > 0, "a commit that did something has a batch number");
  return committed.batch;
}

template <class T>
T must(Result<T> result, const char* what) {
  if (!result) throw Failure(std::string(what) + " failed: " + result.error().message);
  return std::move(*result);
}

constexpr PageLimit no_limit{.rows = 1'000'000, .bytes = 1 << 30};

// "1=a 2=b | 1..2": the events, oldest and head.
inline std::string show(const EventPage& page) {
  std::string out;
  for (const auto& [seq, bytes] : page.events) out += std::to_string(seq) + "=" + printable(to_text(bytes)) + " ";
  return out + "| " + std::to_string(page.oldest) + ".." + std::to_string(page.head);
}
inline std::string events(Storage& storage, std::string_view partition, Log log, Seq start = 1,
                          Direction direction = Direction::forward, PageLimit limit = no_limit) {
  return show(must(storage.events(partition, log, start, direction, limit), "events()"));
}
inline std::string messages(Storage& storage, std::string_view partition, Seq start = 1,
                            Direction direction = Direction::forward, PageLimit limit = no_limit) {
  return events(storage, partition, Log::messages, start, direction, limit);
}
inline std::string changes(Storage& storage, std::string_view partition) {
  return events(storage, partition, Log::changes);
}

// "k=v", or "none".
inline std::string row(Storage& storage, std::string_view partition, Table table, std::string_view key) {
  const auto row = must(storage.row(partition, table, key), "row()");
  if (!row) return "none";
  expect(row->table == table && row->value.has_value(), "row() gives back the row that was put, with its table");
  return printable(row->key) + "=" + printable(to_text(*row->value));
}

// "k=v l=w": all rows of a table, however many pages they take.
inline std::string rows(Storage& storage, std::string_view partition, Table table, PageLimit limit = no_limit,
                        std::string after = {}) {
  std::string out;
  for (int pages = 0; pages < 1000; ++pages) {
    const RowPage page = must(storage.rows(partition, table, after, limit), "rows()");
    for (const Row& row : page.rows) {
      expect(row.table == table && row.value.has_value(), "rows() gives back rows as they were put, with their table");
      out += (out.empty() ? "" : " ") + printable(row.key) + "=" + printable(to_text(*row.value));
    }
    if (page.next.empty()) return out;
    expect(!page.rows.empty() && page.next == page.rows.back().key, "RowPage::next is the last key of its page");
    after = page.next;
  }
  throw Failure("rows() never comes to its last page");
}

// "c:a=1 c:b=2": one page of the feed.
inline std::string show(const FeedPage& page) {
  std::string out;
  for (const auto& [name, head] : page.moved) out += (out.empty() ? "" : " ") + name + "=" + std::to_string(head);
  return out;
}
inline FeedPage feed(Storage& storage, std::uint64_t after, PageLimit limit = no_limit) {
  return must(storage.feed(after, limit), "feed()");
}

}  // namespace conformance
}  // namespace v1
}  // namespace chatcore
