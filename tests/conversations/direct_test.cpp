#include "support/chat.h"

using namespace chat;
using Lines = std::vector<std::string>;

TEST_CASE("Alice says hi to Bob, who answers, in the one conversation they have") {
  Server server;
  Person alice(server, "alice"), bob(server, "bob");

  const Accepted hi = alice.says(Direct{"bob"}, "hi");
  CHECK(hi.seq == 1);
  CHECK(hi.durability == Durability::disk);
  CHECK_FALSE(hi.duplicate);
  CHECK(bob.receives() == Lines{"hi"});

  const Accepted hello = bob.says(Direct{"alice"}, "hello");
  CHECK(hello.conversation == hi.conversation);
  CHECK(hello.seq == 2);
  CHECK(alice.receives() == Lines{"hello"});
  CHECK(bob.receives().empty());  // what he did himself he knows
}

TEST_CASE("Every session of both receives it, but the one that sent it") {
  Server server;
  Person phone(server, "alice"), laptop(server, "alice"), bob(server, "bob"), carol(server, "carol");
  phone.says(Direct{"bob"}, "hi");
  CHECK(phone.receives().empty());
  CHECK(laptop.receives() == Lines{"hi"});
  CHECK(bob.receives() == Lines{"hi"});
  CHECK(carol.receives().empty());
}

TEST_CASE("A notebook is a direct conversation with oneself") {
  Server server;
  Person alice(server, "alice"), tablet(server, "alice");
  CHECK(alice.says(Direct{"alice"}, "milk").seq == 1);
  CHECK(tablet.receives() == Lines{"milk"});
}

TEST_CASE("A guest over the wire and a person in the process talk") {
  for (unsigned shards : {1u, 2u, 4u}) {
    CAPTURE(shards);
    EngineOptions options;
    options.shards = shards;
    Server server(std::move(options));
    Guest alice(server, "alice");
    Person bob(server, "bob");
    CHECK(alice.says(Direct{"bob"}, "hi").seq == 1);
    CHECK(bob.receives() == Lines{"hi"});
    bob.says(Direct{"alice"}, "hello");
    CHECK(alice.receives() == Lines{"hello"});
  }
}
