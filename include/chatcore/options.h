#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <chatcore/auth.h>
#include <chatcore/event.h>
#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/ids.h>
#include <chatcore/membership.h>
#include <chatcore/policy.h>
#include <chatcore/pubsub.h>
#include <chatcore/storage.h>

namespace chatcore {
inline namespace v1 {

// What is refused, and when. `too_large` names the limit it ran into.
struct Limits {
  std::size_t frame_bytes = 256 << 10;   // a longer frame closes the connection
  std::size_t text_bytes = 16 << 10;     // Content::text
  std::size_t content_bytes = 64 << 10;  // Content::data
  std::size_t metadata_bytes = 8 << 10;  // keys and values together; also of settings
  std::size_t outbox_bytes = 1 << 20;  // a connection; reading from it pauses at half. Beyond it events become notices
  unsigned session_requests = 64;      // under way at once; a connection is not read further meanwhile
  unsigned engine_requests = 100'000;  // under way at once, over all callers
  std::uint32_t group_members = 500;   // also how many one request may name
  // Above so many members a conversation is fanned out on read: members are not held in memory, nothing is written for
  // each; below the second number on write again.
  std::uint32_t fan_out_on_read = 500, fan_out_on_write = 450;
  std::uint32_t page_items = 200;               // the most a page may be asked for
  std::size_t page_cache_bytes = 32 << 20;      // pages read lately, kept for others who ask for the same
  bool clients_choose_ids = false;              // a client may name the conversation it creates, and so find out which
                                                // names are taken
  std::chrono::milliseconds login{5'000};       // a connection that has not logged in by then is closed
  std::chrono::milliseconds heartbeat{30'000};  // a client is silent no longer than that; closed after twice as long
  std::chrono::milliseconds stalled{10'000};    // a connection that took nothing for so long of what waits is cut

  // Rates: a burst at once, then so many a second. 0 a second: unlimited. Neither is asked of a trusted identity, nor
  // of Engine::call. See docs/limits.md.
  unsigned messages_per_second = 20;   // a user, over all his sessions: what makes or shows something (the list is in
  unsigned message_burst = 40;         // policy.h). Beyond it: rate_limited; a repeat that a key answers costs nothing
  unsigned requests_per_second = 100;  // a session, requests of any kind. A connection beyond it is not read further
  unsigned request_burst = 200;        // until it may; a session in process is answered rate_limited
  unsigned conversation_per_second = 0;  // a conversation, over all who speak in it, but those who are exempt
  unsigned conversation_burst = 100;     // (EngineOptions::exempt): rate_limited, with retry_after

  // Live state: see requests/live.h and receipts.h.
  std::chrono::milliseconds live_tick{200};         // who is told of it is told so often at most; more than 0
  std::chrono::milliseconds typing{3'000};          // for so long it holds
  std::uint32_t typing_members = 100;               // in larger conversations it is not shown
  std::chrono::milliseconds presence_grace{5'000};  // who comes back within that was never away
  std::uint32_t presence_members = 100;             // of a larger conversation only counts are shown
  std::uint32_t watched_users = 1'000;              // a session; the members of small conversations do not count
  std::uint32_t receipt_members = 100;              // in larger conversations receipts are not pushed
};

// Time, from outside. Both are called from several threads.
class CHATCORE_API Clock {
 public:
  virtual ~Clock();
  virtual TimePoint wall() = 0;     // shown; may jump
  virtual SteadyTime steady() = 0;  // timers, budgets: never goes back; poll() reads it once an item
};

enum class LogLevel : int { debug = 0, info = 1, warning = 2, error = 3 };

// What the engine takes from its surroundings. Each is called from several threads; what it throws is dropped.
struct Runtime {
  std::shared_ptr<Clock> clock{};                         // unset: the system's
  Function<std::uint64_t()> random{};                     // unset: std::random_device
  Function<void(LogLevel, std::string_view line)> log{};  // unset: nothing is logged
  Function<void()> wake{};                                // threads = 0: there is something to poll; must not block
};

struct EngineOptions {
  std::unique_ptr<Storage> storage{};              // required: make_rocksdb_storage or make_memory_storage
  std::unique_ptr<PubSub> pubsub{};                // unset: there are no other engines on this store
  std::unique_ptr<Authenticator> authenticator{};  // unset: nobody can log in over a transport
  std::unique_ptr<Membership> membership{};        // unset: who is in a conversation is stored, all of it
  std::unique_ptr<Policy> policy{};                // unset: who is a member may do what his role allows
  Durability durability = Durability::disk;        // of every acknowledgement
  unsigned threads = 1;                            // 0: the host calls poll() or run()
  unsigned shards = 1;                             // 1 to 64; independent parts that threads run
  std::optional<unsigned> storage_threads{};       // unset: 2 (commits, reads), or 0 where threads is 0: then
                                                   // storage runs, and blocks, inside poll() (not stop()'s)
  // What outboxes, frames not handled yet, caches, sessions and conversations may take, by the engine's own account
  // (Stats::memory_bytes); 0: no bound but the limits'; else at least 1 MiB. Near it caches and unused conversations
  // go; at it new sessions and Engine::call are `overloaded`, connections are not read further, and outboxes hold
  // little.
  std::size_t memory_bytes = 0;
  Limits limits{};
  Runtime runtime{};
  std::chrono::milliseconds membership_deadline{5'000};   // for an answer of the membership; more than 0
  std::chrono::milliseconds policy_deadline{1'000};       // for a decision of the policy; more than 0
  Decision policy_default{.code = ErrorCode::overloaded,  // where the policy does not decide: see policy.h
                          .reason = "whether this may pass could not be decided in time; retry",
                          .retry_after = std::chrono::milliseconds(1000)};
  // The host's own profiles, in any order; whom it leaves out has none. Called on engine threads, may complete later.
  // Unset: they are stored. Engine::profile_changed tells who watches.
  Function<void(std::vector<UserId>, Done<std::vector<Profile>>)> profiles{};
  // Who is not held to a conversation's rate: bots, moderators. Called on engine threads; must not block. Unset:
  // nobody.
  Function<bool(const Identity&, const ConversationId&)> exempt{};
};

}  // namespace v1
}  // namespace chatcore
