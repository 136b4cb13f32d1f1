#include <doctest/doctest.h>

#include "protocol/record.h"
#include "protocol/rows.h"
#include "protocol/samples.h"

// Bytes that stand on disks and go between versions: they never change. A test that fails here has found a change of
// the format, and the change is wrong.

using namespace samples;

namespace {

Bytes stored_event() {
  Event stored = event();
  stored.key = {};
  return encode(stored);
}

#define CHATCORE_CONTENT "0a0368c3a9120a696d6167652f776562701a02010222060a0161120162"
#define CHATCORE_EVENT "0a02633110ac021a05616c6963652080c0e285e368"
#define CHATCORE_KEY "0a0570686f6e651007"
#define CHATCORE_POSTED "0a1d" CHATCORE_CONTENT "100218012009"
#define CHATCORE_STORED CHATCORE_EVENT "820125" CHATCORE_POSTED
#define CHATCORE_MARKS "10091880c0e285e368200128013001"

}  // namespace

TEST_CASE("golden: the stored record") {
  Origin origin{.key = key(), .age = 1000, .floor = 20, .base = 299};
  for (std::size_t i = 0; i < origin.digest.size(); ++i) origin.digest[i] = static_cast<std::byte>(i + 1);
  const char* golden = "0d5bde5450123d" CHATCORE_STORED "1a09" CHATCORE_KEY
                       "22100102030405060708090a0b0c0d0e0f10"
                       "28e807301438ab02";
  CHECK(hex(encode_record(stored_event(), origin)) == golden);
  CHECK(decode_event(unhex(golden)));
}

TEST_CASE("golden: the digest of a request") {
  const Bytes body = encode(Send{.to = Direct{"bob"}, .content = content()});
  CHECK(hex(digest_of(RequestId::send, body)) == "e28705aec240399fb419eb5e682cf365");
}

TEST_CASE("golden: events") {
  CHECK(hex(encode(event())) == CHATCORE_EVENT "2a09" CHATCORE_KEY "820125" CHATCORE_POSTED);
  CHECK(hex(encode(event(changed()))) == CHATCORE_EVENT "2a09" CHATCORE_KEY "8a012d0803100218042225" CHATCORE_POSTED);
  CHECK(hex(encode(event(members_changed()))) == CHATCORE_EVENT "2a09" CHATCORE_KEY
                                                                "9201120a01610a01621201631a070a03626f621003");
  CHECK(hex(encode(event(SettingsChanged{settings()}))) == CHATCORE_EVENT "2a09" CHATCORE_KEY
                                                                          "9a01120a100a015412050a01631200180320092801");
}

TEST_CASE("golden: what a user has marked") {
  CHECK(hex(encode(event(own_changed()))) == CHATCORE_EVENT "2a09" CHATCORE_KEY
                                                            "a2011d"
                                                            "0a130a026331" CHATCORE_MARKS "0a040a0263321001");
}

TEST_CASE("golden: rows beside the logs") {
  Marks of_a_row = marks();
  of_a_row.conversation = {};
  CHECK(hex(encode_row(of_a_row)) == "2a9bfbfe" CHATCORE_MARKS);
  CHECK(hex(encode_row(OwnSettingsRow{.hides_receipts = true})) == "734d89750801");
  CHECK(hex(encode_row(ReceiptRow{.delivered = 300, .read = 9})) == "bd5ca43e08ac021009");
  Profile of_a_user = profile();
  of_a_user.user = {};
  CHECK(hex(encode_row(of_a_user)) == "92693f64120342c3b61a03612f3122050a01631200");
}

TEST_CASE("golden: what a client sends") {
  CHECK(hex(encode(Send{.to = Direct{"bob"}, .content = content(), .key = key()})) ==
        "0a051203626f62121d" CHATCORE_CONTENT "1a09" CHATCORE_KEY);
  CHECK(hex(encode_client_frame(5, RequestId::mark_read, encode(MarkRead{.conversation = "c1", .seq = 9}))) ==
        "080510111a060a0263311009");
}

TEST_CASE("golden: what a server sends") {
  CHECK(hex(encode_answer(5, encode(ReadCursor{9}))) == "08051a020809");
  CHECK(hex(encode_answer(5, error())) == "0805121008081209736c6f7720646f776e18dc0b");
  CHECK(hex(encode_event_push(stored_event())) == "223d" CHATCORE_STORED);
  CHECK(hex(encode_event_push(stored_event(), key())) == "2248" CHATCORE_STORED "2a09" CHATCORE_KEY);
  CHECK(hex(encode_signal_push(ephemeral())) == "2a2d82012a0a0263311205616c6963651a1d" CHATCORE_CONTENT);
  CHECK(hex(encode_signal_push(typing())) == "2a138a01100a0263311205616c6963651203626f62");
  CHECK(hex(encode_signal_push(presence_changed())) ==
        "2a1a920117"
        "0a0a0a03626f621002189a01"
        "0a090a05616c6963651003");
  CHECK(hex(encode_head_moved({.conversation = "c1", .head = 9})) == "32060a0263311009");
  CHECK(hex(encode_reset()) == "3a00");
  CHECK(hex(encode_closed(error())) == "421008081209736c6f7720646f776e18dc0b");
  CHECK(hex(encode_checkpoint({"\xfe"})) == "4a01fe");
}
