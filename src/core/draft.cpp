#include <utility>

#include "core/conversation.h"

namespace chatcore {
inline namespace v1 {
namespace core {

Draft::Draft(const Core& core, const Conversation& conversation, const Attempt& attempt, const State& state)
    : core_(core), conversation_(conversation), id_(conversation.id()), by_(attempt.by), state_(state) {
  if (attempt.verdict && attempt.verdict->replaced) replacement_ = &*attempt.verdict->replaced;
}

const protocol::MemberRow* Draft::member(const UserId& user) const {
  return state_.exists ? conversation_.row_of(state_, user) : nullptr;
}

bool Draft::hosted() const { return conversation_.hosted(); }

void Draft::message(EventBody body) { events_.push_back({Log::messages, std::move(body)}); }

void Draft::row(Row row) { rows_.push_back(std::move(row)); }

void Draft::change(ChangeKind kind, MessagePosted now) {
  events_.push_back({Log::changes, MessageChanged{target_->event.seq, kind, now.revision, {}}});
  replaced_ = std::move(now);
}

void Draft::settings(ConversationSettings settings) {
  if (!after_) after_ = state_;
  after_->settings = std::make_shared<const ConversationSettings>(std::move(settings));
}

void Draft::members(std::vector<Participant> rows) { members_ = std::move(rows); }

void Draft::create(ConversationKind kind, ConversationSettings with, std::vector<Participant> rows) {
  after_ = state_;
  after_->exists = true;
  after_->kind = kind;
  after_->roster = std::make_shared<const Roster>(core_, std::vector<Participant>());
  settings(std::move(with));
  members(std::move(rows));
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
