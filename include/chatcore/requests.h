#pragma once

#include <chatcore/requests/conversations.h>
#include <chatcore/requests/messages.h>
#include <chatcore/requests/reading.h>

// Every request, for what is made once for each: CHATCORE_FOR_EACH_REQUEST(X) is X(Send) X(EditMessage) ...
// clang-format off
#define CHATCORE_FOR_EACH_REQUEST(X)                                                             \
  X(Send) X(SendEphemeral) X(EditMessage) X(DeleteMessage) X(Abandon)                            \
  X(CreateConversation) X(ChangeSettings) X(GetConversation)                                     \
  X(AddMembers) X(RemoveMembers) X(Join) X(Leave) X(SetRole) X(ListMembers)                      \
  X(ReadHistory) X(Sync) X(MarkRead) X(ListConversations)
// clang-format on
