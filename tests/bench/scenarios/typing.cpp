#include <algorithm>
#include <functional>
#include <random>
#include <unordered_map>

#include "conversations.h"
#include "frames.h"
#include "scenarios/scenarios.h"
#include "traffic.h"

using chatcore::ConversationId;
using chatcore::SetTyping;
using chatcore::Typing;
using chatcore::UserId;

namespace {

constexpr std::size_t most_typists = 50;
constexpr std::int64_t second = 1'000'000'000, patience = 30 * second, ping_every = 20 * second;
constexpr std::int64_t tick = second / 5;
constexpr std::int64_t stale = 2 * second;  // nobody is shown who has stopped so long ago
constexpr std::uint64_t typing_call = 16;

// The members of a group, of whom the first ones type; what each of them is shown.
class Room {
 public:
  Room(Loop& loop, const Dialect& dialect, const std::string& group, const std::vector<std::string>& members)
      : loop_(loop),
        dialect_(dialect),
        members_(members.size()),
        typists_(std::min(members.size(), most_typists)),
        starts_(call(typing_call, SetTyping{.to = *ConversationId::make(group), .typing = true})),
        stops_(call(typing_call, SetTyping{.to = *ConversationId::make(group), .typing = false})) {
    for (std::size_t i = 0; i < members.size(); ++i) index_of_.emplace(*UserId::make(members[i]), i);
    loop_.on_frame = [this](Link& link, View frame) { receive(link, frame); };
  }

  // Each typist stops and begins again at random, about once a second.
  void play(double seconds) {
    for (Member& member : members_) member.frames = 0;
    frames_ = 0;
    const std::int64_t end = now_ns() + static_cast<std::int64_t>(seconds * second);
    for (std::int64_t now = now_ns(); now < end; now = now_ns()) {
      for (std::size_t i = 0; i < typists_.size(); ++i) {
        if (typists_[i].next <= now) say(i, !typists_[i].types);
      }
      turn(now);
    }
  }

  std::uint64_t frames() const { return frames_; }
  std::uint64_t most_frames() const {  // of one session
    return std::max_element(members_.begin(), members_.end(),
                            [](const Member& a, const Member& b) { return a.frames < b.frames; })
        ->frames;
  }

  // Those who type go on and nobody else begins: all are shown them. Then they stop: all are shown nobody.
  void agree() {
    std::int64_t said = 0;
    wait_until_all_are_shown_it([&](std::int64_t now) {
      if (now - said < second) return;
      said = now;
      for (std::size_t i = 0; i < typists_.size(); ++i) {
        if (typists_[i].types) say(i, true);
      }
    });
    for (std::size_t i = 0; i < typists_.size(); ++i) say(i, false);
    wait_until_all_are_shown_it([](std::int64_t) {});
  }

 private:
  struct Typist {
    bool types = false;
    std::int64_t next = 0, stopped = 0;
  };
  struct Member {
    std::uint64_t frames = 0;
    std::vector<std::size_t> shown{};  // who types
  };

  void say(std::size_t typist, bool types) {
    const std::int64_t now = now_ns();
    Typist& of = typists_[typist];
    if (of.types && !types) of.stopped = now;
    of.types = types;
    of.next = now + std::uniform_int_distribution<std::int64_t>(second / 5, 9 * second / 5)(random_);
    loop_.queue(loop_.links()[typist], types ? starts_ : stops_);
  }

  void receive(Link& link, View frame) {
    const Incoming in = dialect_.read(frame);
    require(in.kind != Incoming::Kind::bad, "the server said no, or good-bye");
    if (in.kind == Incoming::Kind::other) return shown(members_[link.index], signal_in<Typing>(frame));
    require(in.kind == Incoming::Kind::answer || in.kind == Incoming::Kind::checkpoint, "a frame that nobody expected");
  }

  void shown(Member& to, const Typing& typing) {
    ++to.frames;
    ++frames_;
    to.shown.clear();
    require(std::adjacent_find(typing.users.begin(), typing.users.end(), std::greater_equal<>()) == typing.users.end(),
            "who types is not ascending");
    for (const UserId& user : typing.users) {
      const auto found = index_of_.find(user);
      require(found != index_of_.end() && found->second < typists_.size(), "somebody is shown who never types");
      const Typist& typist = typists_[found->second];
      require(typist.types || loop_.arrived() - typist.stopped < stale, "somebody is shown who has long stopped");
      to.shown.push_back(found->second);
    }
  }

  // Where someone types alone, his own session is not told of it, nor that he stops.
  bool is_shown_it(std::size_t member) const {
    std::vector<bool> types(typists_.size());
    for (const std::size_t typist : members_[member].shown) types[typist] = true;
    for (std::size_t i = 0; i < typists_.size(); ++i) {
      if (i != member && types[i] != typists_[i].types) return false;
    }
    return true;
  }

  template <class Meanwhile>
  void wait_until_all_are_shown_it(const Meanwhile& meanwhile) {
    const std::int64_t deadline = now_ns() + patience;
    for (std::size_t agreed = 0; agreed < members_.size();) {
      const std::int64_t now = now_ns();
      require(now < deadline, "not everyone is shown who types");
      meanwhile(now);
      turn(now);
      for (agreed = 0; agreed < members_.size() && is_shown_it(agreed);) ++agreed;
    }
  }

  void turn(std::int64_t now) {
    loop_.turn(std::chrono::milliseconds(5));
    if (now - pinged_ < ping_every) return;
    pinged_ = now;
    for (Link& link : loop_.links()) loop_.queue(link, dialect_.ping());
  }

  Loop& loop_;
  const Dialect& dialect_;
  std::vector<Member> members_;  // by link
  std::vector<Typist> typists_;
  const std::string starts_, stops_;
  std::unordered_map<UserId, std::size_t> index_of_{};
  std::uint64_t frames_ = 0;
  std::int64_t pinged_ = now_ns();
  std::minstd_rand random_{1};
};

}  // namespace

// A group in which so many type that who does is another set at each tick; it must cost no session more than one frame.
Figures run_typing(Server& server, const Options& options) {
  server.start({"--typing-members", std::to_string(options.clients), "--live-tick", std::to_string(tick / 1'000'000)});
  const std::vector<std::string> members = named("member", 0, options.clients);
  Loop loop;
  log_in(loop, server.dialect(), server.process().port(), members);
  const std::string group = make_group(loop, server.dialect(), members);

  Room room(loop, server.dialect(), group, members);
  show_progress(options, "typing");
  room.play(options.warm_up);
  const std::int64_t began = now_ns();
  const double cpu = server.process().cpu_seconds(), own_cpu = own_cpu_seconds();
  room.play(options.seconds);
  const double seconds = static_cast<double>(now_ns() - began) / 1e9;
  const double cpu_us = (server.process().cpu_seconds() - cpu) * 1e6;
  const auto frames = static_cast<double>(room.frames()), most = static_cast<double>(room.most_frames());
  const double ticks = seconds * 1e9 / static_cast<double>(tick), own_share = (own_cpu_seconds() - own_cpu) / seconds;
  require(frames > 0, "nobody was shown who types while it was measured");
  require(most <= ticks + 1, "a session gets more than one frame a tick");
  room.agree();

  Figures figures = no_figures(options);
  figures["sessions"] = options.clients;
  figures["frames_a_session_a_tick"] = most / ticks;
  figures["frames_per_second"] = frames / seconds;
  figures["server_cpu_us_per_frame"] = cpu_us / frames;
  figures["server_cpu_share"] = cpu_us / 1e6 / seconds;
  figures["server_rss_bytes"] = server.process().rss_bytes();
  figures["client_cpu_share"] = own_share;
  return figures;
}
