#include "features/places.h"

#include "core/ask_host.h"
#include "core/inbox.h"
#include "core/store.h"
#include "features/own_log.h"

namespace chatcore {
inline namespace v1 {
namespace features {

void when_written(Shard& home, const UserId& user, core::Task then) {
  Shard& own = home.core().home(own_log_of(user));
  own.post([&home, &own, user, then = std::move(then)]() mutable {
    edit_own(own, user, {}, {}, [&home, then = std::move(then)](const Result<Own>&) mutable {
      home.post([&home, then = std::move(then)]() mutable {
        home.inbox().flush_then([then = std::move(then)](const Status&) mutable { then(); });
      });
    });
  });
}

void places_without_entries(Shard& home, const UserId& user, core::Reply<std::vector<ConversationId>> reply) {
  home.core().store->read(
      home, [user](Storage& storage) { return core::channels_of(storage, user); },
      [&home, user, reply = std::move(reply)](Result<std::vector<ConversationId>> channels) mutable {
        Membership* const table = home.core().membership;
        if (!channels || !table) return reply(std::move(channels));
        Function<void(Result<std::vector<ConversationId>>)> both =
            [reply = std::move(reply), channels = std::move(*channels)](const auto& hosted) mutable {
              if (!hosted) return reply(hosted.error());
              channels.insert(channels.end(), hosted->begin(), hosted->end());
              reply(std::move(channels));
            };
        core::ask_host<std::vector<ConversationId>>(
            home, [&](auto done) { table->conversations(user, std::move(done)); }, std::move(both));
      });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
