#include "support/chat.h"

namespace chat {

std::string line(const Marks& marks) {
  std::string text = marks.conversation.string() + " read " + std::to_string(marks.read);
  if (marks.muted_until != TimePoint{}) text += " muted";
  if (marks.pinned) text += " pinned";
  if (marks.archived) text += " archived";
  if (marks.unread) text += " unread";
  return text;
}

std::string line(const Receipts& moved) {
  std::string text;
  for (const Receipt& each : moved.receipts) {
    text += (text.empty() ? "" : ", ") + each.user.string() + " " + std::to_string(each.delivered) + "/" +
            std::to_string(each.read);
  }
  return text;
}

std::string line(const Event& event) {
  const auto body = [&]() -> std::string {
    if (const auto* m = event.as<MessagePosted>()) return m->deleted ? "(deleted)" : m->content.text;
    if (const auto* c = event.as<MessageChanged>()) {
      const std::string what = c->kind == ChangeKind::deleted ? "deleted" : "edited";
      const std::string target = what + " #" + std::to_string(c->target);
      return c->now && !c->now->deleted ? target + ": " + c->now->content.text : target;
    }
    if (const auto* m = event.as<MembersChanged>()) {
      std::string text;
      const auto put = [&](const std::string& word, const UserId& who) {
        text += (text.empty() ? "" : ", ") + word + " " + who.string();
      };
      for (const UserId& who : m->joined) put("joined", who);
      for (const UserId& who : m->left) put("left", who);
      for (const Member& who : m->roles) put("role" + std::to_string(static_cast<int>(who.role)), who.user);
      return text;
    }
    if (const auto* s = event.as<SettingsChanged>()) return "settings " + s->settings.title;
    if (const auto* own = event.as<OwnChanged>()) {
      std::string text;
      for (const Marks& marks : own->marks) text += (text.empty() ? "" : ", ") + line(marks);
      return text + (own->hides_receipts ? (text.empty() ? "hides" : ", hides") : text.empty() ? "shares" : "");
    }
    return "unknown";
  };
  return body();
}

std::string line(const Push& push) {
  if (const Event* event = push.event()) return line(*event);
  if (const auto* shown = push.as<Ephemeral>()) return "~" + shown->content.text;
  if (const auto* moved = push.as<Receipts>()) return "receipts: " + line(*moved);
  if (const auto* typing = push.as<Typing>()) {
    std::string text;
    for (const UserId& who : typing->users) text += (text.empty() ? "typing: " : ", ") + who.string();
    return text.empty() ? "typing: nobody" : text;
  }
  if (const auto* moved = push.as<HeadMoved>()) return "pull " + std::to_string(moved->head);
  if (push.as<Reset>()) return "reset";
  if (const auto* closed = push.as<Closed>()) return "closed " + std::string(name(closed->why.code));
  return "signal";
}

// ---- Server

Limits without_rates(Limits limits) {
  limits.messages_per_second = limits.requests_per_second = 0;
  return limits;
}

namespace {

Limits limits_of(const Limits& given) {
  const Limits library;
  const bool chosen =
      given.messages_per_second != library.messages_per_second || given.message_burst != library.message_burst ||
      given.requests_per_second != library.requests_per_second || given.request_burst != library.request_burst;
  return chosen ? given : without_rates(given);
}

}  // namespace

Server::Server(EngineOptions options, std::shared_ptr<SharedStorage> on,
               std::function<std::unique_ptr<Policy>()> policy)
    : store(std::move(on)),
      limits_(limits_of(options.limits)),
      shards_(options.shards),
      first_pubsub_(std::move(options.pubsub)),
      memory_bytes_(options.memory_bytes),
      first_membership_(std::move(options.membership)),
      policy_deadline_(options.policy_deadline),
      policy_default_(options.policy_default),
      first_policy_(std::move(options.policy)),
      first_exempt_(std::move(options.exempt)),
      policy_(std::move(policy)) {
  open();
}

EngineOptions Server::fresh_options() {
  EngineOptions options;
  options.limits = limits_;
  options.shards = shards_;
  options.storage = store->handle();
  options.durability = store->durability;
  options.authenticator = make_insecure_dev_authenticator();
  options.pubsub = std::move(first_pubsub_);
  options.memory_bytes = memory_bytes_;
  options.membership = std::move(first_membership_);
  options.policy = policy_ ? policy_() : std::move(first_policy_);
  options.exempt = std::move(first_exempt_);
  options.policy_deadline = policy_deadline_;
  options.policy_default = policy_default_;
  options.runtime.clock = clock_;
  return options;
}

void Server::open() {
  test.emplace(TestEngine::open(fresh_options()));
  REQUIRE_MESSAGE(test->status(), test->status().error().message);
  if (listening_) {
    listening_ = false;
    listen();
  }
}

void Server::listen() {
  if (std::exchange(listening_, true)) return;
  REQUIRE(engine().listen(network->transport()));
}

void Server::restart() {
  (void)engine().stop(1s);
  test.reset();
  open();
}

void Server::crash() {
  // Nothing that the stop would write reaches the store: the next life finds it as it is now.
  store->commits_fail = true;
  network->cut();
  (void)engine().stop(0ms);
  test.reset();
  store->commits_fail = false;
  open();
}

ConversationId Server::group(std::string_view id, const std::vector<std::string>& members,
                             ConversationSettings settings) {
  CreateConversation create{.conversation = conversation(id), .settings = std::move(settings)};
  for (const std::string& member : members) {
    create.members.push_back({user(member), create.members.empty() ? Role::owner : Role::member});
  }
  auto created = ask(Identity::system(), std::move(create));
  REQUIRE_MESSAGE(created, created.error().message);
  return created->conversation;
}

// ---- Person

Person::Person(Server& server, std::string_view name, std::optional<Checkpoint> resume, std::size_t outbox_bytes)
    : server_(&server),
      session_(server.engine().open_session(
          {.identity = {.user = user(name)}, .resume = std::move(resume), .outbox_bytes = outbox_bytes})) {
  server.settle();
}

Accepted Person::says(Target to, std::string_view text, IdempotencyKey key) {
  auto sent = asks(Send{.to = to, .content = {.text = std::string(text)}, .key = std::move(key)});
  REQUIRE_MESSAGE(sent, sent.error().message);
  return *sent;
}

std::vector<Push> Person::takes() {
  std::vector<Push> pushes;
  std::size_t before = 0;
  do {  // what he takes may make room for more, or bring something to be looked up again
    before = pushes.size();
    for (int i = 0; i < 2; ++i) {
      server_->settle();
      while (auto push = session_.take()) pushes.push_back(std::move(*push));
    }
  } while (pushes.size() > before);
  return pushes;
}

std::vector<std::string> Person::receives() {
  std::vector<std::string> lines;
  for (const Push& push : takes()) lines.push_back(line(push));
  return lines;
}

// ---- Guest

namespace {

Client open_client(Server& server, std::string_view name, std::optional<Checkpoint> resume) {
  server.listen();
  ClientOptions options;
  options.token = [token = std::string(name)] { return token; };
  options.resume = std::move(resume);
  options.threads = 0;
  options.dialer = server.network->dialer();
  options.runtime.clock = std::shared_ptr<Clock>(std::shared_ptr<void>(), &server.clock());
  options.runtime.random = [n = std::uint64_t{std::hash<std::string_view>{}(name)}]() mutable {
    return n = n * 6364136223846793005u + 1442695040888963407u;
  };
  auto client = Client::open(std::move(options));
  REQUIRE(client);
  return std::move(*client);
}

}  // namespace

Guest::Guest(Server& server, std::string_view name, std::optional<Checkpoint> resume)
    : server_(&server), client_(open_client(server, name, std::move(resume))) {
  settle();
}

void Guest::settle() {
  for (;;) {
    const std::size_t handled = client_.poll(100ms).handled + server_->engine().poll(100ms).handled;
    if (handled == 0) return;
  }
}

Accepted Guest::says(Target to, std::string_view text, IdempotencyKey key) {
  auto sent = asks(Send{.to = to, .content = {.text = std::string(text)}, .key = std::move(key)});
  REQUIRE_MESSAGE(sent, sent.error().message);
  return *sent;
}

std::vector<std::string> Guest::receives() {
  settle();
  std::vector<std::string> lines;
  while (auto push = client_.take()) {
    lines.push_back(line(*push));
    settle();
  }
  return lines;
}

void together(Server& server, std::initializer_list<Guest*> guests, std::chrono::milliseconds time) {
  const auto settle = [&] {
    for (;;) {
      std::size_t handled = server.engine().poll(100ms).handled;
      for (Guest* guest : guests) handled += guest->client().poll(100ms).handled;
      if (handled == 0) return;
    }
  };
  settle();
  for (; time > 0ms; time -= 10ms) {
    server.clock().advance(10ms);
    settle();
  }
}

}  // namespace chat
