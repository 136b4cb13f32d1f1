#include "features/table.h"

#include "protocol/codec.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

template <class R>
void decode_and_run(Shard& from, Caller by, protocol::View body, core::Reply<Bytes> reply) {
  auto request = protocol::decode<R>(body);
  if (!request) return reply(request.error());
  run<R>(
      from.core(), std::move(by), std::move(*request),
      [reply = std::move(reply)](Result<RawOf<R>> answer) mutable {
        answer ? reply(protocol::encode(*answer)) : reply(answer.error());
      },
      Way::short_cut);
}

void dispatch(Shard& from, Caller by, std::uint16_t number, std::span<const std::byte> body, core::Reply<Bytes> reply) {
  const auto try_row = [&]<class R, class Raw>(const Row<R, Raw>&) {
    if (static_cast<std::uint16_t>(R::id) != number) return false;
    decode_and_run<R>(from, std::move(by), body, std::move(reply));
    return true;
  };
  const bool known = std::apply([&](const auto&... rows) { return (try_row(rows) || ...); }, table);
  if (!known) {
    reply(Error{ErrorCode::unknown_request, "this server has no request " + std::to_string(number)});
  }
}

}  // namespace

const core::RequestTable wire_table{dispatch};

}  // namespace features
}  // namespace v1
}  // namespace chatcore
