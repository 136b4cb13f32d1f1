#pragma once

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <chatcore/result.h>

namespace chatcore {
inline namespace v1 {

using TimePoint = std::chrono::sys_time<std::chrono::milliseconds>;  // wall time: shown, never an order
using SteadyTime = std::chrono::steady_clock::time_point;            // timers, budgets
using Bytes = std::vector<std::byte>;

// Whether `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
CHATCORE_API bool is_utf8(std::string_view text) noexcept;

namespace detail {
// Why `text` is no id: empty, longer than 63 bytes, not UTF-8, or with a control character. Ok if it is one.
CHATCORE_API Status check_id(std::string_view text);
}  // namespace detail

// A name of the host's: 1 to 63 bytes of UTF-8 without control characters (C0, DEL, C1), kept in place, so that
// copying never allocates. The empty Id is "none". Ordered by unsigned bytes, as on disk.
template <class Tag>
class Id {
 public:
  static constexpr std::size_t max_size = 63;

  constexpr Id() = default;

  // A literal, checked by the compiler: 1 to 63 printable ASCII characters.
  template <std::size_t N>
  consteval Id(const char (&text)[N]) {
    static_assert(N >= 2 && N - 1 <= max_size, "an id has 1 to 63 bytes");
    for (std::size_t i = 0; i + 1 < N; ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      if (byte < 0x20 || byte >= 0x7f) not_an_id();
      bytes_[i] = byte;
    }
    size_ = static_cast<std::uint8_t>(N - 1);
  }

  // `invalid`, saying why, if `text` is no id. Any thread.
  static Result<Id> make(std::string_view text) {
    if (Status ok = detail::check_id(text); !ok) return ok.error();
    Id id;
    std::copy(text.begin(), text.end(), id.bytes_);
    id.size_ = static_cast<std::uint8_t>(text.size());
    return id;
  }

  std::string_view view() const noexcept { return {reinterpret_cast<const char*>(bytes_), size_}; }
  std::string string() const { return std::string(view()); }
  bool empty() const noexcept { return size_ == 0; }

  friend bool operator==(const Id& a, const Id& b) noexcept { return a.view() == b.view(); }
  friend std::strong_ordering operator<=>(const Id& a, const Id& b) noexcept {
    return a.view().compare(b.view()) <=> 0;  // char_traits<char> compares as unsigned bytes
  }

 private:
  static void not_an_id();  // not constexpr: reaching it in the constructor stops the compiler

  unsigned char bytes_[max_size] = {};
  std::uint8_t size_ = 0;
};
using UserId = Id<struct UserTag>;
using DeviceId = Id<struct DeviceTag>;
using ConversationId = Id<struct ConversationTag>;

// The place of an event in one conversation: 1, 2, 3, without a hole. (conversation, seq) is a message's id.
// 0 is "before the first".
using Seq = std::uint64_t;

// Where a session was, over all its conversations. Kept by the client, meaningless to it: store it with what you
// have shown, and give it back to resume.
struct Checkpoint {
  std::string opaque{};
  bool empty() const noexcept { return opaque.empty(); }
};

// Makes a repeat recognisable: the same key from the same sender in the same conversation is the same request.
// Either a free string (remembered for 24 h), or a client's instance and its own counter, which must grow with
// each request. Its source has at most 128 bytes. Empty: the request is never recognised as a repeat.
struct IdempotencyKey {
  std::string source{};
  std::uint64_t number = 0;

  IdempotencyKey() = default;
  IdempotencyKey(const char* text) : source(text) {}
  IdempotencyKey(std::string text) : source(std::move(text)) {}
  IdempotencyKey(std::string instance, std::uint64_t counter) : source(std::move(instance)), number(counter) {}

  bool empty() const noexcept { return source.empty(); }
  friend bool operator==(const IdempotencyKey&, const IdempotencyKey&) = default;
};

}  // namespace v1
}  // namespace chatcore

template <class Tag>
struct std::hash<chatcore::Id<Tag>> {
  std::size_t operator()(const chatcore::Id<Tag>& id) const noexcept {
    return std::hash<std::string_view>{}(id.view());
  }
};
