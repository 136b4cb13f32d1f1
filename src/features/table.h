#pragma once

#include <concepts>
#include <tuple>

#include "features/common.h"
#include "features/features.h"

namespace chatcore {
inline namespace v1 {
namespace features {

// One row a request: what a caller may leave open or get wrong, and what it does.
template <class R, class Answer>
struct Row {
  using Request = R;
  using Raw = Answer;
  Status (*check)(Core&, const Caller&, R&);
  void (*handle)(Shard&, Call<R, Answer>);
};

template <class R, class Answer>
Row(Status (*)(Core&, const Caller&, R&), void (*)(Shard&, Call<R, Answer>)) -> Row<R, Answer>;

inline constexpr std::tuple table{
    Row{check_send, send},
    Row{check_ephemeral, send_ephemeral},
    Row{check_history, read_history},
    Row{check_sync, sync},
    Row{check_edit, edit},
    Row{check_delete, remove_message},
    Row{check_abandon, abandon},
    Row{check_create, create},
    Row{check_settings, change_settings},
    Row{check_get, get_conversation},
    Row{check_add, add_members},
    Row{check_remove, remove_members},
    Row{check_join, join},
    Row{check_leave, leave},
    Row{check_role, set_role},
    Row{check_list_members, list_members},
    Row{check_read, mark_read},
    Row{check_list, list_conversations},
    Row{check_typing, set_typing},
    Row{check_set_presence, set_presence},
    Row{check_get_presence, get_presence},
    Row{check_watch, watch_presence},
    Row{check_delivered, mark_delivered},
    Row{check_receipts, get_receipts},
    Row{check_share, share_receipts},
    Row{check_mute, mute},
    Row{check_pin, pin},
    Row{check_archive, archive},
    Row{check_mark_unread, mark_unread},
    Row{check_unread, get_unread},
    Row{check_list_sessions, list_sessions},
    Row{check_end_sessions, end_sessions},
    Row{check_set_profile, set_profile},
    Row{check_get_profiles, get_profiles},
};

template <class R, std::size_t i = 0>
constexpr const auto& row_of() {
  if constexpr (std::same_as<typename std::tuple_element_t<i, decltype(table)>::Request, R>) {
    return std::get<i>(table);
  } else {
    return row_of<R, i + 1>();
  }
}
template <class R>
using RawOf = typename std::remove_cvref_t<decltype(row_of<R>())>::Raw;

// The shard that a request belongs to: its conversation's, or else the caller's.
template <class R>
Shard& home_of(Core& core, const Caller& by, const R& request) {
  if constexpr (requires { request.conversation; }) {
    return core.home(request.conversation);
  } else if constexpr (requires { request.to; }) {
    return core.home(conversation_of(by, request.to));
  } else if constexpr (requires { request.of; }) {
    return core.home(conversation_of(by, request.of));
  } else {
    return core.home(by.who.user);
  }
}

// How a request comes to the shard that it belongs to.
enum class Way {
  short_cut,  // handled inside the call where this thread runs that shard already; `reply` may run inside it too
  posted,     // always later, at once in the queue: for hosts, who must not be answered inside their call
};

// The one way in, for every caller. A request is checked here, and handled on its home shard.
template <class R>
void run(Core& core, Caller by, R request, core::Reply<RawOf<R>> reply, Way way) {
  Status ok = row_of<R>().check(core, by, request);
  Shard& home = ok && core.shards.size() > 1 ? home_of(core, by, request) : *core.shards.front();
  auto handle = [&home, ok = std::move(ok),
                 call = Call<R, RawOf<R>>{std::move(by), std::move(request), std::move(reply)}]() mutable {
    if (!ok) return call.reply(ok.error());
    row_of<R>().handle(home, std::move(call));
  };
  way == Way::posted ? home.post_at_once(std::move(handle)) : home.run(std::move(handle));
}

extern const core::RequestTable wire_table;

}  // namespace features
}  // namespace v1
}  // namespace chatcore
