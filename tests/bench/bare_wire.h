#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

// What the bare server and the benchmark say to each other. A frame is its length, 4 bytes, big-endian, as in
// chatcore's protocol; then a letter and fields of fixed size, numbers in the machine's own order. A call is 5 bytes
// that come back.
//
//   to the server      L id                        this connection is number id (4 bytes)
//                      M to(4) call(5) text        a message to a connection, or to everyone else
//                      H of(4) call(5) start(8)    a page of what was sent to one, from start downward; 0: the newest
//   from the server    l                           logged in
//                      a call(5) seq(8) to(4)      the message is stored
//                      e seq(8) text               a message
//                      h call(5) { seq(8) size(4) text }...
namespace bare {

inline constexpr std::uint32_t everyone = UINT32_MAX;
inline constexpr std::size_t call_size = 5, page_rows = 50;

template <class N>
N number_at(const char* at) {
  N value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class N>
void put(std::string& out, N value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}
inline void put_length(std::string& out, std::size_t length) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(length >> shift));
}

}  // namespace bare
