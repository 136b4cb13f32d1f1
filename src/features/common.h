#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "core/conversation.h"
#include "core/shard.h"
#include "features/features.h"
#include "protocol/codec.h"

// What several features need.

namespace chatcore {
inline namespace v1 {
namespace features {

// The conversation that a request goes to. A direct one's id is made of its pair, so that both sides find it.
ConversationId conversation_of(const Caller&, const Target&);
ConversationId direct_id(const UserId&, const UserId&);
inline constexpr char reserved = '~';  // ids of our own begin with it

Status check_id(const ConversationId&, std::string_view field);
Status check_target(const Caller&, const Target&, std::string_view field);
Status check_key(const IdempotencyKey&);
Status check_content(const Limits&, const Content&);
Status check_settings_values(const Limits&, const ConversationSettings&);
Status check_limit(const Limits&, std::uint32_t& limit);
Status check_user(const Caller&);  // the host itself has no list, no cursors

// A request as a policy is shown it.
template <class R>
struct Shown {
  explicit Shown(const R& r) : request(r), view(request) {}
  Shown(const Shown&) = delete;
  Shown& operator=(const Shown&) = delete;
  const R request;
  const RequestView view;
};
template <class R>
std::shared_ptr<const RequestView> shown_to_policy(const Core& core, const Call<R>& call) {
  if (!core.policy || call.by.who.trusted) return nullptr;
  const auto shown = std::make_shared<const Shown<R>>(call.request);
  return {shown, &shown->view};
}

// An attempt to change what `call` names: key and digest are taken from it.
template <class R>
core::Attempt attempt_of(const Shard& shard, Call<R>& call, core::Attempt::From from = core::Attempt::From::members) {
  core::Attempt attempt{.by = call.by, .from = from, .asks = shown_to_policy(shard.core(), call)};
  attempt.reply = std::move(call.reply);
  if (!call.request.key.empty()) {
    attempt.key = std::exchange(call.request.key, {});
    attempt.digest = protocol::digest_of(R::id, protocol::encode(call.request));
  }
  return attempt;
}

// The content that counts: what was sent, or what a policy put in its place, where the limits allow that.
Result<Content> content_of(core::Draft&, Content sent);

// Whether he who asks may do what needs this role. In a direct conversation only what two members may do.
Status require(const core::Draft&, Role);
// The last seq that a reader may know of: a former member's is where he left.
Seq visible_head(const core::Conversation&, const core::Intervals& visible);
// Whether its readers may mark it, and move a cursor up to there.
Status may_be_marked(const core::Conversation&);
Status may_move_cursor(const core::Conversation&, const Result<core::Standing>&, Seq);
Status require_group(const core::Draft&);           // or a channel
Status require_stored_members(const core::Draft&);  // and its members can be changed by requests
// His role; the host's is above all.
Role role_of(const core::Draft&);

}  // namespace features
}  // namespace v1
}  // namespace chatcore
