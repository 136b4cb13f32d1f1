#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <chatcore/auth.h>
#include <chatcore/event.h>
#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/request.h>

namespace chatcore {
inline namespace v1 {

// May this pass?
struct Decision {
  // `ok`: it passes. Else the caller is answered with it. A policy refuses with forbidden, no_such_conversation,
  // no_such_message, invalid, too_large, full_group, rate_limited, overloaded, timeout or cancelled; any other number
  // reaches him as `overloaded` where a retry can help (is_retryable), else as `forbidden`.
  ErrorCode code = ErrorCode::ok;
  // Reaches the client: UTF-8 of up to 1 KiB; what is longer, or none, is replaced by a sentence of the engine's.
  std::string reason{};
  // Takes the content's place in Send, EditMessage and SendEphemeral, and is bound by the same limits: over one of
  // them, the request is refused with that error. The key goes on standing for the request as it was sent. Ignored for
  // other requests, and of a refusal.
  std::optional<Content> replaced{};
  std::chrono::milliseconds retry_after{};  // of a refusal that a retry can mend: when to come again
};

// A request of any type, as it was sent. Valid during the call that it is given to: copy what is needed later.
class RequestView {
 public:
  template <Request R>
  explicit RequestView(const R& request) noexcept : id_(R::id), request_(&request) {}

  RequestId id() const noexcept { return id_; }
  // Null where it is another one.
  template <Request R>
  const R* as() const noexcept {
    return id_ == R::id ? static_cast<const R*>(request_) : nullptr;
  }

 private:
  RequestId id_;
  const void* request_;
};

// Decides what passes, beyond membership: word filters, slow mode, quotas, blocks.
//
// Asked for every request that makes or shows something: Send, EditMessage, DeleteMessage, SendEphemeral,
// CreateConversation, ChangeSettings, AddMembers, RemoveMembers, Join, Leave and SetRole; a later version may ask for
// more. Not for reads and read cursors, which are membership's alone, nor for a trusted identity, nor for the repeat of
// a request that was done: its key answers it.
//
// Order: the session's limit, a known key, membership, the user's limit (Limits), this policy, then the role and the
// state of that moment. Membership and state are looked at again after the decision, however late it comes.
//
// While it is pending, what the same user asks for in that conversation waits behind it and keeps its order; others go
// on. It is waited for as long as EngineOptions::policy_deadline says; then EngineOptions::policy_default is the
// decision, as it is where the completion is dropped or given an Error, and where decide() throws.
//
// Threads: decide() is called on engine threads, by several at once where the engine has several, and must not block;
// it may complete inside the call or later, from any thread. The engine takes the first completion and ignores others,
// also after stop(). A stop answers what is still undecided with `stopped`.
// Ownership: the engine owns it and destroys it after stop().
class CHATCORE_API Policy {
 public:
  virtual ~Policy();
  virtual void decide(const Identity&, const RequestView&, Done<Decision>) = 0;

  // Whether he may know of the presence of that user: no, and he sees him offline. Asked whenever he would be told;
  // must not block. Yes, unless it is overridden.
  virtual bool shows_presence(const Identity& to, const UserId& of);
};

// A function of the host's; the second form decides at once. Both are called as Policy::decide is. An empty one lets
// nothing pass.
CHATCORE_API std::unique_ptr<Policy> make_policy(Function<void(const Identity&, const RequestView&, Done<Decision>)>);
CHATCORE_API std::unique_ptr<Policy> make_policy(Function<Decision(const Identity&, const RequestView&)>);

}  // namespace v1
}  // namespace chatcore
