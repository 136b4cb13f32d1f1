#pragma once

#include <arpa/inet.h>

#include <cstring>
#include <string>

#include "failure.h"
#include "loop.h"
#include "protocol/codec.h"

// What a client of chatcore's says and hears, beyond what every Dialect has: requests of any kind, whole frames with
// their length, and what comes back.

inline std::string framed(const chatcore::Bytes& frame) {
  const std::uint32_t length = htonl(static_cast<std::uint32_t>(frame.size()));
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &length, 4);
  return bytes.append(text_of(frame));
}

template <class R>
std::string call(std::uint64_t number, const R& request) {
  return framed(chatcore::protocol::encode_client_frame(number, R::id, chatcore::protocol::encode(request)));
}

template <class R>
R answer_in(View body) {
  auto answer = chatcore::protocol::decode<R>(body);
  require(bool(answer), "a request was answered with nonsense");
  return std::move(*answer);
}

// Of a frame that must be this one.
template <class S>
S signal_in(View frame) {
  const auto read = chatcore::protocol::decode_server_frame(frame);
  const auto* push = read ? std::get_if<chatcore::Push>(&*read) : nullptr;
  const S* signal = push ? push->as<S>() : nullptr;
  require(signal, "a frame that nobody expected");
  return *signal;
}
