#pragma once

#include <type_traits>
#include <utility>

#include "features/table.h"
#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace detail {

// What a feature answers, as the host sees it: stored events are decoded.
template <class Answer, class Raw>
Result<Answer> to_public(Raw&& raw) {
  if constexpr (std::is_same_v<std::remove_cvref_t<Raw>, Answer>) {
    return std::forward<Raw>(raw);
  } else {
    for (const Bytes& bytes : raw.raw) {
      auto event = protocol::decode<Event>(bytes);
      if (!event) return Error{ErrorCode::corruption, event.error().message, {}};
      raw.events.push_back(std::make_shared<const Event>(std::move(*event)));
    }
    return static_cast<Answer>(std::move(raw));
  }
}

// Runs a request for the host. `done` runs once, guarded, on an engine thread; `over` after it.
template <class R>
void start_call(core::Core& core, core::Caller by, R request, Done<typename R::Reply> done, core::Task over = {}) {
  using Answer = typename R::Reply;
  auto finish = [keep = core.shared_from_this(), done = std::move(done),
                 over = std::move(over)](Result<Answer> result) mutable {
    if (!result) core::add(keep->counters.refused);
    if (done) core::guarded(*keep, [&] { done(std::move(result)); });
    if (over) over();
  };
  if (core.stopping) {
    core.shards.front()->post([finish = core::Reply<Answer>(std::move(finish))]() mutable {
      finish(Error{ErrorCode::stopped, "the engine is stopped", {}});
    });
    return;
  }
  if (!core.fits(0)) {
    core.shards.front()->post([finish = core::Reply<Answer>(std::move(finish))]() mutable {
      finish(Error{ErrorCode::overloaded, "the engine holds as much in memory as it may: retry later",
                   std::chrono::seconds(1)});
    });
    return;
  }
  if (core.under_way.fetch_add(1) >= static_cast<std::int64_t>(core.limits.engine_requests)) {
    core.under_way.fetch_sub(1);
    core.shards.front()->post([finish = core::Reply<Answer>(std::move(finish))]() mutable {
      finish(Error{ErrorCode::overloaded, "too many requests are under way: wait for answers",
                   std::chrono::milliseconds(50)});
    });
    return;
  }
  features::run<R>(
      core, std::move(by), std::move(request),
      [keep = core.shared_from_this(), finish = std::move(finish)](Result<features::RawOf<R>> raw) mutable {
        keep->under_way.fetch_sub(1);
        raw ? finish(to_public<Answer>(std::move(*raw))) : finish(raw.error());
      },
      features::Way::posted);
}

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
