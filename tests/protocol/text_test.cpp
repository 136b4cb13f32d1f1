#include <doctest/doctest.h>

#include <string>

#include <chatcore/ids.h>

using namespace chatcore;

TEST_CASE("text: UTF-8 as RFC 3629 has it") {
  for (const char* good :
       {"", "a", "seven77", "eight888", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "eight888\xc3\xa9"}) {
    CAPTURE(good);
    CHECK(is_utf8(good));
  }
  for (const char* bad : {"\x80",
                          "\xbf",
                          "\xc0\x80",
                          "\xc1\xbf",
                          "\xc2",
                          "\xc2\x41",
                          "\xe0\x80\x80",
                          "\xe0\x9f\xbf",
                          "\xed\xa0\x80",
                          "\xed\xbf\xbf",
                          "\xe1\x80",
                          "\xf0\x80\x80\x80",
                          "\xf0\x8f\xbf\xbf",
                          "\xf4\x90\x80\x80",
                          "\xf5\x80\x80\x80",
                          "\xff",
                          "\xfe",
                          "\xf1\x80\x80",
                          "eight888\xff",
                          "1234567\xc3",
                          "abc\xc3"}) {
    CHECK_FALSE(is_utf8(bad));
  }
  CHECK(is_utf8(std::string_view("\0", 1)));
}

TEST_CASE("text: what is an id, and why not") {
  for (const std::string& good : {std::string("a"), std::string(63, 'x'), std::string("\xc3\xa9"), std::string(" ~"),
                                  std::string("\xc2\xa0"), std::string("\xe0\xa0\x80")}) {
    const auto id = UserId::make(good);
    REQUIRE(id);
    CHECK(id->view() == good);
  }
  const auto why = [](std::string_view text) {
    const auto id = UserId::make(text);
    REQUIRE_FALSE(id);
    CHECK(id.error().code == ErrorCode::invalid);
    return id.error().message;
  };
  CHECK(why("") == "an id must not be empty");
  CHECK(why(std::string(64, 'x')) == "an id has at most 63 bytes, this one has 64");
  CHECK(why("\xff") == "an id must be UTF-8");
  for (std::string_view control : {std::string_view("\0", 1), std::string_view("a\x1f"), std::string_view("\x7f"),
                                   std::string_view("\xc2\x80"), std::string_view("\xc2\x9f")}) {
    CHECK(why(control) == "an id must not hold a control character");
  }
}

TEST_CASE("text: ids sort by unsigned bytes") {
  CHECK(UserId("a") < UserId("b"));
  CHECK(UserId("a") < UserId("aa"));
  CHECK(UserId("z") < *UserId::make("\xc3\xa9"));
}

TEST_CASE("text: every error has a word, and says whether a retry can help") {
  for (int code = 0; code <= 26; ++code) {
    CAPTURE(code);
    CHECK(name(static_cast<ErrorCode>(code)) != "unknown");
  }
  CHECK(name(ErrorCode::full_group) == "full_group");
  CHECK(name(static_cast<ErrorCode>(999)) == "unknown");
  CHECK(is_retryable(ErrorCode::earlier_failed));
  CHECK(is_retryable(ErrorCode::transport_failed));
  CHECK_FALSE(is_retryable(ErrorCode::conflict));
  CHECK_FALSE(is_retryable(static_cast<ErrorCode>(999)));
}
