#pragma once

#include <algorithm>

#include "support/chat.h"

namespace chat {

// An answer that is looked at later: begin() asks and goes on.
template <class Reply>
class Answer {
 public:
  bool came() const { return box_->has_value(); }
  const Result<Reply>& result() const {
    REQUIRE(came());
    return **box_;
  }
  ErrorCode code() const { return result() ? ErrorCode::ok : result().error().code; }
  const Reply& operator*() const {
    REQUIRE_MESSAGE(result(), result().error().message);
    return *result();
  }
  const Reply* operator->() const { return &**this; }
  auto take() const {
    return [box = box_](Result<Reply> result) {
      REQUIRE_FALSE(box->has_value());  // exactly once
      box->emplace(std::move(result));
    };
  }

 private:
  std::shared_ptr<std::optional<Result<Reply>>> box_ = std::make_shared<std::optional<Result<Reply>>>();
};

template <Request R>
Answer<typename R::Reply> begin(Server& server, Identity as, R request) {
  Answer<typename R::Reply> answer;
  server.engine().call(std::move(as), std::move(request), answer.take());
  return answer;
}
template <Request R>
Answer<typename R::Reply> begin(Server& server, std::string_view as, R request) {
  return begin(server, Identity{.user = user(as)}, std::move(request));
}
template <Request R>
Answer<typename R::Reply> begin(Person& person, R request) {
  Answer<typename R::Reply> answer;
  person.session().call(std::move(request), answer.take());
  return answer;
}
template <Request R>
Answer<typename R::Reply> begin(Guest& guest, R request) {
  Answer<typename R::Reply> answer;
  guest.client().call(std::move(request), answer.take());
  return answer;
}

inline Send text(Target to, std::string_view words, IdempotencyKey key = {}) {
  return {.to = to, .content = {.text = std::string(words)}, .key = std::move(key)};
}

// One item of work, anywhere in the server. False: nothing to do.
inline bool one_item(Server& server) { return server.engine().poll(0us).handled > 0; }

// Everything that happened in a conversation, page by page, as it is now.
inline std::vector<EventPtr> log_of(Server& server, const ConversationId& id, Identity as = Identity::system()) {
  std::vector<EventPtr> all;
  for (Seq after = 0;;) {
    auto page = server.ask(as, Sync{.conversation = id, .after = after, .limit = 100});
    REQUIRE_MESSAGE(page, page.error().message);
    for (auto& event : page->events) all.push_back(std::move(event));
    after = page->covers_to;
    if (!page->more) return all;
  }
}

inline std::vector<std::string> lines_of(const std::vector<EventPtr>& events) {
  std::vector<std::string> lines;
  for (const EventPtr& event : events) lines.push_back(line(*event));
  return lines;
}

// 1, 2, 3, without a hole.
inline void check_dense(const std::vector<EventPtr>& events, Seq first = 1) {
  for (std::size_t i = 0; i < events.size(); ++i) REQUIRE(events[i]->seq == first + i);
}

inline std::string numbered(std::string_view word, std::size_t n) { return std::string(word) + std::to_string(n); }

inline EngineOptions with_shards(unsigned shards) {
  EngineOptions options;
  options.shards = shards;
  return options;
}

// Runs `during` in the middle of the next commit.
inline void in_next_commit(Server& server, std::function<void()> during) {
  server.store->before_commit = [&server, during = std::move(during)] {
    const auto run = during;
    server.store->before_commit = {};
    run();
  };
}

}  // namespace chat
