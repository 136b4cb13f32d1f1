#pragma once

#include <memory>
#include <string_view>

#include <chatcore/pubsub.h>

#include "core/core.h"

namespace chatcore {
inline namespace v1 {
namespace core {

// What several engines on one store tell each other: that the head of a conversation moved. Only a hint: whoever gets
// it reads the store, and where the link was broken everything in memory is looked at again. See docs/pubsub.md.
class Hints final : public PubSubSink {
 public:
  Hints(Core& core, std::unique_ptr<PubSub> pubsub) : core_(core), pubsub_(std::move(pubsub)) {}

  Status start();
  void stop();
  // From a shard: it was committed here.
  void moved(const ConversationId&, Seq before, Seq head);

  // PubSubSink, any thread
  void received(std::string_view topic, Frame) override;
  void link_lost() override {}
  void link_back() override;

 private:
  static constexpr std::string_view topic = "chatcore/heads";
  Core& core_;
  const std::unique_ptr<PubSub> pubsub_;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
