#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "conversations.h"
#include "frames.h"
#include "scenarios/scenarios.h"
#include "traffic.h"

using chatcore::Accepted;
using chatcore::ConversationEntry;
using chatcore::ConversationId;
using chatcore::ConversationsPage;
using chatcore::CreateConversation;
using chatcore::ListConversations;
using chatcore::MessagePosted;
using chatcore::TimePoint;
using chatcore::UserId;

namespace {

constexpr std::size_t page_rows = 50, most_under_way = 64, restarts = 5;
constexpr std::uint64_t page_call = 5, first_create = 16;

// The groups of a user, each made by another one, with one message; and the pages of his list, each of which is
// checked.
class List {
 public:
  // Writes them; `writer` is logged in, the user need not be.
  List(Loop& loop, const Dialect& dialect, Link& writer, const std::string& user, const Options& options)
      : dialect_(dialect), writer_(writer), user_(*UserId::make(user)), bytes_(options.bytes), count_(options.clients) {
    loop.on_frame = [&](Link&, View frame) { written(loop, frame); };
    for (; made_ < std::min(count_, most_under_way); ++made_) make(loop, made_);
    std::size_t came = 0;
    for (std::int64_t last = now_ns(); times_.size() < count_;) {
      loop.turn(std::chrono::milliseconds(10));
      if (std::exchange(came, times_.size()) != times_.size()) last = now_ns();
      require(now_ns() - last < 30'000'000'000, "the conversations did not come into being");
    }
    for (const auto& [id, of] : times_) newest_.push_back(of.time);
    std::sort(newest_.rbegin(), newest_.rend());
  }

  // The first page, in ms until it is here.
  double first_page(Loop& loop, Link& reader) const {
    const std::int64_t asked = now_ns();
    const std::string page = answer_to(loop, dialect_, reader, call(page_call, ListConversations{.limit = page_rows}));
    const auto took = static_cast<double>(loop.arrived() - asked) / 1e6;
    check(answer_in<ConversationsPage>(std::as_bytes(std::span(page))));
    return took;
  }

 private:
  struct Message {
    std::uint64_t number;
    TimePoint time;
  };

  void make(Loop& loop, std::size_t index) {
    loop.queue(writer_, call(first_create + index,
                             CreateConversation{.settings = {.title = "benchmark"}, .members = {{.user = user_}}}));
  }

  // Each group's message follows when it is there, and another group after that.
  void written(Loop& loop, View frame) {
    const Incoming in = dialect_.read(frame);
    require(in.kind != Incoming::Kind::bad, "a group or a message was refused");
    if (in.kind != Incoming::Kind::answer) return;
    const auto accepted = answer_in<Accepted>(in.body);
    if (in.call < SendTemplate::first) {
      const SendTemplate form = dialect_.send_to_group(accepted.conversation.string(), "phone", bytes_);
      const std::uint64_t number = in.call - first_create + 1;
      return form.write(loop.queue(writer_, form.frame.size()), number, now_ns());
    }
    times_.emplace(accepted.conversation, Message{in.call - SendTemplate::first, accepted.time});
    if (made_ < count_) make(loop, made_++);
  }

  // Several may have the same time, so that only this is known: what time each has that is shown, and what times the
  // newest ones have.
  void check(const ConversationsPage& page) const {
    require(page.conversations.size() == std::min(count_, page_rows), "a page is too short, or too long");
    require(page.next.empty() == (count_ <= page_rows), "a page does not say whether there is more");
    std::set<ConversationId> shown;
    for (const ConversationEntry& entry : page.conversations) {
      const auto found = times_.find(entry.info.conversation);
      require(found != times_.end(), "a page shows a conversation that was never made");
      require(entry.active == found->second.time && entry.active == newest_[shown.size()], "a page is not in order");
      require(entry.unread == 1 && !entry.unread_more && entry.read == 0, "a conversation's unread count is wrong");
      const auto* last = entry.last ? entry.last->as<MessagePosted>() : nullptr;
      require(last && body::check(last->content.text).number == found->second.number, "a preview is another message");
      require(shown.insert(entry.info.conversation).second, "a page shows a conversation twice");
    }
  }

  const Dialect& dialect_;
  Link& writer_;
  const UserId user_;
  const std::size_t bytes_, count_;
  std::size_t made_ = 0;
  std::map<ConversationId, Message> times_{};
  std::vector<TimePoint> newest_{};  // descending
};

}  // namespace

// The first page of a user's list, over and over; and the first that a server is asked for after it was started again:
// then nothing of it is in the engine, and its blocks come from the store's cache or the system's.
Figures run_list(Server& server, const Options& options) {
  server.start();
  const Dialect& dialect = server.dialect();
  const std::string user = "reader-1";
  Loop writing;
  log_in(writing, dialect, server.process().port(), named("writer", 0, 1));
  show_progress(options, "making the conversations");
  const List list(writing, dialect, writing.links()[0], user, options);
  writing.close(writing.links()[0]);

  Figures figures = no_figures(options);
  {
    Loop loop;
    log_in(loop, dialect, server.process().port(), {user});
    show_progress(options, "reading the first page");
    const auto play = [&](double seconds) {
      std::vector<double> ms;
      Latency latency;
      for (const std::int64_t began = now_ns(); ms.empty() || static_cast<double>(now_ns() - began) < seconds * 1e9;) {
        ms.push_back(list.first_page(loop, loop.links()[0]));
        latency.record(static_cast<std::int64_t>(ms.back() * 1e6));
      }
      return std::pair(ms, latency);
    };
    play(options.warm_up);
    const double cpu = server.process().cpu_seconds();
    const auto [ms, latency] = play(options.seconds);
    figures["first_page_ms_warm"] = median(ms);
    figures["first_page_ms_warm_p99"] = latency.quantile_ms(0.99);
    figures["server_cpu_us_per_page"] = (server.process().cpu_seconds() - cpu) * 1e6 / static_cast<double>(ms.size());
  }
  figures["server_rss_bytes"] = server.process().rss_bytes();
  if (options.durability == "memory") return figures;

  std::vector<double> ms;
  for (std::size_t i = 0; i < restarts; ++i) {
    show_progress(options, "reading it after a restart");
    server.stop();
    server.start();
    Loop loop;
    log_in(loop, dialect, server.process().port(), {user});
    ms.push_back(list.first_page(loop, loop.links()[0]));
  }
  figures["first_page_ms_block_cache"] = median(ms);
  figures["first_page_ms_block_cache_most"] = *std::max_element(ms.begin(), ms.end());
  return figures;
}
