#include "place.h"

#include <doctest/doctest.h>

TEST_CASE("a reader has what came in order, and what comes again he has once") {
  Place bob;
  bob.comes(21, 1);
  bob.comes(22, 2);
  bob.comes(21, 1);
  bob.comes(22, 2);
  bob.comes(23, 3);
  CHECK(bob.head() == 23);
}

TEST_CASE("a hole is noticed, at the beginning too, and also on the connection after") {
  Place bob;
  CHECK_THROWS_AS(bob.comes(22, 2), Failure);
  bob.comes(21, 1);
  CHECK_THROWS_AS(bob.comes(23, 3), Failure);
  bob.checkpoint("after 21");
  CHECK(bob.resume() == "after 21");
  CHECK_THROWS_AS(bob.comes(23, 3), Failure);
  bob.comes(22, 2);
  CHECK(bob.head() == 22);
}

TEST_CASE("a checkpoint behind a notice is not resumed from: what the notice tells of has not been read") {
  Place bob;
  bob.checkpoint("at 20");
  bob.comes(21, 1);
  bob.checkpoint("at 21");
  bob.notice();
  bob.checkpoint("at 90");
  CHECK(bob.resume() == "at 21");
  bob.checkpoint("at 22");
  CHECK(bob.resume() == "at 22");
}
