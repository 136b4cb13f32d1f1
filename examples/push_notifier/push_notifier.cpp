#include "push_notifier.h"

#include <chatcore/async.h>

#include <future>
#include <memory>
#include <utility>

#include "place.h"

namespace push {

using namespace chatcore;

namespace {

constexpr std::size_t most_pushes = 500;  // that the gateway is given at once
constexpr std::uint32_t page_events = 200;

Result<FeedEvents> read_feed(Engine& engine, std::uint64_t after, std::chrono::milliseconds wait) {
  auto promise = std::make_shared<std::promise<Result<FeedEvents>>>();
  auto page = promise->get_future();
  engine.read_feed(after, page_events, wait,
                   [promise](Result<FeedEvents> read) { promise->set_value(std::move(read)); });
  for (;;) {
    const bool polled = engine.poll(std::chrono::milliseconds(1)).handled > 0;  // nothing where it has threads
    const auto patience = std::chrono::milliseconds(polled ? 0 : 5);
    if (page.wait_for(patience) == std::future_status::ready) return page.get();
  }
}

// What a retry can't mend concerns one user or one conversation: better a push too many than none any more.
bool stops_here(const Error& error) { return error.retryable() || error.code == ErrorCode::stopped; }

}  // namespace

PushNotifier::PushNotifier(Engine& engine, Gateway& gateway, std::filesystem::path place)
    : engine_(engine), gateway_(gateway), file_(std::move(place)) {}

Result<bool> PushNotifier::turn(std::chrono::milliseconds wait) {
  if (Status begun = begin(); !begun) return begun.error();
  auto page = read_feed(engine_, *next_, wait);
  if (!page) return page.error();
  pushes_.clear();
  for (const EventPtr& event : page->events) {
    if (Status dealt = deal_with(*event); !dealt) return dealt.error();
  }
  if (Status taken = hand_over(); !taken) return taken.error();
  if (page->next == *next_) return false;
  if (Status noted = note(page->next); !noted) return noted.error();
  return !page->events.empty();
}

Status PushNotifier::begin() {
  if (next_) return {};
  auto place = read_place(file_);
  if (!place) return place.error();
  if (!*place) return skip_to_end();
  next_ = *place;
  return {};
}

Status PushNotifier::skip_to_end() {
  const auto end = read_feed(engine_, feed_end, {});
  return end ? note(end->next) : end.error();
}

Status PushNotifier::note(std::uint64_t next) {
  Status written = write_place(file_, next);
  if (written) next_ = next;
  return written;
}

Status PushNotifier::deal_with(const Event& event) {
  const auto* message = event.as<MessagePosted>();
  if (!message || message->deleted) return {};
  UserId after;
  do {
    const auto page =
        wait(engine_, Identity::system(), ListMembers{.conversation = event.conversation, .after = after});
    if (!page) return stops_here(page.error()) ? Status(page.error()) : Status();
    std::vector<UserId> others;
    for (const Member& member : page->members) {
      if (member.user != event.sender) others.push_back(member.user);
    }
    const auto away = absent(others);
    if (!away) return away.error();
    for (const UserId& user : *away) {
      const auto wanted = is_wanted(user, event);
      if (!wanted) return wanted.error();
      if (!wanted->wanted) continue;
      auto text = text_for(user, event);
      if (!text && stops_here(text.error())) return text.error();
      if (!text) continue;
      pushes_.push_back({user, event.conversation, event.seq, event.sender, std::move(*text), wanted->muted});
      if (pushes_.size() < most_pushes) continue;
      if (Status taken = hand_over(); !taken) return taken;
    }
    after = page->next;
  } while (!after.empty());
  return {};
}

Status PushNotifier::hand_over() {
  if (pushes_.empty()) return {};
  Status taken = gateway_.take(pushes_);
  if (taken) pushes_.clear();
  return taken;
}

// Those who are offline, with no session or none that counts; and those who have just gone and may come back.
Result<std::vector<UserId>> PushNotifier::absent(const std::vector<UserId>& users) {
  if (users.empty()) return users;
  const auto page = wait(engine_, Identity::system(), GetPresence{.users = users});
  if (!page) {
    if (stops_here(page.error())) return page.error();
    return users;
  }
  std::vector<UserId> away;
  for (const Presence& presence : page->users) {
    if (presence.state != PresenceState::offline) {
      const auto sessions = wait(engine_, Identity::host(presence.user), ListSessions{});
      if (!sessions && stops_here(sessions.error())) return sessions.error();
      if (!sessions || !sessions->sessions.empty()) continue;
    }
    away.push_back(presence.user);
  }
  return away;
}

// His marks stand in his list, where the conversation is among the first: it has just been spoken in. Muted when it was
// said counts, whatever the time is now.
Result<PushNotifier::Wanted> PushNotifier::is_wanted(const UserId& user, const Event& event) {
  ListConversations request{.limit = 8};
  do {
    const auto page = wait(engine_, {.user = user}, request);
    if (!page) {
      if (stops_here(page.error())) return page.error();
      return Wanted{};
    }
    for (const ConversationEntry& entry : page->conversations) {
      if (entry.info.conversation != event.conversation) continue;
      return Wanted{.wanted = entry.read<event.seq, .muted = entry.marks.muted_until> event.time};
    }
    request = {.after = page->next, .limit = 100};
  } while (!request.after.empty());
  return Wanted{};
}

// Read as the user himself: who joined later may not see it, and it may be deleted by now.
Result<std::string> PushNotifier::text_for(const UserId& user, const Event& event) {
  const ReadHistory request{
      .conversation = event.conversation, .start = event.seq, .direction = Direction::forward, .limit = 1};
  const auto page = wait(engine_, {.user = user}, request);
  if (!page) return page.error();
  const EventPtr found = page->events.empty() ? nullptr : page->events.front();
  const auto* message = found && found->seq == event.seq ? found->as<MessagePosted>() : nullptr;
  if (!message || message->deleted) return Error{ErrorCode::no_such_message, "it is not for him to see", {}};
  return message->content.text;
}

}  // namespace push
