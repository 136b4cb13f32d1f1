#include "simulation/world.h"

#include <algorithm>

#include "core/shard.h"
#include "core/store.h"
#include "engine/engine_core.h"
#include "protocol/codec.h"

namespace simulation {

using namespace std::chrono_literals;

World::World(const Plan& p, Broken* broken, bool traces)
    : plan(p),
      disk(p.durability, [this](const std::string& line) { tell(line); }),
      truth(p, disk),
      judge_(p),
      teams_(p, disk.ledger),
      broken_(broken),
      traces_(traces) {
  for (const Group& group : plan.groups) disk.ledger.rules[group.id] = {group.newcomers_see, group.newcomers_last};
  for (unsigned i = 0; i < plan.devices.size(); ++i) devices_.push_back(std::make_unique<Device>(*this, i));
  network.leaves = [this](unsigned device, const Frame& frame) { leaves(device, frame); };
  if (plan.narrow) network.most_queued = 3;
  if (broken_) {
    network.to_client = [this](unsigned, std::uint64_t connection, const Frame& frame) {
      return broken_->to_client(connection, frame, disk);
    };
  }
}

World::~World() {
  for (auto& device : devices_) device->close();
  if (server_) crash();
}

// A direct conversation is named by its two.
void World::tell(const std::string& line) {
  if (!traces_) return;
  std::string text = line;
  for (const auto& [id, pair] : disk.ledger.pairs) {
    const std::string name = "@" + pair.begin()->string() + "+" + pair.rbegin()->string();
    for (auto at = text.find(id); at != text.npos; at = text.find(id, at)) text.replace(at, id.size(), name);
  }
  trace_.push_back(std::move(text));
}

std::uint64_t World::now_ms() { return static_cast<std::uint64_t>(clock->wall().time_since_epoch().count()); }

// ---- the server

bool World::open() {
  if (server_) return true;
  EngineOptions options;
  options.storage = disk.handle();
  if (broken_) options.storage = broken_->storage(std::move(options.storage), disk);
  options.authenticator = make_insecure_dev_authenticator();
  if (!broken_ || broken_->asks_its_policy()) options.policy = judge_.policy();
  options.durability = plan.durability;
  options.threads = 0;
  options.storage_threads = 0;
  options.shards = plan.shards;
  if (!plan.teams.empty()) options.membership = teams_.table();
  options.limits.heartbeat = 3s;
  if (plan.on_read != 0) {
    options.limits.fan_out_on_read = plan.on_read;
    options.limits.fan_out_on_write = plan.on_write;
  }
  if (plan.narrow) {
    options.limits.stalled = 4s;
    options.limits.frame_bytes = 7 << 10;
    options.limits.outbox_bytes = 14 << 10;
    options.limits.text_bytes = options.limits.metadata_bytes = 512;
    options.limits.content_bytes = 2 << 10;
    options.limits.group_members = 20;
  }
  options.limits.messages_per_second = options.limits.requests_per_second = 0;
  options.runtime.clock = clock;
  options.runtime.random = [random = Random(plan.seed * 77 + lives_)]() mutable { return random.next(); };
  auto opened = detail::EngineCore::open(std::move(options));
  if (!opened) return tell("server: does not start: " + opened.error().message), false;
  ++lives_;
  server_ = std::move(*opened);
  server_->core().help = {};  // it moves when it is picked, not when somebody waits
  (void)server_->listen(network.transport());
  tell("server: runs");
  return true;
}

void World::drop_sessions() {
  for (auto& device : devices_) {
    if (device->in_process()) device->close();
  }
}

// The process ends: nothing more reaches the disk, nobody is told anything.
void World::crash() {
  disk.end_of_life();
  network.server_is_gone();
  drop_sessions();
  if (server_) (void)server_->stop(0ms);
  server_.reset();
  truth.server_crashed();
}

void World::restart() {
  if (!server_) return;
  // It waits in real time, for what comes by timers too: the clock has to move by being read.
  for (unsigned i = 0; i < devices_.size(); ++i) network.mend(i);
  clock->cost_per_read(5ms);
  (void)server_->stop(20s);
  clock->cost_per_read(0us);
  const Stats left = server_->stats();
  if (left.connections + left.sessions > 0) truth.broken(Promise::liveness, "a clean stop sent not everyone away");
  drop_sessions();
  network.server_is_gone();
  server_.reset();
  disk.end_of_life();
}

// ---- one thing after the other

bool World::engine_step(Random& random, unsigned which) {
  if (!server_) return false;
  if (plan.by_poll) {
    clock->cost_per_read(1us);
    const bool did = server_->poll(std::chrono::microseconds(random.below(30))).handled > 0;
    clock->cost_per_read(0us);
    return did;
  }
  core::Core& core = server_->core();
  if (which < core.shards.size()) return core.shards[which]->run_one(clock->steady());
  return core.store->run_one();
}

// Whichever is picked, or the next one that has something to do. False: nobody has.
bool World::step(Random& random) {
  ++steps_;
  disk.step = steps_;
  tell_of_moves();
  if (judge_.any_late() && random.percent(5)) return judge_.tell_one(random), true;
  if (teams_.any_late() && random.percent(5)) return teams_.answer_one(random), true;
  const unsigned shards = plan.shards, devices = static_cast<unsigned>(devices_.size());
  const unsigned weights[] = {plan.shard_weight * shards, plan.store_weight, plan.network_weight,
                              plan.client_weight * devices, plan.app_weight * devices};
  unsigned all = 0, kind = 0;
  for (const unsigned weight : weights) all += weight;
  for (unsigned at = random.below(all); at >= weights[kind]; ++kind) at -= weights[kind];
  for (unsigned tried = 0; tried < 5; ++tried, kind = (kind + 1) % 5) {
    const unsigned count = kind == 0 ? shards : kind < 3 ? 1 : devices;
    const unsigned first = random.below(count);
    for (unsigned i = 0; i < count; ++i) {
      const unsigned which = (first + i) % count;
      const bool did = kind == 0   ? engine_step(random, which)
                       : kind == 1 ? engine_step(random, shards)
                       : kind == 2 ? network.step(random)
                       : kind == 3 ? devices_[which]->poll()
                                   : devices_[which]->act();
      if (!did) continue;
      note(kind * 64 + which);
      if (disk.dying()) {
        tell("server: died");
        crash();
      }
      return true;
    }
  }
  return false;
}

void World::idle(std::chrono::milliseconds time) { clock->advance(time); }

void World::run_steps(const Op& op) {
  Random random(op.random);
  for (unsigned i = 0; i < op.steps && !truth.violation(); ++i) {
    if (!server_ && random.percent(10)) open();
    if (!step(random) || random.percent(3)) idle(std::chrono::milliseconds(random.between(1, 60)));
  }
}

bool World::all_is_quiet() {
  return server_ && !network.swallows() &&
         std::all_of(devices_.begin(), devices_.end(),
                     [](const auto& device) {
                       return device->is_open() && device->online() && !device->waits() && device->watch.begun;
                     }) &&
         std::none_of(truth.attempts.begin(), truth.attempts.end(), [](const Attempt& attempt) {
           return attempt.state == Attempt::State::waiting || attempt.state == Attempt::State::under_way;
         });
}

// Until everyone is there and answered, and nothing has happened for so long.
void World::settle(std::chrono::milliseconds quiet) {
  Random random(plan.seed + 5);
  std::chrono::milliseconds silent = 0ms;
  for (unsigned waited = 0; waited < 1200 && !truth.violation(); ++waited) {
    for (unsigned n = 0; n < 100'000 && step(random); ++n) {
    }
    if (!server_) open();
    for (auto& device : devices_) device->open();
    silent = all_is_quiet() ? silent + 100ms : 0ms;
    if (silent >= quiet) return;
    idle(100ms);
  }
}

// Asks in the server's process, and lets things happen until the answer comes.
template <class R>
Result<typename R::Reply> World::answer(Random& random, Session& session, R request) {
  std::optional<Result<typename R::Reply>> came;
  session.call(std::move(request), [&came](auto result) { came.emplace(std::move(result)); });
  for (unsigned n = 0; !came && n < 1'000'000; ++n) {
    if (!step(random)) idle(10ms);
  }
  return came ? std::move(*came) : Error{ErrorCode::timeout, "no answer"};
}

// ---- a run

ConversationSettings World::settings_of(const std::string& id) const {
  const auto group = std::find_if(plan.groups.begin(), plan.groups.end(), [&](const Group& g) { return g.id == id; });
  ConversationSettings settings{.open = true};
  if (group == plan.groups.end()) return settings;
  settings.newcomers_see = group->newcomers_see;
  settings.newcomers_last = group->newcomers_last;
  return settings;
}

void World::set_up() {
  open();
  for (auto& device : devices_) device->open();
  settle(200ms);
  Session host(server_->open_session({.identity = Identity::host("host")}));
  for (const Group& group : plan.groups) {
    CreateConversation create{.conversation = *ConversationId::make(group.id), .settings = settings_of(group.id)};
    if (group.channel) create.kind = ConversationKind::channel;
    for (const unsigned user : group.members) {
      create.members.push_back({*UserId::make(plan.users[user]), create.members.empty() ? Role::owner : Role::member});
    }
    host.call(std::move(create));
  }
  settle(200ms);
}

void World::run() {
  set_up();
  for (const Op& op : plan.ops) {
    if (truth.violation()) return;
    tell(std::to_string(op.number) + ": " + text_of(plan, op));
    perform(op);
    run_steps(op);
  }
  if (truth.violation()) return;
  tell("all is mended");
  heal();
  check();
  if (truth.violation()) return;
  // Once more after a crash: what was acknowledged is still there, and so are the lists.
  tell("one more crash");
  crash();
  heal();
  check();
}

void World::perform(const Op& op) {
  Device& device = *devices_[op.device];
  switch (op.what) {
    case Do::crash:
      tell("server: crashes");
      crash();
      break;
    case Do::power_cut: {
      Random random(op.random);
      for (auto& each : devices_) {  // what has arrived is shown: it is of the life that ends
        while (each->act()) {
        }
        each->close();
      }
      crash();
      disk.lose_power(random.next());
      truth.power_was_lost();
      for (auto& each : devices_) truth.power_was_lost(each->watch);
      break;
    }
    case Do::restart:
      restart();
      break;
    case Do::revoke:
      revoke(*UserId::make(plan.users[op.n % plan.users.size()]));
      break;
    case Do::move:
      move(op);
      break;
    case Do::sleep:
      device.sleeps(200 + op.n * 6);
      break;
    case Do::wait:
      idle(std::chrono::milliseconds(op.n % 10 == 0 ? 9000 : 1 + op.n * 2));
      break;
    case Do::trim: {
      if (!plan.is_group(op.place)) break;
      const std::string id = plan.groups[op.place].id;
      if (const Book* book = disk.ledger.find(id))
        disk.trim(id, std::min(book->head * (op.n % 60) / 100, truth.may_be_trimmed(id)));
      break;
    }
    default:
      op.what >= Do::cut ? faults(op) : device.perform(op);
  }
}

void World::faults(const Op& op) {
  Random random(op.random);
  switch (op.what) {
    case Do::cut:
      return network.cut(op.device);
    case Do::delay:
      return network.delay(op.device, op.n);
    case Do::stall:
      return network.stall(op.device);
    case Do::half_close:
      return network.swallow(op.device, op.n % 2);
    case Do::refuse:
      return network.refuse(op.device, true);
    case Do::mend:
      return network.mend(op.device);
    case Do::commits:
      return disk.next_commit(op.fate, random.next());
    case Do::rows_fail:
      return disk.fail_rows(1 + op.n % 4);
    case Do::reads_fail:
      return disk.fail_reads(1 + op.n % 3);
    default:
      return disk.land();
  }
}

// By the time it has come to the user's shard, no login of before is shown anything more.
void World::revoke(const UserId& user) {
  if (!server_) return;
  if (!broken_ || broken_->revokes()) server_->revoke(user, {});
  core::Shard& home = server_->core().home(user);
  for (unsigned n = 0; n < 10'000 && home.run_one(clock->steady()); ++n) {
  }
  for (auto& device : devices_) {
    if (device->user() == user) device->is_revoked();
  }
}

// From the return of membership_changed on the old table counts for nothing.
void World::move(const Op& op) {
  const std::string team = plan.teams[op.device % plan.teams.size()].id;
  const UserId user = *UserId::make(plan.users[op.n % plan.users.size()]);
  idle(2ms);
  const bool is_in = teams_.move(team, user, clock->wall());
  tell("  " + user.string() + (is_in ? " is in " : " is out of ") + team);
  moves_.push_back({steps_ + (broken_ ? broken_->told_after() : 0), team, user, op.n % 3 == 0});
  tell_of_moves();
}

void World::tell_of_moves() {
  for (; !moves_.empty() && moves_.front().step <= steps_; moves_.pop_front()) {
    const Move& move = moves_.front();
    if (!server_) continue;
    move.by_team ? server_->membership_changed(*ConversationId::make(move.team))
                 : server_->membership_changed(move.user);
  }
}

void World::leaves(unsigned device, const Frame& frame) {
  const UserId& user = devices_[device]->user();
  const std::string& who = devices_[device]->name();
  const auto place = protocol::place_of(*frame);
  using enum protocol::PushKind;
  if (place.kind == event) return truth.leaves(who, user, std::string(place.conversation), place.seq);
  if (place.kind != signal && place.kind != head_moved) return;
  const auto decoded = protocol::decode_server_frame(*frame);
  const auto* push = decoded ? std::get_if<Push>(&*decoded) : nullptr;
  if (!push) return;
  if (const auto* shown = push->as<Ephemeral>()) truth.leaves(who, user, shown->conversation.string(), 0);
  if (const auto* moved = push->as<HeadMoved>()) truth.leaves(who, user, moved->conversation.string(), 0);
}

void World::heal() {
  judge_.be_quick();
  teams_.be_quick();
  for (auto& device : devices_) device->wakes();
  disk.heal();
  for (unsigned i = 0; i < devices_.size(); ++i) network.mend(i);
  settle(2s);
  touch();
}

// An engine learns of a commit that landed late, behind its back, with the next one to that conversation.
void World::touch() {
  Random random(plan.seed + 7);
  for (const std::string& conversation : std::exchange(disk.landed_late, {})) {
    if (truth.violation() || !server_) return;
    Identity who = Identity::host("host");
    Target to = *ConversationId::make(conversation);
    if (const auto pair = truth.pair_of(conversation); !pair.empty()) {
      who = {.user = *pair.begin()};
      to = Direct{*pair.rbegin()};
    }
    const auto op = 10'000 + static_cast<unsigned>(truth.attempts.size());
    truth.attempts.push_back({.op = op,
                              .what = Do::send,
                              .device = static_cast<unsigned>(devices_.size()),
                              .user = who.user,
                              .to = to,
                              .text = message_of(op),
                              .sent = message_of(op),
                              .key = "touch",
                              .state = Attempt::State::under_way});
    Attempt& attempt = truth.attempts.back();
    tell(who.user.string() + " sends " + attempt.text + " in " + conversation);
    Session host(server_->open_session({.identity = who}));
    Result<Sent> sent = Error{ErrorCode::timeout, ""};
    for (unsigned tries = 0; tries < 5 && !sent; ++tries) {
      sent = answer(random, host, Send{.to = attempt.to, .content = {.text = attempt.text}, .key = "touch"});
    }
    if (sent) truth.acknowledged(attempt, *sent);
    settle(1s);
  }
}

void World::check() {
  if (truth.violation()) return;
  truth.check_attempts();
  truth.check_disk(disk.content());
  for (const auto& device : devices_) truth.check_watch(device->watch, device->index(), device->name(), device->user());
  if (!truth.violation()) read_back();
  if (!truth.violation()) read_feed();
}

// Page by page, from the beginning.
void World::read_feed() {
  Random random(plan.seed + 7);
  std::vector<EventPtr> events;
  for (std::uint64_t after = 0;;) {
    std::optional<Result<FeedEvents>> page;
    server_->read_feed(after, random.between(1, 20), std::chrono::milliseconds(0),
                       [&page](Result<FeedEvents> came) { page.emplace(std::move(came)); });
    for (unsigned n = 0; !page && n < 1'000'000; ++n) {
      if (!step(random)) idle(10ms);
    }
    if (!page || !*page) return truth.broken(Promise::liveness, "the feed can't be read");
    events.insert(events.end(), (*page)->events.begin(), (*page)->events.end());
    after = (*page)->next;
    if (!(*page)->more) break;
  }
  truth.check_feed(events);
}

std::vector<UserId> World::everyone() const {
  std::vector<UserId> users;
  for (const std::string& name : plan.users) users.push_back(*UserId::make(name));
  return users;
}

bool World::has_device_online(const UserId& user) const {
  return std::any_of(devices_.begin(), devices_.end(),
                     [&](const auto& each) { return each->user() == user && each->is_open() && each->online(); });
}

// What the engine says everyone may read, page by page, his list, and who is here.
void World::read_back() {
  Random random(plan.seed + 6);
  for (const std::string& name : plan.users) {
    const UserId user = *UserId::make(name);
    Session session(server_->open_session({.identity = {.user = user}}));
    for (const std::string& conversation : truth.conversations_of(user)) {
      const ConversationId id = *ConversationId::make(conversation);
      const std::uint32_t limit = random.between(1, 8);
      for (const Direction direction : {Direction::forward, Direction::backward}) {
        for (Seq start = 0;;) {
          const auto page = answer(random, session, ReadHistory{id, start, direction, limit});
          if (!page) return truth.broken(Promise::liveness, "history can't be read: " + page.error().message);
          truth.page(name, user, conversation, *page, false, steps_);
          if (!page->more) break;
          start = direction == Direction::forward ? page->covers_to + 1 : page->covers_from - 1;
        }
      }
      for (Seq after = 0;;) {
        const auto page = answer(random, session, Sync{id, after, limit});
        if (!page) return truth.broken(Promise::liveness, "sync can't be read: " + page.error().message);
        truth.page(name, user, conversation, *page, true, steps_);
        if (!page->more) break;
        after = page->covers_to;
      }
      if (truth.violation()) return;
    }
    std::vector<ConversationEntry> list;
    for (ListConversations request{.limit = random.between(1, 4)};;) {
      auto page = answer(random, session, request);
      if (!page) return truth.broken(Promise::liveness, "the list can't be read: " + page.error().message);
      for (auto& entry : page->conversations) list.push_back(std::move(entry));
      request.after = page->next;
      if (page->next.empty()) break;
    }
    truth.check_list(user, list);
    const auto total = answer(random, session, GetUnread{});
    if (!total) return truth.broken(Promise::liveness, "the badge can't be read: " + total.error().message);
    truth.check_badge(user, list, *total);
    const auto profile = answer(random, session, GetProfiles{{user}});
    if (!profile) return truth.broken(Promise::liveness, "a profile can't be read: " + profile.error().message);
    truth.check_profile(profile->profiles.at(0));
    const auto here = answer(random, session, GetPresence{everyone()});
    if (!here) return truth.broken(Promise::liveness, "who is here can't be read: " + here.error().message);
    for (const chatcore::Presence& each : here->users) {
      if (each.state != PresenceState::offline || !has_device_online(each.user)) continue;
      return truth.broken(Promise::liveness, each.user.string() + " is here, and not seen");
    }
  }
}

}  // namespace simulation
