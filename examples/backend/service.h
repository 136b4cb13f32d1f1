#pragma once

#include <chatcore/engine.h>
#include <httplib.h>

#include "accounts.h"
#include "chat.h"
#include "groups.h"

namespace backend {

// The HTTP status (RFC 9110) of an error of the chat, or of ours.
int http_status(chatcore::ErrorCode);

// The service's HTTP API; bodies are JSON. Whoever has logged in shows `Authorization: Bearer TOKEN`.
//
//   POST   /users                           {user, password}        201
//   POST   /login                           {user, password}        200 {token}
//   GET    /groups                                                  200 {groups: [id]}
//   POST   /groups                          {group, title}          201
//   POST   /groups/GROUP/members            {user}                  204   by the group's owner
//   DELETE /groups/GROUP/members/USER                               204   by the group's owner
//   POST   /groups/GROUP/messages           {text}                  201 {seq, time, duplicate}
//   GET    /groups/GROUP/messages?before=SEQ&limit=N                200 {messages, more}; the newest first
//
// A message with the header `Idempotency-Key` is sent once, however often it is posted (for 24 hours). Errors are
// {error, message}; 503 and 504 may be repeated, with the same key.
class Service {
 public:
  Service(chatcore::Engine&, Accounts&, Groups&);

  httplib::Server& http() { return http_; }

 private:
  using Handler = void (Service::*)(const httplib::Request&, httplib::Response&, const chatcore::Identity&);
  httplib::Server::Handler as_user(Handler);

  void sign_up(const httplib::Request&, httplib::Response&);
  void log_in(const httplib::Request&, httplib::Response&);
  void list_groups(const httplib::Request&, httplib::Response&, const chatcore::Identity&);
  void create_group(const httplib::Request&, httplib::Response&, const chatcore::Identity&);
  void add_member(const httplib::Request&, httplib::Response&, const chatcore::Identity&);
  void remove_member(const httplib::Request&, httplib::Response&, const chatcore::Identity&);
  void post_message(const httplib::Request&, httplib::Response&, const chatcore::Identity&);
  void read_messages(const httplib::Request&, httplib::Response&, const chatcore::Identity&);

  chatcore::Engine& engine_;
  Accounts& accounts_;
  Groups& groups_;
  httplib::Server http_;
};

}  // namespace backend
