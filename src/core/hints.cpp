#include "core/hints.h"

#include <charconv>
#include <optional>
#include <string>
#include <utility>

#include "core/conversation.h"
#include "core/shard.h"

namespace chatcore {
inline namespace v1 {
namespace core {
namespace {

// "1 <head before> <head> <conversation>"
struct Hint {
  Seq before{}, head{};
  ConversationId id{};
};

Frame encode(const Hint& hint) {
  const std::string text =
      "1 " + std::to_string(hint.before) + " " + std::to_string(hint.head) + " " + hint.id.string();
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const Bytes>(bytes, bytes + text.size());
}

std::optional<Hint> decode(const Bytes& bytes) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with("1 ")) return {};
  text.remove_prefix(2);
  Hint hint;
  for (Seq* number : {&hint.before, &hint.head}) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
    if (error != std::errc{} || end == text.data() + text.size() || *end != ' ') return {};
    text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  }
  const auto id = ConversationId::make(text);
  if (!id || hint.before >= hint.head) return {};
  hint.id = *id;
  return hint;
}

}  // namespace

Status Hints::start() {
  Status started = Error{ErrorCode::transport_failed, "the pub/sub threw an exception", {}};
  guarded(core_, [&] { started = pubsub_->start(*this); });
  if (!started) return started;
  // Confirmed or not: nobody is logged in yet, so that there is nothing to read again.
  guarded(core_, [&] { pubsub_->subscribe(topic, [](Status) {}); });
  return {};
}

void Hints::stop() {
  guarded(core_, [&] { pubsub_->stop(); });
}

void Hints::moved(const ConversationId& id, Seq before, Seq head) {
  guarded(core_, [&] { pubsub_->publish(topic, encode({before, head, id})); });
}

void Hints::received(std::string_view name, Frame frame) {
  if (name != topic || !frame) return;
  const auto hint = decode(*frame);
  if (!hint) return;
  Shard& shard = core_.home(hint->id);
  shard.post([&shard, hint = *hint] { shard.conversations().hinted(hint.id, hint.before, hint.head); });
}

void Hints::link_back() {
  for (auto& shard : core_.shards) {
    shard->post([&conversations = shard->conversations()] { conversations.look_again(); });
  }
}

}  // namespace core
}  // namespace v1
}  // namespace chatcore
