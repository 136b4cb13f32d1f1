#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "transport/fakes.h"
#include "transport/raw_socket.h"
#include "transport/tcp/frames.h"

using namespace fakes;

namespace {

const std::vector<std::string> three{"a", "bc", std::string(300, 'd')};
const std::string stream = framed(three[0]) + framed(three[1]) + framed(three[2]);

struct Cut {
  tcp::FrameCutter cutter{300};
  std::vector<std::string> frames{};

  bool feed(std::string_view part) {
    return cutter.feed(bytes(part), [&](std::span<const std::byte> frame) {
      frames.push_back(text(frame));
      return true;
    });
  }
};

}  // namespace

TEST_CASE("frames: come out whole wherever the stream is split") {
  for (std::size_t first = 0; first <= stream.size(); ++first) {
    for (std::size_t second : {first, first + 1, first + 4, first + 5, stream.size()}) {
      if (second > stream.size()) continue;
      Cut cut;
      CHECK(cut.feed(stream.substr(0, first)));
      CHECK(cut.feed(stream.substr(first, second - first)));
      CHECK(cut.feed(stream.substr(second)));
      CHECK(cut.frames == three);
      CHECK(cut.cutter.held() == 0);
    }
  }
  Cut bytewise;
  for (char c : stream) CHECK(bytewise.feed(std::string(1, c)));
  CHECK(bytewise.frames == three);
}

TEST_CASE("frames: a length that cannot be is refused before memory is taken") {
  for (const auto& [header, length] : {std::pair{std::string("\0\0\0\0", 4), 0ull},
                                       {std::string("\0\0\1\x2d", 4), 301ull},
                                       {std::string("\x7f\xff\xff\xff", 4), 0x7fffffffull},
                                       {std::string("\xff\xff\xff\xff", 4), 0xffffffffull}}) {
    Cut whole;
    CHECK_FALSE(whole.feed(framed("a") + header + "xyz"));
    CHECK(whole.frames == std::vector<std::string>{"a"});
    CHECK(whole.cutter.bad_length() == length);
    Cut split;
    CHECK(split.feed(header.substr(0, 3)));
    CHECK_FALSE(split.feed(header.substr(3)));
    CHECK(split.cutter.bad_length() == length);
    CHECK(split.cutter.held() < 64);
  }
  Cut bound;
  CHECK(bound.feed(std::string("\0\0\1\x2c", 4)));  // as much as is allowed, announced only
  CHECK(bound.cutter.held() < 64);
}

TEST_CASE("frames: what follows the last one wanted is dropped") {
  tcp::FrameCutter cutter(300);
  int frames = 0;
  CHECK(cutter.feed(bytes(stream), [&](std::span<const std::byte>) { return ++frames < 2; }));
  CHECK(frames == 2);
  CHECK(cutter.held() == 0);
}
