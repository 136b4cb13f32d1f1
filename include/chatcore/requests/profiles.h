#pragma once

#include <vector>

#include <chatcore/request.h>
#include <chatcore/requests/messages.h>

namespace chatcore {
inline namespace v1 {

// How a user is shown. Stored, unless the host answers for it (EngineOptions::profiles): then SetProfile is
// `forbidden`. Who watches a user's presence is shown his new profile (ProfileChanged).

// Puts this in place of the caller's profile; `user` is left empty or is his. too_large: display_name or avatar over
// 255 bytes, custom over Limits::metadata_bytes. unknown_outcome, storage_full.
struct SetProfile {
  using Reply = Nothing;
  static constexpr auto id = RequestId::set_profile;
  Profile profile{};
};

struct ProfilesPage {
  std::vector<Profile> profiles{};  // in the order asked for; where there is none only `user` is filled in
};
// too_large: more than Limits::page_items.
struct GetProfiles {
  using Reply = ProfilesPage;
  static constexpr auto id = RequestId::get_profiles;
  std::vector<UserId> users{};
};

}  // namespace v1
}  // namespace chatcore
