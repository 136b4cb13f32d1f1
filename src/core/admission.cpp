#include <algorithm>
#include <thread>
#include <utility>

#include "core/completion.h"
#include "core/go_on.h"
#include "core/shard.h"

// What stands between membership and the seq: whether an attempt is let pass.

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {

constexpr std::size_t reason_bytes = 1024;

Error stopped() {
  return {ErrorCode::stopped, "the engine stopped before it was decided whether this may pass; retry", {}};
}

// What reaches the caller: never a code by which the engine says something else, such as that a key is spent.
ErrorCode code_of_refusal(ErrorCode said) {
  switch (said) {
    case ErrorCode::forbidden:
    case ErrorCode::no_such_conversation:
    case ErrorCode::no_such_message:
    case ErrorCode::invalid:
    case ErrorCode::too_large:
    case ErrorCode::full_group:
    case ErrorCode::rate_limited:
    case ErrorCode::overloaded:
    case ErrorCode::timeout:
    case ErrorCode::cancelled:
      return said;
    default:
      return is_retryable(said) ? ErrorCode::overloaded : ErrorCode::forbidden;
  }
}

Verdict verdict_of(Decision decision) {
  if (decision.code == ErrorCode::ok) return {{}, std::move(decision.replaced)};
  if (decision.reason.empty() || decision.reason.size() > reason_bytes || !is_utf8(decision.reason)) {
    decision.reason = "the policy of this server does not let this pass";
  }
  const ErrorCode code = code_of_refusal(decision.code);
  const auto later = std::max(decision.retry_after, std::chrono::milliseconds(0));
  return {Error{code, std::move(decision.reason), is_retryable(code) ? later : std::chrono::milliseconds(0)}, {}};
}

Verdict verdict_of(const Core& core, Result<Decision> decision) {
  return verdict_of(decision ? std::move(*decision) : core.policy_default);
}

bool is_exempt(const Core& core, const Identity& who, const ConversationId& id) {
  bool exempt = false;
  if (core.exempt) guarded(core, [&] { exempt = core.exempt(who, id); });
  return exempt;
}

}  // namespace

// While decide() is called, the thread that calls it takes a completion as the call's result.
struct Conversation::Question {
  const std::thread::id asker = std::this_thread::get_id();
  bool is_being_asked = true;  // the asker's
  std::optional<Result<Decision>> at_once{};
};

void Conversation::admit(Attempt attempt, Apply apply) {
  if (!std::exchange(attempt.counted, true)) {
    if (Status in_time = count(attempt.by); !in_time) return refuse(attempt, in_time.error());
  }
  if (attempt.asks && !attempt.verdict) return ask_policy(std::move(attempt), std::move(apply));
  if (attempt.verdict && !attempt.verdict->status) return refuse(attempt, attempt.verdict->status.error());
  if (attempt.target != 0) return read_target(std::move(attempt), std::move(apply));
  this->apply(std::move(attempt), std::move(apply), {});
}

// The user's limit first: who is too fast by himself takes nothing from the others.
Status Conversation::count(const Caller& by) {
  const Core& core = shard_.core();
  if (by.limit) {
    if (const auto wait = by.limit->take(core.clock->steady())) {
      return rate_limited("messages and changes of this user", *wait);
    }
  }
  const Limits& limits = core.limits;
  const bool is_host = by.session == 0 || by.who.trusted;
  if (limits.conversation_per_second == 0 || is_host || is_exempt(core, by.who, id_)) return {};
  if (!limit_) limit_.emplace(limits.conversation_per_second, limits.conversation_burst);
  if (const auto wait = limit_->take(core.clock->steady())) {
    return rate_limited("messages and changes in this conversation", *wait);
  }
  return {};
}

void Conversation::ask_policy(Attempt attempt, Apply apply) {
  Core& core = shard_.core();
  if (core.decides_no_more) return refuse(attempt, stopped());
  const UserId sender = attempt.by.who.user;
  const auto question = std::make_shared<Question>();
  // The host may keep the completion for ever: it holds nothing of ours.
  Done<Decision> done = first_completion<Decision>([core = core.weak_from_this(), &shard = shard_,
                                                    self = weak_from_this(), sender, question](Result<Decision> said) {
    if (std::this_thread::get_id() == question->asker && question->is_being_asked) {
      question->at_once.emplace(std::move(said));
      return;
    }
    const auto alive = core.lock();
    if (!alive) return;
    shard.post([self, sender, question, said = std::move(said)]() mutable {
      const auto conversation = self.lock();
      if (!conversation) return;
      conversation->decided(sender, question, verdict_of(conversation->shard_.core(), std::move(said)));
    });
  });
  try {
    core.policy->decide(attempt.by.who, *attempt.asks, std::move(done));
  } catch (...) {
    add(core.counters.callback_exceptions);
    question->at_once.emplace(Error{ErrorCode::cancelled, "the policy threw an exception", {}});
  }
  question->is_being_asked = false;
  if (question->at_once) {
    attempt.verdict = std::make_unique<Verdict>(verdict_of(core, std::move(*question->at_once)));
    return admit(std::move(attempt), std::move(apply));
  }
  Held& held = held_[sender];
  ++held.waits;
  held.undecided = std::make_unique<Undecided>(Undecided{question, generation_, std::move(attempt), std::move(apply)});
  shard_.after(core.policy_deadline, [self = weak_from_this(), sender, late = std::weak_ptr(question)] {
    const auto conversation = self.lock();
    const auto still = late.lock();
    if (conversation && still) {
      conversation->decided(sender, still, verdict_of(conversation->shard_.core().policy_default));
    }
  });
}

// Of a question that is still open; the first answer to it, or the deadline, closes it.
void Conversation::decided(const UserId& sender, const std::shared_ptr<Question>& question, Verdict verdict) {
  const auto held = held_.find(sender);
  if (held == held_.end() || !held->second.undecided || held->second.undecided->question != question) return;
  Undecided undecided = std::move(*std::exchange(held->second.undecided, nullptr));
  undecided.attempt.verdict = std::make_unique<Verdict>(std::move(verdict));
  go_on(undecided.generation, std::move(undecided.attempt), std::move(undecided.apply),
        [](Conversation& self, Attempt a, Apply f) { self.know(std::move(a), std::move(f)); });
}

void Conversation::give_up_undecided() {
  std::vector<std::pair<UserId, std::shared_ptr<Question>>> open;
  for (const auto& [sender, held] : held_) {
    if (held.undecided) open.emplace_back(sender, held.undecided->question);
  }
  for (const auto& [sender, question] : open) decided(sender, question, {stopped(), {}});
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
