#include <chatcore/testing.h>
#include <doctest/doctest.h>

#include "backend/sqlite_storage.h"
#include "storage/scratch.h"

using namespace scratch;

TEST_CASE("the storage on SQLite keeps every promise of storage.h") {
  Directory directory;
  int made = 0;
  const auto open = [&] { return backend::make_sqlite_storage({.path = directory / std::to_string(made)}); };
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
