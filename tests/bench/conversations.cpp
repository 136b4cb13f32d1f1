#include "conversations.h"

#include <algorithm>
#include <span>

#include "failure.h"

std::string answer_to(Loop& loop, const Dialect& dialect, Link& link, const std::string& request) {
  std::string answer;
  bool answered = false;
  loop.on_frame = [&](Link&, View frame) {
    const Incoming in = dialect.read(frame);
    require(in.kind != Incoming::Kind::bad, "a request was refused");
    if (in.kind != Incoming::Kind::answer) return;
    answer = text_of(in.body);
    answered = true;
  };
  loop.queue(link, request);
  const std::int64_t deadline = now_ns() + 30'000'000'000;
  while (!answered) {
    loop.turn(std::chrono::nanoseconds(0));  // asleep, it would be woken at the server's cost
    require(now_ns() < deadline, "a request was not answered");
  }
  return answer;
}

std::string make_channel(Loop& loop, const Dialect& dialect, Link& owner, const std::vector<std::string>& readers,
                         bool notify_only) {
  constexpr std::size_t at_once = 500;
  const std::string create = dialect.create_channel(notify_only);
  if (create.empty()) return {};
  const std::string created = answer_to(loop, dialect, owner, create);
  const std::string channel = dialect.group_of(std::as_bytes(std::span(created)));
  for (std::size_t first = 0; first < readers.size(); first += at_once) {
    const auto some = std::span(readers).subspan(first, std::min(at_once, readers.size() - first));
    answer_to(loop, dialect, owner, dialect.add_readers(channel, some));
  }
  return channel;
}

std::string make_group(Loop& loop, const Dialect& dialect, const std::vector<std::string>& members) {
  const std::string request = dialect.create_group(members);
  if (request.empty()) return {};
  std::string group;
  std::size_t told = 0;
  loop.on_frame = [&](Link&, View frame) {
    const Incoming in = dialect.read(frame);
    require(in.kind != Incoming::Kind::bad, "the group could not be made");
    if (in.kind == Incoming::Kind::answer) group = dialect.group_of(in.body);
    if (in.kind == Incoming::Kind::event) ++told;
  };
  loop.queue(loop.links()[0], request);
  const std::int64_t deadline = now_ns() + 30'000'000'000;
  while (group.empty() || told < members.size() - 1) {
    loop.turn(std::chrono::milliseconds(10));
    require(now_ns() < deadline, "the group did not come into being");
  }
  return group;
}
