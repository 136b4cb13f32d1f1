#pragma once

#include <chatcore/engine.h>

#include <chrono>
#include <future>
#include <memory>

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

}  // namespace backend
