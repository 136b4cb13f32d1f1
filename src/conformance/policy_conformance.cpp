#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <chatcore/options.h>
#include <chatcore/requests.h>

#include "conformance/check.h"

namespace chatcore {
inline namespace v1 {
namespace {

using namespace conformance;
using namespace std::chrono_literals;
using Make = std::shared_ptr<Function<std::unique_ptr<Policy>()>>;
using Let = std::shared_ptr<Function<void()>>;

constexpr std::chrono::milliseconds decided_within = 2s, decide_returns_within = 250ms, goes_within = 1s;
constexpr const char* written_later = "~written after the call~";

Error wrong(std::string what) { return {ErrorCode::invalid, std::move(what), {}}; }

// A request of a version that the policy has not heard of.
struct LaterRequest {
  using Reply = Nothing;
  static constexpr auto id = static_cast<RequestId>(60'000);
};

Question<Decision> ask(Policy& policy, const Identity& who, const RequestView& view) {
  return Question<Decision>::ask([&](Done<Decision> done) { policy.decide(who, view, std::move(done)); });
}

bool wait_for(const Let& let, const Question<Decision>& question) {
  return wait_until(*let, decided_within, [&] { return question.came(); });
}

Identity somebody() { return {.user = "conformance-alice", .device = "conformance-phone"}; }
ConversationId somewhere() { return "conformance-room"; }

// One request of each type that a policy is asked about, until `use` says what is wrong.
Status each_request(Function<Status(const std::string& name, const RequestView&)> use) {
  Status status;
  const auto one = [&](const char* name, const auto& request) {
    if (status) status = use(name, RequestView(request));
  };
  const Content content{.text = "a text", .metadata = {{"field", "value"}}};
  const std::vector<Member> members{{"conformance-bob", Role::member}};
  one("Send", Send{.to = somewhere(), .content = content, .key = "a key"});
  one("Send to a user", Send{.to = Direct{"conformance-bob"}, .content = content});
  one("EditMessage", EditMessage{.conversation = somewhere(), .seq = 2, .content = content});
  one("DeleteMessage", DeleteMessage{.conversation = somewhere(), .seq = 2});
  one("SendEphemeral", SendEphemeral{.to = somewhere(), .content = content, .only = {"conformance-bob"}});
  one("CreateConversation", CreateConversation{.conversation = somewhere(), .members = members});
  one("ChangeSettings", ChangeSettings{.conversation = somewhere(), .settings = {.title = "a title"}});
  one("AddMembers", AddMembers{.conversation = somewhere(), .members = members});
  one("RemoveMembers", RemoveMembers{.conversation = somewhere(), .users = {"conformance-bob"}});
  one("Join", Join{.conversation = somewhere()});
  one("Leave", Leave{.conversation = somewhere()});
  one("SetRole", SetRole{.conversation = somewhere(), .user = "conformance-bob", .role = Role::admin});
  return status;
}

// ---- the checks

Status decides_everything(Policy& policy, const Let& let) {
  return each_request([&](const std::string& name, const RequestView& view) -> Status {
    if (wait_for(let, ask(policy, somebody(), view))) return {};
    return wrong(name + ": was not decided within two seconds");
  });
}

Status decides_what_is_new(Policy& policy, const Let& let) {
  const LaterRequest request;
  const auto question = ask(policy, somebody(), RequestView(request));
  if (question.threw) return wrong("a request of an unknown type made decide() throw");
  if (wait_for(let, question)) return {};
  return wrong("a request of an unknown type was not decided within two seconds");
}

Status decides_once(Policy& policy, const Let& let) {
  return each_request([&](const std::string& name, const RequestView& view) -> Status {
    const auto question = ask(policy, somebody(), view);
    (void)wait_for(let, question);
    wait_until(*let, 2ms, [] { return false; });
    if (question.answers->count() <= 1) return {};
    return wrong(name + ": the completion was run " + std::to_string(question.answers->count()) + " times");
  });
}

Status gives_no_error(Policy& policy, const Let& let) {
  return each_request([&](const std::string& name, const RequestView& view) -> Status {
    const auto question = ask(policy, somebody(), view);
    (void)wait_for(let, question);
    const auto said = question.answer();
    if (!said || *said) return {};
    return wrong(name + ": was given an Error, which counts as undecided: \"" + said->error().message + "\"");
  });
}

Status does_not_block(Policy& policy, const Let&) {
  return each_request([&](const std::string& name, const RequestView& view) -> Status {
    const auto took = ask(policy, somebody(), view).took;
    if (took <= decide_returns_within) return {};
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
    return wrong(name + ": decide() returned after " + std::to_string(ms) + " ms, on a thread of the engine's");
  });
}

Status does_not_throw(Policy& policy, const Let&) {
  return each_request([&](const std::string& name, const RequestView& view) -> Status {
    if (!ask(policy, somebody(), view).threw) return {};
    return wrong(name + ": decide() threw an exception");
  });
}

bool may_be_said(ErrorCode code) {
  switch (code) {
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
      return true;
    default:
      return false;
  }
}

Status refuses_properly(Policy& policy, const Let& let) {
  return each_request([&](const std::string& name, const RequestView& view) -> Status {
    const auto question = ask(policy, somebody(), view);
    (void)wait_for(let, question);
    const auto said = question.answer();
    if (!said || !*said || (*said)->code == ErrorCode::ok) return {};
    const Decision& decision = **said;
    if (!may_be_said(decision.code)) {
      return wrong(name + ": refused with " + std::string(chatcore::name(decision.code)) +
                   ", which does not reach the caller as it is");
    }
    if (decision.reason.empty()) return wrong(name + ": refused without a reason");
    if (decision.reason.size() > 1024) return wrong(name + ": the reason is longer than 1 KiB");
    if (!is_utf8(decision.reason)) return wrong(name + ": the reason is not UTF-8");
    if (decision.retry_after < 0ms) return wrong(name + ": retry_after is negative");
    return {};
  });
}

Status replaces_properly(Policy& policy, const Let& let) {
  return each_request([&](const std::string& name, const RequestView& view) -> Status {
    const auto question = ask(policy, somebody(), view);
    (void)wait_for(let, question);
    const auto said = question.answer();
    if (!said || !*said || !(*said)->replaced) return {};
    if (!view.as<Send>() && !view.as<EditMessage>() && !view.as<SendEphemeral>()) {
      return wrong(name + ": has no content that could be replaced");
    }
    const Content& content = *(*said)->replaced;
    const Limits limits;
    if (content.text.empty() && content.data.empty()) return wrong(name + ": was replaced by nothing");
    if (content.text.size() > limits.text_bytes || content.data.size() > limits.content_bytes) {
      return wrong(name + ": was replaced by more than the limits allow");
    }
    if (!is_utf8(content.text)) return wrong(name + ": was replaced by a text that is not UTF-8");
    return {};
  });
}

// The view and its request stay where they are, but say something else once the call is over.
Status forgets_the_view(Policy& policy, const Let& let) {
  Send send{.to = somewhere(), .content = {.text = "a text"}, .key = "a key"};
  EditMessage edit{.conversation = somewhere(), .seq = 2, .content = {.text = "a text"}};
  const RequestView first(send), second(edit);
  const Question<Decision> questions[] = {ask(policy, somebody(), first), ask(policy, somebody(), second)};
  send.content.text = edit.content.text = written_later;
  for (const auto& question : questions) {
    (void)wait_for(let, question);
    const auto said = question.answer();
    if (!said || !*said) continue;
    const auto knows = [](const std::string& text) { return text.find(written_later) != std::string::npos; };
    if (knows((*said)->reason) || ((*said)->replaced && knows((*said)->replaced->text))) {
      return wrong("the request was read after decide() had returned, when it is no longer there");
    }
  }
  return {};
}

Status decides_on_many_threads(Policy& policy, const Let& let) {
  constexpr int threads = 4, each = 100;
  std::mutex mutex;
  std::vector<Question<Decision>> questions;
  std::atomic<bool> threw{false};
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      const Identity who{.user = *UserId::make("conformance-user" + std::to_string(t))};
      for (int i = 0; i < each; ++i) {
        const Send send{.to = somewhere(), .content = {.text = "text " + std::to_string(i)}};
        auto question = ask(policy, who, RequestView(send));
        if (question.threw) threw = true;
        std::lock_guard lock(mutex);
        questions.push_back(std::move(question));
      }
    });
  }
  for (auto& thread : all) thread.join();
  if (threw) return wrong("decide() threw an exception where several threads asked at once");
  for (const auto& question : questions) {
    if (!wait_for(let, question)) return wrong("one of several questions at once was not decided");
    if (question.answers->count() > 1) return wrong("one of several questions at once was decided twice");
  }
  return {};
}

Check make_check(const char* name, const Make& make, const Let& let, Status (*run)(Policy&, const Let&)) {
  return {name, [make, let, run]() -> Status {
            try {
              const std::unique_ptr<Policy> policy = (*make)();
              return policy ? run(*policy, let) : wrong("make() gave no policy");
            } catch (...) {
              return wrong("what makes the policy, or lets it decide, threw an exception");
            }
          }};
}

Check goes_with_open_decisions(const Make& make) {
  return {"it can be destroyed while decisions are open", [make]() -> Status {
            std::unique_ptr<Policy> policy;
            try {
              policy = (*make)();
            } catch (...) {
              return wrong("what makes the policy threw an exception");
            }
            if (!policy) return wrong("make() gave no policy");
            (void)each_request([&](const std::string&, const RequestView& view) -> Status {
              (void)ask(*policy, somebody(), view);
              return {};
            });
            const auto start = steady_clock::now();
            policy.reset();
            if (steady_clock::now() - start <= goes_within) return {};
            return wrong("its destructor took more than a second: the engine's host waits for it");
          }};
}

}  // namespace

std::vector<Check> policy_conformance(Function<std::unique_ptr<Policy>()> make_one, Function<void()> let_one) {
  const auto make = std::make_shared<Function<std::unique_ptr<Policy>()>>(std::move(make_one));
  const auto let = std::make_shared<Function<void()>>(std::move(let_one));
  std::vector<Check> checks;
  const auto add = [&](const char* name, Status (*run)(Policy&, const Let&)) {
    checks.push_back(make_check(name, make, let, run));
  };
  add("every request is decided", decides_everything);
  add("a request of a later version is decided", decides_what_is_new);
  add("a request is decided once", decides_once);
  add("a decision is no error", gives_no_error);
  add("decide does not block", does_not_block);
  add("decide does not throw", does_not_throw);
  add("a refusal says what a policy may say", refuses_properly);
  add("only a content is replaced, by one within the limits", replaces_properly);
  add("the request is read only during the call", forgets_the_view);
  add("several threads may ask at once", decides_on_many_threads);
  checks.push_back(goes_with_open_decisions(make));
  return checks;
}

}  // namespace v1
}  // namespace chatcore
