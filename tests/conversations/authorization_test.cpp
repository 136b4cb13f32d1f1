#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <tuple>

#include "features/table.h"
#include "support/chat.h"

// Who may do what: every request of the feature table, made by everyone of whom a conversation thinks differently, in
// every kind of conversation. Each is tried in a world of its own, so that none is in the way of the next.
//
//   yes    it is done
//   no     forbidden
//   none   no_such_conversation
//   bad    invalid: the host itself is no user
//   big    too_large
//   -      there is nobody like that
//
// In a direct conversation `owner` is one of the two, who has said something, and `member` the other one; a user's own
// log has him as its `owner`. `former` was a member. `system` is the host itself, and `host` a user who is the host's
// own; both pass where it is only about roles. A crowd is a channel that is fanned out on read: a line of its own
// stands where it differs. What names no conversation has one line.

using namespace chat;

namespace {

constexpr const char* expected = R"(
                             owner admin member reader former stranger system host
Send                direct   yes   -     yes    -      -      none     yes    yes
Send                group    yes   yes   yes    no     no     none     yes    yes
Send                channel  yes   yes   yes    no     no     none     yes    yes
Send                own      no    -     -      -      -      none     no     no

SendEphemeral       direct   yes   -     yes    -      -      none     yes    yes
SendEphemeral       group    yes   yes   yes    no     no     none     yes    yes
SendEphemeral       channel  yes   yes   yes    no     no     none     yes    yes
SendEphemeral       own      no    -     -      -      -      none     no     no

EditMessage         direct   yes   -     no     -      -      none     yes    yes
EditMessage         group    yes   no    no     no     no     none     yes    yes
EditMessage         channel  yes   no    no     no     no     none     yes    yes
EditMessage         own      no    -     -      -      -      none     no     no

DeleteMessage       direct   yes   -     no     -      -      none     yes    yes
DeleteMessage       group    yes   yes   no     no     no     none     yes    yes
DeleteMessage       channel  yes   yes   no     no     no     none     yes    yes
DeleteMessage       own      no    -     -      -      -      none     no     no

Abandon             direct   yes   -     yes    -      -      yes      yes    yes
Abandon             group    yes   yes   yes    yes    yes    yes      yes    yes
Abandon             channel  yes   yes   yes    yes    yes    yes      yes    yes
Abandon             own      yes   -     -      -      -      yes      yes    yes

CreateConversation  any      yes   yes   yes    yes    yes    yes      yes    yes

ChangeSettings      direct   no    -     no     -      -      none     no     no
ChangeSettings      group    yes   yes   no     no     no     none     yes    yes
ChangeSettings      channel  yes   yes   no     no     no     none     yes    yes
ChangeSettings      own      no    -     -      -      -      none     no     no

GetConversation     direct   yes   -     yes    -      -      none     yes    yes
GetConversation     group    yes   yes   yes    yes    yes    none     yes    yes
GetConversation     channel  yes   yes   yes    yes    yes    none     yes    yes
GetConversation     own      yes   -     -      -      -      none     yes    yes

AddMembers          direct   no    -     no     -      -      none     no     no
AddMembers          group    yes   yes   no     no     no     none     yes    yes
AddMembers          channel  yes   yes   no     no     no     none     yes    yes
AddMembers          own      no    -     -      -      -      none     no     no

RemoveMembers       direct   no    -     no     -      -      none     no     no
RemoveMembers       group    yes   yes   no     no     no     none     yes    yes
RemoveMembers       channel  yes   yes   no     no     no     none     yes    yes
RemoveMembers       own      no    -     -      -      -      none     no     no

Join                direct   no    -     no     -      -      none     bad    none
Join                group    yes   yes   yes    yes    no     none     bad    yes
Join                channel  yes   yes   yes    yes    no     none     bad    yes
Join                own      no    -     -      -      -      none     bad    none

Leave               direct   no    -     no     -      -      none     bad    no
Leave               group    yes   yes   yes    yes    no     none     bad    yes
Leave               channel  yes   yes   yes    yes    no     none     bad    yes
Leave               crowd    no    yes   yes    yes    no     none     bad    yes
Leave               own      no    -     -      -      -      none     bad    no

SetRole             direct   no    -     no     -      -      none     no     no
SetRole             group    yes   no    no     no     no     none     yes    yes
SetRole             channel  yes   no    no     no     no     none     yes    yes
SetRole             own      no    -     -      -      -      none     no     no

ListMembers         direct   yes   -     yes    -      -      none     yes    yes
ListMembers         group    yes   yes   yes    yes    no     none     yes    yes
ListMembers         channel  yes   yes   yes    yes    no     none     yes    yes
ListMembers         own      yes   -     -      -      -      none     yes    yes

ReadHistory         direct   yes   -     yes    -      -      none     yes    yes
ReadHistory         group    yes   yes   yes    yes    yes    none     yes    yes
ReadHistory         channel  yes   yes   yes    yes    yes    none     yes    yes
ReadHistory         own      yes   -     -      -      -      none     yes    yes

Sync                direct   yes   -     yes    -      -      none     yes    yes
Sync                group    yes   yes   yes    yes    yes    none     yes    yes
Sync                channel  yes   yes   yes    yes    yes    none     yes    yes
Sync                own      yes   -     -      -      -      none     yes    yes

MarkRead            direct   yes   -     yes    -      -      none     bad    yes
MarkRead            group    yes   yes   yes    yes    yes    none     bad    yes
MarkRead            channel  yes   yes   yes    yes    yes    none     bad    yes
MarkRead            own      no    -     -      -      -      none     bad    no

ListConversations   any      yes   yes   yes    yes    yes    yes      bad    yes

SetTyping           direct   yes   -     yes    -      -      none     bad    yes
SetTyping           group    yes   yes   yes    no     no     none     bad    yes
SetTyping           channel  yes   yes   yes    no     no     none     bad    yes
SetTyping           own      no    -     -      -      -      none     bad    no

SetPresence         any      yes   yes   yes    yes    yes    yes      bad    yes
GetPresence         any      yes   yes   yes    yes    yes    yes      yes    yes

WatchPresence       direct   yes   -     yes    -      -      none     bad    yes
WatchPresence       group    yes   yes   yes    yes    no     none     bad    yes
WatchPresence       channel  yes   yes   yes    yes    no     none     bad    yes
WatchPresence       own      no    -     -      -      -      none     bad    no

MarkDelivered       direct   yes   -     yes    -      -      none     bad    yes
MarkDelivered       group    yes   yes   yes    yes    yes    none     bad    yes
MarkDelivered       channel  yes   yes   yes    yes    yes    none     bad    yes
MarkDelivered       own      no    -     -      -      -      none     bad    no

GetReceipts         direct   yes   -     yes    -      -      none     yes    yes
GetReceipts         group    yes   yes   yes    yes    no     none     yes    yes
GetReceipts         channel  yes   yes   yes    yes    no     none     yes    yes
GetReceipts         crowd    big   big   big    big    no     none     big    big
GetReceipts         own      no    -     -      -      -      none     no     no

ShareReceipts       any      yes   yes   yes    yes    yes    yes      bad    yes

Mute                direct   yes   -     yes    -      -      none     bad    yes
Mute                group    yes   yes   yes    yes    yes    none     bad    yes
Mute                channel  yes   yes   yes    yes    yes    none     bad    yes
Mute                own      no    -     -      -      -      none     bad    no

Pin                 direct   yes   -     yes    -      -      none     bad    yes
Pin                 group    yes   yes   yes    yes    yes    none     bad    yes
Pin                 channel  yes   yes   yes    yes    yes    none     bad    yes
Pin                 own      no    -     -      -      -      none     bad    no

Archive             direct   yes   -     yes    -      -      none     bad    yes
Archive             group    yes   yes   yes    yes    yes    none     bad    yes
Archive             channel  yes   yes   yes    yes    yes    none     bad    yes
Archive             own      no    -     -      -      -      none     bad    no

MarkUnread          direct   yes   -     yes    -      -      none     bad    yes
MarkUnread          group    yes   yes   yes    yes    yes    none     bad    yes
MarkUnread          channel  yes   yes   yes    yes    yes    none     bad    yes
MarkUnread          own      no    -     -      -      -      none     bad    no

GetUnread           any      yes   yes   yes    yes    yes    yes      bad    yes
ListSessions        any      yes   yes   yes    yes    yes    yes      bad    yes
EndSessions         any      yes   yes   yes    yes    yes    yes      bad    yes
SetProfile          any      yes   yes   yes    yes    yes    yes      bad    yes
GetProfiles         any      yes   yes   yes    yes    yes    yes      yes    yes
)";

const std::map<std::string, Identity> callers{
    {"owner", {.user = user("olga")}},  {"admin", {.user = user("adam")}},     {"member", {.user = user("mia")}},
    {"reader", {.user = user("rita")}}, {"former", {.user = user("fred")}},    {"stranger", {.user = user("sam")}},
    {"system", Identity::system()},     {"host", Identity::host(user("npc"))},
};
const std::map<std::string, ErrorCode> codes{
    {"yes", ErrorCode::ok},      {"no", ErrorCode::forbidden},  {"none", ErrorCode::no_such_conversation},
    {"bad", ErrorCode::invalid}, {"big", ErrorCode::too_large},
};

// ---- the table: "Send group" -> caller -> word

using Line = std::vector<std::pair<std::string, std::string>>;

std::map<std::string, Line> read_expected() {
  std::istringstream in(expected);
  std::vector<std::string> heads;
  std::map<std::string, Line> lines;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    if (line.empty()) continue;
    if (heads.empty()) {
      for (std::string head; words >> head;) heads.push_back(head);
      continue;
    }
    std::string request, kind;
    words >> request >> kind;
    Line& cells = lines[request + " " + kind];
    REQUIRE_MESSAGE(cells.empty(), "two lines for ", request, " ", kind);
    for (const std::string& head : heads) {
      std::string word;
      words >> word;
      REQUIRE_MESSAGE((word == "-" || codes.contains(word)), request, " ", kind, ": ", head, " is ", word);
      cells.emplace_back(head, word);
    }
  }
  return lines;
}

// ---- the world

// A conversation, and a message in it that everyone who was ever a member can see.
struct Place {
  ConversationId id{};
  Seq message{};
};

EngineOptions options_for(const std::string& kind) {
  EngineOptions options;
  options.shards = 4;
  if (kind == "crowd") options.limits.fan_out_on_read = 3, options.limits.fan_out_on_write = 2;
  return options;
}

Place make_direct(Server& server) {
  const auto said = server.ask("olga", Send{.to = Direct{user("mia")}, .content = {.text = "hi"}});
  REQUIRE(said);
  return {said->conversation, said->seq};
}

Place make_room(Server& server, ConversationKind kind) {
  const auto made = server.ask(Identity::system(), CreateConversation{.conversation = conversation("room"),
                                                                      .members = {{user("olga"), Role::owner},
                                                                                  {user("adam"), Role::admin},
                                                                                  {user("mia"), Role::member},
                                                                                  {user("rita"), Role::reader},
                                                                                  {user("fred"), Role::member}},
                                                                      .kind = kind});
  REQUIRE(made);
  const auto said = server.ask("olga", Send{.to = made->conversation, .content = {.text = "hi"}});
  REQUIRE(said);
  REQUIRE(server.ask("fred", Leave{.conversation = made->conversation}));
  return {made->conversation, said->seq};
}

// Where a user's own log is his devices learn from what stands in it.
std::optional<Place> make_own(Server& server) {
  const Place direct = make_direct(server);
  Person tablet(server, "olga");
  if (!server.ask("olga", Pin{.conversation = direct.id})) return {};
  for (const Push& push : tablet.takes()) {
    if (push.as<OwnChanged>()) return Place{push.event()->conversation, push.event()->seq};
  }
  return {};
}

std::optional<Place> make(Server& server, const std::string& kind) {
  if (kind == "direct") return make_direct(server);
  if (kind == "group") return make_room(server, ConversationKind::group);
  if (kind == "channel" || kind == "crowd") return make_room(server, ConversationKind::channel);
  if (kind == "own") return make_own(server);
  return Place{};
}

// ---- the requests: what each names, and what it needs besides to be valid

template <class R>
void name_conversation(R& request, const ConversationId& id) {
  if constexpr (requires { request.conversation; }) request.conversation = id;
  if constexpr (requires { request.to; }) request.to = id;
  if constexpr (requires { request.of; }) request.of = id;
}
void name_conversation(CreateConversation&, const ConversationId&) {}  // its id is made by the engine
void name_conversation(WatchPresence& request, const ConversationId& id) { request.conversations = {id}; }

template <class R>
concept NamesConversation = !std::is_same_v<R, CreateConversation> && requires(R r) {
  requires requires { r.conversation; } || requires {
    r.to;
  } || requires {
    r.of;
  } || requires {
    r.conversations;
  };
};

template <class R>
void complete(R& request, Seq message) {
  if constexpr (requires { request.seq; }) request.seq = message;
  if constexpr (requires { request.content; }) request.content.text = "hi";
}
void complete(Abandon& request, Seq) { request.key = {"phone", 1}; }
void complete(ChangeSettings& request, Seq) { request.settings.title = "Lunch"; }
void complete(AddMembers& request, Seq) { request.members = {{user("zoe")}}; }
void complete(RemoveMembers& request, Seq) { request.users = {user("rita")}; }
void complete(SetRole& request, Seq) { request.user = user("mia"), request.role = Role::admin; }
void complete(GetPresence& request, Seq) { request.users = {user("olga")}; }
void complete(GetProfiles& request, Seq) { request.users = {user("olga")}; }

template <class R>
const std::string name_of = "a request that is not in requests.h";
#define CHATCORE_NAME(R) \
  template <>            \
  const std::string name_of<R> = #R;
CHATCORE_FOR_EACH_REQUEST(CHATCORE_NAME)
#undef CHATCORE_NAME

// In a session of his own, as some requests are about that. The host itself has none.
template <class R>
ErrorCode asked_by(Server& server, const Identity& caller, R request) {
  if (caller.user.empty()) {
    const auto answer = server.ask(caller, std::move(request));
    return answer ? ErrorCode::ok : answer.error().code;
  }
  Session session = server.engine().open_session({.identity = caller});
  server.settle();
  std::optional<ErrorCode> code;
  session.call(std::move(request), [&code](const Result<typename R::Reply>& answer) {
    code = answer ? ErrorCode::ok : answer.error().code;
  });
  for (int i = 0; !code && i < 100; ++i) {
    server.settle();
    if (!code) server.advance(20ms);
  }
  REQUIRE(code);
  return *code;
}

template <class R>
void check(const std::string& kind, const Line& line) {
  for (const auto& [caller, word] : line) {
    if (word == "-") continue;
    Server server(options_for(kind));
    const auto place = make(server, kind);
    CHECK_MESSAGE(place, "nothing to ask about: ", name_of<R>, " ", kind);
    if (!place) return;
    R request{};
    name_conversation(request, place->id);
    complete(request, place->message);
    const ErrorCode found = asked_by(server, callers.at(caller), std::move(request));
    CHECK_MESSAGE(found == codes.at(word), name_of<R>, " ", kind, " ", caller, " is ", word, ", and was ", name(found));
  }
}

class Authorization {
 public:
  template <class... Rows>
  void check_rows(const std::tuple<Rows...>&) {
    (check_row<typename Rows::Request>(), ...);
    for (const auto& [name, line] : lines_) CHECK_MESSAGE(used_.contains(name), "no request has the line: ", name);
  }

 private:
  template <class R>
  void check_row() {
    if constexpr (!NamesConversation<R>) {
      check<R>("any", line(name_of<R>, "any"));
    } else {
      for (const char* kind : {"direct", "group", "channel", "own"}) check<R>(kind, line(name_of<R>, kind));
      const bool differs = lines_.contains(name_of<R> + " crowd");
      check<R>("crowd", line(name_of<R>, differs ? "crowd" : "channel"));
    }
  }

  const Line& line(const std::string& request, const std::string& kind) {
    static const Line none;
    const auto found = lines_.find(request + " " + kind);
    CHECK_MESSAGE(found != lines_.end(), "no line says who may: ", request, " ", kind);
    used_.insert(request + " " + kind);
    return found == lines_.end() ? none : found->second;
  }

  std::map<std::string, Line> lines_ = read_expected();
  std::set<std::string> used_;
};

}  // namespace

TEST_CASE("Every request is allowed, or refused with the exact error, by who asks and in what kind of conversation") {
  Authorization().check_rows(features::table);
}
