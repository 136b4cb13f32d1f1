#include <doctest/doctest.h>

#include <chatcore/testing.h>

#include "storage/scratch.h"

using namespace scratch;

TEST_CASE("memory storage keeps every promise of storage.h") {
  for (Check& check : storage_conformance(make_memory_storage)) {
    SUBCASE(check.name.c_str()) {
      const Status kept = check.run();
      CHECK_MESSAGE(kept, kept.error().message);
    }
  }
}

TEST_CASE("RocksDB storage keeps every promise of storage.h") {
  Directory directory;
  int made = 0;
  const auto open = [&] { return make_rocksdb_storage({.path = directory / std::to_string(made)}); };
  const auto make = [&] {
    ++made;
    return open();
  };
  for (Check& check : storage_conformance(make, open)) {
    SUBCASE(check.name.c_str()) {
      const Status kept = check.run();
      CHECK_MESSAGE(kept, kept.error().message);
    }
  }
}

TEST_CASE("the suite has a check for what outlives a close only where it can reopen") {
  CHECK(storage_conformance(make_memory_storage, make_memory_storage).size() ==
        storage_conformance(make_memory_storage).size() + 1);
}

TEST_CASE("memory storage refuses durability that it can't give") {
  for (const Durability wanted : {Durability::process, Durability::disk}) {
    const Result<StoreInfo> info = make_memory_storage()->open(wanted);
    REQUIRE(!info);
    CHECK(info.error().code == ErrorCode::invalid);
    CHECK(info.error().message.find("make_rocksdb_storage") != std::string::npos);
  }
}
