#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "features/common.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

// RFC 9562: 128 bits in the usual groups, with version and variant set.
ConversationId uuid(std::array<unsigned char, 16> bits, unsigned version) {
  bits[6] = static_cast<unsigned char>((bits[6] & 0x0f) | version << 4);
  bits[8] = static_cast<unsigned char>((bits[8] & 0x3f) | 0x80);
  constexpr std::string_view hex = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < bits.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text.push_back('-');
    text.append({hex[bits[i] >> 4], hex[bits[i] & 15]});
  }
  return *ConversationId::make(text);
}

ConversationId uuid_v7(Core& core) {
  std::array<unsigned char, 16> bits{};
  const std::uint64_t time = core.now(), high = core.random(), low = core.random();
  for (int i = 0; i < 6; ++i) bits[static_cast<std::size_t>(i)] = static_cast<unsigned char>(time >> (40 - 8 * i));
  for (std::size_t i = 0; i < 2; ++i) bits[6 + i] = static_cast<unsigned char>(high >> (8 * i));
  for (std::size_t i = 0; i < 8; ++i) bits[8 + i] = static_cast<unsigned char>(low >> (8 * i));
  return uuid(bits, 7);
}

// The same key of the same creator makes the same id, so that a repeat finds what the first attempt made.
ConversationId uuid_of_key(const UserId& creator, const IdempotencyKey& key) {
  std::string text{static_cast<char>(creator.view().size())};
  text.append(creator.view()).append(std::to_string(key.number)).append(" ").append(key.source);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::array<unsigned char, 16> bits{};
  std::copy_n(digest.begin(), bits.size(), bits.begin());
  return uuid(bits, 8);
}

Status check_members(const std::vector<Member>& members) {
  for (const Member& member : members) {
    if (member.user.empty()) return Error{ErrorCode::invalid, "members: a user id is empty", {}};
    if (member.role < Role::reader || member.role > Role::owner) {
      return Error{ErrorCode::invalid, "members: a role is 1 to 4", {}};
    }
  }
  return {};
}

}  // namespace

Status check_create(Core& core, const Caller& by, CreateConversation& request) {
  if (by.who.user.empty() && !by.who.trusted) return Error{ErrorCode::invalid, "the identity names no user", {}};
  if (Status ok = check_key(request.key); !ok) return ok;
  if (Status ok = check_settings_values(core.limits, request.settings); !ok) return ok;
  if (Status ok = check_members(request.members); !ok) return ok;
  if (request.members.size() > core.limits.group_members) {
    return Error{ErrorCode::full_group, "at most " + std::to_string(core.limits.group_members) + " members", {}};
  }
  if (request.kind != ConversationKind::group && request.kind != ConversationKind::channel) {
    return Error{
        ErrorCode::invalid, "kind: a group or a channel; a direct conversation comes with its first message", {}};
  }
  if (request.conversation.empty()) {
    request.conversation = request.key.empty() ? uuid_v7(core) : uuid_of_key(by.who.user, request.key);
    return {};
  }
  if (!by.who.trusted && !core.limits.clients_choose_ids) {
    return Error{ErrorCode::forbidden, "conversation: leave it empty, an id is made here", {}};
  }
  if (request.conversation.view().front() == reserved) {
    return Error{ErrorCode::invalid, "conversation: ids that begin with '~' are reserved", {}};
  }
  return {};
}

void create(Shard& shard, Call<CreateConversation> call) {
  auto attempt = attempt_of(shard, call, core::Attempt::From::anyone);
  shard.conversations()
      .get(call.request.conversation)
      ->change(std::move(attempt), [request = std::move(call.request)](core::Draft& draft) -> Status {
        if (draft.hosted()) {
          return Error{
              ErrorCode::invalid, "conversation: ids of this form are the host's own; it need not be created", {}};
        }
        if (draft.state().exists) {
          return Error{ErrorCode::conflict, "there is a conversation of this id: choose another one", {}};
        }
        std::map<UserId, Role> roles;
        for (const Member& member : request.members) roles[member.user] = member.role;
        if (!draft.by().who.user.empty()) roles[draft.by().who.user] = Role::owner;
        if (roles.size() > draft.core().limits.group_members) {
          return Error{
              ErrorCode::full_group, "at most " + std::to_string(draft.core().limits.group_members) + " members", {}};
        }
        std::vector<core::Participant> members;
        MembersChanged came;
        for (const auto& [user, role] : roles) {
          members.push_back({user, {.role = role, .intervals = {{draft.next(), 0}}, .since = draft.next()}});
          came.joined.push_back(user);
          if (role != Role::member) came.roles.push_back({user, role});
        }
        draft.create(request.kind, std::move(request.settings), std::move(members));
        draft.message(std::move(came));
        return {};
      });
}

Status check_settings(Core& core, const Caller&, ChangeSettings& request) {
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  if (Status ok = check_key(request.key); !ok) return ok;
  return check_settings_values(core.limits, request.settings);
}

void change_settings(Shard& shard, Call<ChangeSettings> call) {
  auto attempt = attempt_of(shard, call);
  shard.conversations()
      .get(call.request.conversation)
      ->change(std::move(attempt), [settings = std::move(call.request.settings)](core::Draft& draft) -> Status {
        if (Status group = require_group(draft); !group) return group;
        if (Status may = require(draft, Role::admin); !may) return may;
        if (*draft.state().settings == settings) return {};
        draft.settings(settings);
        draft.message(SettingsChanged{std::move(settings)});
        return {};
      });
}

ConversationInfo info_for(const core::Conversation& conversation, const Identity& who, const core::Standing& standing) {
  const core::State& state = conversation.durable();
  ConversationInfo info{.conversation = conversation.id(),
                        .kind = state.kind,
                        .settings = *state.settings,
                        .members = state.members,
                        .oldest = state.oldest,
                        .head = state.head,
                        .role = standing.role};
  if (!standing.active) {  // what came after he left is not for him
    info.former = true;
    info.settings = {};
    info.members = 0;
    info.head = core::last_visible(state.head, standing.intervals);
  }
  if (state.kind == ConversationKind::direct) {
    info.peer = who.user;
    for (const core::Participant& member : state.roster->all()) {
      if (member.user != who.user) info.peer = member.user;
    }
  }
  return info;
}

Status check_get(Core&, const Caller& by, GetConversation& request) { return check_target(by, request.of, "of"); }

void get_conversation(Shard& shard, Call<GetConversation> call) {
  auto conversation = shard.conversations().get(conversation_of(call.by, call.request.of));
  const Identity who = call.by.who;
  conversation->read_as(who, [conversation, call = std::move(call)](Result<core::Standing> standing) mutable {
    if (!standing) return call.reply(standing.error());
    call.reply(info_for(*conversation, call.by.who, *standing));
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
