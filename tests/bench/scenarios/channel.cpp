#include <algorithm>
#include <queue>
#include <random>
#include <utility>

#include "conversations.h"
#include "scenarios/scenarios.h"
#include "traffic.h"

namespace {

constexpr std::int64_t patience = 60'000'000'000, ping_every = 20'000'000'000;
constexpr std::uint64_t sync_call = 5;

// One message at a time: the next one is sent when every reader has the one before, which was pushed to him, or which
// he was told of and has read.
class Broadcast {
 public:
  // All links but the publisher's are readers, and logged in.
  Broadcast(Loop& loop, const Dialect& dialect, Link& publisher, const std::string& channel, std::size_t bytes)
      : loop_(loop),
        dialect_(dialect),
        publisher_(publisher),
        channel_(channel),
        form_(dialect.send_to_group(channel, "phone", bytes)),
        readers_(loop.links().size()) {
    loop_.on_frame = [this](Link& link, View frame) { receive(link, frame); };
  }

  void send_one() {
    ++number_;
    if (seq_ != 0) ++seq_;
    told_ = read_ = 0;
    acknowledged_ = false;
    sent_at_ = now_ns();
    form_.write(loop_.queue(publisher_, form_.frame.size()), number_, sent_at_);
    while (told_ < readers() || read_ < readers() || !acknowledged_) {
      read_what_is_due();
      loop_.turn(std::chrono::nanoseconds(0));  // asleep, it would be woken at the server's cost
      require(now_ns() - sent_at_ < patience, "a message did not come to everyone in time");
    }
  }

  std::size_t readers() const { return readers_.size() - 1; }
  // Of the last message, from when it was sent.
  double last_told_ms() const { return static_cast<double>(last_told_ - sent_at_) / 1e6; }
  double last_read_ms() const { return static_cast<double>(last_read_ - sent_at_) / 1e6; }
  std::uint64_t spread_ms() const { return spread_ms_; }

 private:
  struct Reader {
    std::uint64_t told{}, has{};  // numbers of messages
  };

  void receive(Link& link, View frame) {
    const Incoming in = dialect_.read(frame);
    switch (in.kind) {
      case Incoming::Kind::event:
        told(link, in.seq);
        return has(link, in.seq, in.text);
      case Incoming::Kind::notice:
        told(link, in.seq);
        spread_ms_ = in.spread_ms;
        due_.emplace(loop_.arrived() + part_of_spread(), &link);
        return;
      case Incoming::Kind::answer:
        if (&link == &publisher_) return acknowledged(in);
        if (in.call != sync_call) return;  // to a ping
        return dialect_.read_page(in.body, [&](std::uint64_t seq, std::string_view text) { has(link, seq, text); });
      case Incoming::Kind::checkpoint:
        return;
      case Incoming::Kind::bad:
      case Incoming::Kind::other:
        throw Failure("a frame that nobody expected");
    }
  }

  void acknowledged(const Incoming& in) {
    if (in.call < SendTemplate::first) return;  // to a ping
    require(in.call == SendTemplate::first + number_ && !acknowledged_, "an answer to a call that is not under way");
    check_seq(in.seq);
    acknowledged_ = true;
  }
  void told(const Link& link, std::uint64_t seq) {
    require(&link != &publisher_, "an event for somebody who should get none");
    check_seq(seq);
    require(std::exchange(readers_[link.index].told, number_) == number_ - 1, "a message comes twice");
    ++told_;
    last_told_ = loop_.arrived();
  }
  void has(const Link& link, std::uint64_t seq, std::string_view text) {
    check_seq(seq);
    require(body::check(text).number == number_ && std::exchange(readers_[link.index].has, number_) == number_ - 1,
            "a message is missing, comes twice or in the wrong order");
    ++read_;
    last_read_ = loop_.arrived();
  }
  void check_seq(std::uint64_t seq) {
    if (seq_ == 0) seq_ = seq;
    require(seq_ == seq, "a seq is not the one its message must have");
  }

  std::int64_t part_of_spread() {
    return std::uniform_int_distribution<std::int64_t>(0, static_cast<std::int64_t>(spread_ms_) * 1'000'000)(random_);
  }
  void read_what_is_due() {
    for (const std::int64_t now = now_ns(); !due_.empty() && due_.top().first <= now; due_.pop()) {
      loop_.queue(*due_.top().second, dialect_.sync(sync_call, channel_, seq_ - 1));
    }
  }

  Loop& loop_;
  const Dialect& dialect_;
  Link& publisher_;
  const std::string channel_;
  const SendTemplate form_;
  std::vector<Reader> readers_;  // by link
  using Due = std::pair<std::int64_t, Link*>;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_{};  // who reads, and when
  std::uint64_t number_ = 0, seq_ = 0, spread_ms_ = 0;                // seq_ 0: not known
  std::size_t told_ = 0, read_ = 0;
  bool acknowledged_ = false;
  std::int64_t sent_at_ = 0, last_told_ = 0, last_read_ = 0;
  std::minstd_rand random_{1};
};

}  // namespace

// One channel, one who sends. What counts is the time until the last reader has a message, or has been told of it.
Figures run_channel(Server& server, const Options& options) {
  server.start();
  const std::uint16_t port = server.process().port();
  const Dialect& dialect = server.dialect();
  const std::vector<std::string> readers = named("reader", 1, options.clients);
  Loop loop;
  log_in(loop, dialect, port, named("owner", 0, 1));
  show_progress(options, "making the channel");
  const std::string channel = make_channel(loop, dialect, loop.links()[0], readers, options.notify_only);
  show_progress(options, "logging in");
  log_in(loop, dialect, port, readers);

  Broadcast broadcast(loop, dialect, loop.links()[0], channel, options.bytes);
  std::int64_t pinged = now_ns();
  std::vector<double> told_ms, read_ms;
  const auto play = [&](double seconds) {
    told_ms.clear();
    read_ms.clear();
    for (const std::int64_t began = now_ns(); told_ms.empty() || now_ns() - began < seconds * 1e9;) {
      if (now_ns() - pinged > ping_every) {
        for (Link& link : loop.links()) loop.queue(link, dialect.ping());
        pinged = now_ns();
      }
      broadcast.send_one();
      told_ms.push_back(broadcast.last_told_ms());
      read_ms.push_back(broadcast.last_read_ms());
    }
  };
  show_progress(options, "measuring");
  play(options.warm_up);
  const std::int64_t began = now_ns();
  const double cpu = server.process().cpu_seconds(), own_cpu = own_cpu_seconds();
  play(options.seconds);
  const double seconds = static_cast<double>(now_ns() - began) / 1e9;
  const double cpu_us = (server.process().cpu_seconds() - cpu) * 1e6;
  const auto messages = static_cast<double>(told_ms.size());
  const double deliveries = messages * static_cast<double>(broadcast.readers());

  Figures figures = no_figures(options);
  figures["sessions"] = broadcast.readers();
  figures["last_ms"] = median(told_ms);
  figures["last_ms_most"] = *std::max_element(told_ms.begin(), told_ms.end());
  if (broadcast.spread_ms() != 0) {
    figures["spread_ms"] = broadcast.spread_ms();
    figures["last_read_ms"] = median(read_ms);
  }
  figures["messages_per_second"] = messages / seconds;
  figures["deliveries_per_second"] = deliveries / seconds;
  figures["server_cpu_us_per_message"] = cpu_us / messages;
  figures["server_cpu_us_per_delivery"] = cpu_us / deliveries;
  figures["server_rss_bytes"] = server.process().rss_bytes();
  figures["client_cpu_us_per_delivery"] = (own_cpu_seconds() - own_cpu) * 1e6 / deliveries;
  return figures;
}
