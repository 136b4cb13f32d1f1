#include "features/common.h"

namespace chatcore {
inline namespace v1 {
namespace features {

Status check_read(Core&, const Caller& by, MarkRead& request) {
  if (Status ok = check_user(by); !ok) return ok;
  return check_id(request.conversation, "conversation");
}

namespace {

// On the user's shard: the row is his. Read and written without another MarkRead in between.
void move_cursor(Shard& home, Call<MarkRead> call) {
  const std::string partition = "u:" + call.by.who.user.string(), key = call.request.conversation.string();
  home.in_order().run(partition + "/" + key, [&home, partition, key, call = std::move(call)](core::Task over) mutable {
    struct Found {
      Seq head{}, cursor{};
    };
    home.core().store->read(
        home,
        [partition, key](Storage& storage) -> Result<Found> {
          auto page = storage.events(partition, Log::messages, 1, Direction::forward, {.rows = 1});
          if (!page) return page.error();
          auto row = storage.row(partition, Table::marks, key);
          if (!row) return row.error();
          Found found{.head = page->head};
          if (*row) {
            auto number = protocol::decode_row<protocol::NumberRow>(*(*row)->value);
            if (!number) return number.error();
            found.cursor = number->number;
          }
          return found;
        },
        [&home, partition, key, call = std::move(call), over = std::move(over)](Result<Found> found) mutable {
          const Seq seq = call.request.seq;
          if (!found || found->cursor >= seq) {
            found ? call.reply(ReadCursor{found->cursor}) : call.reply(found.error());
            return over();
          }
          auto change = std::make_shared<core::OwnedChange>();
          change->partition = partition;
          change->expected_head = change->new_head = found->head;
          change->rows = {
              {.table = Table::marks, .key = key, .value = protocol::encode_row(protocol::NumberRow{seq})}};
          home.core().store->submit(
              home, std::move(change),
              [call = std::move(call), over = std::move(over), seq](const Status& status, std::uint64_t) mutable {
                status ? call.reply(ReadCursor{seq}) : call.reply(status.error());
                over();
              });
        });
  });
}

}  // namespace

void mark_read(Shard& shard, Call<MarkRead> call) {
  auto conversation = shard.conversations().get(call.request.conversation);
  const Identity who = call.by.who;
  conversation->read_as(who, [&shard, conversation, call = std::move(call)](Result<core::Standing> standing) mutable {
    if (!standing) return call.reply(standing.error());
    const Seq head = visible_head(*conversation, standing->intervals);
    if (call.request.seq > head) {
      return call.reply(Error{ErrorCode::invalid, "seq: beyond the head, which is " + std::to_string(head), {}});
    }
    Shard& home = shard.core().home(call.by.who.user);
    home.post([&home, call = std::move(call)]() mutable { move_cursor(home, std::move(call)); });
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
