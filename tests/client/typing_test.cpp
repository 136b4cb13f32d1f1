#include "client/fake_server.h"

// A client says that its user types as often as it is asked to, and the server hears what is new.

namespace chatcore::client_tests {
namespace {

struct Typist : Alice {
  explicit Typist(ClientOptions options = {}) : Alice(std::move(options)) { settles(); }

  void types(Target to, bool typing = true) {
    client->call(SetTyping{.to = to, .typing = typing},
                 [this](Result<Nothing> answer) { answers.push_back(answer ? ErrorCode::ok : answer.error().code); });
    settles();
  }
  // How many frames came of it; each is answered.
  int heard() {
    int count = 0;
    for (; server.waiting() > 0; ++count) server.answer(server.expect<SetTyping>().first, Nothing{});
    settles();
    return count;
  }
  std::vector<ErrorCode> answers;
};

}  // namespace

TEST_CASE("The same is sent once a second, and answered all the same") {
  Typist alice;
  alice.types(general);
  CHECK(alice.answers.empty());
  CHECK(alice.heard() == 1);
  CHECK(alice.answers.size() == 1);
  for (int i = 0; i < 9; ++i) {
    alice.waits(100ms);
    alice.types(general);
  }
  CHECK(alice.heard() == 0);
  CHECK(alice.answers == std::vector<ErrorCode>(10, ErrorCode::ok));
  alice.waits(99ms);
  alice.types(general);
  CHECK(alice.heard() == 0);
  alice.waits(1ms);
  alice.types(general);
  CHECK(alice.heard() == 1);
}

TEST_CASE("What is new is sent at once: elsewhere, and that he has stopped, or begun again") {
  Typist alice;
  alice.types(general);
  alice.types(random_talk);
  alice.types(Direct{"bob"});
  CHECK(alice.heard() == 3);
  alice.types(general, false);
  alice.types(general, false);
  alice.types(general);
  CHECK(alice.heard() == 2);
  alice.types(random_talk);
  alice.types(Direct{"bob"});
  CHECK(alice.heard() == 0);
}

TEST_CASE("A message begins anew, where it went") {
  Typist alice;
  alice.types(general);
  alice.types(random_talk);
  CHECK(alice.heard() == 2);
  alice.sends("hi");
  alice.settles();
  alice.server.accept(alice.server.expect<Send>().first, 1);
  alice.settles();
  alice.types(general);
  alice.types(random_talk);
  CHECK(alice.heard() == 1);
}

TEST_CASE("What was refused, or lost with the connection, is not taken as said, nor said again by itself") {
  Typist alice;
  alice.types(general);
  alice.server.refuse(alice.server.expect<SetTyping>().first, ErrorCode::forbidden);
  alice.settles();
  alice.types(general);
  CHECK(alice.server.waiting() == 1);
  alice.server.cut();
  alice.waits(200ms);
  CHECK(alice.answers == std::vector<ErrorCode>{ErrorCode::forbidden, ErrorCode::transport_failed});
  CHECK(alice.server.waiting() == 0);
  alice.types(general);
  CHECK(alice.heard() == 1);
}

}  // namespace chatcore::client_tests
