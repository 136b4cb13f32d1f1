#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <chatcore/testing.h>

// What every suite of checks is written in.
namespace chatcore {
inline namespace v1 {
namespace conformance {

// Thrown by a check that finds something wrong, caught around the check.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void expect(bool holds, const std::string& promise) {
  if (!holds) throw Failure(promise);
}

inline void expect_same(const std::string& got, const std::string& wanted, const std::string& what) {
  if (got != wanted) throw Failure(what + ": expected [" + wanted + "], got [" + got + "]");
}

inline std::string printable(std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  if (text.size() > 300) return "(" + std::to_string(text.size()) + " bytes)";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out.push_back(c);
    } else {
      out.append({'\\', digits[byte >> 4], digits[byte & 15]});
    }
  }
  return out;
}

// A check that fails where `run` throws: a Failure of ours, or what came out of the plug-in.
template <class F>
Check make_check(const char* name, F run) {
  return {name, [run = std::move(run)]() mutable -> Status {
            try {
              run();
              return {};
            } catch (const std::exception& failure) {
              return {ErrorCode::invalid, failure.what()};
            } catch (...) {
              return {ErrorCode::invalid, "what is checked threw something"};
            }
          }};
}

}  // namespace conformance
}  // namespace v1
}  // namespace chatcore
