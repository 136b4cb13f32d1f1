#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "body.h"
#include "loop.h"

// A frame from the server, as far as the benchmark looks at it.
struct Incoming {
  enum class Kind { other, answer, event, checkpoint, bad } kind = Kind::other;
  std::uint64_t call{};  // of an answer
  View body{};           // of an answer; the reason of what is bad; a checkpoint
  std::uint64_t seq{};   // of the event, or the one that a message became
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
  virtual ~Dialect() = default;
  // Whole frames, with their length. A login is call 1.
  virtual std::string login(const std::string& user, std::string_view resume = {}) const = 0;
  virtual std::string ping() const = 0;  // empty: there is none
  virtual SendTemplate send(const std::string& to_user, const std::string& source, std::size_t bytes) const = 0;
  virtual Incoming read(View frame) const = 0;
  virtual bool names_senders() const = 0;
};

std::unique_ptr<Dialect> make_chatcore_dialect();
