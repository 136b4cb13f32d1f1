#include <rapidcheck.h>

#include <map>
#include <optional>

#include "support/answers.h"

// Two devices of one user, and a third one that was away, agree on what he has marked: after any sequence of these
// requests, cuts and restarts. A sequence that fails is made as short as it can be, and printed with its seed.

using namespace chat;

namespace {

struct Step {
  enum class What { says, reads, mutes, pins, archives, marks_unread, shares, goes, comes, waits, restarts, crashes };
  What what{};
  unsigned device = 0;  // 0 the phone, over the network; 1 the desk, in the process
  unsigned room = 0;
  unsigned n = 0;
};

void showValue(const Step& step, std::ostream& os) {
  constexpr const char* words[] = {"somebody says something", "reads", "mutes", "pins",  "archives", "marks as unread",
                                   "shares receipts",         "goes",  "comes", "waits", "restart",  "crash"};
  os << (step.device == 0 ? "phone " : "desk ") << words[static_cast<std::size_t>(step.what)] << " room" << step.room
     << " " << step.n;
}
[[maybe_unused]] std::ostream& operator<<(std::ostream& os, const Step& step) {
  showValue(step, os);
  return os;
}

rc::Gen<Step> any_step() {
  using What = Step::What;
  const auto what = rc::gen::weightedElement<What>({{6, What::says},
                                                    {8, What::reads},
                                                    {3, What::mutes},
                                                    {3, What::pins},
                                                    {3, What::archives},
                                                    {3, What::marks_unread},
                                                    {1, What::shares},
                                                    {2, What::goes},
                                                    {3, What::comes},
                                                    {4, What::waits},
                                                    {1, What::restarts},
                                                    {1, What::crashes}});
  return rc::gen::build<Step>(rc::gen::set(&Step::what, what), rc::gen::set(&Step::device, rc::gen::inRange(0u, 2u)),
                              rc::gen::set(&Step::room, rc::gen::inRange(0u, 3u)),
                              rc::gen::set(&Step::n, rc::gen::inRange(0u, 100u)));
}

// What a device knows: from its list when it begins, then from what it is shown.
class Knowledge {
 public:
  void starts(const ConversationsPage& list) {
    marks_.clear();
    for (const ConversationEntry& entry : list.conversations) marks_[entry.info.conversation] = entry.marks;
  }
  void learns(const Push& push) {
    const auto* changed = push.as<OwnChanged>();
    if (!changed) return;
    for (const Marks& marks : changed->marks) marks_[marks.conversation] = marks;
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> lines;
    for (const auto& [id, marks] : marks_) lines.push_back(line(marks));
    return lines;
  }

 private:
  std::map<ConversationId, Marks> marks_;
};

// Alice's phone or desk.
class Device {
 public:
  Device(Server& server, bool over_network) : server_(server), over_network_(over_network) {}

  void comes() {
    if (is_here()) return;
    const bool begins = !place_;
    over_network_ ? static_cast<void>(guest_.emplace(server_, "alice", place_))
                  : static_cast<void>(person_.emplace(server_, "alice", place_));
    if (begins) starts();
    takes();
  }
  void goes() {
    if (!is_here()) return;
    takes();
    place_ = guest_ ? guest_->checkpoint() : person_->checkpoint();
    if (place_->empty()) place_.reset();
    guest_.reset();
    person_.reset();
  }
  bool is_here() const { return guest_ || person_; }
  void server_goes() {
    if (person_) goes();  // a client comes back by itself
  }

  template <Request R>
  auto asks(R request) {
    return guest_ ? guest_->asks(std::move(request)) : person_->asks(std::move(request));
  }

  void takes() {
    if (!is_here()) return;
    bool resets = false;
    const auto take = [&](const Push& push) {
      knows_.learns(push);
      resets = resets || push.as<Reset>();
    };
    if (person_) {
      for (const Push& push : person_->takes()) take(push);
    } else {
      guest_->settle();
      while (auto push = guest_->client().take()) {
        take(*push);
        guest_->settle();
      }
    }
    if (resets) starts();
  }
  // Lets time pass, for the server too.
  void waits(std::chrono::milliseconds time) {
    guest_ ? together(server_, {&*guest_}, time) : server_.advance(time);
    takes();
  }
  const Knowledge& knows() const { return knows_; }

 private:
  void starts() {
    const auto list = asks(ListConversations{});
    RC_ASSERT(static_cast<bool>(list));
    knows_.starts(*list);
  }

  Server& server_;
  const bool over_network_;
  std::optional<Checkpoint> place_;
  std::optional<Guest> guest_;
  std::optional<Person> person_;
  Knowledge knows_;
};

void perform(Server& server, std::vector<std::unique_ptr<Device>>& devices, const std::vector<ConversationId>& rooms,
             const Step& step) {
  using What = Step::What;
  Device& device = *devices[step.device];
  const ConversationId& room = rooms[step.room];
  const bool on = step.n % 3 != 0;
  switch (step.what) {
    case What::says:
      return void(server.ask("bob", text(room, "hi")));
    case What::goes:
      return device.goes();
    case What::comes:
      return device.comes();
    case What::waits:
      return device.waits(std::chrono::milliseconds(step.n * 30));
    case What::restarts:
    case What::crashes:
      for (auto& each : devices) each->server_goes();
      return step.what == What::restarts ? server.restart() : server.crash();
    default:
      break;
  }
  if (!device.is_here()) return;
  switch (step.what) {
    case What::reads: {
      const auto info = device.asks(GetConversation{room});
      if (info) (void)device.asks(MarkRead{room, info->head - step.n % info->head});
      return;
    }
    case What::mutes:
      return void(device.asks(Mute{room, on ? TimePoint::max() : TimePoint{}}));
    case What::pins:
      return void(device.asks(Pin{room, on}));
    case What::archives:
      return void(device.asks(Archive{room, on}));
    case What::marks_unread:
      return void(device.asks(MarkUnread{room, on}));
    default:
      return void(device.asks(ShareReceipts{on}));
  }
}

}  // namespace

TEST_CASE("Two devices of a user and one that was away agree on his marks, whatever happened") {
  CHECK(rc::check("devices agree", [] {
    const unsigned shards = *rc::gen::element(1u, 4u);
    const auto steps = *rc::gen::container<std::vector<Step>>(any_step());
    Server server(with_shards(shards));
    std::vector<ConversationId> rooms;
    for (std::size_t i = 0; i < 3; ++i) rooms.push_back(server.group(numbered("room", i), {"alice", "bob"}));
    std::vector<std::unique_ptr<Device>> devices;
    for (int i = 0; i < 3; ++i) devices.push_back(std::make_unique<Device>(server, i == 0));
    for (auto& device : devices) device->comes();
    server.advance(2s);
    devices[2]->goes();  // and is away until the end

    for (const Step& step : steps) perform(server, devices, rooms, step);

    for (auto& device : devices) device->comes();
    for (auto& device : devices) device->waits(5s);
    Knowledge listed;
    const auto list = server.ask("alice", ListConversations{});
    RC_ASSERT(static_cast<bool>(list));
    listed.starts(*list);
    constexpr const char* names[] = {"the phone", "the desk", "the one that was away"};
    for (std::size_t i = 0; i < devices.size(); ++i) {
      devices[i]->takes();
      RC_LOG() << names[i] << std::endl;
      RC_ASSERT(devices[i]->knows().lines() == listed.lines());
    }
  }));
}
