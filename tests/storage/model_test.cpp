#include <doctest/doctest.h>

#include "storage/model.h"

using namespace scratch;

TEST_CASE("memory storage equals a simple model over random operations") {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    CAPTURE(seed);
    Play play(seed, make_memory_storage, Durability::memory);
    for (int i = 0; i < 400; ++i) play.step();
    for (int i = 0; i < 5; ++i) play.compare_feed();
  }
}

TEST_CASE("RocksDB storage equals a simple model over random operations and reopenings") {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    CAPTURE(seed);
    Directory directory;
    Play play(
        seed, [&] { return make_rocksdb_storage({.path = directory / "store", .write_buffer_bytes = 256 << 10}); },
        Durability::process);
    for (int i = 1; i <= 400; ++i) {
      play.step();
      if (i % 50 == 0) {
        play.compare_feed();
        play.reopen();
      }
    }
  }
}
