#include "features/common.h"

#define OPENSSL_SUPPRESS_DEPRECATED  // what took its place looks the algorithm up by name, each time
#include <openssl/sha.h>

#include <algorithm>
#include <array>

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

Error too_large(std::string_view what, std::size_t most) {
  return {ErrorCode::too_large, std::string(what) + ": at most " + std::to_string(most) + " bytes", {}};
}

std::size_t size_of(const std::map<std::string, std::string>& fields) {
  std::size_t size = 0;
  for (const auto& [key, value] : fields) size += key.size() + value.size();
  return size;
}

}  // namespace

// '~' and 128 bits of SHA-256 over the sorted pair, each behind its length: a pair can't be made to meet another's.
ConversationId direct_id(const UserId& a, const UserId& b) {
  const auto& [first, second] = std::minmax(a, b);
  SHA256_CTX hash;
  SHA256_Init(&hash);
  for (const UserId* user : {&first, &second}) {
    const auto size = static_cast<unsigned char>(user->view().size());
    SHA256_Update(&hash, &size, 1);
    SHA256_Update(&hash, user->view().data(), size);
  }
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256_Final(digest.data(), &hash);
  constexpr std::string_view hex = "0123456789abcdef";
  std::array<char, 33> id{reserved};
  for (std::size_t i = 0; i < 16; ++i) {
    id[2 * i + 1] = hex[digest[i] >> 4];
    id[2 * i + 2] = hex[digest[i] & 15];
  }
  return *ConversationId::make({id.data(), id.size()});
}

ConversationId conversation_of(const Caller& by, const Target& target) {
  return target.direct() ? direct_id(by.who.user, target.direct()->peer) : *target.conversation();
}

Status check_id(const ConversationId& id, std::string_view field) {
  if (!id.empty()) return {};
  return Error{ErrorCode::invalid, std::string(field) + ": name a conversation", {}};
}

Status check_target(const Caller& by, const Target& target, std::string_view field) {
  if (!target.direct()) return check_id(*target.conversation(), field);
  if (target.direct()->peer.empty()) return Error{ErrorCode::invalid, std::string(field) + ": name a user", {}};
  if (!by.who.user.empty()) return {};
  return Error{
      ErrorCode::invalid, std::string(field) + ": the host itself has no direct conversations; use Identity::host", {}};
}

Status check_key(const IdempotencyKey& key) {
  if (key.source.size() > 128) return Error{ErrorCode::invalid, "key.source: at most 128 bytes", {}};
  if (!is_utf8(key.source)) return Error{ErrorCode::invalid, "key.source: not UTF-8", {}};
  if (key.source.empty() && key.number != 0)
    return Error{ErrorCode::invalid, "key.source: a number needs a source", {}};
  return {};
}

Status check_content(const Limits& limits, const Content& content) {
  if (content.text.empty() && content.data.empty()) return Error{ErrorCode::invalid, "content: empty", {}};
  if (content.text.size() > limits.text_bytes) return too_large("content.text", limits.text_bytes);
  if (content.data.size() > limits.content_bytes) return too_large("content.data", limits.content_bytes);
  if (content.content_type.size() > 255) return too_large("content.content_type", 255);
  if (size_of(content.metadata) > limits.metadata_bytes) return too_large("content.metadata", limits.metadata_bytes);
  if (!is_utf8(content.text)) return Error{ErrorCode::invalid, "content.text: not UTF-8", {}};
  if (!is_utf8(content.content_type)) return Error{ErrorCode::invalid, "content.content_type: not UTF-8", {}};
  for (const auto& [key, value] : content.metadata) {
    if (!is_utf8(key) || !is_utf8(value)) return Error{ErrorCode::invalid, "content.metadata: not UTF-8", {}};
  }
  return {};
}

Result<Content> content_of(core::Draft& draft, Content sent) {
  if (!draft.replacement()) return sent;
  if (Status ok = check_content(draft.core().limits, *draft.replacement()); !ok) {
    return Error{ok.error().code, "what the policy of this server made of it: " + ok.error().message, {}};
  }
  return *draft.replacement();
}

Status check_settings_values(const Limits& limits, const ConversationSettings& settings) {
  if (settings.title.size() > 255) return too_large("settings.title", 255);
  if (size_of(settings.custom) > limits.metadata_bytes) return too_large("settings.custom", limits.metadata_bytes);
  if (!is_utf8(settings.title)) return Error{ErrorCode::invalid, "settings.title: not UTF-8", {}};
  for (const auto& [key, value] : settings.custom) {
    if (!is_utf8(key) || !is_utf8(value)) return Error{ErrorCode::invalid, "settings.custom: not UTF-8", {}};
  }
  if (settings.newcomers_see < NewcomersSee::all || settings.newcomers_see > NewcomersSee::last) {
    return Error{ErrorCode::invalid, "settings.newcomers_see: 1, 2 or 3", {}};
  }
  return {};
}

Status check_limit(const Limits& limits, std::uint32_t& limit) {
  if (limit == 0) limit = std::min<std::uint32_t>(50, limits.page_items);
  if (limit <= limits.page_items) return {};
  return Error{ErrorCode::invalid, "limit: at most " + std::to_string(limits.page_items), {}};
}

Status check_user(const Caller& by) {
  if (!by.who.user.empty()) return {};
  return Error{ErrorCode::invalid, "the host itself has none of its own: ask as a user", {}};
}

Role role_of(const core::Draft& draft) {
  if (draft.by().who.trusted) return Role::owner;
  const protocol::MemberRow* member = draft.member(draft.by().who.user);
  return member && !member->former ? member->role : Role{};
}

Status require(const core::Draft& draft, Role role) {
  if (role_of(draft) >= role) return {};
  constexpr std::string_view names[] = {"", "reader", "member", "admin", "owner"};
  return Error{ErrorCode::forbidden, "this needs the role " + std::string(names[static_cast<std::size_t>(role)]), {}};
}

Seq visible_head(const core::Conversation& conversation, const core::Intervals& visible) {
  return core::last_visible(conversation.durable().head, visible);
}

Status require_group(const core::Draft& draft) {
  if (draft.state().kind == ConversationKind::group || draft.state().kind == ConversationKind::channel) return {};
  return Error{ErrorCode::forbidden, "a direct conversation has its two members and no settings", {}};
}

Status require_stored_members(const core::Draft& draft) {
  if (Status group = require_group(draft); !group) return group;
  if (!draft.hosted()) return {};
  return Error{ErrorCode::forbidden, "who is in this conversation is in the host's own table: change it there", {}};
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
