#include <utility>

#include <chatcore/auth.h>
#include <chatcore/options.h>
#include <chatcore/storage.h>
#include <chatcore/transport.h>

#include "core/link_target.h"

// The seams' destructors stand here, so that each class has one home and one vtable in the library.

namespace chatcore {
inline namespace v1 {

Authenticator::~Authenticator() = default;
Clock::~Clock() = default;
Storage::~Storage() = default;
Connection::~Connection() = default;
Acceptor::~Acceptor() = default;
Transport::~Transport() = default;
Dialer::~Dialer() = default;

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
