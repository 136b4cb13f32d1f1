#pragma once

#include <vector>

#include <chatcore/request.h>
#include <chatcore/requests/messages.h>
#include <chatcore/requests/reading.h>

namespace chatcore {
inline namespace v1 {

// How far each member has received and read a conversation. Both only move forward. They are written within about a
// second, so a crash may lose the last one; nothing moves back. Above Limits::fan_out_on_read members none are kept.

// Says that everything up to `seq` has reached the caller's device; the application says it, the Client does not. A
// smaller seq changes nothing. `invalid`: beyond the head.
struct MarkDelivered {
  using Reply = ReadCursor;
  static constexpr auto id = RequestId::mark_delivered;
  ConversationId conversation{};
  Seq seq{};
};

struct ReceiptsPage {
  std::vector<Receipt> receipts{};  // of members, by user; without those of whom nothing is known
  UserId next{};                    // give as `after` to go on; empty: this was the last page
};
// Who has received and read up to where. too_large: more members than Limits::fan_out_on_read.
struct GetReceipts {
  using Reply = ReceiptsPage;
  static constexpr auto id = RequestId::get_receipts;
  ConversationId conversation{};
  UserId after{};
  std::uint32_t limit = 50;  // at most Limits::page_items
};

// Whether others learn from now on what the caller has received and read. His devices are told (OwnChanged); what
// others have learned stays. unknown_outcome, storage_full.
struct ShareReceipts {
  using Reply = Nothing;
  static constexpr auto id = RequestId::share_receipts;
  bool share = true;
};

}  // namespace v1
}  // namespace chatcore
