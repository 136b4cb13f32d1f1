#include "features/features.h"

namespace chatcore {
inline namespace v1 {
namespace features {

#define UNFINISHED(check, R, handle)                    \
  Status check(Core&, const Caller&, R&) { return {}; } \
  void handle(Shard&, Call<R> call) { call.reply(Error{ErrorCode::unknown_request, "not yet", {}}); }
UNFINISHED(check_typing, SetTyping, set_typing)
UNFINISHED(check_set_presence, SetPresence, set_presence)
UNFINISHED(check_get_presence, GetPresence, get_presence)
UNFINISHED(check_watch, WatchPresence, watch_presence)
UNFINISHED(check_list_sessions, ListSessions, list_sessions)
UNFINISHED(check_end_sessions, EndSessions, end_sessions)

}  // namespace features
}  // namespace v1
}  // namespace chatcore
