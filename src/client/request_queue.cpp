#include "client/request_queue.h"

#include <algorithm>
#include <utility>

namespace chatcore {
inline namespace v1 {
namespace client {
namespace {

constexpr unsigned read_attempts = 5;

// A server that stops is no answer for good either: another one takes its place.
bool may_mend(const Error& error) { return error.retryable() || error.code == ErrorCode::stopped; }

}  // namespace

RequestQueue::RequestQueue(QueueOwner& owner, Backoff backoff)
    : owner_(owner), write_backoff_(backoff), read_backoff_(backoff) {}

void RequestQueue::add(Call call, SteadyTime not_before) {
  const Place place{call.lane, ++last_};
  of(place.lane).entries.emplace(place.number, Entry{std::move(call)});
  if (not_before == SteadyTime{}) {
    of(place.lane).waiting.insert(place.number);
  } else {
    delayed_.emplace(not_before, place);
  }
}

void RequestQueue::session_began(std::size_t window, std::size_t frame_bytes) {
  window_ = most_writes_ = std::max<std::size_t>(window, 1);
  frame_bytes_ = frame_bytes;
}

void RequestQueue::session_ended() {
  window_ = writes_ = 0;
  std::vector<Place> lost;
  for (const auto& [call, place] : std::exchange(under_way_, {})) {
    if (of(place.lane).entries.at(place.number).call.once) {
      lost.push_back(place);
    } else {
      of(place.lane).waiting.insert(place.number);
    }
  }
  std::sort(lost.begin(), lost.end(), [](Place a, Place b) { return a.number < b.number; });
  for (const Place place : lost) finish(place, Error{ErrorCode::transport_failed, "the connection was lost"});
}

std::optional<Bytes> RequestQueue::next(SteadyTime now, std::uint64_t call) {
  while (under_way_.size() < window_) {
    const auto place = choose(now);
    if (!place) break;
    of(place->lane).waiting.erase(place->number);
    const Call& chosen = of(place->lane).entries.at(place->number).call;
    Bytes frame = protocol::encode_client_frame(call, chosen.id, chosen.body);
    if (frame.size() <= frame_bytes_) {
      under_way_.emplace(call, *place);
      if (place->lane == Lane::write) ++writes_;
      return frame;
    }
    // The server would cut the connection, and cut it again at each repeat.
    finish(*place, Error{ErrorCode::too_large,
                         "the request is longer than the server's frame_bytes, " + std::to_string(frame_bytes_)});
  }
  return std::nullopt;
}

std::optional<RequestQueue::Place> RequestQueue::choose(SteadyTime now) {
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const Place due = delayed_.begin()->second;
    of(due.lane).waiting.insert(due.number);
    delayed_.erase(delayed_.begin());
  }
  const auto first = [&](Lane lane) -> std::optional<Place> {
    if (of(lane).waiting.empty()) return std::nullopt;
    return Place{lane, *of(lane).waiting.begin()};
  };
  if (const auto inner = first(Lane::inner)) return inner;
  const auto read = first(Lane::read);
  const auto write = held_until_ <= now && writes_ < most_writes_ ? first(Lane::write) : std::nullopt;
  if (!read || !write) return read ? read : write;
  return read->number < write->number ? read : write;
}

void RequestQueue::answered(const protocol::Answer& answer, SteadyTime now) {
  const auto found = under_way_.find(answer.call);
  if (found == under_way_.end()) return;
  const Place place = found->second;
  under_way_.erase(found);
  if (place.lane == Lane::write) --writes_;
  if (answer.error && may_mend(*answer.error)) return failed(place, *answer.error, now);
  if (place.lane == Lane::write) {
    if (!answer.error) most_writes_ = std::min(most_writes_ + 1, window_);
    // Only the first in line says that things go well: later ones may be of another conversation.
    if (place.number == of(Lane::write).entries.begin()->first) write_backoff_.reset();
  } else if (!answer.error) {
    read_backoff_.reset();
  }
  finish(place, answer.error ? Result<protocol::View>(*answer.error) : Result<protocol::View>(answer.body));
}

void RequestQueue::failed(Place place, const Error& error, SteadyTime now) {
  if (place.lane == Lane::write) {
    of(Lane::write).waiting.insert(place.number);
    if (error.code == ErrorCode::rate_limited) most_writes_ = 1;
    // Those behind it fail with it: one pause for all of them.
    if (held_until_ <= now) {
      held_until_ = now + (error.retry_after.count() > 0 ? error.retry_after : write_backoff_.next(owner_.random()));
    } else if (error.retry_after.count() > 0) {
      held_until_ = std::max<SteadyTime>(held_until_, now + error.retry_after);
    }
    return;
  }
  Entry& entry = of(place.lane).entries.at(place.number);
  if (++entry.attempts >= read_attempts && place.lane == Lane::read) return finish(place, error);
  const auto pause = error.retry_after.count() > 0 ? error.retry_after : read_backoff_.next(owner_.random());
  delayed_.emplace(now + pause, place);
}

void RequestQueue::forget_inner() {
  of(Lane::inner) = {};
  std::erase_if(under_way_, [](const auto& entry) { return entry.second.lane == Lane::inner; });
  std::erase_if(delayed_, [](const auto& entry) { return entry.second.lane == Lane::inner; });
}

void RequestQueue::fail_all(const Error& error) {
  forget_inner();
  under_way_.clear();
  writes_ = 0;
  delayed_.clear();
  std::map<std::uint64_t, Entry> all = std::exchange(of(Lane::write), {}).entries;
  all.merge(std::exchange(of(Lane::read), {}).entries);
  for (auto& [number, entry] : all) owner_.finished(std::move(entry.call), error);
}

std::optional<SteadyTime> RequestQueue::timer(SteadyTime now) const {
  if (window_ == 0 || under_way_.size() >= window_) return std::nullopt;
  std::optional<SteadyTime> at;
  if (!of(Lane::write).waiting.empty() && held_until_ > now) at = held_until_;
  if (!delayed_.empty() && (!at || delayed_.begin()->first < *at)) at = delayed_.begin()->first;
  return at;
}

void RequestQueue::finish(Place place, Result<protocol::View> result) {
  auto entry = of(place.lane).entries.extract(place.number);
  owner_.finished(std::move(entry.mapped().call), std::move(result));
}

}  // namespace client
}  // namespace v1
}  // namespace chatcore
