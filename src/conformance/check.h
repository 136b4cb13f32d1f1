#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <chatcore/testing.h>

// What every suite of checks is written in.
namespace chatcore {
inline namespace v1 {
namespace conformance {

using std::chrono::steady_clock;

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

inline Frame frame_of(std::string_view text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const Bytes>(first, first + text.size());
}

// What comes of one question to a plug-in, from whichever thread.
template <class T>
class Answers {
 public:
  void add(Result<T> result) {
    std::lock_guard lock(mutex_);
    if (count_++ == 0) first_.emplace(std::move(result));
  }
  std::optional<Result<T>> first() const {
    std::lock_guard lock(mutex_);
    return first_;
  }
  unsigned count() const {
    std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  mutable std::mutex mutex_;
  std::optional<Result<T>> first_{};
  unsigned count_ = 0;
};

// A question that was asked: `call` was given its completion.
template <class T>
struct Question {
  template <class Call>
  static Question ask(Call call) {
    Question question;
    const auto began = steady_clock::now();
    try {
      call([answers = question.answers](Result<T> result) { answers->add(std::move(result)); });
    } catch (...) {
      question.threw = true;
    }
    question.took = steady_clock::now() - began;
    return question;
  }

  bool came() const { return answers->count() > 0; }
  std::optional<Result<T>> answer() const { return answers->first(); }

  std::shared_ptr<Answers<T>> answers = std::make_shared<Answers<T>>();
  bool threw = false;
  steady_clock::duration took{};
};

// Lets the host go on until `over`, or so long has passed. False: it has.
template <class Over>
bool wait_until(Function<void()>& let, std::chrono::milliseconds most, Over over) {
  for (const auto end = steady_clock::now() + most; !over();) {
    if (steady_clock::now() > end) return false;
    if (let) let();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

// For what must not come any more.
inline void grace(Function<void()>& let) {
  wait_until(let, std::chrono::milliseconds(20), [] { return false; });
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
