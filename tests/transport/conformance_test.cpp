#include <doctest/doctest.h>

#include <chatcore/testing.h>

#include "transport/nets.h"

using namespace chatcore;

namespace {

template <class Net>
TransportPair tcp() {
  return {make_tcp_transport(Net::options()),
          [](const Endpoint& at) { return make_tcp_dialer(at, 16 << 20, Net::trust()); }};
}
TransportPair loopback() {
  const auto network = std::make_shared<Loopback>();
  return {network->transport(), [network](const Endpoint&) { return network->dialer(); }};
}
TransportPair faultless(TransportPair pair) {
  const auto faults = std::make_shared<ConnectionFaults>();
  return {make_faulty_transport(std::move(pair.transport), faults),
          [dialer = std::move(pair.dialer), faults](const Endpoint& at) mutable {
            return make_faulty_dialer(dialer(at), faults);
          }};
}

void keeps_every_promise(Function<TransportPair()> make) {
  for (Check& check : transport_conformance(std::move(make))) {
    SUBCASE(check.name.c_str()) {
      const Status kept = check.run();
      CHECK_MESSAGE(kept, kept.error().message);
    }
  }
}

}  // namespace

TEST_CASE("TCP keeps every promise of transport.h") { keeps_every_promise(tcp<fakes::Plain>); }
TEST_CASE("TLS keeps every promise of transport.h") { keeps_every_promise(tcp<fakes::Secured>); }
TEST_CASE("Loopback keeps every promise of transport.h") { keeps_every_promise(loopback); }
TEST_CASE("a faulty transport without a fault keeps every promise of transport.h") {
  keeps_every_promise([] { return faultless(tcp<fakes::Plain>()); });
}
TEST_CASE("a transport that takes one frame at a time keeps every promise of transport.h") {
  keeps_every_promise([] {
    TransportPair pair = loopback();
    const auto faults = std::make_shared<ConnectionFaults>();
    faults->take_at_most(1);
    return TransportPair{make_faulty_transport(std::move(pair.transport), faults),
                         [dialer = std::move(pair.dialer), faults](const Endpoint& at) mutable {
                           return make_faulty_dialer(dialer(at), faults);
                         }};
  });
}
