// The plainest server that does the work below a chat: it takes frames, writes what came in one turn of its loop as one
// batch to RocksDB, a row a message, and then forwards and acknowledges it. No users, no memberships, no repeats, no
// resume. What chatcore costs above this is the price of being a chat.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "bare_wire.h"

namespace {

using namespace bare;

struct Connection {
  int fd = -1;
  bool dirty = false, blocked = false;
  std::string rest{}, out{};
};

struct Message {
  Connection* from{};
  std::uint32_t to{};
  std::uint64_t seq{};
  std::string_view call{}, text{};
};

struct Settings {
  std::string data{}, durability = "disk";
  std::size_t recent = 0;
  std::string fault{};
};

class Server {
 public:
  explicit Server(Settings);
  void run(int listener);

 private:
  struct Log {
    std::uint64_t head = 0;
    std::deque<std::string> recent{};  // the newest rows
  };

  void accept_all(int listener);
  void receive(Connection&);
  void frame(Connection&, std::string_view);
  void write();
  void forward();
  void put_event(std::string& out, const Message&);
  void send_to_all(const Connection& but);
  void page(Connection&, std::uint32_t of, std::string_view call, std::uint64_t start);
  Log& log_of(std::uint32_t);
  std::string& out(Connection&);
  void flush(Connection&);
  void watch(Connection&, int operation);

  const Settings settings_;
  std::unique_ptr<rocksdb::DB> db_{};
  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<std::unique_ptr<Connection>> connections_{};
  std::vector<Connection*> by_id_{}, dirty_{};
  std::unordered_map<std::uint32_t, Log> logs_{};
  std::deque<std::string> received_{};  // what this turn's messages lie in
  std::vector<Message> messages_{};
  std::string shared_{};  // what goes to everyone
  unsigned events_ = 0;
};

std::string key_of(std::uint32_t log, std::uint64_t seq) {
  std::string key;
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(std::uint64_t{log} >> shift));
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(seq >> shift));
  return key;
}

std::uint64_t seq_in(const rocksdb::Slice& key) {
  std::uint64_t seq = 0;
  for (std::size_t i = 8; i < 16; ++i) seq = seq << 8 | static_cast<unsigned char>(key[i]);
  return seq;
}

void put_row(std::string& page, std::uint64_t seq, std::string_view text) {
  put(page, seq);
  put(page, static_cast<std::uint32_t>(text.size()));
  page.append(text);
}

Server::Server(Settings settings) : settings_(std::move(settings)) {
  if (settings_.durability == "memory") return;
  rocksdb::Options options;
  options.create_if_missing = true;
  options.compression = rocksdb::kLZ4Compression;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(options, settings_.data, &db);
  if (!status.ok()) throw std::runtime_error(status.ToString());
  db_.reset(db);
}

void Server::watch(Connection& connection, int operation) {
  epoll_event event{};
  event.events = connection.blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.ptr = &connection;
  epoll_ctl(epoll_, operation, connection.fd, &event);
}

void Server::accept_all(int listener) {
  for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Connection& connection = *connections_.emplace_back(std::make_unique<Connection>());
    connection.fd = fd;
    watch(connection, EPOLL_CTL_ADD);
  }
}

void Server::run(int listener) {
  epoll_event listening{};
  listening.events = EPOLLIN;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, listener, &listening);
  std::vector<epoll_event> events(512);
  while (true) {
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (!event.data.ptr) {
        accept_all(listener);
        continue;
      }
      Connection& connection = *static_cast<Connection*>(event.data.ptr);
      if (event.events & EPOLLOUT) {
        connection.blocked = false;
        watch(connection, EPOLL_CTL_MOD);
        flush(connection);
      }
      if (event.events & ~EPOLLOUT) receive(connection);
    }
    write();
    forward();
    for (Connection* connection : dirty_) {
      connection->dirty = false;
      if (!connection->blocked) flush(*connection);
    }
    dirty_.clear();
  }
}

void Server::receive(Connection& connection) {
  static thread_local std::vector<char> buffer(64 << 10);
  const ssize_t count = recv(connection.fd, buffer.data(), buffer.size(), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    close(connection.fd);
    connection.fd = -1;
    return;
  }
  std::string& bytes = received_.emplace_back(std::move(connection.rest));
  bytes.append(buffer.data(), static_cast<std::size_t>(count));
  std::string_view left = bytes;
  while (left.size() >= 4) {
    const std::size_t length = ntohl(number_at<std::uint32_t>(left.data()));
    if (left.size() - 4 < length) break;
    frame(connection, left.substr(4, length));
    left.remove_prefix(4 + length);
  }
  connection.rest = std::string(left);
}

void Server::frame(Connection& connection, std::string_view frame) {
  const auto number = number_at<std::uint32_t>(frame.data() + 1);
  if (frame[0] == 'L') {
    if (by_id_.size() <= number) by_id_.resize(number + 1);
    by_id_[number] = &connection;
    put_length(out(connection), 1);
    out(connection).push_back('l');
  } else if (frame[0] == 'M') {
    messages_.push_back(
        {&connection, number, ++log_of(number).head, frame.substr(5, call_size), frame.substr(5 + call_size)});
  } else if (frame[0] == 'H') {
    page(connection, number, frame.substr(5, call_size), number_at<std::uint64_t>(frame.data() + 5 + call_size));
  }
}

Server::Log& Server::log_of(std::uint32_t number) {
  const auto [at, added] = logs_.try_emplace(number);
  if (added && db_) {
    const std::string most = key_of(number, UINT64_MAX);
    const std::unique_ptr<rocksdb::Iterator> rows(db_->NewIterator({}));
    rows->SeekForPrev(most);
    if (rows->Valid() && rows->key().starts_with({most.data(), 8})) at->second.head = seq_in(rows->key());
  }
  return at->second;
}

void Server::write() {
  if (messages_.empty() || !db_) return;
  rocksdb::WriteBatch batch;
  for (const Message& message : messages_) {
    batch.Put(key_of(message.to, message.seq), rocksdb::Slice(message.text.data(), message.text.size()));
  }
  rocksdb::WriteOptions options;
  options.sync = settings_.durability == "disk";
  const rocksdb::Status status = db_->Write(options, &batch);
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

void Server::forward() {
  const Connection* sender_to_all = nullptr;
  for (const Message& message : messages_) {
    if (settings_.recent != 0) {
      std::deque<std::string>& recent = logs_[message.to].recent;
      recent.emplace_back(message.text);
      if (recent.size() > settings_.recent) recent.pop_front();
    }
    if (message.to == everyone) sender_to_all = message.from;
    if (message.to == everyone || (message.to < by_id_.size() && by_id_[message.to])) {
      put_event(message.to == everyone ? shared_ : out(*by_id_[message.to]), message);
    }
    std::string& answer = out(*message.from);
    put_length(answer, 1 + call_size + 12);
    answer.push_back('a');
    answer.append(message.call);
    put(answer, message.seq);
    put(answer, message.to);
  }
  if (sender_to_all) send_to_all(*sender_to_all);
  messages_.clear();
  received_.clear();
}

void Server::put_event(std::string& out, const Message& message) {
  const bool faulty = !settings_.fault.empty() && ++events_ == 50;
  if (faulty && settings_.fault == "lose") return;
  const std::size_t at = out.size();
  put_length(out, 9 + message.text.size());
  out.push_back('e');
  put(out, faulty && settings_.fault == "seq" ? message.seq + 1 : message.seq);
  out.append(message.text);
  if (faulty && settings_.fault == "text") out.back() ^= 1;
  if (faulty && settings_.fault == "twice") out.append(out.substr(at));
}

// One gathered send each, without a copy where the socket takes it.
void Server::send_to_all(const Connection& but) {
  for (Connection* member : by_id_) {
    if (!member || member == &but || member->fd < 0) continue;
    ssize_t sent = 0;
    if (member->out.empty())
      sent = std::max<ssize_t>(send(member->fd, shared_.data(), shared_.size(), MSG_NOSIGNAL), 0);
    if (static_cast<std::size_t>(sent) < shared_.size()) {
      out(*member).append(shared_, static_cast<std::size_t>(sent), std::string::npos);
    }
  }
  shared_.clear();
}

void Server::page(Connection& connection, std::uint32_t of, std::string_view call, std::uint64_t start) {
  const Log& log = log_of(of);
  if (start == 0) start = log.head;
  std::string rows;
  if (const std::uint64_t first = log.head - log.recent.size() + 1; start + 1 >= first + page_rows) {
    for (std::uint64_t seq = start; seq + page_rows > start; --seq) put_row(rows, seq, log.recent[seq - first]);
  } else {
    rocksdb::ReadOptions options;
    const std::string least = key_of(of, 0);
    const rocksdb::Slice bound(least);
    options.iterate_lower_bound = &bound;
    const std::unique_ptr<rocksdb::Iterator> stored(db_->NewIterator(options));
    stored->SeekForPrev(key_of(of, start));
    for (std::size_t n = 0; n < page_rows && stored->Valid(); ++n, stored->Prev()) {
      put_row(rows, seq_in(stored->key()), stored->value().ToStringView());
    }
  }
  std::string& answer = out(connection);
  put_length(answer, 1 + call_size + rows.size());
  answer.push_back('h');
  answer.append(call);
  answer.append(rows);
}

std::string& Server::out(Connection& connection) {
  if (!connection.dirty) {
    connection.dirty = true;
    dirty_.push_back(&connection);
  }
  return connection.out;
}

void Server::flush(Connection& connection) {
  if (connection.fd < 0 || connection.out.empty()) return;
  const ssize_t sent = send(connection.fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
  connection.out.erase(0, static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
  if (!connection.out.empty() && !connection.blocked) {
    connection.blocked = true;
    watch(connection, EPOLL_CTL_MOD);
  }
  if (connection.out.empty() && connection.out.capacity() > 4096) connection.out = {};
}

int listen_anywhere() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (bind(listener, reinterpret_cast<sockaddr*>(&at), size) != 0 || listen(listener, 4096) != 0) {
    throw std::runtime_error("cannot listen");
  }
  getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size);
  std::printf("listening on 127.0.0.1:%u\n", static_cast<unsigned>(ntohs(at.sin_port)));
  std::fflush(stdout);
  return listener;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Stores and forwards, and nothing else: what chatcore-bench compares with"};
  app.add_option("--data", settings.data, "Directory of the store");
  app.add_option("--durability", settings.durability, "memory: nothing is stored; process: not synced; disk");
  app.add_option("--recent", settings.recent, "Rows of a log kept in memory");
  app.add_option("--fault", settings.fault, "Does this to the 50th event, to see whether it is noticed")
      ->check(CLI::IsMember({"lose", "seq", "text", "twice"}));
  CLI11_PARSE(app, argc, argv);
  signal(SIGTERM, [](int) { _exit(0); });
  try {
    Server(std::move(settings)).run(listen_anywhere());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bare_server: %s\n", error.what());
    return 1;
  }
}
