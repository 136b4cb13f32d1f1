#pragma once

#include <atomic>
#include <cstdint>

namespace chatcore {
inline namespace v1 {
namespace core {

// The numbers behind Stats. Written from every thread, read whenever.
struct Counters {
  using Number = std::atomic<std::uint64_t>;
  Number messages{0}, duplicates{0}, deliveries{0}, commits{0}, failed_changes{0}, refused{0}, closed_slow{0},
      collapses{0}, notices{0}, resyncs{0}, closed_malformed{0}, callback_exceptions{0}, sessions{0}, connections{0},
      conversations{0}, outbox_bytes{0}, inbound_bytes{0}, page_bytes{0}, session_bytes{0}, conversation_bytes{0};
};

inline void add(Counters::Number& number, std::uint64_t n = 1) noexcept {
  number.fetch_add(n, std::memory_order_relaxed);
}
inline void sub(Counters::Number& number, std::uint64_t n = 1) noexcept {
  number.fetch_sub(n, std::memory_order_relaxed);
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
