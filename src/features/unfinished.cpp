#include "features/features.h"

namespace chatcore {
inline namespace v1 {
namespace features {

#define UNFINISHED(check, R, handle)                    \
  Status check(Core&, const Caller&, R&) { return {}; } \
  void handle(Shard&, Call<R> call) { call.reply(Error{ErrorCode::unknown_request, "not yet", {}}); }
UNFINISHED(check_set_presence, SetPresence, set_presence)
UNFINISHED(check_get_presence, GetPresence, get_presence)
UNFINISHED(check_watch, WatchPresence, watch_presence)
UNFINISHED(check_delivered, MarkDelivered, mark_delivered)
UNFINISHED(check_receipts, GetReceipts, get_receipts)
UNFINISHED(check_share, ShareReceipts, share_receipts)
UNFINISHED(check_mute, Mute, mute)
UNFINISHED(check_pin, Pin, pin)
UNFINISHED(check_archive, Archive, archive)
UNFINISHED(check_mark_unread, MarkUnread, mark_unread)
UNFINISHED(check_unread, GetUnread, get_unread)
UNFINISHED(check_list_sessions, ListSessions, list_sessions)
UNFINISHED(check_end_sessions, EndSessions, end_sessions)
UNFINISHED(check_set_profile, SetProfile, set_profile)
UNFINISHED(check_get_profiles, GetProfiles, get_profiles)

}  // namespace features
}  // namespace v1
}  // namespace chatcore
