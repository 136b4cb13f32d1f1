#include <doctest/doctest.h>

#include <deque>
#include <memory>
#include <random>

#include "core/slim_queue.h"

using chatcore::core::SlimQueue;

TEST_CASE("What goes in comes out in the same order, however pushes and pops are mixed") {
  SlimQueue<int> queue;
  std::deque<int> model;
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    if (random() % 5 < 3) {
      queue.push(i);
      model.push_back(i);
    } else {
      const std::size_t count = random() % (model.size() + 1);
      queue.pop(count);
      model.erase(model.begin(), model.begin() + static_cast<std::ptrdiff_t>(count));
    }
    REQUIRE(queue.size() == model.size());
    REQUIRE(queue.empty() == model.empty());
    REQUIRE(std::equal(model.begin(), model.end(), queue.all().begin(), queue.all().end()));
    if (!model.empty()) REQUIRE(queue.front() == model.front());
  }
}

TEST_CASE("What was popped is let go of at once") {
  SlimQueue<std::shared_ptr<int>> queue;
  const auto first = std::make_shared<int>(1);
  queue.push(first);
  queue.push(std::make_shared<int>(2));
  queue.pop();
  CHECK(first.use_count() == 1);
}

TEST_CASE("An empty queue owns no memory, also after it was full") {
  SlimQueue<int> queue;
  CHECK(queue.held() == 0);
  for (int i = 0; i < 1'000; ++i) queue.push(i);
  CHECK(queue.held() >= 1'000);
  queue.pop(1'000);
  CHECK(queue.held() == 0);
}

TEST_CASE("A queue that is never empty does not grow with what went through it") {
  SlimQueue<int> queue;
  queue.push(0);
  for (int i = 1; i < 100'000; ++i) {
    queue.push(i);
    queue.pop();
  }
  CHECK(queue.held() <= 64);
}
