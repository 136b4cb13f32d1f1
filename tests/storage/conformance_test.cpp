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

TEST_CASE("a change that breaks the rules is refused whole") {
  Directory directory;
  for (const bool on_disk : {false, true}) {
    const auto s = on_disk ? make_rocksdb_storage({.path = directory / "store"}) : make_memory_storage();
    REQUIRE(s->open(on_disk ? Durability::disk : Durability::memory));
    done(*s, Step("c:a", 0).messages(3).head(5));
    const std::string refused = "error 5";
    CHECK(commit(*s, Step("c:a", 5).head(4).put(Table::keys, "k", "v")).outcomes == refused);
    CHECK(commit(*s, Step("c:a", 5).replace(Log::messages, 6, "above new_head")).outcomes == refused);
    CHECK(commit(*s, Step("c:a", 5).replace(Log::messages, 7, "").replace(Log::messages, 6, "").head(7)).outcomes ==
          refused);
    CHECK(commit(*s, Step("c:a", 5).replace(Log::messages, 4, "nothing there").message("x")).outcomes == refused);
    CHECK(commit(*s, Step("c:a", 5).replace(Log::changes, 2, "in the other log").message("x")).outcomes == refused);
    CHECK(commit(*s, Step("c:a", 5).put(Table::keys, "", "v")).outcomes == refused);
    CHECK(commit(*s, Step("c:a", 5).put(Table::keys, std::string(257, 'k'), "v")).outcomes == refused);
    CHECK(commit(*s, Step("", 0).message("x")).outcomes == refused);
    CHECK(messages(*s, "c:a") == "1=m1 2=m2 3=m3 | 1..5");
    CHECK(rows(*s, "c:a", Table::keys) == "");
  }
}
