#include "simulation/plan.h"

#include <algorithm>
#include <utility>

#include "simulation/random.h"

namespace simulation {
namespace {

// How often each happens, of all of these.
constexpr std::pair<Do, unsigned> mix[] = {
    {Do::send, 260},      {Do::send_again, 10}, {Do::edit, 35},        {Do::erase, 30},   {Do::mark_read, 30},
    {Do::mark, 24},       {Do::delivered, 24},  {Do::typing, 16},      {Do::watch, 10},   {Do::presence, 10},
    {Do::profile, 10},    {Do::badge, 8},       {Do::end_sessions, 5}, {Do::history, 45}, {Do::list, 20},
    {Do::ephemeral, 12},  {Do::join, 18},       {Do::leave, 18},       {Do::add, 16},     {Do::remove, 18},
    {Do::offline, 30},    {Do::online, 40},     {Do::cut, 35},         {Do::delay, 20},   {Do::stall, 12},
    {Do::half_close, 8},  {Do::refuse, 8},      {Do::mend, 12},        {Do::commits, 60}, {Do::rows_fail, 14},
    {Do::reads_fail, 10}, {Do::lands, 20},      {Do::trim, 6},         {Do::crash, 14},   {Do::power_cut, 6},
    {Do::restart, 8},     {Do::revoke, 12},     {Do::wait, 70},        {Do::notify, 12},  {Do::sleep, 16},
    {Do::move, 24},
};

Do pick(Random& random) {
  unsigned all = 0;
  for (const auto& [what, often] : mix) all += often;
  unsigned at = random.below(all);
  for (const auto& [what, often] : mix) {
    if (at < often) return what;
    at -= often;
  }
  return Do::wait;
}

unsigned weight(Random& random) {
  constexpr unsigned weights[] = {1, 2, 4, 4, 8, 24};
  return weights[random.below(6)];
}

void people(Plan& plan, Random& random) {
  constexpr const char* names[] = {"alice", "bob", "carol", "dave", "erin", "frank"};
  const unsigned users = plan.on_read != 0 ? random.between(4, 6) : random.between(2, 5);
  for (unsigned i = 0; i < users; ++i) {
    plan.users.push_back(names[i]);
    const unsigned devices = random.percent(30) ? 2 : 1;
    for (unsigned n = 0; n < devices; ++n) {
      DevicePlan device{.user = i, .in_process = random.percent(plan.narrow ? 45 : 25), .own_keys = random.percent(40)};
      device.numbered_keys = random.percent(40);
      device.name = plan.users[i] + (device.in_process ? "/bot" : n == 0 ? "/phone" : "/desk");
      if (n == 1 && device.name == plan.devices.back().name) device.name += "2";
      plan.devices.push_back(std::move(device));
    }
  }
  const unsigned groups = random.between(1, 3);
  for (unsigned i = 0; i < groups; ++i) {
    Group group{.id = "g" + std::to_string(i + 1)};
    for (unsigned u = 0; u < users; ++u) {
      if (u == i % users || random.percent(65)) group.members.push_back(u);
    }
    std::rotate(group.members.begin(), std::find(group.members.begin(), group.members.end(), i % users),
                group.members.end());
    group.newcomers_see = static_cast<NewcomersSee>(random.between(1, 3));
    group.newcomers_last = group.newcomers_see == NewcomersSee::last ? random.between(1, 5) : 0;
    group.channel = random.percent(15);
    plan.groups.push_back(std::move(group));
  }
  const unsigned teams = random.percent(40) ? random.between(1, 2) : 0;
  for (unsigned i = 0; i < teams; ++i) {
    Team team{.id = i == 0 ? "team:red" : "team:blue"};
    for (unsigned u = 0; u < users; ++u) {
      if (random.percent(60)) team.members.push_back(u);
    }
    team.lists = random.percent(65);
    plan.teams.push_back(std::move(team));
  }
  plan.table_slow = random.percent(50) ? random.between(5, 40) : 0;
  const bool any = random.percent(50);
  for (unsigned i = 0; i < users; ++i) plan.watched.push_back(any && random.percent(60) ? random.between(10, 80) : 0);
}

}  // namespace

std::string Plan::place_name(unsigned place) const {
  if (is_group(place)) return groups[place].id;
  return is_team(place) ? teams[place - groups.size()].id : "@" + peer(place);
}

Plan make_plan(std::uint64_t seed) {
  Random random(seed * 0x9e3779b97f4a7c15u + 1);
  Plan plan{.seed = seed};
  plan.shards = 1u << random.below(3);
  plan.by_poll = random.percent(20);
  plan.durability = random.percent(25) ? Durability::process : Durability::disk;
  plan.narrow = random.percent(35);
  if (random.percent(35)) {
    plan.on_read = random.between(2, 4);
    plan.on_write = plan.on_read - 1;
  }
  people(plan, random);
  for (unsigned* w :
       {&plan.shard_weight, &plan.store_weight, &plan.network_weight, &plan.client_weight, &plan.app_weight}) {
    *w = weight(random);
  }
  // Where the storage is slow, much gathers for one commit.
  if (random.percent(35)) plan.store_weight = 1, plan.shard_weight = 8;
  const unsigned count = random.between(20, 160);
  const bool calm = random.percent(10);  // nothing fails
  for (unsigned i = 0; i < count; ++i) {
    Op op{.number = i + 1, .what = pick(random)};
    if (plan.on_read != 0 && op.what == Do::send && random.percent(20))
      op.what = random.percent(50) ? Do::join : Do::leave;
    if (plan.narrow && random.percent(30)) op.what = random.percent(15) ? Do::sleep : Do::send;
    if (calm && op.what >= Do::cut && op.what != Do::move) op.what = Do::wait;
    if (op.what == Do::move && plan.teams.empty()) op.what = Do::send;
    if (op.what == Do::crash && plan.durability != Durability::disk && random.percent(60)) op.what = Do::power_cut;
    if (op.what == Do::power_cut && plan.durability == Durability::disk) op.what = Do::crash;
    op.device = random.below(static_cast<unsigned>(plan.devices.size()));
    // Most of what is said is said in few places.
    op.place = random.percent(60) ? random.below(2) % plan.places() : random.below(plan.places());
    if (!plan.teams.empty() && random.percent(25))
      op.place = static_cast<unsigned>(plan.groups.size() + random.below(static_cast<unsigned>(plan.teams.size())));
    op.n = random.below(1000);
    op.fate = random.percent(30) ? Fate::mixed : static_cast<Fate>(random.between(1, 7));
    op.steps = random.percent(30) ? random.below(4) : random.percent(70) ? random.below(60) : random.below(400);
    op.random = random.next();
    plan.ops.push_back(op);
  }
  return plan;
}

std::string message_of(unsigned op) { return "<m" + std::to_string(op) + ">"; }

std::string_view name_of(Fate fate) {
  constexpr std::string_view names[] = {"done",
                                        "refused",
                                        "refused, full",
                                        "unknown, but it landed",
                                        "unknown, it did not land",
                                        "unknown, it may land later",
                                        "each change by itself",
                                        "the process dies in it"};
  return names[static_cast<std::size_t>(fate)];
}

std::string text_of(const Plan& plan, const Op& op) {
  const DevicePlan& device = plan.devices[op.device];
  const std::string who = device.name, where = " in " + plan.place_name(op.place);
  switch (op.what) {
    case Do::send:
      return who + " sends " + message_of(op.number) + where;
    case Do::send_again:
      return who + " uses a key again, to send " + message_of(op.number);
    case Do::edit:
      return who + " edits a message" + where + " to " + message_of(op.number);
    case Do::erase:
      return who + " deletes a message" + where;
    case Do::mark_read:
      return who + " has read" + where;
    case Do::mark:
      return who + " marks" + where;
    case Do::delivered:
      return who + " has received what is" + where;
    case Do::typing:
      return who + " types" + where;
    case Do::presence:
      return who + " says how it is";
    case Do::profile:
      return who + " changes his profile";
    case Do::badge:
      return who + " asks how much is unread";
    case Do::end_sessions:
      return who + " ends his other sessions";
    case Do::watch:
      return who + " watches who is" + where;
    case Do::history:
      return who + " reads back" + where;
    case Do::list:
      return who + " lists his conversations";
    case Do::ephemeral:
      return who + " shows something" + where;
    case Do::join:
      return who + " joins" + where;
    case Do::leave:
      return who + " leaves" + where;
    case Do::add:
      return who + " adds a member" + where;
    case Do::remove:
      return who + " removes a member" + where;
    case Do::notify:
      return who + " switches whether members are only told" + where;
    case Do::sleep:
      return who + " takes nothing for a while";
    case Do::offline:
      return who + " is closed, and keeps its checkpoint";
    case Do::online:
      return who + " is opened";
    case Do::cut:
      return "network: cuts " + who;
    case Do::delay:
      return "network: keeps " + who + " waiting";
    case Do::stall:
      return "network: takes nothing from or for " + who;
    case Do::half_close:
      return "network: swallows what goes one way, " + who;
    case Do::refuse:
      return "network: " + who + " can't connect";
    case Do::mend:
      return "network: is mended for " + who;
    case Do::commits:
      return "storage: the next commit is to be: " + std::string(name_of(op.fate));
    case Do::rows_fail:
      return "storage: the next commits of rows fail";
    case Do::reads_fail:
      return "storage: the next reads fail";
    case Do::lands:
      return "storage: what was late lands";
    case Do::trim:
      return "storage: retention" + where;
    case Do::crash:
      return "server: crashes, and is started again";
    case Do::power_cut:
      return "server: loses power, and what was not synced";
    case Do::restart:
      return "server: is restarted cleanly";
    case Do::revoke:
      return "server: the logins of " + plan.users[op.n % plan.users.size()] + " are revoked";
    case Do::move:
      return "host: " + plan.users[op.n % plan.users.size()] + " comes into or goes from " +
             plan.teams[op.device % plan.teams.size()].id;
    case Do::wait:
      return "time passes";
  }
  return "?";
}

}  // namespace simulation
