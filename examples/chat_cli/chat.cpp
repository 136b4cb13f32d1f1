#include "chat.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>

using namespace chatcore;

namespace {

constexpr unsigned most_sends = 64;  // under way; then stdin waits

std::optional<Checkpoint> read_checkpoint(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(file), {});
  if (path.empty() || bytes.empty()) return std::nullopt;
  return Checkpoint{std::move(bytes)};
}

}  // namespace

Chat::Chat(ChatOptions options) : options_(std::move(options)), interactive_(isatty(STDIN_FILENO)) {}

Chat::~Chat() {
  client_.reset();
  for (int end : wake_) {
    if (end >= 0) close(end);
  }
}

int Chat::run() {
  if (pipe2(wake_, O_CLOEXEC | O_NONBLOCK) != 0) return std::perror("chat_cli: pipe"), 1;
  if (!options_.to.empty()) aim(options_.to);
  if (failed_) return 2;
  ClientOptions client;
  client.server = options_.server;
  client.tls = options_.tls;
  client.token = [token = options_.token] { return token; };
  client.device = options_.device;
  client.resume = read_checkpoint(options_.state_file);
  client.on_ready = [this] { wake(); };
  auto opened = Client::open(std::move(client));
  if (!opened) return fail(line_of(opened.error())), 1;
  client_.emplace(std::move(*opened));

  if (interactive_) std::printf("/help shows the commands\n");
  while (!finished()) {
    wait_for_something();
    take_answers();
    take_pushes();
    do_lines();
    show_connection();
  }
  save_checkpoint();
  client_->close();
  return failed_ ? 1 : 0;
}

// Sleeps until stdin, the client or the clock has something. stdin is left alone while a line is held back, so that a
// pipe's writer is slowed down with us.
void Chat::wait_for_something() {
  const bool want_input = !end_of_input_ && input_.find('\n') == std::string::npos;
  pollfd watched[] = {{wake_[0], POLLIN, 0}, {want_input ? STDIN_FILENO : -1, POLLIN, 0}};
  int timeout = 500;  // show_connection()
  if (deadline_) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline_ - std::chrono::steady_clock::now());
    timeout = static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, timeout));
  }
  if (poll(watched, 2, timeout) < 0 && errno != EINTR) quit_ = failed_ = true;
  if (watched[0].revents != 0) {
    for (char bytes[64]; read(wake_[0], bytes, sizeof bytes) > 0;) {
    }
  }
  if (watched[1].revents != 0) read_input();
}

void Chat::read_input() {
  char bytes[4096];
  const ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
  if (count > 0) input_.append(bytes, static_cast<std::size_t>(count));
  if (count > 0 || (count < 0 && errno == EINTR)) return;
  end_of_input_ = true;
  if (!input_.empty() && input_.back() != '\n') input_ += '\n';
}

void Chat::do_lines() {
  for (std::size_t end; !quit_ && (end = input_.find('\n')) != std::string::npos;) {
    std::string line = input_.substr(0, end);
    if (!may_do(line)) return;
    input_.erase(0, end + 1);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) do_line(line);
  }
}

bool Chat::may_do(const std::string& line) const {
  if (wait_until_ != 0 || commands_ != 0) return false;
  return line.starts_with('/') ? sends_ == 0 : sends_ < most_sends;
}

// Whether to leave: told to, or stdin is over, everything is answered and --wait-for has come.
bool Chat::finished() {
  if (quit_) return true;
  const auto now = std::chrono::steady_clock::now();
  if (wait_until_ != 0) {
    if (pushes_ < wait_until_ && now < *deadline_) return false;
    if (pushes_ < wait_until_) fail("timeout: /wait: " + std::to_string(wait_until_ - pushes_) + " pushes are missing");
    waited_ = std::min(pushes_, wait_until_);
    wait_until_ = 0;
    deadline_.reset();
    do_lines();
    return finished();
  }
  if (!end_of_input_ || !input_.empty()) return false;
  if (sends_ == 0 && commands_ == 0 && pushes_ >= options_.wait_for) return true;
  if (!deadline_) deadline_ = now + options_.timeout;
  if (now < *deadline_) return false;
  fail("timeout: " + std::to_string(sends_ + commands_) + " requests are not answered, " + std::to_string(pushes_) +
       " pushes came");
  return true;
}

void Chat::wake() {
  const ssize_t ignored = write(wake_[1], "", 1);  // full: it is awake already
  static_cast<void>(ignored);
}

void Chat::take_answers() {
  std::vector<Function<void()>> answers;
  {
    std::lock_guard lock(mutex_);
    answers.swap(answers_);
  }
  for (auto& answer : answers) answer();
}

void Chat::take_pushes() {
  while (auto push = client_->take()) {
    std::puts(line_of(*push).c_str());
    if (!is_live_state(*push)) ++pushes_;
    if (push->as<Closed>()) quit_ = failed_ = true;
  }
  save_checkpoint();
}

// On stderr, so that what goes into a pipe is only the chat.
void Chat::show_connection() {
  const ClientStatus status = client_->status();
  if (status.connected == connected_ && (connected_ || status.last_error.message == no_connection_)) return;
  const char* const what = connected_ ? "connection lost" : "no connection";
  connected_ = status.connected;
  no_connection_ = connected_ ? "" : status.last_error.message;
  if (connected_) {
    std::fprintf(stderr, "connected as %s\n", status.user.string().c_str());
  } else {
    std::fprintf(stderr, "%s: %s; trying again\n", what, line_of(status.last_error).c_str());
  }
}

// Written beside and renamed, so that a crash leaves the old one or the new one.
void Chat::save_checkpoint() {
  if (options_.state_file.empty()) return;
  const Checkpoint checkpoint = client_->checkpoint();
  if (checkpoint.empty() || checkpoint.opaque == saved_) return;
  const std::string beside = options_.state_file + ".new";
  std::ofstream(beside, std::ios::binary) << checkpoint.opaque;
  if (std::rename(beside.c_str(), options_.state_file.c_str()) != 0) return fail("cannot write " + options_.state_file);
  saved_ = checkpoint.opaque;
}

void Chat::fail(const std::string& what) {
  failed_ = true;
  std::printf("error: %s\n", what.c_str());
}
