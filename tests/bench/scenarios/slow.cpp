#include <algorithm>
#include <utility>

#include "conversations.h"
#include "place.h"
#include "scenarios/scenarios.h"
#include "traffic.h"

namespace {

constexpr std::int64_t patience = 60'000'000'000;
constexpr std::size_t outbox_bytes = 1 << 20, slack_bytes = 16 << 20;  // what each, and all together, may cost

// Readers who stop reading, are cut, and come back with their last checkpoint.
class Stalled {
 public:
  // Those of the links from `first` on, each with his first checkpoint.
  Stalled(Loop& loop, const Dialect& dialect, std::size_t first, const std::vector<std::string>& users,
          std::vector<std::string> checkpoints)
      : loop_(loop), dialect_(dialect) {
    for (std::size_t i = 0; i < users.size(); ++i) {
      readers_.push_back({&loop.links()[first + i], users[i]});
      readers_.back().place.checkpoint(std::move(checkpoints[i]));
    }
  }

  bool has(const Link& link) { return find(link) != nullptr; }

  void receive(Link& link, View frame) {
    Reader& reader = *find(link);
    const Incoming in = dialect_.read(frame);
    switch (in.kind) {
      case Incoming::Kind::answer:
        if (in.call == 1) dialect_.checkpoint_of(in.body);  // fails on a reset
        return;
      case Incoming::Kind::checkpoint:
        return reader.place.checkpoint(std::string(text_of(in.body)));
      case Incoming::Kind::event:
        return reader.place.comes(in.seq, body::check(in.text).number);
      case Incoming::Kind::notice:
        require(reader.is_stalled, "a notice for someone who reads");
        return reader.place.notice();
      case Incoming::Kind::bad:
        require(reader.is_stalled, "one who came back was sent away");
        return;
      case Incoming::Kind::other:
        throw Failure("a frame that nobody expected");
    }
  }

  void wait_until_all_have(std::uint64_t head) {
    std::uint64_t came = 0;
    for (std::int64_t last = now_ns();;) {
      std::uint64_t sum = 0;
      bool all = true;
      for (const Reader& reader : readers_) sum += reader.place.head(), all = all && reader.place.head() == head;
      if (all) return;
      loop_.turn(std::chrono::milliseconds(10));
      if (std::exchange(came, sum) != sum) last = now_ns();
      require(now_ns() - last < patience, "one who stalled does not get all");
    }
  }

  void stop_reading() {
    for (Reader& reader : readers_) {
      loop_.stop_reading(*reader.link);
      reader.is_stalled = true;
    }
  }

  // What the kernel has of them, and the end behind it.
  void read_to_the_end() {
    std::size_t ended = 0;
    loop_.on_end = [&](Link& link) {
      require(has(link), "the server closed a connection");
      ++ended;
    };
    for (Reader& reader : readers_) loop_.read_again(*reader.link);
    for (const std::int64_t deadline = now_ns() + patience; ended < readers_.size();) {
      loop_.turn(std::chrono::milliseconds(10));
      require(now_ns() < deadline, "one who stalled is not cut");
    }
    loop_.on_end = {};
  }

  void come_back(std::uint16_t port) {
    for (Reader& reader : readers_) {
      reader.link = &loop_.connect(port);
      reader.is_stalled = false;
      loop_.queue(*reader.link, dialect_.login(reader.user, reader.place.resume()));
    }
  }

 private:
  struct Reader {
    Link* link{};
    std::string user{};
    Place place{};
    bool is_stalled = false;
  };

  Reader* find(const Link& link) {
    const auto at = std::find_if(readers_.begin(), readers_.end(), [&](const Reader& r) { return r.link == &link; });
    return at == readers_.end() ? nullptr : &*at;
  }

  Loop& loop_;
  const Dialect& dialect_;
  std::vector<Reader> readers_{};
};

}  // namespace

// A channel, of whose readers some stop reading while it goes on; the others must not notice, nor the server grow.
Figures run_slow(Server& server, const Options& options) {
  require(options.durability != "memory", "a store in memory grows by all that is sent");
  require(options.stalled < options.clients, "somebody has to read");
  // The store's own memory is full before it counts.
  server.start({"--write-buffer", "4M", "--block-cache", "4M"});
  const std::uint16_t port = server.process().port();
  const Dialect& dialect = server.dialect();
  const std::size_t others = options.clients - options.stalled;
  const std::vector<std::string> readers = named("reader", 1, options.clients);
  Loop loop;
  log_in(loop, dialect, port, named("owner", 0, 1));
  const std::string channel = make_channel(loop, dialect, loop.links()[0], readers, false);
  std::vector<std::string> checkpoints(1 + readers.size());
  log_in(loop, dialect, port, readers,
         [&](const Link& link, const Incoming& in) { checkpoints[link.index] = dialect.checkpoint_of(in.body); });
  const auto first = static_cast<std::ptrdiff_t>(others);
  Stalled stalled(loop, dialect, 1 + others, {readers.begin() + first, readers.end()},
                  {checkpoints.begin() + 1 + first, checkpoints.end()});

  // The seq of the last message; what the others' deliveries took goes into `latency`.
  const auto send = [&](const std::string& source, std::uint64_t mebibytes, Latency& latency) {
    Traffic traffic(loop, dialect, options);
    traffic.add_sender(loop.links()[0], "owner-0", dialect.send_to_group(channel, source, options.bytes));
    for (std::size_t i = 1; i <= others; ++i) traffic.add_receiver(loop.links()[i]);
    loop.on_frame = [&, to_others = std::move(loop.on_frame)](Link& link, View frame) {
      stalled.has(link) ? stalled.receive(link, frame) : to_others(link, frame);
    };
    traffic.send_each(std::max<std::uint64_t>(1, (mebibytes << 20) / options.bytes));
    loop.on_frame = [&](Link& link, View frame) {
      if (stalled.has(link)) stalled.receive(link, frame);
    };
    latency = traffic.latency();
    return traffic.head(0);
  };
  Latency before, during;
  show_progress(options, "while all read");
  send("warm-up", options.mebibytes / 2, before);
  stalled.wait_until_all_have(send("before", options.mebibytes / 2, before));

  show_progress(options, "while some don't");
  stalled.stop_reading();
  server.process().forget_peak();
  const auto rss = static_cast<double>(server.process().rss_bytes());
  const std::int64_t began = now_ns();
  const std::uint64_t head = send("during", options.mebibytes, during);
  const double sending = static_cast<double>(now_ns() - began) / 1e9;
  for (const std::int64_t deadline = now_ns() + patience;
       counter_in(server.process().counters(), "closed slow ") < options.stalled;) {
    loop.turn(std::chrono::milliseconds(100));
    require(now_ns() < deadline, "those who stalled are not cut");
  }
  const auto peak = static_cast<double>(server.process().peak_rss_bytes());

  show_progress(options, "those who stalled come back");
  const std::int64_t back = now_ns();
  stalled.read_to_the_end();
  stalled.come_back(port);
  stalled.wait_until_all_have(head);

  Figures figures = no_figures(options);
  const double base_p99 = before.quantile_ms(0.99), p99 = during.quantile_ms(0.99);
  const double bound = static_cast<double>(options.stalled * outbox_bytes + slack_bytes);
  figures["sessions"] = options.clients;
  figures["stalled"] = options.stalled;
  figures["deliveries_per_second"] = static_cast<double>(during.count()) / sending;
  set_latency(figures, during);
  figures["server_rss_bytes"] = peak;
  figures["server_rss_growth_bytes"] = peak - rss;
  figures["server_rss_growth_bound_bytes"] = bound;
  figures["within_bound"] = peak - rss <= bound;
  figures["p99_ms"] = p99;
  figures["p99_all_reading_ms"] = base_p99;
  figures["p99_ratio"] = p99 / base_p99;
  figures["resumed_complete"] = true;  // or there is no figure
  figures["resumed_after_seconds"] = static_cast<double>(now_ns() - back) / 1e9;
  figures["server_rss_growth_resumed_bytes"] = static_cast<double>(server.process().peak_rss_bytes()) - rss;
  return figures;
}
