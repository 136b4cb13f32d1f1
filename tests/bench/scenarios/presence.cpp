#include <algorithm>
#include <functional>

#include "conversations.h"
#include "frames.h"
#include "scenarios/scenarios.h"
#include "traffic.h"

using chatcore::ConversationId;
using chatcore::OnlineCount;
using chatcore::PresenceState;
using chatcore::SetPresence;
using chatcore::WatchPresence;

namespace {

constexpr std::size_t pairs = 100, most_watchers = 100;
constexpr double half_busy = 6'000;  // messages a second
constexpr std::int64_t second = 1'000'000'000, patience = 60 * second;
constexpr std::uint64_t login_call = 1, presence_call = 16, watch_call = 17;

// The readers of a channel, who come and go; the first ones watch it. Those who end their connections are all others.
class Crowd {
 public:
  // They are logged in, at the links from `first` on.
  Crowd(Loop& loop, Server& server, std::string channel, std::size_t first, std::vector<std::string> users)
      : loop_(loop),
        dialect_(server.dialect()),
        port_(server.process().port()),
        channel_(std::move(channel)),
        users_(std::move(users)),
        members_(users_.size()),
        watchers_(std::min(most_watchers, users_.size() / 2)) {
    for (std::size_t i = 0; i < users_.size(); ++i) take(members_[i], loop_.links()[first + i]);
  }

  bool has(const Link& link) const { return link.index < member_of_.size() && member_of_[link.index]; }

  void receive(Link& link, View frame) {
    Member& member = *member_of_[link.index];
    const Incoming in = dialect_.read(frame);
    switch (in.kind) {
      case Incoming::Kind::answer:
        if (in.call != login_call && in.call != presence_call && in.call != watch_call) return;  // to a ping
        require(member.asked-- > 0, "an answer to nothing");
        ++done_;
        return;
      case Incoming::Kind::checkpoint:
        return;
      case Incoming::Kind::other:
        return counted(member, signal_in<OnlineCount>(frame));
      case Incoming::Kind::bad:
        throw Failure("one who comes and goes was refused, or sent away");
      case Incoming::Kind::event:
      case Incoming::Kind::notice:
        throw Failure("an event for somebody who should get none");
    }
  }

  // Who watches is told at once.
  void watch() {
    for (std::size_t i = 0; i < watchers_; ++i) {
      ask(members_[i], call(watch_call, WatchPresence{.conversations = {*ConversationId::make(channel_)}}));
    }
  }

  // Within each second all go offline, one after the other, and come back.
  void come_and_go(std::int64_t now) {
    const double rate = 2.0 * static_cast<double>(members_.size());
    for (; is_due(now, rate); ++turns_) {
      const bool comes = turns_ / members_.size() % 2 != 0;
      say(members_[turns_ % members_.size()], comes ? online_ : offline_);
    }
  }
  // So many a second end their connections, and log in again at once.
  void reconnect(std::int64_t now, double rate) {
    const std::size_t count = members_.size() - watchers_;
    for (; is_due(now, rate); ++turns_) {
      const std::size_t i = watchers_ + turns_ % count;
      require(members_[i].asked == 0, "the server is too slow for so many logins");
      loop_.close(*members_[i].link);
      // Other addresses than those of log_in(): a port of a connection that has ended is not free at once.
      const std::string source = "127.0.1." + std::to_string(1 + turns_ / 100 % 200);
      take(members_[i], loop_.connect(port_, source.c_str()));
      ask(members_[i], dialect_.login(users_[i]));
    }
  }

  std::uint64_t done() const { return done_; }    // answers
  std::uint64_t shown() const { return shown_; }  // counts, to all who watch

  // What the watchers are shown is true: where all are here, and where every second one has gone. `others` are here
  // and do not come or go.
  void check(std::size_t others) {
    turn_until([](const Member& member) { return member.asked == 0; }, members_.size(), "a request was not answered");
    for (Member& member : members_) say(member, online_);
    wait_until_shown(members_.size() + others);
    for (std::size_t i = 0; i < members_.size(); i += 2) say(members_[i], offline_);
    wait_until_shown(members_.size() / 2 + others);
  }

 private:
  struct Member {
    Link* link{};
    std::uint32_t asked{};   // requests under way
    std::uint32_t online{};  // what he was last shown
  };

  void take(Member& member, Link& link) {
    member.link = &link;
    member_of_.resize(std::max(member_of_.size(), link.index + 1));
    member_of_[link.index] = &member;
  }
  void ask(Member& member, std::string_view request) {
    loop_.queue(*member.link, request);
    ++member.asked;
  }
  void say(Member& member, const std::string& presence) {
    require(member.asked < 64, "the server is too slow for so many who come and go");
    ask(member, presence);
  }
  bool is_due(std::int64_t now, double rate) {
    if (began_ == 0) began_ = now;
    return began_ + static_cast<std::int64_t>(static_cast<double>(turns_) * second / rate) <= now;
  }

  void counted(Member& member, const OnlineCount& count) {
    require(count.conversation.view() == channel_, "a count of a conversation that nobody watches");
    require(count.online <= members_.size() + 1, "more are here than there are");
    member.online = count.online;
    ++shown_;
  }

  void wait_until_shown(std::size_t online) {
    turn_until([&](const Member& member) { return member.online == online; }, watchers_,
               "not everyone who watches is shown how many are here");
  }
  // Until this holds for the first ones.
  template <class Holds>
  void turn_until(const Holds& holds, std::size_t first, const char* else_what) {
    const auto end = members_.begin() + static_cast<std::ptrdiff_t>(first);
    for (const std::int64_t deadline = now_ns() + patience; !std::all_of(members_.begin(), end, holds);) {
      loop_.turn(std::chrono::milliseconds(10));
      require(now_ns() < deadline, else_what);
    }
  }

  Loop& loop_;
  const Dialect& dialect_;
  const std::uint16_t port_;
  const std::string channel_;
  const std::vector<std::string> users_;
  std::vector<Member> members_;
  const std::size_t watchers_;
  std::vector<Member*> member_of_{};  // by link
  const std::string online_ = call(presence_call, SetPresence{PresenceState::online});
  const std::string offline_ = call(presence_call, SetPresence{PresenceState::offline});
  std::int64_t began_ = 0;
  std::uint64_t turns_ = 0, done_ = 0, shown_ = 0;
};

}  // namespace

// Pairs who talk at a fixed rate, beside a channel whose readers are silent at first; then they come and go, all within
// each second, and some watch how many are here. The messages must not be later for it, nor the server grow.
Figures run_presence(Server& server, const Options& options) {
  require(options.clients >= 4, "somebody has to come and go");
  server.start();
  const std::uint16_t port = server.process().port();
  const Dialect& dialect = server.dialect();
  const std::vector<std::string> users = named("user", 1, options.clients);
  const std::vector<std::string> alices = named("alice", 0, pairs), bobs = named("bob", pairs, pairs);
  Loop loop;
  log_in(loop, dialect, port, named("owner", 0, 1));
  show_progress(options, "making the channel");
  const std::string channel = make_channel(loop, dialect, loop.links()[0], users, false);
  show_progress(options, "logging in");
  log_in(loop, dialect, port, alices);
  log_in(loop, dialect, port, bobs);
  log_in(loop, dialect, port, users);
  Crowd crowd(loop, server, channel, 1 + 2 * pairs, users);

  Options talk = options;
  if (talk.rate == 0) talk.rate = half_busy;
  const auto play = [&](const std::string& source, const std::function<void(std::int64_t)>& beside) {
    Traffic traffic(loop, dialect, talk);
    for (std::size_t i = 0; i < pairs; ++i) {
      traffic.add_sender(loop.links()[1 + i], alices[i],
                         dialect.send(bobs[i], source + "-" + std::to_string(i), options.bytes));
      traffic.add_receiver(loop.links()[1 + pairs + i]);
    }
    loop.on_frame = [&, to_traffic = std::move(loop.on_frame)](Link& link, View frame) {
      crowd.has(link) ? crowd.receive(link, frame) : to_traffic(link, frame);
    };
    traffic.beside = beside;
    server.process().forget_peak();
    const auto rss = static_cast<double>(server.process().rss_bytes());
    Figures figures = traffic.run(server.process());
    figures["p99_ms"] = traffic.latency().quantile_ms(0.99);
    figures["growth"] = static_cast<double>(server.process().peak_rss_bytes()) - rss;
    loop.on_frame = [&](Link& link, View frame) {
      if (crowd.has(link)) crowd.receive(link, frame);
    };
    return figures;
  };
  const Figures without = play("without", {});
  crowd.watch();
  const std::int64_t began = now_ns();
  const std::uint64_t done = crowd.done();
  Figures figures = play("with", [&](std::int64_t now) {
    options.reconnect ? crowd.reconnect(now, options.reconnects) : crowd.come_and_go(now);
  });
  const double seconds = static_cast<double>(now_ns() - began) / 1e9;
  const auto came_and_went = static_cast<double>(crowd.done() - done), shown = static_cast<double>(crowd.shown());
  show_progress(options, "checking the counts");
  crowd.check(1);

  const double growth = figures["growth"];
  figures.erase("growth");
  figures["sessions"] = options.clients;
  figures["server_rss_bytes"] = server.process().peak_rss_bytes();
  figures["server_rss_growth_bytes"] = growth;
  figures["server_rss_growth_without_bytes"] = without["growth"];
  figures["server_cpu_share_without"] = without["server_cpu_share"];
  figures["changes_per_second"] = came_and_went / seconds;
  figures["counts_shown_per_second"] = shown / seconds;
  figures["p50_ms_without"] = without["latency_ms"]["p50"];
  figures["p99_ms_without"] = without["p99_ms"];
  figures["p99_ratio"] = figures["p99_ms"].get<double>() / without["p99_ms"].get<double>();
  return figures;
}
