#include <doctest/doctest.h>

#include <thread>

#include <chatcore/testing.h>

#include "conformance/storage_subject.h"

using namespace chatcore;
using namespace chatcore::conformance;
using namespace std::chrono_literals;
using Kind = StorageFault::Kind;

namespace {

struct Shop {
  std::shared_ptr<StorageFaults> faults = std::make_shared<StorageFaults>();
  std::unique_ptr<Storage> storage = make_faulty_storage(make_memory_storage(), faults);
  Shop() { REQUIRE(storage->open(Durability::memory)); }
  std::string commits(const Step& step) { return commit(*storage, step).outcomes; }
};

}  // namespace

TEST_CASE("a faulty storage without a fault keeps every promise of storage.h") {
  const auto faults = std::make_shared<StorageFaults>();
  for (Check& check : storage_conformance([=] { return make_faulty_storage(make_memory_storage(), faults); })) {
    SUBCASE(check.name.c_str()) {
      const Status kept = check.run();
      CHECK_MESSAGE(kept, kept.error().message);
    }
  }
}

TEST_CASE("the nth call fails, then so many more, then all is well") {
  Shop shop;
  shop.faults->add({.call = StorageCall::commit, .after = 1, .times = 2, .code = ErrorCode::storage_full});
  CHECK(shop.commits(Step("c:a", 0).message("1")) == "ok");
  CHECK(shop.commits(Step("c:a", 1).message("2")) == "error 11");
  CHECK(shop.commits(Step("c:a", 1).message("2")) == "error 11");
  CHECK(shop.commits(Step("c:a", 1).message("2")) == "ok");
  CHECK(messages(*shop.storage, "c:a") == "1=1 2=2 | 1..2");
  CHECK(shop.faults->calls(StorageCall::commit) == 4);
}

TEST_CASE("every call fails from the nth on, until it is cleared") {
  Shop shop;
  shop.faults->add({.call = StorageCall::commit, .after = 1, .times = 0});
  CHECK(shop.commits(Step("c:a", 0).message("1")) == "ok");
  for (int i = 0; i < 5; ++i) CHECK(shop.commits(Step("c:a", 1).message("2")) == "error 10");
  shop.faults->clear();
  CHECK(shop.commits(Step("c:a", 1).message("2")) == "ok");
}

TEST_CASE("each method fails by itself") {
  Shop shop;
  const auto works = [&](StorageCall call) {
    Storage& s = *shop.storage;
    switch (call) {
      case StorageCall::open:
        return bool(make_faulty_storage(make_memory_storage(), shop.faults)->open(Durability::memory));
      case StorageCall::commit:
        return shop.commits(Step("c:b", 0)) == "ok";
      case StorageCall::events:
        return bool(s.events("c:a", Log::messages, 1, Direction::forward, {}));
      case StorageCall::row:
        return bool(s.row("c:a", Table::keys, "k"));
      case StorageCall::rows:
        return bool(s.rows("c:a", Table::keys, "", {}));
      case StorageCall::feed:
        return bool(s.feed(0, {}));
    }
    return false;
  };
  constexpr StorageCall all[] = {StorageCall::open, StorageCall::commit, StorageCall::events,
                                 StorageCall::row,  StorageCall::rows,   StorageCall::feed};
  for (const StorageCall broken : all) {
    shop.faults->add({.call = broken, .times = 0});
    for (const StorageCall call : all) CHECK(works(call) == (call != broken));
    shop.faults->clear();
    for (const Kind kind : {Kind::throws, Kind::fails}) {
      shop.faults->add({.call = broken, .kind = kind});
      bool worked = false, threw = false;
      try {
        worked = works(broken);
      } catch (const std::exception&) {
        threw = true;
      }
      CHECK_FALSE(worked);
      CHECK(threw == (kind == Kind::throws));
      CHECK(works(broken));  // once
    }
  }
}

TEST_CASE("an unknown outcome was done, or was not") {
  Shop shop;
  shop.faults->add({.call = StorageCall::commit, .kind = Kind::unanswered});
  CHECK(shop.commits(Step("c:a", 0).message("1")) == "unknown");
  CHECK(messages(*shop.storage, "c:a") == "1=1 | 1..1");
  shop.faults->add({.call = StorageCall::commit, .code = ErrorCode::unknown_outcome});
  CHECK(shop.commits(Step("c:a", 1).message("2")) == "unknown");
  CHECK(messages(*shop.storage, "c:a") == "1=1 | 1..1");
}

TEST_CASE("a fault may pick the commits that it hits") {
  Shop shop;
  shop.faults->add({.call = StorageCall::commit, .after = 1, .times = 0, .only = [](std::span<const Change> changes) {
                      return changes[0].partition == "c:a";
                    }});
  CHECK(shop.commits(Step("c:b", 0).message("1")) == "ok");
  CHECK(shop.commits(Step("c:a", 0).message("1")) == "ok");
  CHECK(shop.commits(Step("c:b", 1).message("2")) == "ok");
  CHECK(shop.commits(Step("c:a", 1).message("2")) == "error 10");
}

TEST_CASE("a call hangs until it is released, or cancelled where that is allowed") {
  for (const bool cancels : {false, true}) {
    Shop shop;
    shop.faults->cancel_releases(cancels);
    shop.faults->add({.call = StorageCall::row, .kind = Kind::hangs, .times = 0});
    std::atomic<int> returned{0};
    std::thread caller([&] {
      (void)shop.storage->row("c:a", Table::keys, "k");
      ++returned;
    });
    REQUIRE(shop.faults->wait_for([&] { return shop.faults->hanging() == 1; }, 20s));
    shop.storage->cancel();
    if (!cancels) {
      CHECK(shop.faults->hanging() == 1);
      shop.faults->release();
    }
    caller.join();
    CHECK(returned == 1);
    CHECK(shop.faults->hanging() == 0);
    if (cancels) CHECK(shop.storage->row("c:a", Table::keys, "k"));  // nothing blocks after cancel()
  }
}

TEST_CASE("a slow call takes that much longer, and the others do not wait for it") {
  Shop shop;
  shop.faults->add({.call = StorageCall::row, .kind = Kind::slow, .delay = 50ms});
  const auto began = std::chrono::steady_clock::now();
  CHECK(shop.storage->row("c:a", Table::keys, "k"));
  CHECK(std::chrono::steady_clock::now() - began >= 50ms);
}

TEST_CASE("the orders outlive the storage, and know when it is gone") {
  Shop shop;
  CHECK(shop.faults->storages() == 1);
  shop.storage.reset();
  CHECK(shop.faults->storages() == 0);
  shop.faults->clear();
}
