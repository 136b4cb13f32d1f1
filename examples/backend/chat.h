#pragma once

#include <chatcore/engine.h>

#include <chrono>
#include <future>
#include <memory>
#include <mutex>

#include "groups.h"

namespace backend {

constexpr std::chrono::seconds patience{10};

// Asks the engine and waits, on a thread that may: one of the HTTP server. `timeout`: it may still be done.
template <chatcore::Request R>
chatcore::Result<typename R::Reply> answer(chatcore::Engine& engine, chatcore::Identity as, R request) {
  using Answer = chatcore::Result<typename R::Reply>;
  auto promise = std::make_shared<std::promise<Answer>>();
  auto future = promise->get_future();
  engine.call(std::move(as), std::move(request), [promise](Answer given) { promise->set_value(std::move(given)); });
  if (future.wait_for(patience) == std::future_status::ready) return future.get();
  return {chatcore::ErrorCode::timeout, "the chat did not answer in time: try again with the same key"};
}

// Makes the members of a group's conversation those of the groups table. A change of the table is committed first, and
// noted there as not yet told: what a crash leaves untold is told at the next start.
class Teller {
 public:
  Teller(chatcore::Engine& engine, Groups& groups) : engine_(engine), groups_(groups) {}

  chatcore::Status tell(std::string_view group);
  chatcore::Status tell_all();

 private:
  chatcore::Status make_members(std::string_view group, const chatcore::ConversationId&);

  chatcore::Engine& engine_;
  Groups& groups_;
  std::mutex mutex_;  // one at a time, so that an older list is never told after a newer one
};

}  // namespace backend
