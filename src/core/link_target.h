#pragma once

#include <span>

#include <chatcore/transport.h>

namespace chatcore {
inline namespace v1 {
namespace detail {

// What stands behind a Link: a session of the engine, or a client.
class LinkTarget {
 public:
  virtual ~LinkTarget() = default;
  virtual void receive(std::span<const std::byte> frame) = 0;
  virtual void writable() = 0;
  virtual void closed(const Error& why) = 0;
};

}  // namespace detail
}  // namespace v1
}  // namespace chatcore
