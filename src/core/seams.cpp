#include <string>
#include <utility>

#include <chatcore/auth.h>
#include <chatcore/membership.h>
#include <chatcore/options.h>
#include <chatcore/policy.h>
#include <chatcore/pubsub.h>
#include <chatcore/storage.h>
#include <chatcore/transport.h>

#include "core/link_target.h"

// The seams' destructors stand here, so that each class has one home and one vtable in the library.

namespace chatcore {
inline namespace v1 {

Authenticator::~Authenticator() = default;
Membership::~Membership() = default;
Policy::~Policy() = default;
bool Policy::shows_presence(const Identity&, const UserId&) { return true; }
Clock::~Clock() = default;
PubSub::~PubSub() = default;
PubSubSink::~PubSubSink() = default;
Storage::~Storage() = default;
Connection::~Connection() = default;
Acceptor::~Acceptor() = default;
Transport::~Transport() = default;
Dialer::~Dialer() = default;

Status check_change(const Change& change) {
  const auto broken = [&](const char* rule) {
    return Status(ErrorCode::invalid, "change of partition '" + std::string(change.partition) + "': " + rule);
  };
  if (change.partition.empty() || change.partition.size() > 65) return broken("a partition name has 1 to 65 bytes");
  if (change.new_head < change.expected_head) return broken("new_head lies below expected_head");
  Seq last = change.expected_head;
  for (const StoredEvent& event : change.events) {
    if (event.log != Log::messages && event.log != Log::changes) return broken("there is no such log");
    if (event.seq == 0 || event.seq > change.new_head) return broken("an event's seq lies outside 1 to new_head");
    if (event.seq <= change.expected_head) continue;  // replaces a row, in any order
    if (event.seq <= last) return broken("new events must ascend");
    last = event.seq;
  }
  for (const Row& row : change.rows) {
    if (row.key.empty() || row.key.size() > 256) return broken("a row's key has 1 to 256 bytes");
  }
  return {};
}

Link::Link() = default;
Link::Link(std::shared_ptr<detail::LinkTarget> target) : target_(std::move(target)) {}
Link::Link(const Link&) = default;
Link& Link::operator=(const Link&) = default;
Link::Link(Link&&) noexcept = default;
Link& Link::operator=(Link&&) noexcept = default;
Link::~Link() = default;

void Link::receive(std::span<const std::byte> frame) {
  if (target_) target_->receive(frame);
}
void Link::writable() {
  if (target_) target_->writable();
}
void Link::closed(const Error& why) {
  if (auto target = std::move(target_)) target->closed(why);
}

}  // namespace v1
}  // namespace chatcore
