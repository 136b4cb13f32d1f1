#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <chatcore/chatcore.h>

// What happens in a run, made from the seed before it begins. A plan is a list, so that what does not matter for a
// failure can be left out.

namespace simulation {

using namespace chatcore;

enum class Do {
  // a device
  send,
  send_again,  // the same key, another body
  edit,
  erase,
  mark_read,
  mark,       // mutes, pins, archives, or marks as unread
  delivered,  // says that what it has was delivered
  typing,
  watch,  // the presence of a conversation's members
  presence,
  profile,
  badge,
  end_sessions,  // of all its user's other devices
  history,
  list,
  ephemeral,
  join,
  leave,
  add,
  remove,
  notify,   // switches whether a group's members are pushed to or only told
  offline,  // closes the application, which keeps its checkpoint
  online,
  sleep,  // takes nothing for a while
  // the network of a device
  cut,
  delay,
  stall,
  half_close,
  refuse,
  mend,
  // the storage
  commits,     // what becomes of the next commit that moves a conversation
  rows_fail,   // the next commits that move none
  reads_fail,  // the next reads
  lands,       // what was unknown gets there now
  trim,
  // the server
  crash,
  power_cut,
  restart,
  revoke,  // the logins of a user
  move,    // a user comes into a team of the host's, or goes
  wait,    // time passes
};

// What becomes of a commit. Mixed: of each of its changes by itself. Dies: the process does, amid the commit.
enum class Fate { done, refused, full, unknown_done, unknown_not_done, unknown_late, mixed, dies };

struct Op {
  unsigned number = 0;  // in the whole plan: a message is "<m7>" whatever was left out
  Do what{};
  unsigned device = 0, place = 0, n = 0;
  Fate fate{};
  unsigned steps = 0;        // how much happens before the next one
  std::uint64_t random = 0;  // of what happens then
};

struct DevicePlan {
  unsigned user = 0;
  std::string name{};
  bool in_process = false;     // a Session in the server's process; else a Client over the network
  bool own_keys = false;       // a client whose application chooses the keys
  bool numbered_keys = false;  // of those: a source and a counter
};

struct Group {
  std::string id{};
  std::vector<unsigned> members{};
  NewcomersSee newcomers_see{};
  std::uint32_t newcomers_last = 0;
  bool channel = false;
};

// A conversation whose members are the host's own table.
struct Team {
  std::string id{};
  std::vector<unsigned> members{};  // at first
  bool lists = true;                // else each is asked for by himself
};

struct Plan {
  std::uint64_t seed = 0;
  unsigned shards = 1;
  bool by_poll = false;  // the engine moves by poll(budget); else item by item, whichever is picked
  Durability durability = Durability::disk;
  std::vector<std::string> users{};
  std::vector<DevicePlan> devices{};
  std::vector<Group> groups{};
  std::vector<Team> teams{};
  unsigned table_slow = 0;          // how many percent of what is asked of the host's table it does not answer at once
  bool narrow = false;              // small outboxes, and messages that fill them
  std::uint32_t on_read = 0;        // above so many members a conversation is fanned out on read,
  std::uint32_t on_write = 0;       // and below so many on write again; both 0: as the library has it
  std::vector<unsigned> watched{};  // by user: how many percent of what he asks for the policy does not just let pass
  unsigned shard_weight = 1, store_weight = 1, network_weight = 1, client_weight = 1, app_weight = 1;
  std::vector<Op> ops{};

  // A place is a group, or behind those a team, or behind those the direct conversation with a user.
  bool is_group(unsigned place) const { return place < groups.size(); }
  bool is_team(unsigned place) const { return !is_group(place) && place < groups.size() + teams.size(); }
  unsigned places() const { return static_cast<unsigned>(groups.size() + teams.size() + users.size()); }
  const std::string& peer(unsigned place) const { return users[(place - groups.size() - teams.size()) % users.size()]; }
  std::string place_name(unsigned place) const;
};

Plan make_plan(std::uint64_t seed);
std::string text_of(const Plan&, const Op&);  // a line of the trace
std::string message_of(unsigned op);          // what the message of that operation says
std::string_view name_of(Fate);

}  // namespace simulation
