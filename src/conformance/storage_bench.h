#pragma once

#include <memory>
#include <span>

#include <chatcore/testing.h>

#include "conformance/storage_subject.h"

namespace chatcore {
inline namespace v1 {
namespace conformance {

// Makes storages for the checks, and opens them with the most that they can give.
class Bench {
 public:
  Bench(Function<std::unique_ptr<Storage>()> make, Function<std::unique_ptr<Storage>()> reopen)
      : make_(std::move(make)), reopen_(std::move(reopen)) {}

  std::unique_ptr<Storage> closed() { return made(make_()); }

  std::unique_ptr<Storage> fresh(StoreInfo* info = nullptr) {
    if (wanted_ == Durability{}) find_durability();
    return opened(made(make_()), info);
  }

  bool reopens() const { return static_cast<bool>(reopen_); }
  // The storage has to be closed (destroyed) before.
  std::unique_ptr<Storage> again(StoreInfo* info = nullptr) { return opened(made(reopen_()), info); }

 private:
  static std::unique_ptr<Storage> made(std::unique_ptr<Storage> storage) {
    expect(storage != nullptr, "the suite was given a function that makes no storage");
    return storage;
  }
  std::unique_ptr<Storage> opened(std::unique_ptr<Storage> storage, StoreInfo* info) {
    StoreInfo reported = must(storage->open(wanted_), "open()");
    if (info) *info = std::move(reported);
    return storage;
  }
  void find_durability() {
    for (const Durability wanted : {Durability::disk, Durability::process, Durability::memory}) {
      const Result<StoreInfo> info = made(make_())->open(wanted);
      if (info && info->durability >= wanted) {
        wanted_ = wanted;
        return;
      }
    }
    throw Failure("open() fails at every durability");
  }

  Function<std::unique_ptr<Storage>()> make_, reopen_;
  Durability wanted_{};
};

struct Named {
  const char* name;
  void (*check)(Bench&);
  bool reopens = false;
};

// What is kept: events, trims, rows.
std::span<const Named> storage_content_checks();

}  // namespace conformance
}  // namespace v1
}  // namespace chatcore
