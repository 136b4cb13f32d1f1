#include "town.h"

#include <algorithm>
#include <utility>

using namespace chatcore;
using namespace std::chrono_literals;

namespace crash {
namespace {

constexpr unsigned most_under_way = 4;
constexpr std::size_t members_of_a_group = 10;
constexpr std::size_t come_back = 5;  // so many resume from their first checkpoint at the end
constexpr auto patience = 60s;

Error too_slow(std::string what) { return {ErrorCode::timeout, std::move(what)}; }

}  // namespace

Town::Town(Journal& journal, support::ServerProcess& server, unsigned people, std::uint64_t seed)
    : journal_(journal), server_(server), random_(seed), people_(people) {
  for (unsigned i = 0; i < people; ++i) people_[i].name = "person-" + std::to_string(i);
}

Result<std::unique_ptr<Client>> Town::open(const std::string& user, std::optional<Checkpoint> resume) {
  ClientOptions options;
  options.server = {"127.0.0.1", server_.port()};
  options.token = [user] { return user; };
  options.resume = std::move(resume);
  options.threads = 0;
  options.backoff_first = 10ms;
  options.backoff_most = 100ms;
  auto client = Client::open(std::move(options));
  if (!client) return client.error();
  return std::make_unique<Client>(std::move(*client));
}

bool Town::wait_until(const std::function<bool()>& over) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!over()) {
    if (std::chrono::steady_clock::now() > end) return false;
    turn();
  }
  return true;
}

Status Town::settle_in() {
  for (std::size_t i = 0; i < people_.size(); ++i) {
    auto client = open(people_[i].name);
    if (!client) return client.error();
    people_[i].client = std::move(*client);
    people_[i].stream = i;
    journal_.clients.push_back({.user = journal_.name(people_[i].name)});
    journal_.streams.push_back(
        {.name = people_[i].name, .user = journal_.clients.back().user, .clients = {static_cast<std::uint32_t>(i)}});
  }
  const auto add = [&](Target to, std::vector<std::size_t> members) {
    rooms_.push_back({.to = std::move(to), .members = std::move(members)});
    for (const std::size_t member : rooms_.back().members) people_[member].rooms.push_back(rooms_.size() - 1);
  };
  std::size_t groups = 0, made = 0;
  for (std::size_t first = 0; first + members_of_a_group <= people_.size(); first += members_of_a_group) {
    CreateConversation group{.settings = {.title = "group " + std::to_string(first)}};
    std::vector<std::size_t> members;
    for (std::size_t i = first; i < first + members_of_a_group; ++i) {
      members.push_back(i);
      if (i != first) group.members.push_back({*UserId::make(people_[i].name), Role::member});
    }
    ++groups;
    ++people_[first].number;  // the client counts this request too
    people_[first].client->call(std::move(group), [&, members](Result<Accepted> answer) {
      ++made;
      if (answer) add(answer->conversation, members);
    });
  }
  if (!wait_until([&] { return made == groups; }) || rooms_.size() != groups) return too_slow("no groups were made");
  for (std::size_t i = 0; i < people_.size(); ++i) {
    add(Direct{*UserId::make(people_[(i + 1) % people_.size()].name)}, {i, (i + 1) % people_.size()});
    people_[rooms_.back().members[1]].rooms.pop_back();  // one of the two writes: who it is for depends on who asks
  }
  for (std::size_t room = 0; room < rooms_.size(); ++room) say(people_[rooms_[room].members.front()], room);
  if (Status rest = come_to_rest(); !rest) return rest;
  for (const Room& room : rooms_) {
    for (const std::size_t member : room.members) journal_.members[room.name].insert(journal_.clients[member].user);
  }
  remember_places();
  return {};
}

void Town::remember_places() {
  for (std::size_t i = 0; i < std::min(come_back, people_.size()); ++i) {
    Place place{.person = i, .checkpoint = people_[i].client->checkpoint()};
    for (const Entry& entry : journal_.streams[people_[i].stream].entries) {
      Seq& from = place.from[entry.conversation];
      from = std::max(from, entry.seq);
    }
    for (const Handed& handed : journal_.sends) {
      if (handed.client != i) continue;
      Seq& from = place.from[handed.conversation];
      from = std::max(from, handed.acknowledged);
    }
    places_.push_back(std::move(place));
  }
}

void Town::say(Person& person, std::size_t room) {
  const Said said = static_cast<Said>(journal_.sends.size());
  const auto client = static_cast<std::uint32_t>(&person - people_.data());
  const std::string text = std::to_string(said) + " from " + person.name;
  journal_.sends.push_back(
      {.client = client, .number = ++person.number, .conversation = rooms_[room].name, .text = text, .run = run_});
  ++person.under_way;
  Send send{.to = rooms_[room].to, .content = {.text = text}};
  person.client->call(std::move(send), [this, said, room, &person](Result<Accepted> answer) {
    --person.under_way;
    Handed& handed = journal_.sends[said];
    if (!answer) {
      handed.refused = std::string(name(answer.error().code)) + ": " + answer.error().message;
      return;
    }
    handed.acknowledged = answer->seq;
    handed.acknowledged_run = run_;
    const Name where = journal_.name(answer->conversation.view());
    if (rooms_[room].name == nobody) rooms_[room].name = where;
    if (where != rooms_[room].name) journal_.strange.push_back("an acknowledgement for another conversation");
    handed.conversation = where;
    rooms_[room].acknowledged = std::max(rooms_[room].acknowledged, answer->seq);
  });
}

void Town::turn() {
  bool did = false;
  for (std::size_t i = 0; i < people_.size(); ++i) {
    Person& person = people_[i];
    while (writes_ && person.under_way < most_under_way) {
      say(person, person.rooms[random_() % person.rooms.size()]);
      did = true;
    }
    did |= person.client->poll(0us).handled > 0;
    take_all(*person.client, person.stream, static_cast<std::uint32_t>(i));
  }
  for (std::size_t i = 0; i < fresh_.size(); ++i) {
    did |= fresh_[i]->poll(0us).handled > 0;
    take_all(*fresh_[i], people_.size() + i, ~0u);
  }
  if (!did) server_.wait_for_output(1ms);
}

Entry Town::entry_of(const Event& event, std::uint32_t client) {
  Entry entry{
      .conversation = journal_.name(event.conversation.view()), .seq = event.seq, .client = client, .run = run_};
  if (!event.sender.empty()) entry.sender = journal_.name(event.sender.view());
  if (const auto* posted = event.as<MessagePosted>()) entry.said = journal_.said(posted->content.text);
  if (!event.key.empty()) {
    entry.key_source = journal_.name(event.key.source);
    entry.key_number = event.key.number;
  }
  return entry;
}

void Town::take_all(Client& client, std::size_t stream, std::uint32_t number) {
  while (const auto push = client.take()) {
    last_push_ = std::chrono::steady_clock::now();
    Stream& into = journal_.streams[stream];
    if (const Event* event = push->event()) {
      into.entries.push_back(entry_of(*event, number));
    } else if (push->as<Reset>()) {
      into.entries.push_back({.said = reset, .run = run_});
    } else {
      into.surprises.push_back("a push that is no event");
    }
  }
}

// ---- reading back

void Town::read_page(std::size_t room, std::size_t reader, Seq start, Direction direction,
                     std::function<void(bool)> then) {
  const Seq must_reach = rooms_[room].acknowledged;
  ReadHistory request{.conversation = *ConversationId::make(journal_.names[rooms_[room].name]),
                      .start = start,
                      .direction = direction,
                      .limit = 200};
  people_[reader].client->call(std::move(request), [=, this](Result<HistoryPage> page) {
    if (!page) {
      journal_.strange.push_back("a page was refused: " + page.error().message);
      return then(false);
    }
    History* history = nullptr;
    const bool whole = direction == Direction::forward;
    if (whole && start != 1) {
      history = &journal_.histories.back();
    } else {
      journal_.histories.push_back({.conversation = rooms_[room].name,
                                    .reader = journal_.clients[reader].user,
                                    .run = run_,
                                    .last = whole,
                                    .from = page->covers_from,
                                    .must_reach = must_reach});
      history = &journal_.histories.back();
    }
    history->to = page->covers_to;
    history->head = page->head;
    std::vector<Entry> entries;
    for (const EventPtr& event : page->events) entries.push_back(entry_of(*event, ~0u));
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.seq < b.seq; });
    history->entries.insert(history->entries.end(), entries.begin(), entries.end());
    then(page->more);
  });
}

void Town::read_a_page() {
  const std::size_t room = random_() % rooms_.size();
  const auto& members = rooms_[room].members;
  read_page(room, members[random_() % members.size()], 0, Direction::backward, [](bool) {});
}

Status Town::read_all(std::size_t room) {
  for (Seq start = 1; start != 0;) {
    std::optional<bool> more;
    read_page(room, rooms_[room].members.back(), start, Direction::forward, [&more](bool is_more) { more = is_more; });
    if (!wait_until([&] { return more.has_value(); })) return too_slow("a page was not answered");
    start = *more ? journal_.histories.back().to + 1 : 0;
  }
  return {};
}

Status Town::come_to_rest() {
  last_push_ = std::chrono::steady_clock::now();
  const auto rests = [&] {
    const bool answered = std::all_of(people_.begin(), people_.end(), [](const Person& person) {
      return person.client->status().connected && person.client->status().unanswered == 0;
    });
    const bool connected =
        std::all_of(fresh_.begin(), fresh_.end(), [](const auto& client) { return client->status().connected; });
    return answered && connected && std::chrono::steady_clock::now() - last_push_ > 500ms;
  };
  return wait_until(rests) ? Status() : too_slow("clients were not answered, or not all came back");
}

Status Town::read_everything() {
  for (std::size_t room = 0; room < rooms_.size(); ++room) {
    if (Status read = read_all(room); !read) return read;
  }
  for (const Place& place : places_) {
    auto client = open(people_[place.person].name, place.checkpoint);
    if (!client) return client.error();
    fresh_.push_back(std::move(*client));
    journal_.streams.push_back({.name = people_[place.person].name + ", come back",
                                .user = journal_.clients[place.person].user,
                                .from = place.from,
                                .fresh = true});
  }
  return come_to_rest();
}

}  // namespace crash
