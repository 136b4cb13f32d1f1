#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <chatcore/client.h>
#include <chatcore/engine.h>
#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/policy.h>
#include <chatcore/storage.h>
#include <chatcore/transport.h>

namespace chatcore {
inline namespace v1 {

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
