#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include <chatcore/ids.h>

#include "client/backoff.h"
#include "client/call.h"

namespace chatcore {
inline namespace v1 {
namespace client {

// What the queue needs from its owner.
class QueueOwner {
 public:
  virtual void finished(Call, Result<protocol::View>) = 0;  // the last the queue knows of it
  virtual std::uint64_t random() = 0;

 protected:
  ~QueueOwner() = default;
};

// The requests that are not answered, in the order they were made. Owns no connection: the machine asks for what to
// send next and says what came back.
//
// The server refuses the later numbers of a source while an earlier one has failed and not come again. So after a
// failure that a retry can mend nothing with a key is sent for a while, then everything from the failed one on, in
// order. Reads don't wait for writes that do.
//
// One that was too fast has refused with it all that it sent behind: it goes on with one write at a time, and one more
// for each that is taken.
class RequestQueue {
 public:
  RequestQueue(QueueOwner&, Backoff);

  void add(Call, SteadyTime not_before = {});
  void session_began(std::size_t window, std::size_t frame_bytes);
  void session_ended();  // everything is to be sent again
  // The frame to send now under the number `call`, or nothing: all is under way, waits, or the window is full.
  std::optional<Bytes> next(SteadyTime now, std::uint64_t call);
  void answered(const protocol::Answer&, SteadyTime now);
  void forget_inner();
  void fail_all(const Error&);
  std::optional<SteadyTime> timer(SteadyTime now) const;  // when next() may have what it has not now

 private:
  struct Entry {
    Call call{};
    unsigned attempts{};
  };
  struct Place {
    Lane lane{};
    std::uint64_t number{};
  };
  struct Order {
    std::map<std::uint64_t, Entry> entries{};
    std::set<std::uint64_t> waiting{};  // of them: to be sent
  };

  Order& of(Lane lane) { return orders_[static_cast<std::size_t>(lane)]; }
  const Order& of(Lane lane) const { return orders_[static_cast<std::size_t>(lane)]; }
  std::optional<Place> choose(SteadyTime now);
  void failed(Place, const Error&, SteadyTime now);
  void finish(Place, Result<protocol::View>);

  QueueOwner& owner_;
  Backoff write_backoff_, read_backoff_;
  std::array<Order, 3> orders_;
  std::uint64_t last_ = 0;                              // numbers count through all lanes
  std::unordered_map<std::uint64_t, Place> under_way_;  // by the call's number on this connection
  std::multimap<SteadyTime, Place> delayed_;            // reads
  SteadyTime held_until_{};                             // writes
  std::size_t window_ = 0;                              // 0: no session
  std::size_t writes_ = 0, most_writes_ = 0;            // under way, and of them at once
  std::size_t frame_bytes_ = 0;
};

}  // namespace client
}  // namespace v1
}  // namespace chatcore
