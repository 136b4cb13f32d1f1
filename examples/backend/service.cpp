#include "service.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

using namespace chatcore;
using nlohmann::json;

namespace backend {

int http_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::ok:
      return 200;
    case ErrorCode::invalid:
      return 400;
    case ErrorCode::not_logged_in:
    case ErrorCode::unauthenticated:
      return 401;
    case ErrorCode::forbidden:
      return 403;
    case ErrorCode::no_such_conversation:
    case ErrorCode::no_such_message:
      return 404;
    case ErrorCode::conflict:
    case ErrorCode::full_group:
    case ErrorCode::key_expired:
    case ErrorCode::earlier_failed:
      return 409;
    case ErrorCode::too_large:
      return 413;
    case ErrorCode::rate_limited:
      return 429;
    case ErrorCode::overloaded:
    case ErrorCode::stopped:
    case ErrorCode::storage_unavailable:
    case ErrorCode::unknown_outcome:  // a retry with the same key finds out
    case ErrorCode::cancelled:
      return 503;
    case ErrorCode::timeout:
      return 504;
    case ErrorCode::storage_full:
      return 507;
    default:
      return 500;
  }
}

namespace {

constexpr std::size_t longest_body = 128 << 10;
constexpr std::size_t longest_key = 128;

void reply(httplib::Response& response, int status, const json& body) {
  response.status = status;
  response.set_content(body.dump(-1, ' ', false, json::error_handler_t::replace), "application/json");
}

void reply(httplib::Response& response, const Error& error) {
  const auto retry = std::chrono::ceil<std::chrono::seconds>(error.retry_after);
  if (retry.count() > 0) response.set_header("Retry-After", std::to_string(retry.count()));
  reply(response, http_status(error.code), {{"error", name(error.code)}, {"message", error.message}});
}

// A text of the body, or an empty one.
std::string text_of(const json& body, const char* field) {
  if (!body.is_object()) return {};
  const auto found = body.find(field);
  return found != body.end() && found->is_string() ? found->get<std::string>() : std::string();
}

json body_of(const httplib::Request& request) { return json::parse(request.body, nullptr, false); }

// A number of the query. Empty: it is none.
std::optional<std::uint64_t> number_of(const httplib::Request& request, const char* field, std::uint64_t otherwise) {
  if (!request.has_param(field)) return otherwise;
  const std::string text = request.get_param_value(field);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

json names(const std::vector<UserId>& users) {
  json list = json::array();
  for (const UserId& user : users) list.push_back(user.view());
  return list;
}

json to_json(const Event& event) {
  json out{{"seq", event.seq}, {"time", event.time.time_since_epoch().count()}};
  if (!event.sender.empty()) out["sender"] = event.sender.view();
  if (const auto* posted = event.as<MessagePosted>()) {
    out["text"] = posted->content.text;
    if (posted->revision > 0) out[posted->deleted ? "deleted" : "edited"] = true;
  } else if (const auto* members = event.as<MembersChanged>()) {
    out["joined"] = names(members->joined);
    out["left"] = names(members->left);
  }
  return out;
}

}  // namespace

Service::Service(Engine& engine, Accounts& accounts, Groups& groups)
    : engine_(engine), accounts_(accounts), groups_(groups) {
  http_.set_payload_max_length(longest_body);
  http_.set_exception_handler([](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
    reply(response, Error{ErrorCode::storage_unavailable, "the database did not answer: try again"});
  });
  http_.Post("/users", [this](const auto& request, auto& response) { sign_up(request, response); });
  http_.Post("/login", [this](const auto& request, auto& response) { log_in(request, response); });
  http_.Get("/groups", as_user(&Service::list_groups));
  http_.Post("/groups", as_user(&Service::create_group));
  http_.Post(R"(/groups/([^/]+)/members)", as_user(&Service::add_member));
  http_.Delete(R"(/groups/([^/]+)/members/([^/]+))", as_user(&Service::remove_member));
  http_.Post(R"(/groups/([^/]+)/messages)", as_user(&Service::post_message));
  http_.Get(R"(/groups/([^/]+)/messages)", as_user(&Service::read_messages));
}

httplib::Server::Handler Service::as_user(Handler handler) {
  return [this, handler](const httplib::Request& request, httplib::Response& response) {
    constexpr std::string_view scheme = "Bearer ";
    const std::string shown = request.get_header_value("Authorization");
    if (!shown.starts_with(scheme)) return reply(response, Error{ErrorCode::unauthenticated, "log in first"});
    const auto identity = accounts_.identity_of(std::string_view(shown).substr(scheme.size()));
    if (!identity) return reply(response, identity.error());
    (this->*handler)(request, response, *identity);
  };
}

void Service::sign_up(const httplib::Request& request, httplib::Response& response) {
  const json body = body_of(request);
  const Status done = accounts_.sign_up(text_of(body, "user"), text_of(body, "password"));
  done ? reply(response, 201, json::object()) : reply(response, done.error());
}

void Service::log_in(const httplib::Request& request, httplib::Response& response) {
  const json body = body_of(request);
  const auto token = accounts_.log_in(text_of(body, "user"), text_of(body, "password"));
  token ? reply(response, 200, {{"token", *token}}) : reply(response, token.error());
}

void Service::list_groups(const httplib::Request&, httplib::Response& response, const Identity& as) {
  reply(response, 200, {{"groups", groups_.of(as.user)}});
}

void Service::create_group(const httplib::Request& request, httplib::Response& response, const Identity& as) {
  const json body = body_of(request);
  const std::string group = text_of(body, "group"), title = text_of(body, "title");
  if (Status done = groups_.create(group, title, as.user); !done) return reply(response, done.error());
  engine_.membership_changed(as.user);
  if (!title.empty()) {  // the chat keeps what is shown of a conversation; where this fails, the request is repeated
    const auto titled = answer(engine_, Identity::system(),
                               ChangeSettings{.conversation = *conversation_of(group), .settings = {.title = title}});
    if (!titled) return reply(response, titled.error());
  }
  reply(response, 201, json::object());
}

void Service::add_member(const httplib::Request& request, httplib::Response& response, const Identity& as) {
  const std::string group = request.matches[1];
  const auto user = UserId::make(text_of(body_of(request), "user"));
  if (!user || !accounts_.has(*user)) return reply(response, Error{ErrorCode::invalid, "there is no such user"});
  if (Status done = groups_.add(group, as.user, *user); !done) return reply(response, done.error());
  engine_.membership_changed(*user);
  response.status = 204;
}

void Service::remove_member(const httplib::Request& request, httplib::Response& response, const Identity& as) {
  const std::string group = request.matches[1];
  const auto user = UserId::make(request.matches[2].str());
  if (!user) return reply(response, user.error());
  if (Status done = groups_.remove(group, as.user, *user); !done) return reply(response, done.error());
  engine_.membership_changed(*user);
  response.status = 204;
}

void Service::post_message(const httplib::Request& request, httplib::Response& response, const Identity& as) {
  const auto conversation = conversation_of(request.matches[1].str());
  if (!conversation) return reply(response, conversation.error());
  const std::string key = request.get_header_value("Idempotency-Key");
  if (key.size() > longest_key) return reply(response, Error{ErrorCode::invalid, "a key has at most 128 bytes"});
  const auto sent = answer(
      engine_, as, Send{.to = *conversation, .content = {.text = text_of(body_of(request), "text")}, .key = key});
  if (!sent) return reply(response, sent.error());
  reply(response, 201,
        {{"seq", sent->seq}, {"time", sent->time.time_since_epoch().count()}, {"duplicate", sent->duplicate}});
}

void Service::read_messages(const httplib::Request& request, httplib::Response& response, const Identity& as) {
  const auto conversation = conversation_of(request.matches[1].str());
  if (!conversation) return reply(response, conversation.error());
  const auto before = number_of(request, "before", 0), limit = number_of(request, "limit", 50);
  if (!before || !limit) return reply(response, Error{ErrorCode::invalid, "`before` and `limit` are numbers"});
  if (*before == 1) return reply(response, 200, {{"messages", json::array()}, {"more", false}});
  const auto page = answer(engine_, as,
                           ReadHistory{.conversation = *conversation,
                                       .start = *before == 0 ? 0 : *before - 1,
                                       .limit = static_cast<std::uint32_t>(std::min<std::uint64_t>(*limit, 200))});
  if (!page) return reply(response, page.error());
  json messages = json::array();
  for (const EventPtr& event : page->events) messages.push_back(to_json(*event));
  reply(response, 200, {{"messages", std::move(messages)}, {"more", page->more}});
}

}  // namespace backend
