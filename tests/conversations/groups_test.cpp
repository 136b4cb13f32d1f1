#include <algorithm>
#include <set>

#include "support/chat.h"

using namespace chat;
using Lines = std::vector<std::string>;

namespace {

template <class T>
ErrorCode code(const Result<T>& answer) {
  return answer ? ErrorCode::ok : answer.error().code;
}

EngineOptions with(Limits limits) {
  EngineOptions options;
  options.limits = limits;
  return options;
}

ErrorCode adds(Person& who, const ConversationId& group, std::string_view whom, Role role = Role::member) {
  return code(who.asks(AddMembers{.conversation = group, .members = {{user(whom), role}}}));
}

ErrorCode removes(Person& who, const ConversationId& group, std::string_view whom) {
  return code(who.asks(RemoveMembers{.conversation = group, .users = {user(whom)}}));
}

ErrorCode gives(Person& who, const ConversationId& group, std::string_view whom, Role role) {
  return code(who.asks(SetRole{.conversation = group, .user = user(whom), .role = role}));
}

// "alice4 bob2": the members and their roles, as the host sees them.
std::string members(Server& server, const ConversationId& group) {
  auto page = server.ask(Identity::system(), ListMembers{.conversation = group});
  REQUIRE(page);
  std::string text;
  for (const Member& member : page->members) {
    text += (text.empty() ? "" : " ") + member.user.string() + std::to_string(static_cast<int>(member.role));
  }
  return text;
}

// What someone can read, from the oldest on.
Lines history(Server& server, std::string_view who, const ConversationId& group) {
  auto page = server.ask(who, ReadHistory{.conversation = group, .direction = Direction::forward, .limit = 200});
  REQUIRE_MESSAGE(page, page.error().message);
  Lines lines;
  for (const EventPtr& event : page->events) lines.push_back(line(*event));
  return lines;
}

bool is_uuid(const ConversationId& id, char version) {
  const std::string text = id.string();
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (text.size() != 36 || text[14] != version || std::string("89ab").find(text[19]) == std::string::npos) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !hex(text[i])) return false;
  }
  return true;
}

}  // namespace

// ---- how a group comes into being

TEST_CASE("Alice makes a group: she owns it, everyone in it hears of it, and talks in it") {
  Server server;
  Person alice(server, "alice"), tablet(server, "alice"), bob(server, "bob"), carol(server, "carol");
  auto made =
      alice.asks(CreateConversation{.settings = {.title = "Lunch"}, .members = {{"bob"}, {"carol", Role::reader}}});
  REQUIRE(made);
  CHECK(made->seq == 1);
  CHECK(made->durability == Durability::disk);
  const Lines came{"joined alice, joined bob, joined carol, role4 alice, role1 carol"};
  CHECK(alice.receives().empty());
  CHECK(tablet.receives() == came);
  CHECK(bob.receives() == came);
  CHECK(carol.receives() == came);

  CHECK(bob.says(made->conversation, "pizza").seq == 2);
  CHECK(alice.receives() == Lines{"pizza"});
  CHECK(carol.receives() == Lines{"pizza"});
  CHECK(bob.receives().empty());
  CHECK(members(server, made->conversation) == "alice4 bob2 carol1");
}

TEST_CASE("What a group is can be asked for by its members, with their own role") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");
  ConversationSettings settings{.title = "Lunch",
                                .custom = {{"colour", "green"}},
                                .newcomers_see = NewcomersSee::last,
                                .newcomers_last = 3,
                                .open = true};
  auto made = alice.asks(CreateConversation{.settings = settings, .members = {{"bob", Role::admin}}});
  REQUIRE(made);
  auto info = bob.asks(GetConversation{.of = made->conversation});
  REQUIRE(info);
  CHECK(info->conversation == made->conversation);
  CHECK(info->kind == ConversationKind::group);
  CHECK(info->settings == settings);
  CHECK(info->members == 2);
  CHECK(info->oldest == 1);
  CHECK(info->head == 1);
  CHECK(info->role == Role::admin);
  CHECK_FALSE(info->former);
  CHECK(info->peer.empty());
}

TEST_CASE("Ids are made here: a UUIDv7 without a key, the UUIDv8 of the key with one") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");
  auto first = alice.asks(CreateConversation{});
  auto second = alice.asks(CreateConversation{});
  REQUIRE(first);
  REQUIRE(second);
  CHECK(is_uuid(first->conversation, '7'));
  CHECK(is_uuid(second->conversation, '7'));
  CHECK(first->conversation != second->conversation);
  CHECK(first->conversation.string().substr(0, 12) == second->conversation.string().substr(0, 12));  // the time

  auto keyed = alice.asks(CreateConversation{.settings = {.title = "a"}, .key = "lunch"});
  REQUIRE(keyed);
  CHECK(is_uuid(keyed->conversation, '8'));
  auto repeat = alice.asks(CreateConversation{.settings = {.title = "a"}, .key = "lunch"});
  REQUIRE(repeat);
  CHECK(repeat->conversation == keyed->conversation);
  CHECK(repeat->seq == keyed->seq);
  CHECK(repeat->duplicate);
  CHECK(code(alice.asks(CreateConversation{.settings = {.title = "b"}, .key = "lunch"})) == ErrorCode::conflict);
  auto other = bob.asks(CreateConversation{.settings = {.title = "a"}, .key = "lunch"});
  REQUIRE(other);
  CHECK(other->conversation != keyed->conversation);
  CHECK_FALSE(other->duplicate);
}

TEST_CASE("A client chooses no ids unless the host lets it; nobody chooses one of ours") {
  Server server;
  Person alice(server, "alice");
  CHECK(code(alice.asks(CreateConversation{.conversation = "lunch"})) == ErrorCode::forbidden);
  CHECK(code(server.ask(Identity::system(), CreateConversation{.conversation = "lunch",
                                                               .members = {{"bob", Role::owner}}})) == ErrorCode::ok);
  CHECK(code(server.ask(Identity::host("npc"), CreateConversation{.conversation = "tavern"})) == ErrorCode::ok);
  CHECK(members(server, "tavern") == "npc4");
  CHECK(code(server.ask(Identity::system(), CreateConversation{.conversation = "~lunch"})) == ErrorCode::invalid);
  CHECK(code(server.ask(Identity::system(), CreateConversation{.conversation = "lunch"})) == ErrorCode::conflict);

  Server liberal(with({.clients_choose_ids = true}));
  Person carol(liberal, "carol"), dave(liberal, "dave");
  auto made = carol.asks(CreateConversation{.conversation = "lunch"});
  REQUIRE(made);
  CHECK(made->conversation.view() == "lunch");
  CHECK(code(carol.asks(CreateConversation{.conversation = "lunch"})) == ErrorCode::conflict);
  CHECK(code(dave.asks(CreateConversation{.conversation = "lunch"})) == ErrorCode::conflict);
  CHECK(code(carol.asks(CreateConversation{.conversation = "~lunch"})) == ErrorCode::invalid);
}

TEST_CASE("A member named twice is in once, and the creator is the owner whatever he asked for") {
  Server server;
  Person alice(server, "alice");
  auto made =
      alice.asks(CreateConversation{.members = {{"bob", Role::reader}, {"bob", Role::admin}, {"alice", Role::reader}}});
  REQUIRE(made);
  CHECK(members(server, made->conversation) == "alice4 bob3");
}

TEST_CASE("A group has room for so many: an option, and 500 unless it says otherwise") {
  Server small(with({.group_members = 3}));
  Person alice(small, "alice");
  CHECK(code(alice.asks(CreateConversation{.members = {{"b"}, {"c"}, {"d"}}})) == ErrorCode::full_group);
  auto made = alice.asks(CreateConversation{.settings = {.open = true}, .members = {{"bob"}, {"carol"}}});
  REQUIRE(made);
  const ConversationId group = made->conversation;
  CHECK(adds(alice, group, "dave") == ErrorCode::full_group);
  CHECK(adds(alice, group, "bob") == ErrorCode::ok);  // is there already
  Person dave(small, "dave");
  CHECK(code(dave.asks(Join{.conversation = group})) == ErrorCode::full_group);
  CHECK(code(small.ask(Identity::system(), AddMembers{.conversation = group, .members = {{"dave"}}})) ==
        ErrorCode::full_group);
  CHECK(removes(alice, group, "bob") == ErrorCode::ok);
  CHECK(code(alice.asks(AddMembers{.conversation = group, .members = {{"dave"}, {"erin"}}})) == ErrorCode::full_group);
  CHECK(members(small, group) == "alice4 carol2");  // nobody of them came
  CHECK(code(dave.asks(Join{.conversation = group})) == ErrorCode::ok);
  Person bob(small, "bob");
  CHECK(code(bob.asks(Join{.conversation = group})) == ErrorCode::full_group);

  Server usual;
  Person owner(usual, "owner");
  CreateConversation create;
  for (int i = 1; i < 500; ++i) create.members.push_back({user("m" + std::to_string(i))});
  auto full = owner.asks(create);
  REQUIRE(full);
  CHECK(adds(owner, full->conversation, "late") == ErrorCode::full_group);
  create.members.push_back({"m500"});
  CHECK(code(owner.asks(create)) == ErrorCode::full_group);
}

// ---- settings

TEST_CASE("An admin changes all settings at once, and everyone is told; the same again changes nothing") {
  Server server;
  const ConversationId group =
      server.group("lunch", {"alice", "bob", "carol"}, {.title = "Lunch", .custom = {{"a", "1"}}});
  Person alice(server, "alice"), bob(server, "bob"), carol(server, "carol");
  CHECK(gives(alice, group, "bob", Role::admin) == ErrorCode::ok);
  carol.receives(), alice.receives(), bob.receives();

  const ConversationSettings dinner{.title = "Dinner", .custom = {{"b", "2"}}, .newcomers_see = NewcomersSee::none};
  auto changed = bob.asks(ChangeSettings{.conversation = group, .settings = dinner});
  REQUIRE(changed);
  const auto seen = carol.takes();
  REQUIRE(seen.size() == 1);
  REQUIRE(seen[0].as<SettingsChanged>());
  CHECK(seen[0].as<SettingsChanged>()->settings == dinner);
  CHECK(seen[0].event()->seq == changed->seq);
  CHECK(seen[0].event()->sender.view() == "bob");
  CHECK(carol.asks(GetConversation{.of = group})->settings == dinner);

  auto again = bob.asks(ChangeSettings{.conversation = group, .settings = dinner});
  REQUIRE(again);
  CHECK(again->seq == 0);
  CHECK(carol.receives().empty());
  CHECK(code(carol.asks(ChangeSettings{.conversation = group, .settings = {.title = "Mine"}})) == ErrorCode::forbidden);
}

TEST_CASE("Settings survive a restart") {
  Server server;
  const ConversationSettings settings{
      .title = "Lunch", .custom = {{"a", "1"}}, .newcomers_see = NewcomersSee::last, .newcomers_last = 7, .open = true};
  const ConversationId group = server.group("lunch", {"alice", "bob"}, settings);
  server.restart();
  auto info = server.ask("bob", GetConversation{.of = group});
  REQUIRE(info);
  CHECK(info->settings == settings);
  CHECK(info->members == 2);
}

// ---- who comes and goes

TEST_CASE("Who is added hears of it himself, and so do the others") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob"), carol(server, "carol");
  CHECK(adds(alice, group, "carol", Role::admin) == ErrorCode::ok);
  CHECK(bob.receives() == Lines{"joined carol, role3 carol"});
  CHECK(carol.receives() == Lines{"joined carol, role3 carol"});
  CHECK(adds(alice, group, "carol", Role::reader) == ErrorCode::ok);  // stays as she is
  CHECK(bob.receives().empty());
  CHECK(members(server, group) == "alice4 bob2 carol3");
}

TEST_CASE("Who is removed hears of it as the last thing") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob", "carol"});
  Person alice(server, "alice"), bob(server, "bob"), carol(server, "carol");
  CHECK(removes(alice, group, "bob") == ErrorCode::ok);
  alice.says(group, "he is gone");
  CHECK(bob.receives() == Lines{"left bob"});
  CHECK(carol.receives() == Lines{"left bob", "he is gone"});
  CHECK(code(bob.asks(Send{.to = group, .content = {.text = "hello?"}})) == ErrorCode::forbidden);
  CHECK(removes(alice, group, "bob") == ErrorCode::ok);  // no member any more: passed over
  CHECK(removes(alice, group, "nobody") == ErrorCode::ok);
  CHECK(carol.receives().empty());
}

TEST_CASE("Many are added and removed in one step") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice"});
  Person alice(server, "alice"), bob(server, "bob");
  CHECK(code(alice.asks(AddMembers{.conversation = group, .members = {{"dave"}, {"bob"}, {"carol", Role::reader}}})) ==
        ErrorCode::ok);
  CHECK(bob.receives() == Lines{"joined dave, joined bob, joined carol, role1 carol"});
  CHECK(code(alice.asks(RemoveMembers{.conversation = group, .users = {"dave", "nobody", "carol", "dave"}})) ==
        ErrorCode::ok);
  CHECK(bob.receives() == Lines{"left carol, left dave"});
  CHECK(members(server, group) == "alice4 bob2");
}

TEST_CASE("Anyone enters an open group; a closed one does not exist for strangers") {
  Server server;
  const ConversationId open = server.group("open", {"alice"}, {.open = true});
  const ConversationId closed = server.group("closed", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob"), carol(server, "carol");
  auto joined = carol.asks(Join{.conversation = open});
  REQUIRE(joined);
  CHECK(joined->seq == 2);
  CHECK(alice.receives() == Lines{"joined carol"});
  CHECK(members(server, open) == "alice4 carol2");
  auto again = carol.asks(Join{.conversation = open});
  REQUIRE(again);
  CHECK(again->seq == 0);
  CHECK(alice.receives().empty());

  CHECK(code(carol.asks(Join{.conversation = closed})) == ErrorCode::no_such_conversation);
  CHECK(code(bob.asks(Leave{.conversation = closed})) == ErrorCode::ok);
  CHECK(code(bob.asks(Join{.conversation = closed})) == ErrorCode::forbidden);
  CHECK(code(server.ask(Identity::host("bob"), Join{.conversation = closed})) == ErrorCode::ok);  // the host may
  CHECK(members(server, closed) == "alice4 bob2");
}

TEST_CASE("Who leaves hears it on his other sessions, and is a former member from then on") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), phone(server, "bob"), laptop(server, "bob");
  alice.says(group, "hi");
  phone.receives(), laptop.receives();
  auto left = phone.asks(Leave{.conversation = group});
  REQUIRE(left);
  CHECK(left->seq == 3);
  CHECK(laptop.receives() == Lines{"left bob"});
  CHECK(phone.receives().empty());
  CHECK(alice.receives() == Lines{"left bob"});
  alice.says(group, "secret");
  CHECK(laptop.receives().empty());

  auto info = phone.asks(GetConversation{.of = group});
  REQUIRE(info);
  CHECK(info->former);
  CHECK(info->role == Role::member);
  CHECK(info->head == 3);
  CHECK(info->members == 0);  // what came after he left is not for him
  CHECK(info->settings == ConversationSettings{});
  CHECK(code(phone.asks(Leave{.conversation = group})) == ErrorCode::forbidden);
  CHECK(code(phone.asks(ListMembers{.conversation = group})) == ErrorCode::forbidden);
}

TEST_CASE("A role above member is lost by leaving, a reader's stays") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice"}, {.open = true});
  Person alice(server, "alice"), bob(server, "bob");
  CHECK(adds(alice, group, "bob", Role::admin) == ErrorCode::ok);
  CHECK(code(bob.asks(Leave{.conversation = group})) == ErrorCode::ok);
  CHECK(code(bob.asks(Join{.conversation = group})) == ErrorCode::ok);
  CHECK(members(server, group) == "alice4 bob2");
  CHECK(gives(alice, group, "bob", Role::reader) == ErrorCode::ok);
  CHECK(code(bob.asks(Leave{.conversation = group})) == ErrorCode::ok);
  CHECK(code(bob.asks(Join{.conversation = group})) == ErrorCode::ok);
  CHECK(members(server, group) == "alice4 bob1");
}

// ---- roles

TEST_CASE("A reader reads, a member speaks, an admin manages, an owner gives roles") {
  Server server;
  const ConversationId group = server.group("lunch", {"owner", "member"});
  Person owner(server, "owner"), admin(server, "admin"), member(server, "member"), reader(server, "reader");
  CHECK(adds(owner, group, "admin", Role::admin) == ErrorCode::ok);
  CHECK(adds(owner, group, "reader", Role::reader) == ErrorCode::ok);
  struct Cell {
    Person& who;
    ErrorCode speaks, manages, gives_roles;
  };
  constexpr auto ok = ErrorCode::ok, no = ErrorCode::forbidden;
  for (const Cell& cell : {Cell{owner, ok, ok, ok}, {admin, ok, ok, no}, {member, ok, no, no}, {reader, no, no, no}}) {
    Person& who = cell.who;
    CHECK(code(who.asks(ReadHistory{.conversation = group})) == ok);
    CHECK(code(who.asks(ListMembers{.conversation = group})) == ok);
    CHECK(code(who.asks(GetConversation{.of = group})) == ok);
    CHECK(code(who.asks(Sync{.conversation = group})) == ok);
    CHECK(code(who.asks(MarkRead{.conversation = group, .seq = 1})) == ok);
    CHECK(code(who.asks(Send{.to = group, .content = {.text = "hi"}})) == cell.speaks);
    CHECK(code(who.asks(SendEphemeral{.to = group, .content = {.text = "hi"}})) == cell.speaks);
    CHECK(adds(who, group, "guest") == cell.manages);
    CHECK(removes(who, group, "guest") == (cell.manages == ok ? ok : no));
    CHECK(code(who.asks(ChangeSettings{.conversation = group, .settings = {.title = "t"}})) == cell.manages);
    CHECK(gives(who, group, "reader", Role::reader) == cell.gives_roles);
  }
}

TEST_CASE("Nobody gives a role above his own") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice"});
  Person alice(server, "alice"), bob(server, "bob");
  CHECK(adds(alice, group, "bob", Role::admin) == ErrorCode::ok);
  CHECK(adds(bob, group, "carol", Role::owner) == ErrorCode::forbidden);
  CHECK(adds(bob, group, "carol", Role::admin) == ErrorCode::ok);
  CHECK(adds(alice, group, "dave", Role::owner) == ErrorCode::ok);
  CHECK(members(server, group) == "alice4 bob3 carol3 dave4");
}

TEST_CASE("Nobody removes an equal, but an owner removes anyone") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice"});
  Person alice(server, "alice"), bob(server, "bob");
  CHECK(code(alice.asks(
            AddMembers{.conversation = group,
                       .members = {{"bob", Role::admin}, {"carol", Role::admin}, {"dave", Role::owner}, {"erin"}}})) ==
        ErrorCode::ok);
  CHECK(removes(bob, group, "carol") == ErrorCode::forbidden);
  CHECK(removes(bob, group, "alice") == ErrorCode::forbidden);
  CHECK(removes(bob, group, "bob") == ErrorCode::forbidden);  // he may leave
  // One who may not go keeps all of them.
  CHECK(code(bob.asks(RemoveMembers{.conversation = group, .users = {"erin", "carol"}})) == ErrorCode::forbidden);
  CHECK(removes(bob, group, "erin") == ErrorCode::ok);
  CHECK(removes(alice, group, "dave") == ErrorCode::ok);
  CHECK(removes(alice, group, "carol") == ErrorCode::ok);
  CHECK(members(server, group) == "alice4 bob3");
}

TEST_CASE("An owner gives roles, and the last one stays") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  CHECK(gives(alice, group, "alice", Role::member) == ErrorCode::forbidden);  // the last owner
  CHECK(gives(alice, group, "nobody", Role::member) == ErrorCode::invalid);
  CHECK(gives(alice, group, "bob", Role::owner) == ErrorCode::ok);
  CHECK(bob.receives() == Lines{"role4 bob"});
  CHECK(gives(alice, group, "bob", Role::owner) == ErrorCode::ok);  // he is
  CHECK(bob.receives().empty());
  CHECK(gives(bob, group, "alice", Role::reader) == ErrorCode::ok);
  CHECK(alice.receives() == Lines{"role1 alice"});
  CHECK(code(alice.asks(Send{.to = group, .content = {.text = "hi"}})) == ErrorCode::forbidden);
  CHECK(gives(bob, group, "bob", Role::admin) == ErrorCode::forbidden);
}

TEST_CASE("A former member has no role to be given") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  CHECK(code(bob.asks(Leave{.conversation = group})) == ErrorCode::ok);
  CHECK(gives(alice, group, "bob", Role::admin) == ErrorCode::invalid);
}

TEST_CASE("Where the last owner leaves, the highest role takes over") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person alice(server, "alice"), bob(server, "bob");
  CHECK(adds(alice, group, "zoe", Role::admin) == ErrorCode::ok);
  bob.receives();
  CHECK(code(alice.asks(Leave{.conversation = group})) == ErrorCode::ok);
  CHECK(bob.receives() == Lines{"left alice, role4 zoe"});
  CHECK(members(server, group) == "bob2 zoe4");
}

TEST_CASE("Among equals the longest-standing one takes over, whatever newcomers see") {
  for (const NewcomersSee see : {NewcomersSee::none, NewcomersSee::last, NewcomersSee::all}) {
    CAPTURE(static_cast<int>(see));
    Server server;
    const ConversationId group = server.group("lunch", {"alice"}, {.newcomers_see = see, .newcomers_last = 100});
    Person alice(server, "alice");
    CHECK(adds(alice, group, "zoe") == ErrorCode::ok);
    CHECK(adds(alice, group, "bob") == ErrorCode::ok);
    CHECK(code(alice.asks(Leave{.conversation = group})) == ErrorCode::ok);
    CHECK(members(server, group) == "bob2 zoe4");
  }
}

TEST_CASE(
    "Where the host removes the last owner, someone takes over; an owner who is not the last leaves none behind") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  Person bob(server, "bob");
  CHECK(code(server.ask(Identity::system(), RemoveMembers{.conversation = group, .users = {"alice"}})) ==
        ErrorCode::ok);
  CHECK(bob.receives() == Lines{"left alice, role4 bob"});
  CHECK(adds(bob, group, "carol", Role::owner) == ErrorCode::ok);
  CHECK(adds(bob, group, "dave") == ErrorCode::ok);
  CHECK(code(bob.asks(Leave{.conversation = group})) == ErrorCode::ok);
  CHECK(members(server, group) == "carol4 dave2");
}

TEST_CASE("When all have left, nobody is in it, and the host can fill it again") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice", "bob"});
  CHECK(code(server.ask("alice", Leave{.conversation = group})) == ErrorCode::ok);
  CHECK(code(server.ask("bob", Leave{.conversation = group})) == ErrorCode::ok);
  CHECK(members(server, group).empty());
  CHECK(code(server.ask(Identity::system(), AddMembers{.conversation = group, .members = {{"carol", Role::owner}}})) ==
        ErrorCode::ok);
  CHECK(members(server, group) == "carol4");
}

// ---- listing

TEST_CASE("Members are listed in pages, ascending, without those who left") {
  Server server;
  std::vector<std::string> names{"owner"};
  for (int i = 0; i < 25; ++i) names.push_back("m" + std::to_string(100 + i));
  const ConversationId group = server.group("lunch", names);
  CHECK(code(server.ask("m107", Leave{.conversation = group})) == ErrorCode::ok);
  std::vector<std::string> listed;
  UserId after;
  int pages = 0;
  do {
    auto page = server.ask("m100", ListMembers{.conversation = group, .after = after, .limit = 10});
    REQUIRE(page);
    CHECK(page->members.size() <= 10);
    CHECK(page->total == 25);
    for (const Member& member : page->members) listed.push_back(member.user.string());
    after = page->next;
    ++pages;
  } while (!after.empty());
  CHECK(pages == 3);
  std::erase(names, "m107");
  std::sort(names.begin(), names.end());
  CHECK(listed == names);

  auto whole = server.ask("m100", ListMembers{.conversation = group, .limit = 25});
  REQUIRE(whole);
  CHECK(whole->members.size() == 25);
  CHECK(whole->next.empty());
  CHECK(server.ask("m100", ListMembers{.conversation = group, .after = "zzz"})->members.empty());
}

// ---- what is no group

TEST_CASE("A direct conversation refuses what is for groups") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob"), eve(server, "eve");
  const ConversationId pair = alice.says(Direct{"bob"}, "hi").conversation;
  CHECK(pair.view().front() == '~');
  constexpr auto no = ErrorCode::forbidden;
  CHECK(code(alice.asks(ChangeSettings{.conversation = pair, .settings = {.title = "us"}})) == no);
  CHECK(adds(alice, pair, "eve") == no);
  CHECK(removes(alice, pair, "bob") == no);
  CHECK(code(alice.asks(Leave{.conversation = pair})) == no);
  CHECK(gives(alice, pair, "bob", Role::admin) == no);
  CHECK(code(alice.asks(Join{.conversation = pair})) == no);
  CHECK(code(server.ask(Identity::system(), AddMembers{.conversation = pair, .members = {{"eve"}}})) == no);
  CHECK(code(server.ask(Identity::host("eve"), Join{.conversation = pair})) != ErrorCode::ok);
  CHECK(code(eve.asks(Join{.conversation = pair})) == ErrorCode::no_such_conversation);
  CHECK(members(server, pair) == "alice2 bob2");

  auto info = bob.asks(GetConversation{.of = Direct{"alice"}});
  REQUIRE(info);
  CHECK(info->conversation == pair);
  CHECK(info->kind == ConversationKind::direct);
  CHECK(info->peer.view() == "alice");
  CHECK(alice.asks(GetConversation{.of = pair})->peer.view() == "bob");
  CHECK(code(eve.asks(GetConversation{.of = Direct{"alice"}})) == ErrorCode::no_such_conversation);
}

// ---- who sees what

TEST_CASE("A late joiner sees everything, nothing, or the last few") {
  struct Case {
    NewcomersSee see;
    std::uint32_t last;
    Lines sees;
  };
  const Lines came{"joined alice, joined bob, role4 alice"};
  for (const Case& c : {Case{NewcomersSee::all, 0, {came[0], "one", "two", "three", "joined carol", "four"}},
                        Case{NewcomersSee::none, 0, {"joined carol", "four"}},
                        Case{NewcomersSee::last, 2, {"two", "three", "joined carol", "four"}},
                        Case{NewcomersSee::last, 0, {"joined carol", "four"}},
                        Case{NewcomersSee::last, 1000, {came[0], "one", "two", "three", "joined carol", "four"}}}) {
    CAPTURE(static_cast<int>(c.see));
    CAPTURE(c.last);
    Server server;
    const ConversationId group =
        server.group("lunch", {"alice", "bob"}, {.newcomers_see = c.see, .newcomers_last = c.last});
    Person alice(server, "alice"), carol(server, "carol");
    for (const char* text : {"one", "two", "three"}) alice.says(group, text);
    CHECK(adds(alice, group, "carol") == ErrorCode::ok);
    alice.says(group, "four");
    CHECK(carol.receives() == Lines{"joined carol", "four"});
    CHECK(history(server, "carol", group) == c.sees);
    auto page = carol.asks(ReadHistory{.conversation = group, .direction = Direction::forward});
    REQUIRE(page);
    CHECK(page->covers_from == 1);
    CHECK(page->covers_to == 6);
    Seq hidden = 0;
    for (const Gap& gap : page->gaps) {
      CHECK(gap.why == Gap::Why::not_visible);
      hidden += gap.to - gap.from + 1;
    }
    CHECK(hidden + page->events.size() == 6);
    server.restart();
    CHECK(history(server, "carol", group) == c.sees);
  }
}

TEST_CASE("Bob leaves and comes back: what he missed stays hidden, what he saw stays his") {
  Server server;
  const ConversationId group =
      server.group("lunch", {"alice", "bob"}, {.newcomers_see = NewcomersSee::none, .open = true});
  Person alice(server, "alice"), bob(server, "bob");
  alice.says(group, "before");
  CHECK(code(bob.asks(Leave{.conversation = group})) == ErrorCode::ok);
  alice.says(group, "secret");
  alice.says(group, "more secret");
  const Lines seen{"joined alice, joined bob, role4 alice", "before", "left bob"};
  CHECK(history(server, "bob", group) == seen);
  CHECK(code(bob.asks(Join{.conversation = group})) == ErrorCode::ok);
  alice.says(group, "after");
  Lines all = seen;
  all.insert(all.end(), {"joined bob", "after"});
  CHECK(history(server, "bob", group) == all);

  auto page = bob.asks(ReadHistory{.conversation = group, .direction = Direction::forward});
  REQUIRE(page);
  REQUIRE(page->gaps.size() == 1);
  CHECK(page->gaps[0].from == 4);
  CHECK(page->gaps[0].to == 5);
  CHECK(page->gaps[0].why == Gap::Why::not_visible);
  server.restart();
  CHECK(history(server, "bob", group) == all);
}

TEST_CASE("What happened while he was away is not his to edit, to delete or to see changed") {
  Server server;
  const ConversationId group =
      server.group("lunch", {"alice", "bob"}, {.newcomers_see = NewcomersSee::none, .open = true});
  Person alice(server, "alice"), bob(server, "bob");
  CHECK(code(bob.asks(Leave{.conversation = group})) == ErrorCode::ok);
  const Seq secret = alice.says(group, "secret").seq;
  CHECK(code(bob.asks(Join{.conversation = group})) == ErrorCode::ok);
  CHECK(gives(alice, group, "bob", Role::admin) == ErrorCode::ok);
  bob.receives();
  CHECK(code(bob.asks(DeleteMessage{.conversation = group, .seq = secret})) == ErrorCode::no_such_message);
  CHECK(code(bob.asks(EditMessage{.conversation = group, .seq = secret, .content = {.text = "x"}})) ==
        ErrorCode::no_such_message);
  REQUIRE(alice.asks(EditMessage{.conversation = group, .seq = secret, .content = {.text = "secret, edited"}}));
  for (const Push& push : bob.takes()) {
    if (const auto* changed = push.as<MessageChanged>()) CHECK_FALSE(changed->now);
  }
  auto sync = bob.asks(Sync{.conversation = group});
  REQUIRE(sync);
  for (const EventPtr& event : sync->events) {
    CHECK(line(*event).find("secret") == std::string::npos);
  }
}

TEST_CASE("Whoever was kicked resumes up to his kick, and reads no further") {
  for (const unsigned shards : {1u, 4u}) {
    CAPTURE(shards);
    EngineOptions options;
    options.shards = shards;
    Server server(std::move(options));
    const ConversationId group = server.group("lunch", {"alice", "bob"});
    Person alice(server, "alice");
    Checkpoint place;
    {
      Person bob(server, "bob");
      alice.says(group, "one");
      CHECK(bob.receives() == Lines{"one"});
      server.advance(2s);
      bob.receives();
      place = bob.checkpoint();
    }
    alice.says(group, "two");
    CHECK(removes(alice, group, "bob") == ErrorCode::ok);
    alice.says(group, "three");
    Person bob(server, "bob", place);
    CHECK(bob.receives() == Lines{"two", "left bob"});
    alice.says(group, "four");
    CHECK(bob.receives().empty());
    Lines read = history(server, "bob", group);
    CHECK(read.back() == "left bob");
    auto sync = bob.asks(Sync{.conversation = group, .after = 2});
    REQUIRE(sync);
    Lines synced;
    for (const EventPtr& event : sync->events) synced.push_back(line(*event));
    CHECK(synced == Lines{"two", "left bob"});
  }
}

TEST_CASE("Someone who was away while he was added finds the group when he resumes") {
  Server server;
  const ConversationId group = server.group("lunch", {"alice"}, {.newcomers_see = NewcomersSee::none});
  Person alice(server, "alice");
  Checkpoint place;
  {
    Person bob(server, "bob");
    server.advance(2s);
    bob.receives();
    place = bob.checkpoint();
    REQUIRE_FALSE(place.empty());
  }
  alice.says(group, "before");
  CHECK(adds(alice, group, "bob") == ErrorCode::ok);
  alice.says(group, "welcome");
  Person bob(server, "bob", place);
  CHECK(bob.receives() == Lines{"joined bob", "welcome"});
}
