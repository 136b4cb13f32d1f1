#pragma once

#include <chatcore/testing.h>

#include <functional>
#include <memory>
#include <string>

#include "support/chat.h"

namespace chat {

// Two engines on one store, the second with two shards. What they tell each other goes wrong as `faults` say, both
// ways; or where the second one has a link of its own that holds, only what concerns the first.
struct Cluster {
  explicit Cluster(bool second_link_holds = false)
      : one(options(1, faults), store),
        two(options(2, second_link_holds ? std::make_shared<PubSubFaults>() : faults), store) {}

  EngineOptions options(unsigned shards, std::shared_ptr<PubSubFaults> of_its_link) const {
    EngineOptions options;
    options.shards = shards;
    options.pubsub = make_faulty_pubsub(make_inprocess_pubsub(exchange), std::move(of_its_link));
    options.limits.fan_out_on_read = 8, options.limits.fan_out_on_write = 6;
    return options;
  }
  void settle() {
    for (int i = 0; i < 4; ++i) one.settle(), two.settle();
  }
  void time_passes() {  // what was heard of long ago need not be looked for
    one.advance(std::chrono::seconds(11)), two.advance(std::chrono::seconds(11));
    settle();
  }
  // Again where the other engine wrote in between.
  void says(Person& who, const ConversationId& where, const std::string& text) {
    for (int i = 0; i < 10; ++i) {
      const auto sent = who.asks(Send{.to = where, .content = {.text = text}, .key = text});
      settle();
      if (sent) return;
      CHECK(sent.error().retryable());
    }
    FAIL("ten tries were not enough");
  }

  std::shared_ptr<PubSubFaults> faults = std::make_shared<PubSubFaults>(7);
  std::shared_ptr<InprocessExchange> exchange = std::make_shared<InprocessExchange>();
  std::shared_ptr<SharedStorage> store = std::make_shared<SharedStorage>();
  Server one, two;
};

}  // namespace chat
