#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>

#include <chatcore/function.h>

#include "storage/scratch.h"

// Random commits and reads, the same on a storage and on a model that is too simple to be wrong.

namespace scratch {

struct Model {
  struct Event {
    Log log;
    std::string text;
  };
  struct Partition {
    Seq head = 0, oldest = 1;
    std::map<Seq, Event> events{};
    std::map<std::pair<Table, std::string>, std::string> rows{};
  };
  std::map<std::string, Partition> partitions;
  std::vector<std::pair<std::uint64_t, std::map<std::string, Seq>>> feed;

  std::string events(const std::string& name, Log log, Seq start, Direction direction, std::uint32_t most) const {
    const auto found = partitions.find(name);
    if (found == partitions.end()) return "| 1..0";
    const Partition& p = found->second;
    EventPage page{{}, p.oldest, p.head};
    for (const auto& [seq, event] : p.events) {
      if (event.log == log && seq >= p.oldest && (direction == Direction::forward ? seq >= start : seq <= start)) {
        page.events.emplace_back(seq, to_bytes(event.text));
      }
    }
    if (direction == Direction::backward) std::reverse(page.events.begin(), page.events.end());
    if (page.events.size() > most) page.events.resize(most);
    return show(page);
  }
  std::string rows(const std::string& name, Table table) const {
    const auto found = partitions.find(name);
    std::string out;
    if (found == partitions.end()) return out;
    for (const auto& [key, value] : found->second.rows) {
      if (key.first == table) out += (out.empty() ? "" : " ") + printable(key.second) + "=" + printable(value);
    }
    return out;
  }
  std::string feed_after(std::uint64_t after) const {
    FeedPage page;
    for (const auto& [batch, moved] : feed) {
      if (batch > after) page.moved.insert(page.moved.end(), moved.begin(), moved.end());
    }
    return show(page);
  }
};

// One run of random steps against one storage.
class Play {
 public:
  Play(unsigned seed, Function<std::unique_ptr<Storage>()> open, Durability durability)
      : random_(seed), open_(std::move(open)), durability_(durability) {
    reopen();
  }

  void reopen() {
    storage_.reset();
    storage_ = open_();
    REQUIRE(storage_->open(durability_));
  }

  void step() {
    commit_some();
    for (int i = 0; i < 3; ++i) compare();
  }

  void compare_feed() {
    // Within a batch the order is the storage's own.
    std::vector<std::uint64_t> starts = {0};
    for (const auto& [batch, moved] : model_.feed) starts.push_back(batch);
    const std::uint64_t after = starts[pick(starts.size())];
    std::string got;
    for (std::uint64_t from = after;;) {
      FeedPage page = feed(*storage_, from, {.rows = 1, .bytes = 1 << 20});
      std::sort(page.moved.begin(), page.moved.end());
      if (!page.moved.empty()) got += (got.empty() ? "" : " ") + show(page);
      from = page.next;
      if (!page.more) break;
    }
    CHECK(got == model_.feed_after(after));
  }

 private:
  std::size_t pick(std::size_t below) { return std::uniform_int_distribution<std::size_t>(0, below - 1)(random_); }
  bool chance(int percent) { return pick(100) < static_cast<std::size_t>(percent); }
  std::string partition() { return names_[pick(names_.size())]; }
  std::string text() { return std::string(chance(5) ? pick(20'000) : pick(12), static_cast<char>('a' + pick(26))); }
  Log log() { return chance(70) ? Log::messages : Log::changes; }
  Table table() { return chance(50) ? Table::keys : Table::members; }

  // Adds a random change to the step, and does it in a copy of the model's partition.
  Step random_step(const std::string& name, Model::Partition& p) {
    Step step(name, p.head);
    const Seq old_head = p.head;
    const std::size_t count = chance(10) ? pick(200) : pick(4);
    for (std::size_t i = 0; i < count; ++i) {
      p.head += chance(5) ? 2 : 1;
      put_event(step, p, log(), p.head);
    }
    if (chance(5)) p.head += 2;
    step.head(p.head);
    for (std::size_t i = pick(4); i > 0 && old_head > 0; --i) {
      const Seq seq = 1 + pick(old_head);
      if (const auto found = p.events.find(seq); found != p.events.end()) put_event(step, p, found->second.log, seq);
    }
    for (std::size_t i = pick(4); i > 0; --i) {
      const Table in = table();
      const std::string key(1 + pick(2), static_cast<char>(pick(256)));
      if (chance(70)) {
        p.rows[{in, key}] = text();
        step.put(in, key, p.rows[{in, key}]);
      } else {
        p.rows.erase({in, key});
        step.erase(in, key);
      }
    }
    if (chance(10)) {
      const Seq to = pick(p.head + 2);
      step.trim(to);
      p.oldest = std::max(p.oldest, std::min(to, p.head) + 1);
    }
    return step;
  }
  void put_event(Step& step, Model::Partition& p, Log log, Seq seq) {
    const std::string bytes = text();
    step.replace(log, seq, bytes);
    p.events[seq] = {log, bytes};  // kept in the model although it is trimmed: never shown
  }

  void commit_some() {
    std::map<std::string, Seq> moved;
    std::vector<Step> steps;
    std::string expected;
    for (std::size_t i = 1 + pick(3); i > 0; --i) {
      const std::string name = partition();
      const auto found = model_.partitions.find(name);
      Model::Partition p = found == model_.partitions.end() ? Model::Partition{} : found->second;
      const Seq head = p.head;
      expected += expected.empty() ? "" : " ";
      if (chance(10)) {
        p.head += 1 + pick(3);  // a head that is not there
        steps.push_back(random_step(name, p));
        expected += "conflict";
        continue;
      }
      steps.push_back(random_step(name, p));
      expected += "ok";
      if (p.head > head) moved[name] = p.head;
      model_.partitions[name] = p;
    }
    const Committed committed = steps.size() == 1   ? commit(*storage_, steps[0])
                                : steps.size() == 2 ? commit(*storage_, steps[0], steps[1])
                                                    : commit(*storage_, steps[0], steps[1], steps[2]);
    CHECK(committed.outcomes == expected);
    if (!moved.empty()) model_.feed.emplace_back(committed.batch, moved);
  }

  void compare() {
    const std::string name = partition();
    const auto found = model_.partitions.find(name);
    const Seq start = pick(found == model_.partitions.end() ? 3 : found->second.head + 3);
    const Direction direction = chance(50) ? Direction::forward : Direction::backward;
    const std::uint32_t most = chance(30) ? 1'000'000 : static_cast<std::uint32_t>(1 + pick(80));
    const Log in = log();
    CHECK(events(*storage_, name, in, start, direction, {.rows = most, .bytes = 1 << 30}) ==
          model_.events(name, in, start, direction, most));
    for (const Table each : {Table::keys, Table::members}) {
      CHECK(rows(*storage_, name, each, {.rows = 1 + most % 5, .bytes = 1 << 20}) == model_.rows(name, each));
    }
  }

  std::mt19937 random_;
  Function<std::unique_ptr<Storage>()> open_;
  Durability durability_;
  const std::vector<std::string> names_ = {"c:a", "c:ab", "u:a", "e:"};
  Model model_;
  std::unique_ptr<Storage> storage_;
};

}  // namespace scratch
