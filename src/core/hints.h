#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <chatcore/pubsub.h>

#include "core/core.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// That the head of a conversation moved, in a batch of the store.
struct Hint {
  std::uint64_t batch{};
  Seq before{}, head{};
  ConversationId id{};
};

// What several engines on one store tell each other: which heads moved. Only a hint: whoever gets it reads the store.
// What may have been missed while a link was broken is found in the store's feed, by the engine whose link it was and,
// as it says so, by those that may have missed what it published. See docs/pubsub.md.
class Hints final : public PubSubSink {
 public:
  Hints(Core& core, std::unique_ptr<PubSub> pubsub) : core_(core), pubsub_(std::move(pubsub)) {}

  Status start();
  void stop();
  void moved(const Hint&);  // from a shard: it was committed here

  // PubSubSink, any thread
  void received(std::string_view topic, Frame) override;
  void link_lost() override;
  void link_back() override;

 private:
  static constexpr std::string_view topic = "chatcore/heads";

  std::uint64_t heard_long_ago(std::uint64_t newest);
  void look_at_feed(std::uint64_t since);
  // On the first shard.
  void read_feed();

  Core& core_;
  const std::unique_ptr<PubSub> pubsub_;
  std::uint64_t engine_ = 0;  // which of them this is: a name by chance

  // Batches that were heard of, now and a while ago. Guarded by mutex_.
  std::mutex mutex_;
  std::uint64_t heard_ = 0, heard_then_ = 0, heard_before_ = 0;
  SteadyTime then_{};
  std::optional<std::uint64_t> lost_since_{};
  std::uint64_t back_since_ = 0;  // of the last loss that is over; what was said of that may be lost as well
  std::optional<SteadyTime> back_at_{};

  // On the first shard: after which batch the feed is to be read.
  std::optional<std::uint64_t> wanted_{};
  bool reading_ = false;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
