#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include <chatcore/result.h>

namespace chatcore {
inline namespace v1 {

// A callable that is moved, never copied, so it may hold what cannot be copied (a promise, a unique_ptr).
// Callables of up to 48 bytes that move without throwing are kept in place; larger ones are allocated once.
// Calling an empty Function is undefined: test it first.
template <class Signature>
class Function;

template <class R, class... A>
class Function<R(A...)> {
 public:
  Function() = default;
  Function(std::nullptr_t) {}

  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, Function> && std::is_invocable_r_v<R, std::decay_t<F>&, A...>)
  Function(F&& callable) {
    using Callable = std::decay_t<F>;
    if constexpr (fits<Callable>) {
      ::new (static_cast<void*>(space_)) Callable(std::forward<F>(callable));
    } else {
      ::new (static_cast<void*>(space_)) Callable*(new Callable(std::forward<F>(callable)));
    }
    actions_ = &actions_of<Callable>;
  }

  Function(Function&& other) noexcept { take(other); }
  Function& operator=(Function&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;
  ~Function() { reset(); }

  explicit operator bool() const noexcept { return actions_ != nullptr; }
  R operator()(A... arguments) { return actions_->call(space_, std::forward<A>(arguments)...); }

 private:
  struct Actions {
    R (*call)(void*, A&&...);
    void (*move)(void* from, void* to) noexcept;
    void (*destroy)(void*) noexcept;
  };
  static constexpr std::size_t space = 48;
  template <class F>
  static constexpr bool fits = sizeof(F) <= space &&
                               alignof(F) <= alignof(std::max_align_t) && std::is_nothrow_move_constructible_v<F>;

  template <class F>
  static F& in(void* at) noexcept {
    if constexpr (fits<F>) {
      return *std::launder(static_cast<F*>(at));
    } else {
      return **std::launder(static_cast<F**>(at));
    }
  }
  template <class F>
  static R call_in(void* at, A&&... arguments) {
    if constexpr (std::is_void_v<R>) {
      std::invoke(in<F>(at), std::forward<A>(arguments)...);
    } else {
      return std::invoke(in<F>(at), std::forward<A>(arguments)...);
    }
  }
  template <class F>
  static void move_between(void* from, void* to) noexcept {
    if constexpr (fits<F>) {
      ::new (to) F(std::move(in<F>(from)));
      in<F>(from).~F();
    } else {
      ::new (to) F*(&in<F>(from));
    }
  }
  template <class F>
  static void destroy_in(void* at) noexcept {
    if constexpr (fits<F>) {
      in<F>(at).~F();
    } else {
      delete &in<F>(at);
    }
  }
  template <class F>
  static constexpr Actions actions_of{&call_in<F>, &move_between<F>, &destroy_in<F>};

  void take(Function& other) noexcept {
    actions_ = std::exchange(other.actions_, nullptr);
    if (actions_) actions_->move(other.space_, space_);
  }
  void reset() noexcept {
    if (const Actions* actions = std::exchange(actions_, nullptr)) actions->destroy(space_);
  }

  alignas(std::max_align_t) std::byte space_[space];
  const Actions* actions_ = nullptr;
};

// What a request calls when it is over: exactly once, never inside the call that started it.
template <class T>
using Done = Function<void(Result<T>)>;

}  // namespace v1
}  // namespace chatcore
