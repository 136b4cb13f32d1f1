#include <algorithm>
#include <unordered_map>

#include "core/ask_host.h"
#include "core/store.h"
#include "features/common.h"
#include "features/presence.h"
#include "protocol/rows.h"

namespace chatcore {
inline namespace v1 {
namespace features {

namespace {

constexpr std::string_view profile_row = "profile";
constexpr std::size_t name_bytes = 255;

std::string partition_of(const UserId& user) { return "u:" + user.string(); }

Status check_text(std::string_view text, std::string_view field) {
  if (text.size() > name_bytes) {
    return Error{ErrorCode::too_large, std::string(field) + ": at most " + std::to_string(name_bytes) + " bytes", {}};
  }
  if (!is_utf8(text)) return Error{ErrorCode::invalid, std::string(field) + ": not UTF-8", {}};
  return {};
}

Status check_values(const Limits& limits, const Profile& profile) {
  if (Status ok = check_text(profile.display_name, "profile.display_name"); !ok) return ok;
  if (Status ok = check_text(profile.avatar, "profile.avatar"); !ok) return ok;
  std::size_t size = 0;
  for (const auto& [key, value] : profile.custom) {
    size += key.size() + value.size();
    if (!is_utf8(key) || !is_utf8(value)) return Error{ErrorCode::invalid, "profile.custom: not UTF-8", {}};
  }
  if (size <= limits.metadata_bytes) return {};
  return Error{ErrorCode::too_large, "profile.custom: at most " + std::to_string(limits.metadata_bytes) + " bytes", {}};
}

// In the order asked for. Who has none, or a damaged one, which does not hide the others, is named only.
Result<ProfilesPage> read_profiles(Storage& storage, const std::vector<UserId>& users) {
  ProfilesPage page;
  for (const UserId& user : users) {
    auto row = storage.row(partition_of(user), Table::profiles, profile_row);
    if (!row) return row.error();
    Profile& profile = page.profiles.emplace_back();
    if (*row) {
      if (auto stored = protocol::decode_row<Profile>(*(*row)->value)) profile = std::move(*stored);
    }
    profile.user = user;
  }
  return page;
}

// What the host gave, in the order asked for: what the limits do not allow is as if he had left it out.
ProfilesPage in_order_of(const Core& core, const std::vector<UserId>& users, const std::vector<Profile>& given) {
  std::unordered_map<UserId, Profile> known;
  for (const Profile& profile : given) {
    if (check_values(core.limits, profile)) {
      known.insert_or_assign(profile.user, profile);
    } else {
      core.log(LogLevel::warning, "a profile of the host's is over the limits, or not UTF-8: " + profile.user.string());
    }
  }
  ProfilesPage page;
  for (const UserId& user : users) {
    const auto found = known.find(user);
    page.profiles.push_back(found == known.end() ? Profile{.user = user} : found->second);
  }
  return page;
}

void ask_for_profiles(Shard& shard, std::vector<UserId> users, core::Reply<ProfilesPage> reply) {
  const Core& core = shard.core();
  core::ask_host<std::vector<Profile>>(
      shard, [&](auto done) { core.profiles(users, std::move(done)); },
      [&core, users, reply = std::move(reply)](const Result<std::vector<Profile>>& given) mutable {
        if (given) return reply(in_order_of(core, users, *given));
        const bool is_dropped = given.error().code == ErrorCode::cancelled;
        reply(is_dropped ? Error{ErrorCode::storage_unavailable, "the host did not say the profiles: retry", {}}
                         : given.error());
      });
}

}  // namespace

Status check_set_profile(Core& core, const Caller& by, SetProfile& request) {
  if (Status ok = check_user(by); !ok) return ok;
  if (core.profiles) {
    return Error{ErrorCode::forbidden, "profiles are in the host's own table: change them there", {}};
  }
  Profile& profile = request.profile;
  if (!profile.user.empty() && profile.user != by.who.user) {
    return Error{ErrorCode::invalid, "profile.user: leave it empty, or name yourself", {}};
  }
  profile.user = by.who.user;
  return check_values(core.limits, profile);
}

// On the user's shard, one after the other: what is stored last is shown last.
void set_profile(Shard& home, Call<SetProfile> call) {
  const std::string partition = partition_of(call.by.who.user);
  home.in_order().run(partition + "/profile", [&home, partition, call = std::move(call)](core::Task over) mutable {
    home.core().store->read(
        home,
        [partition](Storage& storage) {
          return storage.events(partition, Log::messages, 1, Direction::forward, {.rows = 1});
        },
        [&home, partition, call = std::move(call), over = std::move(over)](Result<EventPage> found) mutable {
          if (!found) {
            call.reply(found.error());
            return over();
          }
          Profile row = call.request.profile;
          row.user = {};
          auto change = std::make_shared<core::OwnedChange>();
          change->partition = partition;
          change->expected_head = change->new_head = found->head;
          change->rows = {
              {.table = Table::profiles, .key = std::string(profile_row), .value = protocol::encode_row(row)}};
          home.core().store->submit(
              home, std::move(change),
              [&home, call = std::move(call), over = std::move(over)](const Status& status, std::uint64_t) mutable {
                if (status) {
                  const UserId user = call.request.profile.user;
                  show_to_watchers(home, user, ProfileChanged{std::move(call.request.profile)});
                  call.reply(Nothing{});
                } else {
                  call.reply(status.error());
                }
                over();
              });
        });
  });
}

Status check_get_profiles(Core& core, const Caller&, GetProfiles& request) {
  if (request.users.size() > core.limits.page_items) {
    return Error{ErrorCode::too_large, "users: at most " + std::to_string(core.limits.page_items), {}};
  }
  for (const UserId& user : request.users) {
    if (user.empty()) return Error{ErrorCode::invalid, "users: one is empty", {}};
  }
  return {};
}

void get_profiles(Shard& shard, Call<GetProfiles> call) {
  std::vector<UserId> users = std::move(call.request.users);
  core::Reply<ProfilesPage> reply = [most = core::page_bytes(shard.core().limits),
                                     reply = std::move(call.reply)](Result<ProfilesPage> page) mutable {
    if (page && protocol::encode(*page).size() > most) {
      page = Error{ErrorCode::too_large, "users: their profiles do not fit an answer; ask for fewer at once", {}};
    }
    reply(std::move(page));
  };
  if (shard.core().profiles) return ask_for_profiles(shard, std::move(users), std::move(reply));
  shard.core().store->read(
      shard, [users = std::move(users)](Storage& storage) { return read_profiles(storage, users); },
      [reply = std::move(reply)](Result<ProfilesPage> page) mutable { reply(std::move(page)); });
}

namespace {

// Of whom the host is being asked; true: his profile has changed again meanwhile.
struct Asked {
  std::unordered_map<UserId, bool> users{};
};

}  // namespace

void show_host_profile(Shard& home, const UserId& user) {
  const auto [asked, is_first] = home.state<Asked>().users.try_emplace(user, false);
  if (!is_first) {
    asked->second = true;
    return;
  }
  ask_for_profiles(home, {user}, [&home, user](Result<ProfilesPage> page) {
    const auto extracted = home.state<Asked>().users.extract(user);
    if (extracted && extracted.mapped()) return show_host_profile(home, user);
    if (page) {
      show_to_watchers(home, user, ProfileChanged{std::move(page->profiles.front())});
    } else {
      home.core().log(LogLevel::warning, "a changed profile is not shown: " + page.error().message);
    }
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
