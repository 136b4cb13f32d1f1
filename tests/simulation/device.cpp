#include "simulation/device.h"

#include <algorithm>

#include "engine/engine_core.h"
#include "simulation/judge.h"
#include "simulation/world.h"

namespace simulation {
namespace {

constexpr std::uint64_t retry_ms = 60;
constexpr std::size_t narrow_outbox = 3500;

std::string text_of(const Event& event) {
  const std::string place = event.conversation.string() + " #" + std::to_string(event.seq) + ": ";
  if (const auto* posted = event.as<MessagePosted>())
    return place + (posted->deleted ? "deleted" : posted->content.text);
  if (const auto* changed = event.as<MessageChanged>()) {
    const std::string target = "#" + std::to_string(changed->target);
    if (changed->kind == ChangeKind::deleted) return place + target + " is deleted";
    return place + target + " now says " + (changed->now ? changed->now->content.text : "what he may not see");
  }
  std::string text = place;
  if (const auto* members = event.as<MembersChanged>()) {
    for (const UserId& user : members->joined) text += user.string() + " joined, ";
    for (const UserId& user : members->left) text += user.string() + " left, ";
    text.resize(text.size() - 2);
  }
  return text;
}

}  // namespace

Device::Device(World& world, unsigned index)
    : world_(world),
      index_(index),
      plan_(world.plan.devices[index]),
      user_(*UserId::make(world.plan.users[plan_.user])) {}

// ---- its lives

void Device::open() {
  if (is_open()) return;
  const std::optional<Checkpoint> resume = checkpoint_.empty() ? std::nullopt : std::optional(checkpoint_);
  if (!resume) watch.begun = false, behind_.clear();
  for (auto& [conversation, seen] : watch.conversations) seen.last = plan_.in_process ? 0 : seen.last;
  if (plan_.in_process) {
    const auto server = world_.server();
    if (!server) return;
    session_ = std::make_unique<Session>(
        server->open_session({.identity = {.user = user_},
                              .resume = resume,
                              .outbox_bytes = world_.plan.narrow ? narrow_outbox : SessionOptions().outbox_bytes}));
  } else {
    ClientOptions options;
    options.token = [token = user_.string()] { return token; };
    options.resume = resume;
    options.on_ready = [this] { ready_ = true; };
    options.threads = 0;
    if (world_.plan.narrow) options.inbox_bytes = narrow_outbox;
    options.dialer = world_.network.dialer(index_);
    options.runtime.clock = world_.clock;
    options.runtime.log = [this](LogLevel, std::string_view line) {
      world_.tell("  " + name() + ": " + std::string(line));
    };
    options.runtime.random = [random = Random(world_.plan.seed + index_ * 1000 + life_)]() mutable {
      return random.next();
    };
    client_ = std::make_unique<Client>(std::move(*Client::open(std::move(options))));
  }
  ++life_;
  opened_at_ = world_.disk.step;
  world_.tell(name() + " is opened" + (resume ? ", and resumes" : ""));
  // What it was not answered comes first, in order.
  std::vector<std::size_t> waiting;
  for (const auto& [when, attempt] : std::exchange(again_, {})) waiting.push_back(attempt);
  std::sort(waiting.begin(), waiting.end());
  for (const std::size_t attempt : waiting) send(attempt);
}

void Device::close() {
  if (!is_open()) return;
  checkpoint_ = client_ ? client_->checkpoint() : session_->checkpoint();
  if (world_.broken()) checkpoint_ = world_.broken()->kept(index_, checkpoint_, world_.disk);
  client_.reset();
  session_.reset();
  ready_ = false;
  revoked_.reset();
  asked_ = 0;
  for (auto& [id, behind] : behind_) behind.reading = false;
  for (std::size_t i = 0; i < world_.truth.attempts.size(); ++i) {
    Attempt& attempt = world_.truth.attempts[i];
    if (attempt.device != index_ || attempt.state != Attempt::State::under_way) continue;
    attempt.in_doubt = true;
    if (attempt.key.empty()) {
      attempt.state = Attempt::State::lost;
    } else {
      attempt.state = Attempt::State::waiting;
      again_.emplace_back(0, i);
    }
  }
  std::sort(again_.begin(), again_.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  again_.erase(
      std::unique(again_.begin(), again_.end(), [](const auto& a, const auto& b) { return a.second == b.second; }),
      again_.end());
  world_.tell(name() + " is closed");
}

void Device::is_revoked() {
  if (is_open() && online()) revoked_ = world_.disk.step;
}

bool Device::online() const { return client_ ? client_->status().connected : session_ != nullptr; }

bool Device::waits() const { return !again_.empty() || asked_ > 0 || !behind_.empty(); }

void Device::sleeps(std::uint64_t steps) { asleep_until_ = world_.disk.step + steps; }

bool Device::poll() {
  if (!client_ || world_.disk.step < asleep_until_) return false;
  const bool did = client_->poll(std::chrono::microseconds(0)).handled > 0;
  if (!client_->status().connected) revoked_.reset();  // it may log in anew
  if (!watch.begun && client_->status().connected) world_.truth.begins(watch);
  return did;
}

bool Device::act() {
  if (!is_open() || world_.disk.step < asleep_until_) return false;
  if (session_ || ready_) {
    if (session_ && !watch.begun) world_.truth.begins(watch);
    if (auto push = client_ ? client_->take() : session_->take()) {
      took(*push);
      return true;
    }
    ready_ = false;
  }
  if (reads_what_it_was_told_of()) return true;
  if (again_.empty() || again_.front().first > world_.now_ms()) return false;
  const std::size_t attempt = again_.front().second;
  again_.erase(again_.begin());
  send(attempt);
  return true;
}

// ---- what comes

// What leaves a session in the process leaves the server.
static void leaves(Truth& truth, const std::string& who, const UserId& user, const Push& push) {
  if (const Event* event = push.event()) truth.leaves(who, user, event->conversation.string(), event->seq);
  if (const auto* shown = push.as<Ephemeral>()) truth.leaves(who, user, shown->conversation.string(), 0);
  if (const auto* typing = push.as<Typing>()) truth.leaves(who, user, typing->conversation.string(), 0);
  if (const auto* moved = push.as<HeadMoved>()) truth.leaves(who, user, moved->conversation.string(), 0);
}

void Device::took(const Push& push) {
  world_.note(index_);
  if (session_) {
    leaves(world_.truth, name(), user_, push);
    if (world_.broken() && !world_.broken()->gives(index_, push)) return;
  }
  if (const Event* event = push.event()) {
    world_.note(event->seq);
    world_.tell("  " + name() + " is shown " + text_of(*event));
    if (revoked_) world_.truth.shown_after(*revoked_, name(), *event);
    const Attempt* sent = world_.truth.sent_as(*event);
    const bool own =
        client_ && sent && sent->what != Do::edit && sent->device == index_ && sent->life == life_ && sent->key.empty();
    world_.truth.pushed(watch, own ? sent : nullptr, name(), user_, client_ != nullptr, *event,
                        session_ ? opened_at_ : 0);
  } else if (const auto* shown = push.as<Ephemeral>()) {
    world_.truth.shown(name(), user_, shown->conversation);
  } else if (const auto* typing = push.as<Typing>()) {
    world_.truth.shown(name(), user_, typing->conversation);
  } else if (const auto* count = push.as<OnlineCount>()) {
    world_.truth.shown(name(), user_, count->conversation);
  } else if (const auto* receipts = push.as<Receipts>()) {
    world_.truth.shown(name(), user_, *receipts);
  } else if (const auto* moved = push.as<HeadMoved>()) {
    world_.tell("  " + name() + " is told to read " + moved->conversation.string() + " up to #" +
                std::to_string(moved->head));
    // What it had when it was first told: whatever comes meanwhile may come behind a hole.
    const Seq from = std::min(watch.conversations[moved->conversation.string()].last, moved->head);
    Behind& behind = behind_.try_emplace(moved->conversation, Behind{.from = from}).first->second;
    behind.head = std::max(behind.head, moved->head);
    if (behind.when == 0) behind.when = world_.now_ms() + moved->head % 4 * 40;
  } else if (push.as<Reset>()) {
    world_.tell("  " + name() + " is told to start again");
    world_.truth.was_reset(watch, name());
    behind_.clear();
  } else if (const auto* closed = push.as<Closed>()) {
    world_.tell("  " + name() + " is told that it is over: " + closed->why.message);
    // A client comes back by itself, but where it has to log in anew.
    if (session_ || closed->why.code == ErrorCode::unauthenticated) close();
  }
}

bool Device::reads_what_it_was_told_of() {
  if (client_ && !client_->status().connected) return false;
  for (auto& [id, behind] : behind_) {
    if (behind.reading || behind.when > world_.now_ms()) continue;
    behind.reading = true;
    catch_up(id, behind.from);
    return true;
  }
  return false;
}

// Whether it was told of more meanwhile.
void Device::caught_up(const ConversationId& id, Seq to) {
  const auto found = behind_.find(id);
  if (found == behind_.end()) return;
  Behind& behind = found->second;
  if (behind.head <= to) return void(behind_.erase(found));
  behind = {.from = to, .head = behind.head, .when = world_.now_ms() + retry_ms};
}

void Device::catch_up(const ConversationId& id, Seq after) {
  const std::uint64_t asked_at = world_.disk.step;
  ask(Sync{.conversation = id, .after = after, .limit = 20},
      [this, id, after, asked_at, life = life_](Result<SyncPage> page) {
        const auto found = behind_.find(id);
        if (life != life_ || !is_open() || found == behind_.end()) return;
        if (!page) {
          const bool again = page.error().retryable() || page.error().code == ErrorCode::stopped ||
                             page.error().code == ErrorCode::cancelled || page.error().code == ErrorCode::not_logged_in;
          found->second.reading = false;
          found->second.when = world_.now_ms() + retry_ms;
          if (!again) behind_.erase(found);  // it is not his any more
          return;
        }
        if (session_ && world_.broken()) world_.broken()->was_read(index_, id, *page);
        world_.truth.page(name(), user_, id.string(), *page, true, asked_at);
        for (const EventPtr& event : page->events) watch.conversations[id.string()].known.insert(event->seq);
        const Seq to = std::max(after, page->covers_to);
        if (!page->more) return caught_up(id, std::max(to, page->head));
        found->second.from = to;
        catch_up(id, to);
      });
}

// ---- what it asks

template <class R>
void Device::ask(R request, Done<typename R::Reply> done) {
  ++asked_;
  auto answered = [this, life = life_, done = std::move(done)](Result<typename R::Reply> result) mutable {
    if (life == life_ && asked_ > 0) --asked_;
    if (done) done(std::move(result));
  };
  if (client_) {
    client_->call(std::move(request), std::move(answered));
  } else if (session_) {
    session_->call(std::move(request), std::move(answered));
  }
}

void Device::begin(Attempt attempt) {
  attempt.device = index_;
  attempt.user = user_;
  attempt.sent = attempt.text;
  attempt.text = becomes(world_.plan, user_, attempt.sent);
  world_.truth.attempts.push_back(std::move(attempt));
  send(world_.truth.attempts.size() - 1);
}

void Device::send(std::size_t index) {
  Attempt& attempt = world_.truth.attempts[index];
  if (attempt.state != Attempt::State::waiting) return;  // answered while it was closed
  if (!is_open()) {
    again_.emplace_back(0, index);
    return;
  }
  attempt.state = Attempt::State::under_way;
  attempt.life = life_;
  const auto done = [this, index, life = life_](Result<Accepted> answer) {
    if (life == life_) answered(index, answer);
  };
  const ConversationId id = attempt.to.conversation() ? *attempt.to.conversation() : ConversationId();
  Content content{.text = attempt.sent};
  if (world_.plan.narrow) content.data.resize(500 + attempt.op * 37 % 1400);
  switch (attempt.what) {
    case Do::send:
    case Do::send_again:
      return ask(Send{.to = attempt.to, .content = content, .key = attempt.key}, done);
    case Do::edit:
      return ask(EditMessage{id, attempt.target, content, attempt.key}, done);
    case Do::erase:
      return ask(DeleteMessage{id, attempt.target, attempt.key}, done);
    case Do::notify: {
      ConversationSettings settings = world_.settings_of(attempt.to.conversation()->string());
      settings.notify_only = attempt.op % 2 == 0;
      return ask(ChangeSettings{id, std::move(settings), attempt.key}, done);
    }
    case Do::join:
      return ask(Join{id, attempt.key}, done);
    case Do::leave:
      return ask(Leave{id, attempt.key}, done);
    case Do::add:
      return ask(AddMembers{id, {{attempt.about, Role::member}}, attempt.key}, done);
    default:
      return ask(RemoveMembers{id, {attempt.about}, attempt.key}, done);
  }
}

void Device::answered(std::size_t index, const Result<Accepted>& answer) {
  Attempt& attempt = world_.truth.attempts[index];
  const std::string which = "  op " + std::to_string(attempt.op) + " of " + name();
  world_.note(index);
  if (answer) {
    world_.note(answer->seq);
    world_.tell(which + " is acknowledged: " + answer->conversation.string() + " #" + std::to_string(answer->seq) +
                (answer->duplicate ? ", again" : ""));
    world_.truth.acknowledged(attempt, *answer);
    if (answer->seq != 0) watch.conversations[answer->conversation.string()].known.insert(answer->seq);
    return;
  }
  const Error& error = answer.error();
  world_.tell(which + " fails: " + std::string(chatcore::name(error.code)));
  const bool again = error.retryable() || error.code == ErrorCode::stopped || error.code == ErrorCode::cancelled ||
                     error.code == ErrorCode::unauthenticated;  // it is revoked: after the next login
  const bool not_done = error.code == ErrorCode::storage_unavailable || error.code == ErrorCode::storage_full;
  const bool gives_up = not_done && !attempt.in_doubt && attempt.key.number == 0 && attempt.op % 3 == 0;
  // Who is no longer in a team can't find out what became of an earlier try, of his or of his client's.
  const auto* to = attempt.to.conversation();
  if (!again && to && world_.disk.ledger.is_team(to->string())) return void(attempt.state = Attempt::State::lost);
  if (!again || gives_up) return world_.truth.refused(attempt, error);
  attempt.in_doubt = attempt.in_doubt || !not_done;
  if (attempt.key.empty()) {
    attempt.state = Attempt::State::lost;
  } else {
    attempt.state = Attempt::State::waiting;
    again_.emplace_back(world_.now_ms() + retry_ms, index);
  }
}

// ---- what a plan says

Target Device::place(unsigned place) const {
  const Plan& plan = world_.plan;
  if (plan.is_group(place) || plan.is_team(place)) return *ConversationId::make(plan.place_name(place));
  return Direct{*UserId::make(plan.peer(place))};
}

// The direct one, once something was said in it.
std::optional<ConversationId> Device::conversation(unsigned at) const {
  const Target to = place(at);
  if (to.conversation()) return *to.conversation();
  for (const auto& [id, pair] : world_.disk.ledger.pairs) {
    if (pair == std::set{user_, to.direct()->peer}) return *ConversationId::make(id);
  }
  return {};
}

IdempotencyKey Device::next_key(unsigned op) {
  if (client_ && !plan_.own_keys) return {};
  if (plan_.numbered_keys) return IdempotencyKey(name(), ++numbers_);
  return IdempotencyKey("key" + std::to_string(op));
}

void Device::perform(const Op& op) {
  if (op.what == Do::online) return open();
  if (op.what == Do::offline) return close();
  if (!is_open()) return;
  Attempt attempt{.op = op.number, .what = op.what, .to = place(op.place)};
  switch (op.what) {
    case Do::send:
      attempt.text = message_of(op.number);
      attempt.key = next_key(op.number);
      return begin(std::move(attempt));
    case Do::send_again:
      return send_again(op, std::move(attempt));
    case Do::edit:
    case Do::erase:
      return change_message(op, std::move(attempt));
    case Do::mark_read:
      return mark_read(op);
    case Do::mark:
      return mark(op);
    case Do::delivered:
      return has_received(op);
    case Do::typing:
      return ask(SetTyping{.to = attempt.to, .typing = op.n % 4 != 0}, {});
    case Do::presence:
      return ask(SetPresence{op.n % 2 == 0 ? PresenceState::away : PresenceState::online}, {});
    case Do::profile:
      return change_profile(op);
    case Do::badge:
      return ask(GetUnread{}, {});
    case Do::end_sessions:
      return ask(EndSessions{}, {});
    case Do::watch:
      if (const auto id = conversation(op.place)) ask(WatchPresence{.conversations = {*id}}, {});
      return;
    case Do::history:
      return read_back(op);
    case Do::list:
      return ask(ListConversations{.limit = 1 + op.n % 5}, {});
    case Do::ephemeral:
      return ask(SendEphemeral{.to = attempt.to, .content = {.text = "<e" + std::to_string(op.number) + ">"}}, {});
    default:
      return change_members(op, std::move(attempt));
  }
}

void Device::send_again(const Op& op, Attempt attempt) {
  std::vector<const Attempt*> mine;
  for (const Attempt& one : world_.truth.attempts) {
    const auto* id = one.to.conversation();
    const Book* book = id ? world_.disk.ledger.find(id->string()) : nullptr;
    if (book && book->oldest > 1) continue;
    if (one.device == index_ && one.what == Do::send && !one.key.empty() && one.key.number == 0) mine.push_back(&one);
  }
  if (mine.empty()) return;
  const Attempt& first = *mine[op.n % mine.size()];
  attempt.to = first.to;
  attempt.key = first.key;
  attempt.text = message_of(op.number);
  begin(std::move(attempt));
}

void Device::change_message(const Op& op, Attempt attempt) {
  const auto id = conversation(op.place);
  if (!id) return;
  std::vector<Seq> mine;
  for (const Attempt& one : world_.truth.attempts) {
    if (one.user == user_ && (one.what == Do::send || one.what == Do::send_again) &&
        one.state == Attempt::State::acknowledged && one.ack.conversation == *id) {
      mine.push_back(one.ack.seq);
    }
  }
  if (mine.empty()) return;
  attempt.to = *id;
  attempt.target = mine[mine.size() - 1 - op.n % std::min<std::size_t>(mine.size(), 4)];
  if (op.what == Do::edit) attempt.text = message_of(op.number);
  attempt.key = next_key(op.number);
  begin(std::move(attempt));
}

void Device::change_members(const Op& op, Attempt attempt) {
  if (!world_.plan.is_group(op.place)) return;
  attempt.about = *UserId::make(world_.plan.users[op.n % world_.plan.users.size()]);
  attempt.key = next_key(op.number);
  begin(std::move(attempt));
}

void Device::mark_read(const Op& op) {
  const auto id = conversation(op.place);
  if (!id) return;
  const Seq highest = watch.highest(id->string());
  if (highest == 0) return;
  const Seq seq = highest - op.n % std::min<Seq>(highest, 3);
  world_.truth.read_to(user_, id->string(), seq, false);
  ask(MarkRead{*id, seq}, [this, id = *id, seq, crashes = world_.truth.crashes](Result<ReadCursor> cursor) {
    // An answer may still be on its way when its server has gone.
    if (cursor && crashes == world_.truth.crashes) world_.truth.read_to(user_, id.string(), seq, true);
  });
}

void Device::change_profile(const Op& op) {
  const std::string name = "<p" + std::to_string(op.number) + ">";
  world_.truth.names[user_].tried.insert(name);
  ask(SetProfile{{.display_name = name}}, [this](Result<Nothing> done) {
    if (done) world_.truth.names[user_].any_done = true;
  });
}

void Device::has_received(const Op& op) {
  const auto id = conversation(op.place);
  const Seq highest = id ? watch.highest(id->string()) : 0;
  if (highest != 0) ask(MarkDelivered{*id, highest - op.n % std::min<Seq>(highest, 3)}, {});
}

void Device::mark(const Op& op) {
  const auto id = conversation(op.place);
  if (!id) return;
  const bool on = op.n % 3 != 0;
  switch (op.n / 3 % 4) {
    case 0:
      return ask(Mute{*id, on ? TimePoint::max() : TimePoint{}}, {});
    case 1:
      return ask(Pin{*id, on}, {});
    case 2:
      return ask(Archive{*id, on}, {});
    default:
      return ask(MarkUnread{*id, on}, {});
  }
}

void Device::read_back(const Op& op) {
  const auto id = conversation(op.place);
  if (!id) return;
  const std::uint64_t asked_at = world_.disk.step;
  const auto check = [this, id = *id, asked_at, life = life_](const auto& page, bool all) {
    if (page && life == life_) world_.truth.page(name(), user_, id.string(), *page, all, asked_at);
  };
  const std::uint32_t limit = 1 + op.n % 9;
  if (op.n % 3 == 0) {
    ask(Sync{*id, op.n % 20u, limit}, [check](Result<SyncPage> page) { check(page, true); });
  } else {
    ask(ReadHistory{*id, op.n % 4 == 0 ? 0u : op.n % 20u, op.n % 2 == 0 ? Direction::forward : Direction::backward,
                    limit},
        [check](Result<HistoryPage> page) { check(page, false); });
  }
}

}  // namespace simulation
