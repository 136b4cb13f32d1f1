#pragma once

#include <chatcore/requests/conversations.h>
#include <chatcore/requests/live.h>
#include <chatcore/requests/messages.h>
#include <chatcore/requests/own.h>
#include <chatcore/requests/profiles.h>
#include <chatcore/requests/reading.h>
#include <chatcore/requests/receipts.h>
#include <chatcore/requests/sessions.h>

// Every request, for what is made once for each: CHATCORE_FOR_EACH_REQUEST(X) is X(Send) X(EditMessage) ...
// clang-format off
#define CHATCORE_FOR_EACH_REQUEST(X)                                                             \
  X(Send) X(SendEphemeral) X(EditMessage) X(DeleteMessage) X(Abandon)                            \
  X(CreateConversation) X(ChangeSettings) X(GetConversation)                                     \
  X(AddMembers) X(RemoveMembers) X(Join) X(Leave) X(SetRole) X(ListMembers)                      \
  X(ReadHistory) X(Sync) X(MarkRead) X(ListConversations)                                        \
  X(SetTyping) X(SetPresence) X(GetPresence) X(WatchPresence)                                    \
  X(MarkDelivered) X(GetReceipts) X(ShareReceipts)                                               \
  X(Mute) X(Pin) X(Archive) X(MarkUnread) X(GetUnread)                                           \
  X(ListSessions) X(EndSessions) X(SetProfile) X(GetProfiles)
// clang-format on
