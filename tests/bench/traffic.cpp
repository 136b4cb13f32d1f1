#include "traffic.h"

#include <algorithm>
#include <utility>

namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t ping_every = 20 * second;
constexpr std::int64_t patience = 30 * second;
constexpr std::size_t most_under_way = 1 << 20;  // at a fixed rate; beyond, the server has long been too slow

std::string reason(const Incoming& in) {
  std::string text(text_of(in.body));
  std::erase_if(text, [](char c) { return c < ' '; });
  return text;
}

}  // namespace

void log_in(Loop& loop, const Dialect& dialect, std::uint16_t port, const std::vector<std::string>& users,
            const std::function<void(const Link&, const Incoming&)>& logged_in) {
  constexpr std::size_t at_once = 200;
  std::size_t opened = 0, done = 0;
  loop.on_frame = [&](Link& link, View frame) {
    const Incoming in = dialect.read(frame);
    if (in.kind == Incoming::Kind::bad) throw Failure("a login was refused: " + reason(in));
    if (in.kind != Incoming::Kind::answer) return;
    if (logged_in) logged_in(link, in);
    ++done;
  };
  const std::int64_t deadline = now_ns() + patience + static_cast<std::int64_t>(users.size()) * second / 500;
  while (done < users.size()) {
    for (; opened < users.size() && opened < done + at_once; ++opened) {
      const std::string source = "127.0.0." + std::to_string(1 + opened / 4000);
      loop.queue(loop.connect(port, source.c_str()), dialect.login(users[opened]));
    }
    loop.turn(std::chrono::milliseconds(10));
    require(now_ns() < deadline, "not everyone could log in in time");
  }
}

Traffic::Traffic(Loop& loop, const Dialect& dialect, const Options& options)
    : loop_(loop),
      dialect_(dialect),
      options_(options),
      sender_of_(loop.links().size()),
      receiver_of_(sender_of_.size()) {
  loop_.on_frame = [this](Link& link, View frame) { receive(link, frame); };
}

void Traffic::add_sender(Link& link, std::string user, SendTemplate form) {
  Sender& sender = senders_.emplace_back(Sender{.link = &link, .user = std::move(user), .form = std::move(form)});
  sender.under_way.resize(options_.rate > 0 ? most_under_way : std::bit_ceil(options_.window + 1));
  sender_of_[link.index] = &sender;
}

void Traffic::add_receiver(Link& link) {
  receiver_of_[link.index].sender = &senders_.back();
  ++senders_.back().receivers;
}

void Traffic::receive(Link& link, View frame) {
  const Incoming in = dialect_.read(frame);
  switch (in.kind) {
    case Incoming::Kind::answer:
      if (in.call < SendTemplate::first) return;  // to a ping
      require(sender_of_[link.index], "an answer to nothing");
      return acknowledged(*sender_of_[link.index], in);
    case Incoming::Kind::event:
      require(receiver_of_[link.index].sender, "an event for somebody who should get none");
      return delivered(receiver_of_[link.index], in);
    case Incoming::Kind::bad:
      throw Failure("the server said no, or good-bye: " + reason(in));
    case Incoming::Kind::checkpoint:
      return;
    case Incoming::Kind::notice:
    case Incoming::Kind::other:
      throw Failure("a frame that nobody expected");
  }
}

void Traffic::check_seq(Sender& sender, std::uint64_t number, std::uint64_t seq) {
  const auto base = static_cast<std::int64_t>(seq - number);
  if (sender.base < 0) sender.base = base;
  require(sender.base == base && base >= 0, "a seq is not the one its message must have");
}

void Traffic::acknowledged(Sender& sender, const Incoming& in) {
  const std::uint64_t number = in.call - SendTemplate::first;
  require(number >= 1 && number <= sender.sent && sender.under_way[number % sender.under_way.size()],
          "an answer to a call that is not under way");
  sender.under_way[number % sender.under_way.size()] = false;
  check_seq(sender, number, in.seq);
  if (sender.conversation.empty()) sender.conversation = in.conversation;
  ++sender.acknowledged;
  ++acknowledged_;
  if (sending_ && options_.rate == 0 && sender.sent < most_) send(sender, loop_.arrived());
}

void Traffic::delivered(Receiver& receiver, const Incoming& in) {
  const body::Head head = body::check(in.text);
  require(head.number == ++receiver.seen, "a message is missing, comes twice or in the wrong order");
  require(!dialect_.names_senders() || in.sender == receiver.sender->user, "a message has the wrong sender");
  check_seq(*receiver.sender, head.number, in.seq);
  ++delivered_;
  if (measuring_) latency_.record(loop_.arrived() - head.time_ns);
}

void Traffic::send(Sender& sender, std::int64_t time_ns) {
  const std::uint64_t number = ++sender.sent;
  ++sent_;
  auto mark = sender.under_way[number % sender.under_way.size()];
  require(!mark, "the server is too slow for this rate");
  mark = true;
  sender.form.write(loop_.queue(*sender.link, sender.form.frame.size()), number, time_ns);
}

void Traffic::send_what_is_due(std::int64_t now) {
  const double between = second / options_.rate;
  for (;; ++due_) {
    const auto time = began_ + static_cast<std::int64_t>(static_cast<double>(due_) * between);
    if (time > now) return;
    send(senders_[due_ % senders_.size()], time);
  }
}

void Traffic::play_until(std::int64_t end, const char* what) {
  std::int64_t shown = now_ns();
  std::uint64_t shown_delivered = delivered_;
  for (std::int64_t now = shown; now < end; now = now_ns()) {
    std::int64_t wait = 1'000'000;
    if (beside) beside(now);
    if (options_.rate > 0) {
      send_what_is_due(now);
      wait = began_ + static_cast<std::int64_t>(static_cast<double>(due_) * second / options_.rate) - now;
    }
    loop_.turn(std::chrono::nanoseconds(std::min<std::int64_t>(wait, 10'000'000)));
    keep_alive(now);
    if (now - shown > second / 4) {
      show_progress(options_, std::string(what) + ", " + std::to_string((end - now) / second) + " s left, " +
                                  std::to_string((delivered_ - shown_delivered) * second / std::uint64_t(now - shown)) +
                                  " deliveries/s");
      shown = now;
      shown_delivered = delivered_;
    }
  }
}

Traffic::Moment Traffic::moment(const Child& server) const {
  return {now_ns(), server.cpu_seconds(), own_cpu_seconds(), acknowledged_, delivered_};
}

// Fails where nothing comes any more.
void Traffic::drain() {
  const auto expected = [&] {
    std::uint64_t sum = 0;
    for (const Sender& sender : senders_) sum += sender.sent * sender.receivers;
    return sum;
  };
  std::uint64_t came = 0;
  std::int64_t last = now_ns();
  while (acknowledged_ < sent_ || delivered_ < expected()) {
    loop_.turn(std::chrono::milliseconds(10));
    const std::int64_t now = now_ns();
    if (std::exchange(came, acknowledged_ + delivered_) != acknowledged_ + delivered_) last = now;
    require(now - last < patience, "messages were not acknowledged, or not delivered");
    keep_alive(now);
  }
}

void Traffic::keep_alive(std::int64_t now) {
  if (now - pinged_ < ping_every) return;
  pinged_ = now;
  const std::string ping = dialect_.ping();
  if (ping.empty()) return;
  for (Link& link : loop_.links()) {
    if (!link.stalled && link.fd >= 0) loop_.queue(link, ping);
  }
}

void Traffic::begin() {
  sending_ = true;
  began_ = pinged_ = now_ns();
  if (options_.rate > 0) return;
  for (Sender& sender : senders_) {
    for (unsigned i = 0; i < options_.window && sender.sent < most_; ++i) send(sender, now_ns());
  }
}

void Traffic::send_each(std::uint64_t messages) {
  most_ = messages;
  measuring_ = true;
  begin();
  drain();
  measuring_ = sending_ = false;
}

std::uint64_t Traffic::head(std::size_t sender) const {
  return static_cast<std::uint64_t>(senders_[sender].base) + senders_[sender].sent;
}

Figures Traffic::run(const Child& server) {
  begin();
  play_until(began_ + static_cast<std::int64_t>(options_.warm_up * second), "warming up");
  measuring_ = true;
  const Moment first = moment(server);
  play_until(first.time + static_cast<std::int64_t>(options_.seconds * second), "measuring");
  const Moment last = moment(server);
  measuring_ = sending_ = false;
  const std::size_t rss = server.rss_bytes();
  drain();

  const double seconds = static_cast<double>(last.time - first.time) / second;
  const auto deliveries = static_cast<double>(last.delivered - first.delivered);
  const auto messages = static_cast<double>(last.acknowledged - first.acknowledged);
  require(messages > 0 && deliveries > 0, "nothing was delivered while it was measured");
  const double cpu_us = (last.server_cpu - first.server_cpu) * 1e6;
  Figures figures = no_figures(options_);
  figures["messages_per_second"] = messages / seconds;
  figures["deliveries_per_second"] = deliveries / seconds;
  set_latency(figures, latency_);
  figures["server_cpu_us_per_message"] = cpu_us / messages;
  figures["server_cpu_us_per_delivery"] = cpu_us / deliveries;
  figures["server_rss_bytes"] = rss;
  figures["server_cpu_share"] = cpu_us / 1e6 / seconds;
  figures["client_cpu_us_per_delivery"] = (last.own_cpu - first.own_cpu) * 1e6 / deliveries;
  figures["client_cpu_share"] = (last.own_cpu - first.own_cpu) / seconds;
  return figures;
}
