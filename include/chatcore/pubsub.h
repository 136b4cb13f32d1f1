#pragma once
#include <chatcore/export.h>
#include <chatcore/function.h>
#include <chatcore/transport.h>
#include <memory>
#include <string_view>
namespace chatcore {
inline namespace v1 {
class CHATCORE_API PubSubSink {
 public:
  virtual ~PubSubSink();
  virtual void received(std::string_view topic, Frame) = 0;
  virtual void link_lost() = 0;
  virtual void link_back() = 0;
};
class CHATCORE_API PubSub {
 public:
  virtual ~PubSub();
  virtual Status start(PubSubSink&) = 0;
  virtual void publish(std::string_view topic, Frame) = 0;
  virtual void subscribe(std::string_view topic, Done<void> confirmed) = 0;
  virtual void unsubscribe(std::string_view topic) = 0;
  virtual void stop() = 0;
};
}  // namespace v1
}  // namespace chatcore
