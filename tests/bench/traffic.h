#pragma once

#include <deque>
#include <functional>
#include <string>

#include "child.h"
#include "dialect.h"
#include "latency.h"
#include "loop.h"
#include "options.h"
#include "report.h"

// Senders that keep a window of messages under way, or send at a fixed rate, and receivers; checks everything that
// comes back, and measures. One sender a conversation, so that the seq of each message is known beforehand.
class Traffic {
 public:
  Traffic(Loop&, const Dialect&, const Options&);

  // Both: of a link that is logged in.
  void add_sender(Link&, std::string user, SendTemplate);
  void add_receiver(Link&);  // of the last sender's messages

  // What goes on beside it while it warms up and measures: called at least every 10 ms.
  std::function<void(std::int64_t now)> beside{};

  // Warms up, measures, and waits for what is under way.
  Figures run(const Child& server);
  // Each sender sends so many and no more; returns when all are there.
  void send_each(std::uint64_t messages);
  const Latency& latency() const { return latency_; }  // of what was measured, and of all that send_each() sent
  std::uint64_t head(std::size_t sender) const;        // the seq of his last message
  const std::string& conversation(std::size_t sender) const { return senders_[sender].conversation; }

 private:
  struct Sender {
    Link* link{};
    std::string user{}, conversation{};
    SendTemplate form{};
    std::uint64_t sent{}, acknowledged{}, receivers{};
    std::int64_t base = -1;         // seq - number; -1: not known
    std::vector<bool> under_way{};  // by number, modulo its size
  };
  struct Receiver {
    Sender* sender{};
    std::uint64_t seen{};  // the last number
  };
  struct Moment {
    std::int64_t time;
    double server_cpu, own_cpu;
    std::uint64_t acknowledged, delivered;
  };

  void receive(Link&, View frame);
  void acknowledged(Sender&, const Incoming&);
  void delivered(Receiver&, const Incoming&);
  void check_seq(Sender&, std::uint64_t number, std::uint64_t seq);
  void send(Sender&, std::int64_t time_ns);
  void begin();
  void play_until(std::int64_t end, const char* what);
  void send_what_is_due(std::int64_t now);
  void drain();
  void keep_alive(std::int64_t now);
  Moment moment(const Child&) const;

  Loop& loop_;
  const Dialect& dialect_;
  const Options& options_;
  std::deque<Sender> senders_{};
  std::vector<Sender*> sender_of_{};     // by link
  std::vector<Receiver> receiver_of_{};  // by link
  bool sending_ = false, measuring_ = false;
  std::uint64_t acknowledged_ = 0, delivered_ = 0, sent_ = 0;
  std::uint64_t most_ = UINT64_MAX;  // messages of a sender
  std::int64_t began_ = 0, pinged_ = 0;
  std::uint64_t due_ = 0;  // messages that a fixed rate has had until now
  Latency latency_{};
};

// Connects and logs in, and returns when all are. Some hundred at a time, from several addresses.
void log_in(Loop&, const Dialect&, std::uint16_t port, const std::vector<std::string>& users,
            const std::function<void(const Link&, const Incoming&)>& logged_in = {});
