#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <chatcore/export.h>

namespace chatcore {
inline namespace v1 {

// What went wrong. The numbers are frozen: they are the same here, on the wire and in every binding.
// `name` and `is_retryable` give the word and the advice for each.
enum class ErrorCode : std::uint16_t {
  ok = 0,
  not_logged_in = 1,         // log in first
  no_such_conversation = 2,  // or the caller is a stranger to it: the answers are the same
  forbidden = 3,             // a member, but the role or the kind of conversation does not allow it
  too_large = 4,             // over a limit; the message names the limit
  invalid = 5,               // malformed: bad UTF-8, an empty id, a field out of range
  conflict = 6,              // the key was used with another body, or the id is taken
  key_expired = 7,           // the key is older than the engine remembers (24 h)
  rate_limited = 8,          // wait for retry_after
  overloaded = 9,            // a queue is full; retry later
  storage_unavailable = 10,  // nothing was written; retry later with the same key
  storage_full = 11,         // nothing was written; retry once there is space
  unknown_outcome = 12,      // may or may not have been written; a retry with the same key finds out
  cancelled = 13,            // the request was dropped before it was done
  stopped = 14,              // the engine or the client is stopping
  full_group = 15,           // the group has its most members
  version_too_new = 16,      // a protocol or a store of a later version
  corruption = 17,           // stored bytes fail their checksum
  unknown_request = 18,      // this engine has no such request
  earlier_failed = 19,       // an earlier numbered key of this source failed; send that again first
  no_such_message = 20,      // no message at that seq, or not visible to the caller
  malformed_frame = 21,      // bytes that are not the protocol; the connection is closed
  timeout = 22,              // a deadline passed: login, heartbeat, wait()
  unauthenticated = 23,      // the credentials were refused
  in_use = 24,               // another process holds it: a data directory, a port
  not_ours = 25,             // a data directory that is not a chatcore store
  transport_failed = 26,     // the network: cannot listen, cannot connect, connection lost
  gone = 27,                 // the place asked for is no longer held: start again from what is
};

CHATCORE_API std::string_view name(ErrorCode) noexcept;

// Whether sending the same request again, with the same key, can succeed without changing it.
CHATCORE_API bool is_retryable(ErrorCode) noexcept;

struct Error {
  ErrorCode code{};
  std::string message{};                    // says what to do
  std::chrono::milliseconds retry_after{};  // 0: a retry does not help, or may come at once

  bool retryable() const noexcept { return is_retryable(code); }
};

// A value or an Error. Never throws: reading the value of a failed Result is undefined, so test it first.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  Result(ErrorCode code, std::string message) : state_(std::in_place_index<1>, Error{code, std::move(message)}) {}

  explicit operator bool() const noexcept { return state_.index() == 0; }
  T& operator*() & noexcept { return *std::get_if<0>(&state_); }
  T&& operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  const T& operator*() const& noexcept { return *std::get_if<0>(&state_); }
  T* operator->() noexcept { return std::get_if<0>(&state_); }
  const T* operator->() const noexcept { return std::get_if<0>(&state_); }

  // Only of a failed Result.
  const Error& error() const noexcept { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  Result(ErrorCode code, std::string message) : error_{code, std::move(message)} {}

  explicit operator bool() const noexcept { return error_.code == ErrorCode::ok; }
  const Error& error() const noexcept { return error_; }

 private:
  Error error_{};
};
using Status = Result<void>;

}  // namespace v1
}  // namespace chatcore
