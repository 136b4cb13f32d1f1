#pragma once

#include "core/conversation.h"
#include "core/shard.h"
#include "protocol/messages.h"

// Every feature: for each request a check, which also fills in what the caller left open, and a handler, which runs on
// the home shard of what the request names. table.h makes them rows.

namespace chatcore {
inline namespace v1 {
namespace features {

using core::Call;
using core::Caller;
using core::Core;
using core::Shard;

// messages.cpp
Status check_send(Core&, const Caller&, Send&);
void send(Shard&, Call<Send>);
Status check_edit(Core&, const Caller&, EditMessage&);
void edit(Shard&, Call<EditMessage>);
Status check_delete(Core&, const Caller&, DeleteMessage&);
void remove_message(Shard&, Call<DeleteMessage>);
Status check_abandon(Core&, const Caller&, Abandon&);
void abandon(Shard&, Call<Abandon>);

// ephemeral.cpp
Status check_ephemeral(Core&, const Caller&, SendEphemeral&);
void send_ephemeral(Shard&, Call<SendEphemeral>);

// conversations.cpp
Status check_create(Core&, const Caller&, CreateConversation&);
void create(Shard&, Call<CreateConversation>);
Status check_settings(Core&, const Caller&, ChangeSettings&);
void change_settings(Shard&, Call<ChangeSettings>);
Status check_get(Core&, const Caller&, GetConversation&);
void get_conversation(Shard&, Call<GetConversation>);
// What a member, or a former one, may know.
ConversationInfo info_for(const core::Conversation&, const Identity&, const core::Standing&);

// members.cpp
Status check_add(Core&, const Caller&, AddMembers&);
void add_members(Shard&, Call<AddMembers>);
Status check_remove(Core&, const Caller&, RemoveMembers&);
void remove_members(Shard&, Call<RemoveMembers>);
Status check_join(Core&, const Caller&, Join&);
void join(Shard&, Call<Join>);
Status check_leave(Core&, const Caller&, Leave&);
void leave(Shard&, Call<Leave>);
Status check_role(Core&, const Caller&, SetRole&);
void set_role(Shard&, Call<SetRole>);
Status check_list_members(Core&, const Caller&, ListMembers&);
void list_members(Shard&, Call<ListMembers>);

// history.cpp
Status check_history(Core&, const Caller&, ReadHistory&);
void read_history(Shard&, Call<ReadHistory, protocol::RawHistoryPage>);
Status check_sync(Core&, const Caller&, Sync&);
void sync(Shard&, Call<Sync, protocol::RawSyncPage>);

// cursors.cpp
Status check_read(Core&, const Caller&, MarkRead&);
void mark_read(Shard&, Call<MarkRead>);

// typing.cpp
Status check_typing(Core&, const Caller&, SetTyping&);
void set_typing(Shard&, Call<SetTyping>);

// presence.cpp
Status check_set_presence(Core&, const Caller&, SetPresence&);
void set_presence(Shard&, Call<SetPresence>);
Status check_get_presence(Core&, const Caller&, GetPresence&);
void get_presence(Shard&, Call<GetPresence>);
Status check_watch(Core&, const Caller&, WatchPresence&);
void watch_presence(Shard&, Call<WatchPresence>);

// receipts.cpp
Status check_delivered(Core&, const Caller&, MarkDelivered&);
void mark_delivered(Shard&, Call<MarkDelivered>);
Status check_receipts(Core&, const Caller&, GetReceipts&);
void get_receipts(Shard&, Call<GetReceipts>);
Status check_share(Core&, const Caller&, ShareReceipts&);
void share_receipts(Shard&, Call<ShareReceipts>);

// marks.cpp
Status check_mute(Core&, const Caller&, Mute&);
void mute(Shard&, Call<Mute>);
Status check_pin(Core&, const Caller&, Pin&);
void pin(Shard&, Call<Pin>);
Status check_archive(Core&, const Caller&, Archive&);
void archive(Shard&, Call<Archive>);
Status check_mark_unread(Core&, const Caller&, MarkUnread&);
void mark_unread(Shard&, Call<MarkUnread>);

// unread.cpp
Status check_unread(Core&, const Caller&, GetUnread&);
void get_unread(Shard&, Call<GetUnread>);

// sessions.cpp
Status check_list_sessions(Core&, const Caller&, ListSessions&);
void list_sessions(Shard&, Call<ListSessions>);
Status check_end_sessions(Core&, const Caller&, EndSessions&);
void end_sessions(Shard&, Call<EndSessions>);

// profiles.cpp
Status check_set_profile(Core&, const Caller&, SetProfile&);
void set_profile(Shard&, Call<SetProfile>);
Status check_get_profiles(Core&, const Caller&, GetProfiles&);
void get_profiles(Shard&, Call<GetProfiles>);
void show_host_profile(Shard& home, const UserId&);  // to who watches him: it has changed

// list.cpp
Status check_list(Core&, const Caller&, ListConversations&);
void list_conversations(Shard&, Call<ListConversations>);

}  // namespace features
}  // namespace v1
}  // namespace chatcore
