#include "conformance/pubsub_bench.h"

namespace chatcore {
inline namespace v1 {
namespace {

using namespace conformance;
using namespace std::chrono_literals;

constexpr std::size_t most_frame_bytes = 16 << 20;
constexpr auto blocks = 250ms;  // a call that takes longer

void reaches_all(PubSubBench& bench) {
  bench.start();
  bench.must_subscribe(bench.one(), "t");
  bench.must_subscribe(bench.two(), "t");
  bench.publish(bench.one(), "t", "1");
  bench.publish(bench.two(), "t", "2");
  for (const Ear* ear : {&bench.ear_one, &bench.ear_two}) {
    bench.must_hear(*ear, "t=1");
    bench.must_hear(*ear, "t=2");
  }
  bench.settle();
  expect(bench.ear_one.count("t=1") == 1 && bench.ear_two.count("t=1") == 1, "a frame comes more than once");
}

void reaches_nobody_else(PubSubBench& bench) {
  bench.start();
  for (const char* topic : {"t", "a*", "a?", "[ab]"}) bench.must_subscribe(bench.two(), topic);
  for (const char* topic : {"tt", "T", "t.", "ab", "b", "t"}) bench.publish(bench.one(), topic, topic);
  bench.must_hear(bench.ear_two, "t=t");
  bench.settle();
  for (const std::string& what : bench.ear_two.heard()) {
    expect(what == "t=t" || what.find('=') == std::string::npos,
           "a frame comes to one who has not subscribed: " + printable(what));
  }
  expect(bench.ear_one.total() == 0, "a frame comes to one who has subscribed nothing");
}

// The numbers of the frames of "t", in the order they came in; -1 where a loss was told.
std::vector<int> numbers(const Ear& ear) {
  std::vector<int> all;
  for (const std::string& what : ear.heard()) {
    if (what.starts_with("t=")) all.push_back(std::stoi(what.substr(2)));
    if (what == "back") all.push_back(-1);
  }
  return all;
}

void keeps_order(PubSubBench& bench) {
  bench.start();
  bench.must_subscribe(bench.two(), "t");
  bench.must_subscribe(bench.two(), "hold");
  constexpr int count = 500;
  int sent = 0;
  const auto publish_until = [&](int end) {
    for (; sent < end; ++sent) bench.publish(bench.one(), "t", std::to_string(sent));
  };
  publish_until(count / 2);
  bench.while_busy(bench.patience(), [&] { publish_until(count); });
  bench.hears(bench.ear_two, "t=" + std::to_string(count - 1));
  bench.settle();
  int last = -1;
  for (const int number : numbers(bench.ear_two)) {
    if (number < 0) continue;
    expect(number > last, std::to_string(number) + " comes behind " + std::to_string(last));
    last = number;
  }
}

// Many frames for a sink that is busy: each comes, or its loss is told where it would have stood.
void tells_each_loss(PubSubBench& bench) {
  bench.start();
  bench.must_subscribe(bench.two(), "t");
  bench.must_subscribe(bench.two(), "hold");
  constexpr int count = 20'000;
  bench.while_busy(bench.patience(), [&] {
    for (int i = 0; i < count; ++i) bench.publish(bench.one(), "t", std::to_string(i));
  });
  bench.until([&] { return bench.ear_two.count("t=" + std::to_string(count - 1)) + bench.ear_two.count("back") > 0; });
  bench.settle();
  bench.publish(bench.one(), "t", std::to_string(count));
  bench.must_hear(bench.ear_two, "t=" + std::to_string(count));
  const std::vector<int> all = numbers(bench.ear_two);
  std::vector<bool> came(count + 1);
  for (const int number : all) {
    if (number >= 0 && number <= count) came[static_cast<std::size_t>(number)] = true;
  }
  int next = 0;
  bool told = false;
  for (const int number : all) {
    for (; next < number; ++next) {
      expect(told || came[static_cast<std::size_t>(next)],
             std::to_string(next) + " is lost, and link_lost() and link_back() are not told in its place");
    }
    told = number < 0;
  }
}

void confirms_once(PubSubBench& bench) {
  std::vector<Question<void>> questions;
  bench.start();
  for (int i = 0; i < 20; ++i) {
    questions.push_back(bench.subscribe(bench.two(), std::to_string(i)));
    expect(bench.until([&] { return questions.back().came(); }), "a subscription is not answered");
  }
  bench.two().unsubscribe("0");
  bench.settle();
  bench.two().stop();
  bench.settle();
  for (const auto& each : questions) {
    const Status answer = *each.answer();
    if (!answer) throw Failure("a subscription is refused: " + answer.error().message);
    expect(each.answers->count() == 1, "a subscription is answered more than once");
  }
}

void is_in_force_once_confirmed(PubSubBench& bench) {
  bench.start();
  for (int i = 0; i < 50; ++i) {
    const std::string topic = "topic " + std::to_string(i);
    bench.must_subscribe(bench.two(), topic);
    bench.publish(bench.one(), topic, "x");
    expect(bench.hears(bench.ear_two, topic + "=x"),
           "a frame that is published once the subscription is confirmed does not come");
  }
}

void is_one_subscription(PubSubBench& bench) {
  bench.start();
  const auto first = bench.subscribe(bench.two(), "t"), second = bench.subscribe(bench.two(), "t");
  expect(bench.until([&] { return first.came() && second.came(); }), "one of two subscriptions is not answered");
  bench.publish(bench.one(), "t", "1");
  bench.hears(bench.ear_two, "t=1");
  bench.settle();
  expect(bench.ear_two.count("t=1") <= 1, "a frame comes twice to one who has subscribed twice");
  bench.two().unsubscribe("t");
  bench.settle();
  bench.publish(bench.one(), "t", "2");
  bench.settle();
  expect(bench.ear_two.count("t=2") == 0, "one who has subscribed twice and unsubscribed goes on hearing");
}

void ends_when_unsubscribed(PubSubBench& bench) {
  bench.start();
  bench.must_subscribe(bench.two(), "t");
  bench.must_subscribe(bench.two(), "u");
  for (const char* topic : {"t", "t", "never"}) bench.two().unsubscribe(topic);
  int round = 0;
  const bool ended = bench.until([&] {  // what is on its way may still come
    const std::string number = std::to_string(++round);
    bench.publish(bench.one(), "t", number);
    bench.publish(bench.one(), "u", number);
    bench.must_hear(bench.ear_two, "u=" + number);
    bench.settle();
    return bench.ear_two.count("t=" + number) == 0;
  });
  expect(ended, "frames of a topic that was unsubscribed go on coming");
  bench.must_subscribe(bench.two(), "t");
  bench.publish(bench.one(), "t", "again");
  bench.must_hear(bench.ear_two, "t=again");
}

void takes_any_topic(PubSubBench& bench) {
  bench.start();
  const std::string nul(1, '\0');
  const std::vector<std::string> topics{
      "t", nul, nul + nul, " ", "\n", "a b\r\nc", "\xff\xfe", "*", "a/b", "%s%n", std::string(255, 't')};
  for (const std::string& topic : topics) bench.must_subscribe(bench.two(), topic);
  for (const std::string& topic : topics) bench.publish(bench.one(), topic, "x");
  for (const std::string& topic : topics) bench.must_hear(bench.ear_two, topic + "=x");
  for (const std::string& topic : {std::string(), std::string(256, 't')}) {
    const auto refused = bench.subscribe(bench.two(), topic);
    expect(bench.until([&] { return refused.came(); }), "a subscription is not answered");
    const Status answer = *refused.answer();
    expect(!answer && answer.error().code == ErrorCode::invalid,
           "a topic of " + std::to_string(topic.size()) + " bytes is not `invalid`");
  }
}

void carries_any_frame(PubSubBench& bench) {
  bench.start();
  bench.must_subscribe(bench.two(), "t");
  for (const std::size_t size : {std::size_t(0), std::size_t(1), std::size_t(70'000), most_frame_bytes}) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
    const Frame sent = std::make_shared<const Bytes>(std::move(bytes));
    const std::size_t before = bench.ear_two.total();
    bench.one().publish("t", sent);
    const std::string which = "a frame of " + std::to_string(size) + " bytes";
    expect(bench.until([&] { return bench.ear_two.total() > before; }), which + " does not come");
    const Frame got = bench.ear_two.last_frame();
    expect(got && *got == *sent, which + " comes as another");
  }
}

void survives_what_it_cannot_send(PubSubBench& bench) {
  bench.start();
  const std::string too_long(256, 't');
  bench.must_subscribe(bench.two(), "t");
  const std::size_t before = bench.ear_two.total();
  bench.one().publish("t", nullptr);
  bench.one().publish("t", std::make_shared<const Bytes>(most_frame_bytes + 1));
  bench.publish(bench.one(), "", "x");
  bench.publish(bench.one(), too_long, "x");
  bench.two().unsubscribe("");
  bench.two().unsubscribe(too_long);
  bench.publish(bench.one(), "t", "after");
  bench.must_hear(bench.ear_two, "t=after");
  const std::vector<std::string> heard = bench.ear_two.heard();
  for (std::size_t i = before; i < heard.size(); ++i) {
    expect(heard[i] == "t=after" || heard[i] == "lost" || heard[i] == "back",
           "what is out of bounds comes all the same: " + printable(heard[i]));
  }
}

void tells_one_at_a_time(PubSubBench& bench) {
  bench.start();
  bench.must_subscribe(bench.one(), "t");
  bench.must_subscribe(bench.two(), "t");
  bench.ear_two.then = [&](const std::string& what) {
    if (what != "t=inside") return;
    bench.publish(bench.two(), "t", "from inside");
    (void)bench.subscribe(bench.two(), "t");
  };
  bench.publish(bench.two(), "t", "inside");
  bench.hears(bench.ear_two, "t=from inside");
  std::vector<std::thread> all;
  for (int t = 0; t < 4; ++t) {
    all.emplace_back([&, t] {
      PubSub& from = t % 2 ? bench.one() : bench.two();
      for (int i = 0; i < 200; ++i) {
        bench.publish(from, "t", "x");
        (void)bench.subscribe(from, "t");
      }
    });
  }
  for (std::thread& thread : all) thread.join();
  bench.settle();
  expect(!bench.ear_one.was_overlapped() && !bench.ear_two.was_overlapped(),
         "a sink, or an answer to it, is called while another call to it runs");
}

void blocks_for_no_sink(PubSubBench& bench) {
  bench.start();
  bench.must_subscribe(bench.two(), "t");
  bench.must_subscribe(bench.two(), "hold");
  const bool done = bench.while_busy(bench.patience(), [&] {
    for (PubSub* each : {&bench.one(), &bench.two()}) {
      bench.publish(*each, "t", "x");
      (void)bench.subscribe(*each, "u");
      each->unsubscribe("u");
    }
  });
  expect(done, "publish(), subscribe() or unsubscribe() waits for a sink that is busy");
}

void returns_soon(PubSubBench& bench) {
  bench.start();
  const auto quick = [&](const std::string& what, auto call) {
    auto least = steady_clock::duration::max();
    for (int i = 0; i < 3 && least > blocks; ++i) {  // a machine may be busy once
      const auto began = steady_clock::now();
      call();
      least = std::min(least, steady_clock::now() - began);
    }
    expect(least <= blocks, what + " takes longer than 250 ms");
  };
  const auto all_quick = [&](const std::string& when) {
    quick("publish()" + when, [&] { bench.publish(bench.one(), "t", "x"); });
    quick("subscribe()" + when, [&] { (void)bench.subscribe(bench.one(), "t"); });
    quick("unsubscribe()" + when, [&] { bench.one().unsubscribe("t"); });
  };
  all_quick("");
  if (!bench.can_break()) return;
  bench.break_link();
  all_quick(" without a link");
  bench.mend_link();
}

// What a sink may do in its own calls could hang for ever: so it is a thread of its own that tries, and that keeps what
// it needs.
void may_be_called_by_its_sink(const std::shared_ptr<PubSubBench>& bench) {
  const auto over = std::make_shared<std::atomic<bool>>(false);
  const auto failure = std::make_shared<Answers<void>>();
  std::thread thread([bench, over, failure] {
    failure->add(make_check("", [&] {
                   bench->start();
                   bench->ear_two.then = [&bench = *bench](const std::string& what) {
                     if (what != "t=1" && what != "ok t") return;
                     bench.publish(bench.two(), "u", what);
                     (void)bench.subscribe(bench.two(), "inside " + what);
                     bench.two().unsubscribe("nothing");
                   };
                   bench->must_subscribe(bench->two(), "u");
                   bench->must_subscribe(bench->two(), "t");
                   bench->publish(bench->one(), "t", "1");
                   for (const std::string what : {"ok t", "t=1"}) {
                     bench->must_hear(bench->ear_two, "u=" + what);
                     bench->must_hear(bench->ear_two, "ok inside " + what);
                   }
                 }).run());
    *over = true;
  });
  Function<void()> nothing;
  const bool came_back = wait_until(nothing, 2 * bench->patience(), [&] { return over->load(); });
  came_back ? thread.join() : thread.detach();
  expect(came_back, "a call to it from inside a call of its own to the sink hangs");
  if (const Status tried = *failure->first(); !tried) throw Failure(tried.error().message);
}

bool is_stopped(PubSubBench& bench, const std::string& topic) {
  const auto question = bench.subscribe(bench.two(), topic);
  bench.until([&] { return question.came(); });
  const auto answer = question.answer();
  return answer && !*answer && answer->error().code == ErrorCode::stopped;
}

void does_nothing_unless_it_runs(PubSubBench& bench) {
  bench.publish(bench.two(), "t", "early");
  bench.two().unsubscribe("t");
  expect(is_stopped(bench, "t"), "subscribe() before start() is not `stopped`");
  bench.start();
  bench.must_subscribe(bench.one(), "t");
  bench.must_subscribe(bench.two(), "t");
  bench.two().stop();
  bench.publish(bench.two(), "t", "late");
  bench.two().unsubscribe("t");
  expect(is_stopped(bench, "u"), "subscribe() after stop() is not `stopped`");
  bench.settle();
  expect(bench.ear_one.count("t=early") == 0, "what is published before start() comes");
  expect(bench.ear_one.count("t=late") == 0, "what is published after stop() comes");
}

void starts_once(PubSubBench& bench) {
  bench.start();
  Ear other;
  const Status again = bench.two().start(other);
  bench.two().subscribe("t", [](Status) {});
  bench.publish(bench.one(), "t", "1");
  bench.settle();
  bench.two().stop();  // nothing of `other` is called once it is gone
  expect(!again && again.error().code == ErrorCode::invalid, "a second start() is not `invalid`");
  expect(other.total() == 0, "the sink of a second start() is called");
}

void stop_waits(PubSubBench& bench) {
  bench.start();
  bench.must_subscribe(bench.two(), "hold");
  bool was_inside = false;
  const bool went_on = bench.while_busy(50ms, [&] {
    bench.two().stop();
    was_inside = bench.ear_two.is_inside();
  });
  expect(!went_on && !was_inside, "stop() returns while a call to the sink runs");
}

void stop_is_the_end(PubSubBench& bench) {
  bench.start();
  bench.must_subscribe(bench.two(), "t");
  if (bench.can_break()) {
    bench.break_link();
    bench.must_hear(bench.ear_two, "lost");
  }
  const auto waiting = bench.subscribe(bench.two(), "u");
  bench.two().stop();
  const auto answer = waiting.answer();
  expect(answer.has_value(), "a subscription is not answered when stop() has returned");
  if (bench.can_break()) {
    expect(!*answer && answer->error().code == ErrorCode::stopped,
           "a subscription that waits for the link is not `stopped` by stop()");
  }
  const std::size_t before = bench.ear_two.total();
  bench.publish(bench.one(), "t", "1");
  if (bench.can_break()) bench.mend_link();
  bench.publish(bench.one(), "t", "2");
  bench.settle();
  expect(bench.ear_two.total() == before, "the sink is called after stop()");
  expect(waiting.answers->count() == 1, "a subscription is answered again after stop()");
}

// Losses and returns of the link alternate, and nothing is received in between.
void expect_alternation(const Ear& ear) {
  bool lost = false;
  for (const std::string& what : ear.heard()) {
    if (what == "lost") expect(!std::exchange(lost, true), "link_lost() is told twice");
    if (what == "back") expect(std::exchange(lost, false), "link_back() is told, and link_lost() was not");
    expect(!lost || what.find('=') == std::string::npos, "a frame comes between link_lost() and link_back()");
  }
}

void tells_the_link(PubSubBench& bench) {
  bench.start();
  bench.must_subscribe(bench.two(), "t");
  for (int round = 1; round <= 2; ++round) {
    bench.break_link();
    bench.break_link();
    for (const Ear* ear : {&bench.ear_one, &bench.ear_two}) {
      expect(bench.until([&] { return ear->count("lost") >= std::size_t(round); }), "link_lost() is not told");
    }
    bench.publish(bench.one(), "t", "between");
    bench.settle();
    for (const Ear* ear : {&bench.ear_one, &bench.ear_two}) {
      expect(ear->count("back") < std::size_t(round), "link_back() is told, and there is no link");
    }
    bench.mend_link();
    bench.mend_link();
    for (const Ear* ear : {&bench.ear_one, &bench.ear_two}) {
      expect(bench.until([&] { return ear->count("back") >= std::size_t(round); }), "link_back() is not told");
    }
  }
  bench.settle();
  expect_alternation(bench.ear_one);
  expect_alternation(bench.ear_two);
}

void outlives_a_lost_link(PubSubBench& bench) {
  bench.start();
  bench.must_subscribe(bench.two(), "t");
  bench.must_subscribe(bench.two(), "ended");
  for (const char* number : {"1", "2"}) {
    const std::size_t times = bench.ear_two.count("back") + 1;
    bench.break_link();
    bench.until([&] { return bench.ear_two.count("lost") >= times; });
    bench.two().unsubscribe("ended");
    bench.mend_link();
    bench.until([&] { return bench.ear_one.count("back") >= times && bench.ear_two.count("back") >= times; });
    bench.publish(bench.one(), "ended", number);
    bench.publish(bench.one(), "t", number);
    expect(bench.hears(bench.ear_two, std::string("t=") + number),
           "a confirmed subscription is not in force when the link is back");
    bench.settle();
    expect(bench.ear_two.count(std::string("t=") + number) == 1, "a frame comes twice once the link was lost");
    expect(bench.ear_two.count(std::string("ended=") + number) == 0,
           "what was unsubscribed without a link is in force when it is back");
  }
}

void waits_for_the_link(PubSubBench& bench) {
  bench.start();
  bench.break_link();
  bench.hears(bench.ear_two, "lost");
  const auto kept = bench.subscribe(bench.two(), "kept"), given_up = bench.subscribe(bench.two(), "given up");
  bench.settle();
  expect(!kept.came(), "a subscription is answered while there is no link");
  bench.two().unsubscribe("given up");
  expect(bench.until([&] { return given_up.came(); }), "a subscription that is given up is not answered");
  const Status answer = *given_up.answer();
  expect(!answer && answer.error().code == ErrorCode::cancelled, "a subscription that is given up is not `cancelled`");
  bench.mend_link();
  expect(bench.until([&] { return kept.came(); }) && *kept.answer(),
         "a subscription is not confirmed once the link is back");
  bench.until([&] { return bench.ear_one.count("back") == bench.ear_one.count("lost"); });
  bench.publish(bench.one(), "kept", "x");
  bench.must_hear(bench.ear_two, "kept=x");
  bench.publish(bench.one(), "given up", "x");
  bench.settle();
  expect(bench.ear_two.count("given up=x") == 0, "a subscription that is given up is in force when the link is back");
}

void starts_without_a_link(PubSubBench& bench) {
  bench.break_link();
  for (const auto& [pubsub, ear] : {std::pair(&bench.one(), &bench.ear_one), std::pair(&bench.two(), &bench.ear_two)}) {
    const Status started = pubsub->start(*ear);
    if (!started) {
      expect(started.error().code == ErrorCode::transport_failed, "start() without a link fails with another error");
      return;
    }
  }
  expect(bench.hears(bench.ear_two, "lost"), "link_lost() is not told to one who starts without a link");
  expect(bench.ear_two.heard().front() == "lost", "link_lost() is not the first that is told");
  bench.mend_link();
  expect(bench.hears(bench.ear_two, "back"), "link_back() is not told to one who started without a link");
}

struct Named {
  const char* name;
  void (*check)(PubSubBench&);
};

constexpr Named all_checks[] = {
    {"a frame comes once to all that have subscribed, the publisher too", reaches_all},
    {"a frame comes to nobody else", reaches_nobody_else},
    {"frames come in the order they were published in", keeps_order},
    {"no frame is lost without a word", tells_each_loss},
    {"a subscription is answered once", confirms_once},
    {"a subscription is in force once it is confirmed", is_in_force_once_confirmed},
    {"a topic that is subscribed twice is one subscription", is_one_subscription},
    {"what is unsubscribed comes no more", ends_when_unsubscribed},
    {"any topic of 1 to 255 bytes will do, and no other", takes_any_topic},
    {"a frame of up to 16 MiB comes as it was", carries_any_frame},
    {"what can't be sent does no harm", survives_what_it_cannot_send},
    {"a sink is told one thing at a time", tells_one_at_a_time},
    {"no call waits for a sink that is busy", blocks_for_no_sink},
    {"no call blocks", returns_soon},
    {"before start and after stop every call is harmless", does_nothing_unless_it_runs},
    {"it starts once", starts_once},
    {"stop waits for a call that is running", stop_waits},
    {"stop answers what waits, and nothing comes after it", stop_is_the_end},
};
// Of a link that can be broken.
constexpr Named link_checks[] = {
    {"a lost link is told, and that it is back", tells_the_link},
    {"a subscription outlives a lost link", outlives_a_lost_link},
    {"a subscription waits for a lost link", waits_for_the_link},
    {"one that starts without a link is told so", starts_without_a_link},
};

}  // namespace

std::vector<Check> pubsub_conformance(Function<PubSubPair()> make, Function<void()> let,
                                      std::chrono::milliseconds patience) {
  const auto given = std::make_shared<PubSubBench::Given>(
      PubSubBench::Given{.make = std::move(make), .let = std::move(let), .patience = patience});
  std::vector<Check> checks;
  for (const Named& each : all_checks) {
    checks.push_back(make_check(each.name, [given, check = each.check] {
      PubSubBench bench(given);
      check(bench);
    }));
  }
  checks.push_back(make_check("a sink may publish and subscribe in its own calls",
                              [given] { may_be_called_by_its_sink(std::make_shared<PubSubBench>(given)); }));
  for (const Named& each : link_checks) {
    checks.push_back(make_check(each.name, [given, check = each.check] {
      PubSubBench bench(given);
      if (bench.can_break()) check(bench);
    }));
  }
  return checks;
}

}  // namespace v1
}  // namespace chatcore
