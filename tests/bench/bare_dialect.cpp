#include "bare_wire.h"
#include "dialect.h"

using namespace bare;

namespace {

std::string framed(const std::string& frame) {
  std::string bytes;
  put_length(bytes, frame.size());
  return bytes + frame;
}

std::uint32_t number_of(const std::string& user) {
  return static_cast<std::uint32_t>(std::stoul(user.substr(user.rfind('-') + 1)));
}

std::string call_bytes(std::uint64_t call) {
  std::string bytes;
  for (std::size_t i = 0; i < call_size; ++i, call >>= 7) bytes.push_back(static_cast<char>(call & 0x7f));
  return bytes;
}

std::uint64_t call_in(const char* at) {
  std::uint64_t call = 0;
  for (std::size_t i = call_size; i > 0; --i) call = call << 7 | (static_cast<unsigned char>(at[i - 1]) & 0x7f);
  return call;
}

class BareDialect : public Dialect {
 public:
  std::string login(const std::string& user, std::string_view) const override {
    std::string frame = "L";
    put(frame, number_of(user));
    return framed(frame);
  }
  std::string create_group(const std::vector<std::string>&) const override { return {}; }
  std::string create_channel(bool) const override { return {}; }
  std::string add_readers(const std::string&, std::span<const std::string>) const override { return {}; }
  std::string ping() const override { return {}; }
  bool names_senders() const override { return false; }

  SendTemplate send(const std::string& to, const std::string&, std::size_t bytes) const override {
    return send_to(number_of(to), bytes);
  }
  SendTemplate send_to_group(const std::string&, const std::string&, std::size_t bytes) const override {
    return send_to(everyone, bytes);
  }
  std::string read_history(std::uint64_t call, const std::string& of, std::uint64_t start) const override {
    std::string frame = "H" + of + call_bytes(call);
    put(frame, start);
    return framed(frame);
  }
  std::string sync(std::uint64_t, const std::string&, std::uint64_t) const override { return {}; }

  Incoming read(View view) const override {
    const std::string_view frame = text_of(view);
    Incoming in{.kind = Incoming::Kind::answer, .call = 1};
    if (frame[0] == 'e') {
      in.kind = Incoming::Kind::event;
      in.seq = number_at<std::uint64_t>(frame.data() + 1);
      in.text = frame.substr(9);
    } else if (frame[0] != 'l') {
      in.call = call_in(frame.data() + 1);
      in.body = view.subspan(1 + call_size);
      if (frame[0] == 'a') {
        in.seq = number_at<std::uint64_t>(frame.data() + 1 + call_size);
        in.conversation = frame.substr(9 + call_size);
      }
    }
    return in;
  }
  std::string checkpoint_of(View) const override { return {}; }
  std::string group_of(View) const override { return {}; }
  void read_page(View view, const Row& row) const override {
    for (std::string_view page = text_of(view); !page.empty();) {
      const auto size = number_at<std::uint32_t>(page.data() + 8);
      row(number_at<std::uint64_t>(page.data()), page.substr(12, size));
      page.remove_prefix(12 + size);
    }
  }

 private:
  static SendTemplate send_to(std::uint32_t to, std::size_t bytes) {
    std::string frame = "M";
    put(frame, to);
    frame += call_bytes(0) + std::string(bytes, '.');
    return {.frame = framed(frame), .call_at = 9, .text_at = 9 + call_size, .text_size = bytes};
  }
};

}  // namespace

std::unique_ptr<Dialect> make_bare_dialect() { return std::make_unique<BareDialect>(); }
