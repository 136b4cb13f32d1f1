#include "features/features.h"

namespace chatcore {
inline namespace v1 {
namespace features {

#define UNFINISHED(check, R, handle)                    \
  Status check(Core&, const Caller&, R&) { return {}; } \
  void handle(Shard&, Call<R> call) { call.reply(Error{ErrorCode::unknown_request, "not yet", {}}); }
UNFINISHED(check_typing, SetTyping, set_typing)

}  // namespace features
}  // namespace v1
}  // namespace chatcore
