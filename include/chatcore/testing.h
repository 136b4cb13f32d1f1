#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <chatcore/client.h>
#include <chatcore/engine.h>
#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/membership.h>
#include <chatcore/policy.h>
#include <chatcore/pubsub.h>
#include <chatcore/storage.h>
#include <chatcore/transport.h>

namespace chatcore {
inline namespace v1 {

namespace detail {
class FaultyAuthenticator;
class FaultyMembership;
class FaultyPubSub;
class FaultyStorage;
class FaultyWires;
}  // namespace detail

// A clock that stands still until it is told to move. Safe from several threads.
class CHATCORE_API ManualClock final : public Clock {
 public:
  explicit ManualClock(TimePoint start = TimePoint(std::chrono::milliseconds(1'800'000'000'000)));
  ~ManualClock() override;
  TimePoint wall() override;
  SteadyTime steady() override;  // moves on by cost_per_read first

  void advance(std::chrono::milliseconds);        // both times
  void jump(std::chrono::milliseconds);           // wall time only, either way
  void cost_per_read(std::chrono::microseconds);  // as poll reads it once an item: what an item takes

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// An engine without threads, on a manual clock, with a seeded random source and, unless options say otherwise,
// memory storage. Everything happens in settle() and advance(), on the calling thread.
class CHATCORE_API TestEngine {
 public:
  // Threads, storage threads, clock and random source of `options` are replaced. Where the engine does not open
  // (a storage that fails), status() says why and engine() must not be called.
  static TestEngine open(EngineOptions options = {}, std::uint64_t seed = 1);
  TestEngine(TestEngine&&) noexcept;
  TestEngine& operator=(TestEngine&&) noexcept;
  ~TestEngine();

  const Status& status() const noexcept;
  Engine& engine();
  ManualClock& clock();
  void settle();                            // until nothing is runnable
  void advance(std::chrono::milliseconds);  // moves the clock in steps, settling after each timer
  void cost_per_item(std::chrono::microseconds);

 private:
  struct State;
  explicit TestEngine(std::unique_ptr<State>);
  std::unique_ptr<State> state_;
};

// A network in memory. `transport` goes to Engine::listen, dialers to ClientOptions::dialer; any number of dialers
// can be made. Frames are handed over inside poll() of the engine and of the client, in order, without loss,
// until cut().
class CHATCORE_API Loopback {
 public:
  Loopback();
  ~Loopback();
  std::unique_ptr<Transport> transport();
  std::unique_ptr<Dialer> dialer();
  void cut();                          // closes every connection, dropping what is under way
  void cut_after(std::size_t frames);  // cuts once so many more frames have been handed to the engine
  void refuse(bool);                   // new connections fail

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// ---- conformance

// One named promise of a seam. `run` makes what it needs and says what is wrong; it does not throw.
struct Check {
  std::string name{};
  Function<Status()> run{};
};

// What storage.h promises, as checks. `make` gives a fresh, empty storage each time it is called; `reopen`, where
// given, gives another object on the data of the last one made (which is destroyed first), for the checks that
// outlive a close. Runs on the calling thread; a check takes well under a second.
CHATCORE_API std::vector<Check> storage_conformance(Function<std::unique_ptr<Storage>()> make,
                                                    Function<std::unique_ptr<Storage>()> reopen = {});

// A login to try an authenticator with.
struct AuthenticatorTrial {
  Function<std::unique_ptr<Authenticator>()> make{};  // a fresh one each time
  Function<Credentials()> good{};                     // asked for each login, so they may be used up by one
  Identity identity{};                                // whom the good ones name; `device` and `expires` are compared
                                                      // where they are set
  Function<Credentials()> bad{};                      // well-formed, but to be refused
  Function<void()> poll{};                            // where it needs the host's loop to answer: called until it has
  std::chrono::milliseconds patience{5'000};  // an answer that takes longer does not come: the engine's login deadline
};

// What auth.h promises, as checks. Runs on the calling thread, but for one check, which logs in from others too.
CHATCORE_API std::vector<Check> authenticator_conformance(AuthenticatorTrial);

// A transport, and the way to it. `dialer` is called after start(), with what that gave.
struct TransportPair {
  std::unique_ptr<Transport> transport{};
  Function<std::unique_ptr<Dialer>(const Endpoint&)> dialer{};
};

// What transport.h promises of a Transport, a Dialer and their Connections, as checks. `make` gives a fresh pair each
// time. Runs on the calling thread, which polls both, in real time: a check gives up after `patience`.
CHATCORE_API std::vector<Check> transport_conformance(Function<TransportPair()> make,
                                                      std::chrono::milliseconds patience = std::chrono::seconds(10));

// A table of members to try, and what it has to say.
struct MembershipTrial {
  Function<std::unique_ptr<Membership>()> make{};  // each time a fresh one, of a table that is as follows
  ConversationId conversation{};                   // one that it owns and lists
  std::vector<Member> members{};                   // all who are in that; one at least
  UserId stranger{};                               // is in none of its conversations
  // What is left out of these is not checked.
  ConversationId foreign{};                   // one that it does not own
  ConversationId deserted{};                  // one that it owns, with nobody in it
  ConversationId crowd{};                     // one that it owns, with more members, the first of `members` among them,
                                              // than it likes to list
  Function<void(const UserId&)> remove{};     // takes one out of `conversation`, in the table of the last one made
  Function<void()> let{};                     // where it needs the host's loop to answer: called until it has
  std::chrono::milliseconds patience{5'000};  // an answer that takes longer does not come: the engine's deadline
};

// What membership.h promises, as checks. Runs on the calling thread, but for one check, which asks from others too;
// `let` is called on that thread alone.
CHATCORE_API std::vector<Check> membership_conformance(MembershipTrial);

// Two on one broker, not started, and what can be done to their links to it.
struct PubSubPair {
  std::unique_ptr<PubSub> one{}, two{};
  Function<void()> break_link{}, mend_link{};  // of both; unset: what becomes of a lost link is not checked
};

// What pubsub.h promises, as checks. `make` gives a fresh pair each time. What comes later is waited for, for up to
// `patience`; `let`, where given, is called meanwhile, by one thread at a time: whatever of the host's hands frames
// over. The checks publish from several threads.
CHATCORE_API std::vector<Check> pubsub_conformance(Function<PubSubPair()> make, Function<void()> let = {},
                                                   std::chrono::milliseconds patience = std::chrono::seconds(10));

// ---- faults

// Wrappers that fail on order: what they wrap does the work. The orders are shared with the test, which may give them
// from any thread while the wrapper is used, and may outlive it.

enum class StorageCall : std::uint8_t { open, commit, events, row, rows, feed };

struct StorageFault {
  enum class Kind : std::uint8_t {
    fails,       // with `code`, and nothing is done: unknown_outcome is a commit that was lost
    unanswered,  // a commit that is done, but says unknown_outcome
    throws,      // nothing is done
    hangs,       // until StorageFaults::release(), then it goes on
    slow,        // it takes `delay` longer, in real time
  };
  StorageCall call{};
  Kind kind = Kind::fails;
  unsigned after = 0;  // so many calls pass before the first that is hit
  unsigned times = 1;  // how many are hit, then the fault is over; 0: all from then on
  ErrorCode code = ErrorCode::storage_unavailable;
  std::chrono::milliseconds delay{};
  Function<bool(std::span<const Change>)> only{};  // of a commit: others pass, and are not counted in `after`
};

class CHATCORE_API StorageFaults {
 public:
  StorageFaults();
  ~StorageFaults();
  void add(StorageFault);             // behind those there are; a call is hit by the first that fits
  void clear();                       // all is well, and what hangs goes on
  void release();                     // what hangs now goes on
  void cancel_releases(bool);         // whether Storage::cancel() does that too; true unless told
  unsigned calls(StorageCall) const;  // so far
  unsigned hanging() const;           // calls, now
  unsigned storages() const;          // wrappers that obey, now
  bool wait_for(Function<bool()> over, std::chrono::milliseconds most);  // looks at each call; false: it did not come

 private:
  struct State;
  friend class detail::FaultyStorage;
  std::shared_ptr<State> state_;
};
CHATCORE_API std::unique_ptr<Storage> make_faulty_storage(std::unique_ptr<Storage>, std::shared_ptr<StorageFaults>);

// Of every connection of a transport or a dialer.
class CHATCORE_API ConnectionFaults {
 public:
  ConnectionFaults();
  ~ConnectionFaults();
  void cut_after(std::size_t frames);     // the connection that receives that many more, over all, is lost; 0: all are
  void take_at_most(std::size_t frames);  // a send takes no more at once; 0: as many as there is room for
  void delay(unsigned polls);             // what happens reaches the Link so many polls later
  void refuse(bool);                      // new connections are closed, or not made, with transport_failed
  std::size_t received() const;           // frames, over all connections
  std::size_t sent() const;

 private:
  struct State;
  friend class detail::FaultyWires;
  std::shared_ptr<State> state_;
};
CHATCORE_API std::unique_ptr<Transport> make_faulty_transport(std::unique_ptr<Transport>,
                                                              std::shared_ptr<ConnectionFaults>);
CHATCORE_API std::unique_ptr<Dialer> make_faulty_dialer(std::unique_ptr<Dialer>, std::shared_ptr<ConnectionFaults>);

enum class AuthenticatorFault : std::uint8_t {
  none,
  late,     // answered in AuthenticatorFaults::release()
  twice,    // answered, then again with an identity of somebody else
  never,    // the completion is kept for ever
  dropped,  // ... or let go of without an answer
  throws,   // instead of an answer
};

class CHATCORE_API AuthenticatorFaults {
 public:
  AuthenticatorFaults();
  ~AuthenticatorFaults();
  void next(std::vector<AuthenticatorFault>);  // what happens to the logins to come, in order; then all is well
  std::size_t release();                       // answers what is late, on this thread; how many
  std::size_t waiting() const;                 // late, now

 private:
  struct State;
  friend class detail::FaultyAuthenticator;
  std::shared_ptr<State> state_;
};
CHATCORE_API std::unique_ptr<Authenticator> make_faulty_authenticator(std::unique_ptr<Authenticator>,
                                                                      std::shared_ptr<AuthenticatorFaults>);

enum class MembershipFault : std::uint8_t {
  none,
  fails,    // with `overloaded`, and the table is not asked
  late,     // answered in MembershipFaults::release()
  twice,    // answered, then again as if there were nobody
  never,    // the completion is kept for ever
  dropped,  // ... or let go of without an answer
  throws,   // instead of an answer
};

class CHATCORE_API MembershipFaults {
 public:
  explicit MembershipFaults(std::uint64_t seed = 1);
  ~MembershipFaults();
  // What happens to the questions to come, in order, whoever is asked about; then as some() says.
  void next(std::vector<MembershipFault>);
  // Of all others this share, 0 to 1, suffers one of these, as chance of the seed has it; 0: all is well.
  void some(double share, std::vector<MembershipFault>);
  std::size_t release();        // answers what is late, in order, on this thread; how many
  std::size_t waiting() const;  // late, now
  std::size_t asked() const;    // questions, so far; owns() is none
  std::size_t spoiled() const;  // of these, by a fault

 private:
  struct State;
  friend class detail::FaultyMembership;
  std::shared_ptr<State> state_;
};
CHATCORE_API std::unique_ptr<Membership> make_faulty_membership(std::unique_ptr<Membership>,
                                                                std::shared_ptr<MembershipFaults>);

enum class PubSubFault : std::uint8_t {
  none,
  lost,       // goes nowhere, and all sinks are told: link_lost(), link_back()
  unnoticed,  // goes nowhere, and nobody is told, as no PubSub may do
  late,       // published in PubSubFaults::release(), behind those that came later
  twice,
  throws,  // publish() does, and the frame goes nowhere
};

// Of the frames of all PubSubs that obey it, and of their links.
class CHATCORE_API PubSubFaults {
 public:
  explicit PubSubFaults(std::uint64_t seed = 1);
  ~PubSubFaults();
  void next(std::vector<PubSubFault>);                // what happens to the frames to be published, in order
  void some(double share, std::vector<PubSubFault>);  // as MembershipFaults::some
  // Every link is lost until it is mended: nothing is published or received, and subscriptions wait. Sinks are told on
  // this thread, or on the one that is calling them.
  void break_link();
  void mend_link();
  std::size_t release();          // publishes what is late, on this thread; how many
  std::size_t waiting() const;    // late, now
  std::size_t published() const;  // frames offered, so far
  std::size_t spoiled() const;    // of these, by a fault

 private:
  struct State;
  friend class detail::FaultyPubSub;
  std::shared_ptr<State> state_;
};
CHATCORE_API std::unique_ptr<PubSub> make_faulty_pubsub(std::unique_ptr<PubSub>, std::shared_ptr<PubSubFaults>);

// ---- a policy

// What policy.h asks of a policy, as checks. `make` gives a fresh one each time it is called. Decisions that come later
// are waited for, up to two seconds each; `let`, where given, is called meanwhile: whatever of the host's completes
// them. The checks use users, conversations and texts of their own; which of them pass is the policy's matter.
CHATCORE_API std::vector<Check> policy_conformance(Function<std::unique_ptr<Policy>()> make, Function<void()> let = {});

// Spoils the decisions of a policy, to see what a host's program makes of it. A handle; safe from any thread.
class CHATCORE_API PolicyFaults {
 public:
  enum class Fault {
    none,
    late,     // kept back until release()
    twice,    // and then once more, as a refusal
    dropped,  // the completion is destroyed
    never,    // the completion is kept, unused, as long as this handle or the policy lives
    throws,   // decide() does
  };
  PolicyFaults();
  ~PolicyFaults();
  std::unique_ptr<Policy> wrap(std::unique_ptr<Policy>);
  void set(Fault);           // of what is asked from now on
  std::size_t late() const;  // how many are kept back
  void release();            // gives them, in order, on the calling thread

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace v1
}  // namespace chatcore
