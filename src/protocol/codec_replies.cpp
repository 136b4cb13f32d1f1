#include "protocol/wire.h"

namespace chatcore {
inline namespace v1 {
namespace protocol {

#define CHATCORE_CODEC(T)          \
  template Bytes encode(const T&); \
  template Result<T> decode(View);

CHATCORE_CODEC(Accepted)
CHATCORE_CODEC(Nothing)
CHATCORE_CODEC(Delivered)
CHATCORE_CODEC(HistoryPage)
CHATCORE_CODEC(SyncPage)
CHATCORE_CODEC(ConversationInfo)
CHATCORE_CODEC(MembersPage)
CHATCORE_CODEC(ReadCursor)
CHATCORE_CODEC(ConversationEntry)
CHATCORE_CODEC(ConversationsPage)
CHATCORE_CODEC(PresencePage)
CHATCORE_CODEC(ReceiptsPage)
CHATCORE_CODEC(Marks)
CHATCORE_CODEC(UnreadTotal)
CHATCORE_CODEC(SessionsPage)
CHATCORE_CODEC(SessionsEnded)
CHATCORE_CODEC(ProfilesPage)
CHATCORE_CODEC(LoggedIn)
CHATCORE_CODEC(Pong)

CHATCORE_CODEC(Event)
CHATCORE_CODEC(Content)
CHATCORE_CODEC(ConversationSettings)
CHATCORE_CODEC(Member)

#undef CHATCORE_CODEC

template Bytes encode(const Error&);
template Bytes encode(const RawHistoryPage&);
template Bytes encode(const RawSyncPage&);

}  // namespace protocol
}  // namespace v1
}  // namespace chatcore
