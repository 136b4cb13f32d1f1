#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "protocol/codec.h"
#include "protocol/describe.h"
#include "protocol/raw.h"

// Protobuf's encoding, driven by the descriptions: codec_*.cpp instantiate `encode` and `decode` from here. The bytes
// are those of generated classes (tests/protocol compares them): proto3 defaults left out, unknown fields skipped, the
// last of several wins. How deep a message nests is bounded by its type; how much memory its decoding takes, by a
// fixed multiple of its length.

namespace chatcore {
inline namespace v1 {
namespace protocol {

// ---- members that are a number, and members that are bytes

template <class T>
concept Number =
    std::integral<T> || std::is_enum_v<T> || std::same_as<T, TimePoint> || std::same_as<T, std::chrono::milliseconds>;

template <class T>
inline constexpr bool is_id = false;
template <class Tag>
inline constexpr bool is_id<Id<Tag>> = true;
template <class T>
concept Blob = std::same_as<T, std::string> || std::same_as<T, Bytes> || std::same_as<T, Checkpoint> || is_id<T>;

template <class T>
inline constexpr bool is_list = false;
template <class T>
inline constexpr bool is_list<std::vector<T>> = !std::same_as<T, std::byte>;

using Metadata = std::map<std::string, std::string>;

constexpr std::uint64_t zigzag(std::int64_t value) {
  return static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63);
}
constexpr std::int64_t unzigzag(std::uint64_t value) {
  return static_cast<std::int64_t>(value >> 1 ^ (0 - (value & 1)));
}

template <Number T>
std::uint64_t to_wire(T value) {
  if constexpr (std::same_as<T, TimePoint>) {
    return zigzag(value.time_since_epoch().count());
  } else if constexpr (std::same_as<T, std::chrono::milliseconds>) {
    return value.count() > 0 ? static_cast<std::uint64_t>(value.count()) : 0;
  } else {
    return static_cast<std::uint64_t>(value);
  }
}

template <Number T>
void from_wire(std::uint64_t value, T& to) {
  if constexpr (std::same_as<T, TimePoint>) {
    to = TimePoint(std::chrono::milliseconds(unzigzag(value)));
  } else if constexpr (std::same_as<T, std::chrono::milliseconds>) {
    constexpr auto most = std::numeric_limits<std::int64_t>::max();
    to = std::chrono::milliseconds(value < most ? static_cast<std::int64_t>(value) : most);
  } else if constexpr (std::is_enum_v<T>) {
    // A number of a later version must not wrap to one of ours.
    using Raw = std::underlying_type_t<T>;
    constexpr std::uint32_t most = std::numeric_limits<Raw>::max();
    const auto sent = static_cast<std::uint32_t>(value);
    to = static_cast<T>(sent < most ? sent : most);
  } else {
    to = static_cast<T>(value);
  }
}

inline View view_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline View view_of(const Bytes& bytes) { return bytes; }
inline View view_of(const Checkpoint& checkpoint) { return view_of(checkpoint.opaque); }
template <class Tag>
View view_of(const Id<Tag>& id) {
  return view_of(id.view());
}
inline std::string_view text_of(View bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// What is wrong with a message, and with which of its fields.
class Fault {
 public:
  bool set() const noexcept { return set_; }
  void report(std::string_view field, std::string_view what);
  void inside(std::string_view field);  // the field reported is one of this one's
  Error error() const;

 private:
  std::string path_{}, what_{};
  bool set_ = false;
};

// ---- encoding

template <class T>
void put_message(auto& out, const T& message);

template <class T>
std::size_t size_of(const T& message) {
  Counter counter;
  put_message(counter, message);
  return counter.total();
}

template <class Out>
class Encode {
 public:
  explicit Encode(Out& out) : out_(out) {}

  template <class M, class How = Plain>
  void operator()(std::uint32_t number, const char*, const M& member, How = {}) {
    if constexpr (Number<M>) {
      const std::uint64_t value = to_wire(member);
      if (value != 0 || std::same_as<How, Defaulted>) put_varint(out_, number, value);
    } else if constexpr (Blob<M>) {
      if (!member.empty()) put_bytes(out_, number, view_of(member));
    } else if constexpr (is_list<M>) {
      for (const auto& element : member) put_element(number, element);
    } else if constexpr (std::same_as<M, Metadata>) {
      for (const auto& [key, value] : member) put_entry(number, key, value);
    } else if constexpr (requires { *member; }) {  // an optional, an EventPtr
      if (member) put_element(number, *member);
    } else if constexpr (std::same_as<M, IdempotencyKey>) {
      if (!member.empty()) put_element(number, member);
    } else {
      if (size_of(member) != 0) put_element(number, member);
    }
  }

  template <class Body, class Unknown, class... Kinds>
  void body(const Body& body, Unknown, Kinds... kinds) {
    (put_body(body, kinds), ...);
    // Its content is lost, but not that something was there.
    if (const Unknown* later = body.template as<Unknown>(); later && later->type >= first_body) {
      put_bytes(out_, later->type, {});
    }
  }

 private:
  template <class T>
  void put_element(std::uint32_t number, const T& element) {
    if constexpr (Blob<T>) {
      put_bytes(out_, number, view_of(element));
    } else if constexpr (std::same_as<T, EventPtr>) {
      if (element) put_element(number, *element);
    } else {
      put_tag(out_, number, WireType::bytes);
      out_.varint(size_of(element));
      put_message(out_, element);
    }
  }
  void put_entry(std::uint32_t number, const std::string& key, const std::string& value) {
    const auto entry = [&](auto& out) {  // a map's entry has both, empty or not
      put_bytes(out, 1, view_of(key));
      put_bytes(out, 2, view_of(value));
    };
    Counter size;
    entry(size);
    put_tag(out_, number, WireType::bytes);
    out_.varint(size.total());
    entry(out_);
  }
  template <class Body, class T>
  void put_body(const Body& body, Kind<T> kind) {
    if (const T* known = body.template as<T>()) put_element(kind.number, *known);
  }

  Out& out_;
};

template <class T>
void put_message(auto& out, const T& message) {
  describe(message, Encode(out));
}

template <class T>
Bytes encode(const T& message) {
  return written([&](auto& out) { put_message(out, message); });
}

// ---- decoding

struct Decoding {
  bool strict = false;  // enums must be known
  Fault fault{};
};

template <class T>
void read_message(View bytes, T& message, Decoding& decoding);

// Shown a message's description, takes one field of the wire to the member it belongs to. A field of another wire
// type than the member's is an unknown one, as in generated classes.
class Decode {
 public:
  Decode(const WireField& field, Decoding& decoding) : field_(field), decoding_(decoding) {}

  template <class M, class How = Plain>
  void operator()(std::uint32_t number, const char* name, M& member, How how = {}) {
    if (number != field_.number) return;
    if constexpr (Number<M>) {
      if (field_.type == WireType::varint) from_wire(field_.value, member);
    } else {
      if (field_.type == WireType::bytes) take(name, member, how);
    }
  }

  template <class Body, class Unknown, class... Kinds>
  void body(Body& body, Unknown, Kinds... kinds) {
    if (field_.number < first_body || field_.type != WireType::bytes) return;
    if (!(take_body(body, kinds) || ...)) body = Unknown{field_.number};
  }

 private:
  template <class M, class How>
  void take(const char* name, M& member, How how) {
    if constexpr (Blob<M>) {
      take_blob(name, member, how);
    } else if constexpr (std::same_as<M, Metadata>) {
      take_entry(name, member);
    } else if constexpr (is_list<M>) {
      typename M::value_type element{};
      take(name, element, how);
      member.push_back(std::move(element));
    } else if constexpr (std::same_as<M, EventPtr>) {
      auto event = std::make_shared<Event>();
      take(name, *event, how);
      member = std::move(event);
    } else if constexpr (requires { member.emplace(); }) {
      take(name, member.emplace(), how);
    } else {
      read_message(field_.bytes, member, decoding_);
      if (decoding_.fault.set()) decoding_.fault.inside(name);
    }
  }

  void take_blob(const char* name, std::string& to, Plain);
  void take_blob(const char*, std::string& to, Opaque) { to = text_of(field_.bytes); }
  void take_blob(const char*, Bytes& to, Plain) { to.assign(field_.bytes.begin(), field_.bytes.end()); }
  void take_blob(const char*, Checkpoint& to, Plain) { to.opaque = text_of(field_.bytes); }
  template <class Tag>
  void take_blob(const char* name, Id<Tag>& to, Plain) {
    to = {};
    if (field_.bytes.empty()) return;
    Result<Id<Tag>> id = Id<Tag>::make(text_of(field_.bytes));
    if (id) {
      to = *id;
    } else {
      decoding_.fault.report(name, ": " + id.error().message);
    }
  }
  void take_entry(const char* name, Metadata& to);

  template <class Body, class T>
  bool take_body(Body& body, Kind<T> kind) {
    if (kind.number != field_.number) return false;
    T known{};
    take(kind.name, known, Plain{});
    body = std::move(known);
    return true;
  }

  const WireField& field_;
  Decoding& decoding_;
};

// Shown a message that was read, finds the enum that is none.
class CheckEnums {
 public:
  explicit CheckEnums(Fault& fault) : fault_(fault) {}

  template <class M, class How = Plain>
  void operator()(std::uint32_t, const char* name, const M& member, How = {}) {
    if constexpr (std::is_enum_v<M>) {
      if (!is_known(member)) fault_.report(name, " is missing or out of range");
    }
  }
  void body(const auto&...) {}

 private:
  Fault& fault_;
};

template <class T>
void read_message(View bytes, T& message, Decoding& decoding) {
  Reader reader(bytes);
  for (WireField field; reader.next(field);) {
    describe(message, Decode(field, decoding));
    if (decoding.fault.set()) return;
  }
  if (reader.malformed()) return decoding.fault.report("", " is not Protobuf");
  if (decoding.strict) describe(std::as_const(message), CheckEnums(decoding.fault));
}

// A request says nothing this version does not know; an answer or an event may come from a later one.
template <class T>
Result<T> decode(View bytes) {
  Decoding decoding{.strict = Request<T>};
  T message{};
  read_message(bytes, message, decoding);
  if (decoding.fault.set()) return decoding.fault.error();
  return message;
}

}  // namespace protocol
}  // namespace v1
}  // namespace chatcore
