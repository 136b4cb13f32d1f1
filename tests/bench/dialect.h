#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "body.h"
#include "loop.h"

// A frame from the server, as far as the benchmark looks at it.
struct Incoming {
  enum class Kind { other, answer, event, notice, checkpoint, bad } kind = Kind::other;
  std::uint64_t call{};       // of an answer
  View body{};                // of an answer; the reason of what is bad; a checkpoint
  std::uint64_t seq{};        // of the event, or the one that a message became; the head that a notice tells of
  std::uint64_t spread_ms{};  // of a notice: it is read after a random part of this
  std::string_view conversation{}, sender{}, text{};
};

// A frame that sends a message, made once: what differs from message to message has a fixed place and size in it.
struct SendTemplate {
  std::string frame{};
  std::size_t call_at{}, number_at{}, text_at{}, text_size{};  // number_at 0: there is none

  // Calls and key numbers begin here, so that their varints have five bytes all along.
  static constexpr std::uint64_t first = std::uint64_t{1} << 28;
  void write(char* at, std::uint64_t number, std::int64_t time_ns) const;
};

// How a server is talked to: chatcore's protocol, or the bare server's.
class Dialect {
 public:
  using Row = std::function<void(std::uint64_t seq, std::string_view text)>;

  virtual ~Dialect() = default;
  // Whole frames, with their length. A login is call 1, making a group or a channel call 2, a ping call 3, adding
  // readers call 4.
  virtual std::string login(const std::string& user, std::string_view resume = {}) const = 0;
  virtual std::string create_group(const std::vector<std::string>& members) const = 0;  // empty: there is always one
  virtual std::string create_channel(bool notify_only) const = 0;                       // empty: there is always one
  virtual std::string add_readers(const std::string& channel, std::span<const std::string> users) const = 0;
  virtual std::string ping() const = 0;  // empty: there is none
  virtual SendTemplate send(const std::string& to_user, const std::string& source, std::size_t bytes) const = 0;
  virtual SendTemplate send_to_group(const std::string& group, const std::string& source, std::size_t bytes) const = 0;
  // The page of 50 from `start` downward; 0: the newest.
  virtual std::string read_history(std::uint64_t call, const std::string& conversation, std::uint64_t start) const = 0;
  // What came after that seq.
  virtual std::string sync(std::uint64_t call, const std::string& conversation, std::uint64_t after) const = 0;

  virtual Incoming read(View frame) const = 0;
  virtual std::string checkpoint_of(View logged_in) const = 0;
  virtual std::string group_of(View created) const = 0;
  virtual void read_page(View page, const Row&) const = 0;
  virtual bool names_senders() const = 0;
};

std::unique_ptr<Dialect> make_chatcore_dialect();
std::unique_ptr<Dialect> make_bare_dialect();  // of a user only the number at the end of his name counts
