#include <algorithm>

#include "core/hub.h"
#include "features/common.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

constexpr std::size_t most_named = 1000;

std::string name_of(const core::Session& session) { return std::to_string(session.id()); }

}  // namespace

Status check_list_sessions(Core&, const Caller& by, ListSessions&) { return check_user(by); }

// The hub has them in the order in which they began, whatever the clock says.
void list_sessions(Shard& home, Call<ListSessions> call) {
  SessionsPage page;
  for (const auto& session : home.hub().sessions_of(call.by.who.user)) {
    page.sessions.push_back({.session = name_of(*session),
                             .device = session->identity().device,
                             .since = session->since(),
                             .peer_address = session->peer_address(),
                             .mine = session->id() == call.by.session});
  }
  call.reply(std::move(page));
}

Status check_end_sessions(Core&, const Caller& by, EndSessions& request) {
  if (Status ok = check_user(by); !ok) return ok;
  if (request.sessions.size() <= most_named) return {};
  return Error{ErrorCode::invalid, "sessions: at most " + std::to_string(most_named), {}};
}

// One that ends itself hears the answer, where its connection takes it at once.
void end_sessions(Shard& home, Call<EndSessions> call) {
  const auto& named = call.request.sessions;
  std::vector<std::shared_ptr<core::Session>> ended;
  for (const auto& session : home.hub().sessions_of(call.by.who.user)) {
    const bool is_named = std::find(named.begin(), named.end(), name_of(*session)) != named.end();
    if (is_named || (named.empty() && session->id() != call.by.session)) ended.push_back(session);
  }
  call.reply(SessionsEnded{static_cast<std::uint32_t>(ended.size())});
  for (const auto& session : ended) {
    if (session->id() == call.by.session) session->flush(home);
    session->revoke({ErrorCode::unauthenticated, "this session was ended by its user: log in again", {}});
  }
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
