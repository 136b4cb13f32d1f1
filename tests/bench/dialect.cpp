#include "dialect.h"

#include "fields.h"
#include "frames.h"

using namespace chatcore;

void SendTemplate::write(char* at, std::uint64_t number, std::int64_t time_ns) const {
  frame.copy(at, frame.size());
  const auto varint = [](char* to, std::uint64_t value) {
    for (int i = 0; i < 5; ++i, value >>= 7) to[i] = static_cast<char>(i < 4 ? value | 0x80 : value & 0x7f);
  };
  varint(at + call_at, first + number);
  if (number_at != 0) varint(at + number_at, first + number);
  body::fill(at + text_at, text_size, number, time_ns);
}

namespace {

// Where the varint of SendTemplate::first stands.
std::size_t place_of_number(const std::string& frame, std::size_t from) {
  return frame.find("\x80\x80\x80\x80\x01", from);
}

class ChatcoreDialect : public Dialect {
 public:
  std::string login(const std::string& user, std::string_view resume) const override {
    return call(1, protocol::Login{.token = user, .resume = Checkpoint{std::string(resume)}});
  }
  std::string create_group(const std::vector<std::string>& members) const override {
    CreateConversation request{.settings = {.title = "benchmark"}};
    for (const std::string& member : members) request.members.push_back({.user = *UserId::make(member)});
    return call(2, request);
  }
  std::string create_channel(bool notify_only) const override {
    return call(2, CreateConversation{.settings = {.title = "benchmark", .notify_only = notify_only},
                                      .kind = ConversationKind::channel});
  }
  std::string add_readers(const std::string& channel, std::span<const std::string> users) const override {
    AddMembers request{.conversation = *ConversationId::make(channel)};
    for (const std::string& user : users) request.members.push_back({*UserId::make(user), Role::reader});
    return call(4, request);
  }
  std::string ping() const override { return call(3, protocol::Ping{}); }
  bool names_senders() const override { return true; }

  SendTemplate send(const std::string& to, const std::string& source, std::size_t bytes) const override {
    return send_to(Direct{*UserId::make(to)}, source, bytes);
  }
  SendTemplate send_to_group(const std::string& group, const std::string& source, std::size_t bytes) const override {
    return send_to(*ConversationId::make(group), source, bytes);
  }
  std::string read_history(std::uint64_t number, const std::string& of, std::uint64_t start) const override {
    return call(number, ReadHistory{.conversation = *ConversationId::make(of), .start = start});
  }
  std::string sync(std::uint64_t number, const std::string& of, std::uint64_t after) const override {
    return call(number, Sync{.conversation = *ConversationId::make(of), .after = after});
  }

  std::string checkpoint_of(View logged_in) const override {
    const auto answer = protocol::decode<protocol::LoggedIn>(logged_in);
    require(bool(answer) && !answer->reset, "a login was answered with nonsense, or a reset");
    return answer->checkpoint.opaque;
  }
  std::string group_of(View created) const override {
    const auto answer = protocol::decode<Accepted>(created);
    require(bool(answer), "a group was answered with nonsense");
    return std::string(answer->conversation.view());
  }
  void read_page(View page, const Row& row) const override {
    for (Fields field(page); field.next();) {
      if (field.number != 1) continue;
      Incoming event;
      read_event(field.bytes, event);
      row(event.seq, event.text);
    }
  }

  Incoming read(View frame) const override {
    Incoming in;
    for (Fields field(frame); field.next();) {
      switch (field.number) {
        case 1:
          in.kind = Incoming::Kind::answer;
          in.call = field.value;
          break;
        case 3:
          in.body = field.bytes;
          if (in.call >= SendTemplate::first) read_accepted(field.bytes, in);
          break;
        case 4:
          in.kind = Incoming::Kind::event;
          read_event(field.bytes, in);
          break;
        case 6:
          in.kind = Incoming::Kind::notice;
          read_notice(field.bytes, in);
          break;
        case 9:
          in.kind = Incoming::Kind::checkpoint;
          in.body = field.bytes;
          break;
        case 2:  // an answer that says no
        case 7:  // a reset
        case 8:  // the end
          in.body = field.bytes;
          in.kind = Incoming::Kind::bad;
          return in;
        default:
          break;
      }
    }
    return in;
  }

 private:
  static SendTemplate send_to(Target to, const std::string& source, std::size_t bytes) {
    const std::string text(bytes, '.');
    SendTemplate made{.frame = call(SendTemplate::first, Send{.to = std::move(to),
                                                              .content = {.text = text},
                                                              .key = IdempotencyKey(source, SendTemplate::first)})};
    made.call_at = place_of_number(made.frame, 0);
    made.text_at = made.frame.find(text);
    made.text_size = bytes;
    made.number_at = place_of_number(made.frame, made.text_at + bytes);
    return made;
  }
  static void read_accepted(View bytes, Incoming& in) {
    for (Fields field(bytes); field.next();) {
      if (field.number == 1) in.conversation = text_of(field.bytes);
      if (field.number == 2) in.seq = field.value;
      if (field.number == 5) in.kind = Incoming::Kind::bad;  // a duplicate: nothing was sent twice
    }
  }
  static void read_event(View bytes, Incoming& in) {
    for (Fields field(bytes); field.next();) {
      if (field.number == 1) in.conversation = text_of(field.bytes);
      if (field.number == 2) in.seq = field.value;
      if (field.number == 3) in.sender = text_of(field.bytes);
      if (field.number == 16) in.text = text_in(text_in(field.bytes));
    }
  }
  static void read_notice(View bytes, Incoming& in) {
    for (Fields field(bytes); field.next();) {
      if (field.number == 1) in.conversation = text_of(field.bytes);
      if (field.number == 2) in.seq = field.value;
      if (field.number == 3) in.spread_ms = field.value;
    }
  }
  // Field 1: of MessagePosted the content, of Content the text.
  static std::string_view text_in(View bytes) {
    for (Fields field(bytes); field.next();) {
      if (field.number == 1) return text_of(field.bytes);
    }
    return {};
  }
  static std::string_view text_in(std::string_view bytes) { return text_in(std::as_bytes(std::span(bytes))); }
};

}  // namespace

std::unique_ptr<Dialect> make_chatcore_dialect() { return std::make_unique<ChatcoreDialect>(); }
