#include <algorithm>
#include <array>
#include <random>

#include "scenarios/scenarios.h"
#include "traffic.h"

namespace {

constexpr std::uint64_t page_rows = 50, pages_each = 10, messages_each = page_rows * pages_each;
constexpr unsigned pages_under_way = 4;  // of a reader

// One reader a conversation; checks that each page holds what it must.
class Readers {
 public:
  Readers(Loop& loop, const Dialect& dialect, const std::vector<std::string>& conversations)
      : loop_(loop), dialect_(dialect), conversations_(conversations), readers_(conversations.size()) {
    loop_.on_frame = [this](Link& link, View frame) { receive(link, frame); };
  }

  // Every page once.
  void read_all() {
    again_ = false;
    for (std::uint64_t page = 1; page <= pages_each; ++page) {
      for (std::size_t i = 0; i < readers_.size(); ++i) ask(loop_.links()[i], page * page_rows);
      while (under_way_ != 0) turn();
    }
  }

  Figures measure(const Child& server, double seconds, bool newest) {
    again_ = true;
    newest_ = newest;
    for (std::size_t i = 0; i < readers_.size(); ++i) {
      for (unsigned n = 0; n < pages_under_way; ++n) ask(loop_.links()[i], next_start());
    }
    const std::int64_t began = now_ns();
    const double cpu = server.cpu_seconds();
    const std::uint64_t before = done_;
    while (static_cast<double>(now_ns() - began) < seconds * 1e9) turn();
    const double took = static_cast<double>(now_ns() - began) / 1e9;
    const double cpu_us = (server.cpu_seconds() - cpu) * 1e6;
    const auto pages = static_cast<double>(done_ - before);
    again_ = false;
    while (under_way_ != 0) turn();
    require(pages > 0, "no page came while it was measured");
    return {{"pages_per_second", pages / took}, {"server_cpu_us_per_page", cpu_us / pages}};
  }

 private:
  static constexpr std::uint64_t first_call = 16;

  // By call: where the page under way starts; 0: none is.
  using Reader = std::array<std::uint64_t, pages_under_way>;

  std::uint64_t next_start() { return newest_ ? messages_each : page_rows * (1 + random_() % pages_each); }

  void ask(Link& link, std::uint64_t start) {
    Reader& reader = readers_[link.index];
    const auto slot = std::find(reader.begin(), reader.end(), 0);
    *slot = start;
    const auto call = first_call + static_cast<std::uint64_t>(slot - reader.begin());
    loop_.queue(link, dialect_.read_history(call, conversations_[link.index], newest_ ? 0 : start));
    ++under_way_;
  }

  void receive(Link& link, View frame) {
    const Incoming in = dialect_.read(frame);
    require(in.kind != Incoming::Kind::bad, "a page was refused");
    if (in.kind != Incoming::Kind::answer) return;
    const std::uint64_t slot = in.call - first_call;
    require(slot < pages_under_way && readers_[link.index][slot] != 0, "an answer to nothing");
    std::uint64_t& start = readers_[link.index][slot];
    std::uint64_t seq = start, rows = 0;
    dialect_.read_page(in.body, [&](std::uint64_t of, std::string_view text) {
      require(of == seq && body::check(text).number == seq, "a page holds what it should not");
      --seq;
      ++rows;
    });
    require(rows == page_rows, "a page has a hole, or is too short");
    start = 0;
    --under_way_;
    ++done_;
    if (again_) ask(link, next_start());
  }

  void turn() {
    const std::uint64_t done = done_;
    const std::int64_t deadline = now_ns() + 10'000'000'000;
    while (done_ == done) {
      loop_.turn(std::chrono::milliseconds(100));
      require(now_ns() < deadline, "a page was not answered");
    }
  }

  Loop& loop_;
  const Dialect& dialect_;
  const std::vector<std::string>& conversations_;
  std::vector<Reader> readers_;
  bool again_ = false, newest_ = false;
  std::uint64_t done_ = 0, under_way_ = 0;
  std::minstd_rand random_{1};
};

// Fills the conversations; their ids.
std::vector<std::string> write_history(Server& server, const Options& options, Loop& loop) {
  const std::size_t pairs = options.clients;
  const std::vector<std::string> alices = named("alice", 0, pairs), bobs = named("bob", pairs, pairs);
  log_in(loop, server.dialect(), server.process().port(), alices);
  Traffic traffic(loop, server.dialect(), options);
  for (std::size_t i = 0; i < pairs; ++i) {
    traffic.add_sender(loop.links()[i], alices[i],
                       server.dialect().send(bobs[i], "phone-" + std::to_string(i), options.bytes));
  }
  show_progress(options, "writing history");
  traffic.send_each(messages_each);
  std::vector<std::string> conversations;
  for (std::size_t i = 0; i < pairs; ++i) conversations.push_back(traffic.conversation(i));
  return conversations;
}

}  // namespace

// Pages of 50: the newest ones, which a server may hold in memory, and any, after a restart, from blocks that were read
// before.
Figures run_history(Server& server, const Options& options) {
  const std::vector<std::string> recent{"--recent", std::to_string(page_rows)};
  const std::vector<std::string> arguments = server.bare() ? recent : std::vector<std::string>{};
  server.start(arguments);
  Figures figures = no_figures(options);
  std::vector<std::string> conversations;
  {
    Loop loop;
    conversations = write_history(server, options, loop);
    Readers readers(loop, server.dialect(), conversations);
    show_progress(options, "reading what is new");
    readers.measure(server.process(), options.warm_up, true);
    figures["newest"] = readers.measure(server.process(), options.seconds, true);
  }
  if (options.durability != "memory") {
    server.stop();
    server.start(arguments);
    Loop loop;
    log_in(loop, server.dialect(), server.process().port(), named("alice", 0, options.clients));
    Readers readers(loop, server.dialect(), conversations);
    show_progress(options, "reading from the block cache");
    readers.read_all();
    figures["block_cache"] = readers.measure(server.process(), options.seconds, false);
  }
  figures["server_rss_bytes"] = server.process().rss_bytes();
  return figures;
}
