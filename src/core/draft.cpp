#include <utility>

#include "core/conversation.h"

namespace chatcore {
inline namespace v1 {
namespace core {

void Draft::message(EventBody body) { events_.push_back({Log::messages, std::move(body)}); }

void Draft::change(ChangeKind kind, MessagePosted now) {
  events_.push_back({Log::changes, MessageChanged{target_->event.seq, kind, now.revision, {}}});
  replaced_ = std::move(now);
}

void Draft::settings(ConversationSettings settings) {
  if (!after_) after_ = state_;
  rows_.push_back({.table = Table::settings,
                   .key = std::string(settings_row),
                   .value = protocol::encode_row(protocol::ConversationRow{after_->kind, settings})});
  after_->settings = std::make_shared<const ConversationSettings>(std::move(settings));
}

void Draft::roster(std::vector<Membership> all, std::vector<UserId> changed) {
  if (!after_) after_ = state_;
  auto roster = std::make_shared<const Roster>(core_, std::move(all));
  for (const UserId& user : changed) {
    rows_.push_back(
        {.table = Table::members, .key = user.string(), .value = protocol::encode_row(roster->find(user)->row)});
  }
  after_->roster = std::move(roster);
}

void Draft::create(ConversationKind kind, ConversationSettings with, std::vector<Membership> members) {
  after_ = state_;
  after_->exists = true;
  after_->kind = kind;
  settings(std::move(with));
  std::vector<UserId> users;
  for (const Membership& m : members) users.push_back(m.user);
  roster(std::move(members), std::move(users));
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
