#pragma once

#include <chatcore/chatcore.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "format.h"

struct ChatOptions {
  chatcore::Endpoint server{"127.0.0.1", 7400};
  std::optional<chatcore::TlsClientOptions> tls;
  std::string user, token, device;
  std::string state_file;  // keeps the checkpoint
  std::string to;          // "@user" or a conversation
  std::uint64_t wait_for = 0;
  std::chrono::seconds timeout{30};
};

// One user at a terminal, or in a pipe. Everything happens on the thread that calls run(): it sleeps in poll(2) until
// there is a line on stdin, or the client's thread has something and writes a byte into a pipe.
//
// A command begins once everything before it is answered, and holds back what comes after it; messages do not wait
// for one another.
class Chat {
 public:
  explicit Chat(ChatOptions);
  ~Chat();
  int run();                           // the exit code
  static std::string commands_help();  // what /help prints

 private:
  using Words = std::vector<std::string>;
  using Then = std::function<void(const chatcore::ConversationId&)>;

  // the loop
  void wait_for_something();
  void read_input();
  void do_lines();
  bool may_do(const std::string& line) const;
  bool finished();
  void wake();

  // what the client says
  void take_answers();
  void take_pushes();
  void show_connection();
  void save_checkpoint();

  // what the user says
  void do_line(const std::string& line);
  void send(const std::string& text, chatcore::IdempotencyKey key = {});
  struct Command;
  static const Command commands[];
  void send_with_key(const Words&, const std::string& rest);
  void edit(const Words&, const std::string& rest);
  void remove_message(const Words&, const std::string& rest);
  void ephemeral(const Words&, const std::string& rest);
  void history(const Words&, const std::string& rest);
  void sync(const Words&, const std::string& rest);
  void sync_after(const chatcore::ConversationId&, chatcore::Seq after);
  void mark_read(const Words&, const std::string& rest);
  void list(const Words&, const std::string& rest);
  void list_after(std::string after);
  void create(const Words&, const std::string& rest);
  void add(const Words&, const std::string& rest);
  void remove(const Words&, const std::string& rest);
  void role(const Words&, const std::string& rest);
  void open(const Words&, const std::string& rest);
  void join(const Words&, const std::string& rest);
  void leave(const Words&, const std::string& rest);
  void members(const Words&, const std::string& rest);
  void members_after(const chatcore::ConversationId&, const chatcore::UserId& after);
  void to(const Words&, const std::string& rest);
  void typing(const Words&, const std::string& rest);
  void who(const Words&, const std::string& rest);
  void away(const Words&, const std::string& rest);
  void receipts_after(const chatcore::ConversationId&, const chatcore::UserId& after);
  void share_receipts(const Words&, const std::string& rest);
  void mute(const Words&, const std::string& rest);
  void mute_until(chatcore::TimePoint);
  void unmute(const Words&, const std::string& rest);
  void pin(const Words&, const std::string& rest);
  void archive(const Words&, const std::string& rest);
  void mark_unread(const Words&, const std::string& rest);
  void badge(const Words&, const std::string& rest);
  void devices(const Words&, const std::string& rest);
  void end_sessions(const Words&, const std::string& rest);
  void profile(const Words&, const std::string& rest);
  void whois(const Words&, const std::string& rest);
  void wait_pushes(const Words&, const std::string& rest);
  void status(const Words&, const std::string& rest);
  void help(const Words&, const std::string& rest);
  void quit(const Words&, const std::string& rest);

  void aim(const std::string& to);
  void with_conversation(Then);  // finds the id where the target is a user

  // Asks, and runs `then` with a good answer, on this thread; prints the others.
  template <chatcore::Request R>
  void ask(R request, chatcore::Function<void(typename R::Reply)> then, unsigned& count);
  template <chatcore::Request R>
  void ask(R request, chatcore::Function<void(typename R::Reply)> then) {
    ask(std::move(request), std::move(then), commands_);
  }
  template <chatcore::Request R>
  void change(R request);  // ask, and print what was accepted
  template <chatcore::Request R>
  void mark(R request);  // ask, of the target, and print its marks
  void fail(const std::string& what);

  ChatOptions options_;
  std::optional<chatcore::Target> target_;
  std::string input_;
  bool interactive_, end_of_input_ = false, quit_ = false, failed_ = false, connected_ = false;
  unsigned sends_ = 0, commands_ = 0;                              // not answered yet
  std::uint64_t pushes_ = 0, waited_ = 0;                          // received, no live state; used up by /wait
  std::uint64_t wait_until_ = 0;                                   // /wait: go on at so many pushes
  std::optional<std::chrono::steady_clock::time_point> deadline_;  // of /wait, and of the end
  std::string no_connection_;                                      // why there is none, as it was said last
  std::string saved_;                                              // the checkpoint in the state file

  std::mutex mutex_;                                 // guards answers_
  std::vector<chatcore::Function<void()>> answers_;  // from the client's thread
  int wake_[2] = {-1, -1};
  std::optional<chatcore::Client> client_;  // last: its thread ends before the rest goes
};

template <chatcore::Request R>
void Chat::ask(R request, chatcore::Function<void(typename R::Reply)> then, unsigned& count) {
  ++count;
  client_->call(std::move(request),
                [this, &count, then = std::move(then)](chatcore::Result<typename R::Reply> result) mutable {
                  std::lock_guard lock(mutex_);
                  answers_.push_back([this, &count, then = std::move(then), result = std::move(result)]() mutable {
                    --count;
                    if (!result) return fail(line_of(result.error()));
                    if (then) then(std::move(*result));
                  });
                  wake();
                });
}
