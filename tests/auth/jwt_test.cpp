#include <doctest/doctest.h>
#include <jwt.h>
#include <openssl/err.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include <chatcore/chatcore.h>
#include <chatcore/testing.h>

#include "auth/tokens.h"

using namespace tokens;
using namespace std::chrono_literals;

namespace {

const std::string secret = "0123456789abcdef0123456789ABCDEF";
const Pair& rsa() {
  static const Pair pair = Pair::rsa(2048);
  return pair;
}
const Pair& ed() {
  static const Pair pair = Pair::ed25519();
  return pair;
}
constexpr char rs256[] = R"({"alg":"RS256"})", eddsa[] = R"({"alg":"EdDSA"})";
// The test's clock stands at 1,800,000,000 s.
constexpr char good[] = R"({"sub":"alice","exp":1800003600})";

JwtKey hs_key(std::string id = {}) { return {.id = std::move(id), .algorithm = JwtAlgorithm::hs256, .key = secret}; }
JwtKey rs_key(std::string id = {}) {
  return {.id = std::move(id), .algorithm = JwtAlgorithm::rs256, .key = rsa().public_pem()};
}
JwtKey ed_key(std::string id = {}) {
  return {.id = std::move(id), .algorithm = JwtAlgorithm::eddsa, .key = ed().public_pem()};
}

struct Door {
  explicit Door(std::vector<JwtKey> list, JwtOptions options = {}) {
    auto made = JwtKeys::make(std::move(list));
    REQUIRE_MESSAGE(made, made.error().message);
    keys = *made;
    options.keys = keys;
    options.clock = clock;
    options.refused = [this](std::string_view reason) { why = reason; };
    auto authenticator = make_jwt_authenticator(std::move(options));
    REQUIRE_MESSAGE(authenticator, authenticator.error().message);
    door = std::move(*authenticator);
  }
  Result<Identity> knock(std::string token) {
    why.clear();
    std::optional<Result<Identity>> answer;
    door->authenticate({.token = std::move(token)}, [&](Result<Identity> result) {
      REQUIRE_FALSE(answer);
      answer.emplace(std::move(result));
    });
    REQUIRE(answer);
    if (!*answer) {
      CHECK(answer->error().code == ErrorCode::unauthenticated);
      CHECK_FALSE(why.empty());
    }
    return *answer;
  }
  // Who comes in, or why not, as the host hears it.
  std::string opens(std::string token) {
    const Result<Identity> who = knock(std::move(token));
    if (!who) return why;
    CHECK_FALSE(who->trusted);
    return "welcome " + who->user.string();
  }

  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
  std::shared_ptr<JwtKeys> keys;
  std::unique_ptr<Authenticator> door;
  std::string why;
};

std::string claims(const std::string& more) { return R"({"sub":"alice","exp":1800003600,)" + more + "}"; }

const std::string not_signed = "no key of ours has signed it", no_key = "there is no key of its `kid` and `alg`",
                  not_base64 = "a part of it is not base64url", welcome = "welcome alice";

}  // namespace

TEST_CASE("a token that a key has signed names its user, and when the login ends") {
  Door door({hs_key(), rs_key(), ed_key()});
  for (const std::string& token : {by_secret(secret, good), by_pair(rsa(), rs256, good), by_pair(ed(), eddsa, good)}) {
    const auto who = door.knock(token);
    REQUIRE_MESSAGE(who, door.why);
    CHECK(who->user == UserId("alice"));
    CHECK(who->device.empty());
    CHECK(who->expires == TimePoint(1'800'003'600s));
    CHECK_FALSE(who->trusted);
  }
}

TEST_CASE("the example of RFC 8037 is verified, and expects more than its claims have") {
  // Appendix A.4: the payload is a text and no object of claims, so the refusal comes after the signature was found
  // good.
  const JwtKey key{.algorithm = JwtAlgorithm::eddsa,
                   .key =
                       "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
                       "-----END PUBLIC KEY-----\n"};
  Door door({key});
  const std::string token =
      "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
      "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
  CHECK(door.opens(token).find("claims are no JSON object") != std::string::npos);
  std::string other = token;
  other[30] = 'A';
  CHECK(door.opens(other) == not_signed);
}

TEST_CASE("a token that libjwt has made is taken") {
  jwt_t* made = nullptr;
  REQUIRE(jwt_new(&made) == 0);
  REQUIRE(jwt_add_grant(made, "sub", "alice") == 0);
  REQUIRE(jwt_add_grant_int(made, "exp", 1'800'003'600) == 0);
  SUBCASE("HS256") { REQUIRE(jwt_set_alg(made, JWT_ALG_HS256, octets(secret), static_cast<int>(secret.size())) == 0); }
  SUBCASE("RS256") {
    const std::string pem = rsa().private_pem();
    REQUIRE(jwt_set_alg(made, JWT_ALG_RS256, octets(pem), static_cast<int>(pem.size())) == 0);
  }
  char* text = jwt_encode_str(made);
  REQUIRE(text);
  const std::string token = text;
  free(text);
  jwt_free(made);
  CHECK(Door({hs_key(), rs_key()}).opens(token) == welcome);
}

// ---- algorithms

TEST_CASE("`none` is never accepted, however it is written") {
  Door door({hs_key(), rs_key(), ed_key()});
  for (const char* none : {"none", "None", "NONE", "nOnE", ""}) {
    const std::string header = R"({"alg":")" + std::string(none) + R"("})", part = unsigned_part(header, good);
    CHECK(door.opens(part + ".") == "it is not three parts with dots between them");
    CHECK(door.opens(part + "." + base64url("x")) == no_key);
    CHECK(door.opens(part + "." + base64url(hmac(secret, part))) == no_key);
    CHECK(door.opens(part + "." + base64url(hmac("", part))) == no_key);
  }
  CHECK(door.opens(by_secret(secret, good, "{}")) == "its header has no `alg`");
  CHECK(door.opens(by_secret(secret, good, R"({"alg":0})")) == "its header has no `alg`");
}

TEST_CASE("a token can't choose another algorithm than its key's") {
  const std::string pem = rsa().public_pem();
  // The public key as the secret of an HMAC: everyone knows it.
  Door only_rsa({rs_key("k")});
  CHECK(only_rsa.opens(by_secret(pem, good)) == no_key);
  CHECK(only_rsa.opens(by_secret(pem, good, R"({"alg":"HS256","kid":"k"})")) == no_key);
  CHECK(only_rsa.opens(by_secret(pem, good, R"({"alg":"RS256","kid":"k"})")) == not_signed);

  Door all({hs_key("h"), rs_key("r"), ed_key("e")});
  CHECK(all.opens(by_secret(secret, good, R"({"alg":"HS256","kid":"h"})")) == welcome);
  CHECK(all.opens(by_secret(pem, good)) == not_signed);
  CHECK(all.opens(by_secret(ed().public_pem(), good)) == not_signed);
  CHECK(all.opens(by_secret(secret, good, R"({"alg":"HS256","kid":"r"})")) == no_key);
  CHECK(all.opens(by_pair(rsa(), R"({"alg":"RS256","kid":"e"})", good)) == no_key);
  CHECK(all.opens(by_pair(ed(), R"({"alg":"RS256"})", good)) == not_signed);
  CHECK(all.opens(by_pair(rsa(), R"({"alg":"EdDSA"})", good)) == not_signed);
  for (const char* other : {"HS384", "HS512", "RS384", "RS512", "PS256", "ES256", "hs256", "Ed25519", "HS256 "}) {
    const std::string header = R"({"alg":")" + std::string(other) + R"("})";
    CHECK(all.opens(by_secret(secret, good, header)) == no_key);
    CHECK(all.opens(by_pair(rsa(), header, good)) == no_key);
  }
}

TEST_CASE("a `kid` picks the key; without one every key of the algorithm is tried") {
  const Pair other = Pair::ed25519();
  Door door({ed_key("old"), {.id = "new", .algorithm = JwtAlgorithm::eddsa, .key = other.public_pem()}});
  CHECK(door.opens(by_pair(ed(), eddsa, good)) == welcome);
  CHECK(door.opens(by_pair(other, eddsa, good)) == welcome);
  CHECK(door.opens(by_pair(other, R"({"alg":"EdDSA","kid":"new"})", good)) == welcome);
  CHECK(door.opens(by_pair(other, R"({"alg":"EdDSA","kid":"old"})", good)) == not_signed);
  CHECK(door.opens(by_pair(other, R"({"alg":"EdDSA","kid":"older"})", good)) == no_key);
  CHECK(door.opens(by_pair(other, R"({"alg":"EdDSA","kid":7})", good)) == "its `kid` is no text");
  CHECK(door.opens(by_pair(Pair::ed25519(), eddsa, good)) == not_signed);

  Door nameless({ed_key()});
  CHECK(nameless.opens(by_pair(ed(), R"({"alg":"EdDSA","kid":"x"})", good)) == no_key);
}

// ---- claims

TEST_CASE("a token counts from nbf until exp") {
  Door door({hs_key()});
  const std::string token = by_secret(secret, R"({"sub":"alice","nbf":1800000010,"exp":1800000020.5})");
  CHECK(door.opens(token) == "it is not valid yet");
  door.clock->jump(9'999ms);
  CHECK(door.opens(token) == "it is not valid yet");
  door.clock->jump(1ms);
  CHECK(door.opens(token) == welcome);
  door.clock->jump(10'499ms);
  CHECK(door.opens(token) == welcome);
  door.clock->jump(1ms);
  CHECK(door.opens(token) == "it has expired");
}

TEST_CASE("the leeway counts on both sides, and for the session") {
  Door door({hs_key()}, {.leeway = 30s});
  const std::string token = by_secret(secret, R"({"sub":"alice","nbf":1800000040,"exp":1800000050})");
  door.clock->jump(9s);
  CHECK(door.opens(token) == "it is not valid yet");
  door.clock->jump(1s);
  CHECK(door.knock(token)->expires == TimePoint(1'800'000'080s));
  door.clock->jump(69'999ms);
  CHECK(door.opens(token) == welcome);
  door.clock->jump(1ms);
  CHECK(door.opens(token) == "it has expired");
}

TEST_CASE("a date that is none is refused") {
  Door door({hs_key()}, {.allow_no_expiry = true});
  for (const char* date : {R"("1800003600")", "null", "true", "-1", "1e300", "253402300800", "[1800003600]", "{}"}) {
    CHECK(door.opens(by_secret(secret, R"({"sub":"alice","exp":)" + std::string(date) + "}")) ==
          "its `exp` is no date");
    CHECK(door.opens(by_secret(secret, R"({"sub":"alice","nbf":)" + std::string(date) + "}")) ==
          "its `nbf` is no date");
  }
  CHECK(Door({ed_key()}).opens(by_pair(ed(), eddsa, R"({"sub":"alice","exp":1e999})")).find("no JSON") !=
        std::string::npos);
  CHECK(door.opens(by_secret(secret, R"({"sub":"alice","exp":253402300799})")) == welcome);
  CHECK(door.opens(by_secret(secret, R"({"sub":"alice","exp":0})")) == "it has expired");
}

TEST_CASE("a token without an exp is refused, unless an option takes it") {
  const std::string token = by_secret(secret, R"({"sub":"alice"})");
  CHECK(Door({hs_key()}).opens(token) == "it has no `exp`");
  Door lenient({hs_key()}, {.allow_no_expiry = true});
  CHECK(lenient.knock(token)->expires == TimePoint::max());
}

TEST_CASE("a token for another audience is refused") {
  const auto with = [](const std::string& aud) { return by_secret(secret, claims(R"("aud":)" + aud)); };
  const std::string refused = "it is for another audience";
  Door chat({hs_key()}, {.audience = "chat"});
  CHECK(chat.opens(with(R"("chat")")) == welcome);
  CHECK(chat.opens(with(R"(["mail","chat"])")) == welcome);
  for (const char* aud : {R"("mail")", R"("chat ")", R"("Chat")", "[]", R"(["mail"])", R"(["chat",1])", R"([["chat"]])",
                          R"([1,"chat"])", R"({"chat":"chat"})", "null", "7", R"(["mail",{"chat":"chat"}])"}) {
    CHECK(chat.opens(with(aud)) == refused);
  }
  CHECK(chat.opens(by_secret(secret, good)) == refused);
  // Who names no audience finds himself in none (RFC 7519, 4.1.3).
  CHECK(Door({hs_key()}).opens(with(R"("chat")")) == refused);
}

TEST_CASE("a token of another issuer is refused, where one is asked for") {
  Door door({hs_key()}, {.issuer = "https://id.example"});
  CHECK(door.opens(by_secret(secret, claims(R"("iss":"https://id.example")"))) == welcome);
  for (const char* iss : {R"("https://id.example/")", "null", R"(["https://id.example"])"}) {
    CHECK(door.opens(by_secret(secret, claims(R"("iss":)" + std::string(iss)))) == "it is of another issuer");
  }
  CHECK(door.opens(by_secret(secret, good)) == "it is of another issuer");
  CHECK(Door({hs_key()}).opens(by_secret(secret, claims(R"("iss":"anyone")"))) == welcome);
}

TEST_CASE("the subject has to be a user id") {
  Door door({ed_key()});
  for (const char* sub :
       {"", R"("sub":"",)", R"("sub":7,)", R"("sub":null,)", R"("sub":["alice"],)", R"("sub":"a\nb",)",
        R"("sub":"a\u0000b",)", R"("sub":"0123456789012345678901234567890123456789012345678901234567890123",)"}) {
    CAPTURE(sub);
    CHECK(door.opens(by_pair(ed(), eddsa, "{" + std::string(sub) + R"("exp":1800003600})")) ==
          "its `sub` is no user id");
  }
}

TEST_CASE("a claim may name the device") {
  Door door({hs_key()}, {.device_claim = "dev"});
  CHECK(door.knock(by_secret(secret, claims(R"("dev":"phone")")))->device == DeviceId("phone"));
  CHECK(door.knock(by_secret(secret, good))->device.empty());
  for (const char* dev : {R"("")", "7", "null", R"(["phone"])"}) {
    CHECK(door.opens(by_secret(secret, claims(R"("dev":)" + std::string(dev)))) == "its device is no device id");
  }
  CHECK(Door({hs_key()}).knock(by_secret(secret, claims(R"("dev":"phone")")))->device.empty());
}

// ---- what is no token

TEST_CASE("what is malformed is refused, whatever its signature says") {
  Door door({hs_key(), ed_key()});
  const std::string token = by_secret(secret, good);
  const std::string shape = "it is not three parts with dots between them";
  for (const std::string& bad : {std::string(), std::string("."), std::string(".."), std::string("alice"), token + ".",
                                 token + ".x", token.substr(0, token.rfind('.')), "." + token}) {
    CHECK(door.opens(bad) == shape);
  }
  for (const std::string& bad : {token + "=", token + "==", " " + token, token + "\n", token + std::string(1, '\0'),
                                 "Bearer " + token, std::string("\xff\xfe.\xff.\xff"), "a" + token}) {
    const std::string why = door.opens(bad);
    CHECK_MESSAGE((why == not_base64 || why.find("header is no JSON object") != std::string::npos), why);
  }
  for (const char* header : {R"({"alg":"EdDSA","alg":"EdDSA"})", R"({"alg":"EdDSA","x":{"a":1,"a":2}})", R"(["alg"])",
                             R"("EdDSA")", "{}x", R"({"alg":"EdDSA"} {})", "", "7", R"({"alg":"EdDSA",})",
                             "{\"alg\":\"EdDSA\",\"x\":\"\xff\"}", R"({'alg':'EdDSA'})", R"({"alg":"EdDSA"/**/})"}) {
    CHECK(door.opens(by_pair(ed(), header, good)) ==
          "its header is no JSON object, has a member twice, or nests too deep");
  }
  for (const char* body : {R"({"sub":"alice","sub":"bob","exp":1800003600})", R"({"sub":"alice","s\u0075b":"bob"})",
                           R"(["sub"])", "null", "", R"({"sub":"alice","exp":1800003600,"x":[{"a":1,"a":1}]})"}) {
    CHECK(door.opens(by_pair(ed(), eddsa, body)) ==
          "its claims are no JSON object, have a member twice, or nest too deep");
  }
  CHECK(door.opens(by_pair(ed(), R"({"alg":"EdDSA","crit":["exp"]})", good)).find("`crit`") != std::string::npos);
  CHECK(door.opens(by_pair(ed(), R"({"alg":"EdDSA","typ":"secevent+jwt"})", good)) == "its `typ` is not JWT");
  CHECK(door.opens(by_pair(ed(), R"({"alg":"EdDSA","typ":7})", good)) == "its `typ` is not JWT");
  CHECK(door.opens(by_pair(ed(), R"({"alg":"EdDSA","typ":"jwt"})", good)) == welcome);
}

TEST_CASE("a token nests to 16 and no deeper, and is 8 KiB long and no longer") {
  Door door({ed_key()});
  const auto nested = [](std::size_t levels) {
    return claims(R"("x":)" + std::string(levels, '[') + std::string(levels, ']'));
  };
  CHECK(door.opens(by_pair(ed(), eddsa, nested(15))) == welcome);
  CHECK(door.opens(by_pair(ed(), eddsa, nested(16))).find("nest too deep") != std::string::npos);
  CHECK(door.opens(by_pair(ed(), eddsa, nested(2000))).find("nest too deep") != std::string::npos);

  const std::string around = by_pair(ed(), eddsa, claims(R"("x":"")"));
  std::size_t fill = 5'000;
  const auto padded = [&] { return by_pair(ed(), eddsa, claims(R"("x":")" + std::string(fill, 'x') + R"(")")); };
  while (padded().size() < 8'192) ++fill;
  REQUIRE(padded().size() == 8'192);
  CHECK(door.opens(padded()) == welcome);
  ++fill;
  CHECK(door.opens(padded()) == "it is longer than 8 KiB");
  CHECK(door.opens(std::string(10'000'000, '.')) == "it is longer than 8 KiB");
}

TEST_CASE("of 10,000 random changes of valid tokens none is accepted") {
  Door door({hs_key(), rs_key(), ed_key()}, {.audience = "chat"});
  const std::string body = claims(R"("aud":"chat")");
  const std::string valid[] = {by_secret(secret, body), by_pair(rsa(), rs256, body), by_pair(ed(), eddsa, body)};
  for (const std::string& token : valid) REQUIRE(door.opens(token) == welcome);
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ";
  std::mt19937_64 random(20'260'101);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  int accepted = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::string& token = valid[i % 3];
    std::string changed = token;
    do {
      const std::size_t at = below(changed.size());
      switch (below(6)) {
        case 0:
          changed[at] = alphabet[below(alphabet.size())];
          break;
        case 1:
          changed[at] = static_cast<char>(changed[at] ^ (1 << below(8)));
          break;
        case 2:
          changed.insert(at, 1, alphabet[below(alphabet.size())]);
          break;
        case 3:
          changed.erase(at, 1 + below(4));
          break;
        case 4:  // the last character of a part, whose unused bits say nothing
          changed[below(2) ? changed.size() - 1 : changed.rfind('.') - 1] = alphabet[below(64)];
          break;
        default: {  // a part of another token
          const std::string& other = valid[below(3)];
          changed = other.substr(0, other.find('.')) + token.substr(token.find('.'));
          if (below(2)) changed = token.substr(0, token.rfind('.')) + other.substr(other.rfind('.'));
        }
      }
    } while (std::count(std::begin(valid), std::end(valid), changed) != 0 || changed.empty());
    if (door.knock(changed)) ++accepted;
  }
  CHECK(accepted == 0);
}

TEST_CASE("another way to write the same bytes is refused") {
  // 32 bytes of signature leave 2 bits of the last character unused, 64 bytes 4.
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  Door door({hs_key(), ed_key()});
  for (const std::string& token : {by_secret(secret, good), by_pair(ed(), eddsa, good)}) {
    REQUIRE(door.opens(token) == welcome);
    const std::size_t value = alphabet.find(token.back());
    for (std::size_t bits = 1; bits < 4; ++bits) {
      std::string other = token;
      other.back() = alphabet[value ^ bits];
      CHECK(door.opens(other) == not_base64);
    }
  }
}

// ---- what the client learns

TEST_CASE("the client learns that a token has expired, and nothing else") {
  Door door({hs_key("k")}, {.audience = "chat"});
  const auto message = [&](const std::string& token) { return door.knock(token).error().message; };
  const std::string header = R"({"alg":"HS256","kid":"k"})";
  const std::string refused = message("nonsense");
  CHECK(refused == "the token is not accepted");
  CHECK(message(by_secret(secret, good, header)) == refused);        // audience
  CHECK(message(by_secret(secret + "x", good, header)) == refused);  // signature
  CHECK(message(by_secret(secret, good)) == refused);                // no audience either
  CHECK(message(by_secret(secret, R"({"sub":"alice","exp":1})", header)).find("expired") != std::string::npos);
  // Expired is only said to one who shows that he had a token.
  CHECK(message(by_secret(secret + "x", R"({"sub":"alice","exp":1})", header)) == refused);
}

// ---- keys

TEST_CASE("a key that is none says what is wrong with it") {
  const auto says = [](JwtKey key) {
    const auto made = JwtKeys::make({std::move(key)});
    REQUIRE_FALSE(made);
    CHECK(made.error().code == ErrorCode::invalid);
    CHECK(made.error().message.find("\"k\"") != std::string::npos);
    return made.error().message;
  };
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  CHECK(has(says({"k", JwtAlgorithm::hs256, secret.substr(1)}), "31 bytes: HS256 needs 32"));
  CHECK(has(says({"k", JwtAlgorithm::hs256, rsa().public_pem()}), "PEM text as its HS256 secret"));
  CHECK(has(says({"k", JwtAlgorithm::hs256, std::string(20'000, 'x')}), "more than 16 KiB"));
  CHECK(has(says({"k", JwtAlgorithm::rs256, Pair::rsa(1024).public_pem()}), "has 1024 bits: RS256 needs 2048"));
  CHECK(has(says({"k", JwtAlgorithm::rs256, ed().public_pem()}), "is no RSA key"));
  CHECK(has(says({"k", JwtAlgorithm::eddsa, rsa().public_pem()}), "is no Ed25519 key"));
  CHECK(has(says({"k", JwtAlgorithm::eddsa, Pair::p256().public_pem()}), "is no Ed25519 key"));
  for (const auto algorithm : {JwtAlgorithm::rs256, JwtAlgorithm::eddsa}) {
    for (const std::string& pem : {std::string(), secret, rsa().private_pem(), rsa().encrypted_pem(),
                                   std::string("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")}) {
      CHECK(has(says({"k", algorithm, pem}), "is no public key in PEM"));
    }
    CHECK(has(says({"k", algorithm, std::string(20'000, 'x')}), "longer than 16 KiB"));
  }
  CHECK(has(says({"k", JwtAlgorithm{}, secret}), "has no algorithm"));
  CHECK(has(JwtKeys::make({hs_key("k"), rs_key("k")}).error().message, "there twice"));
  CHECK(JwtKeys::make({hs_key(), hs_key(), rs_key("k")}));
  CHECK(has(JwtKeys::make({}).error().message, "no keys"));
  CHECK(JwtKeys::make(std::vector<JwtKey>(64, hs_key())));
  CHECK(has(JwtKeys::make(std::vector<JwtKey>(65, hs_key())).error().message, "more than 64"));
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("options that can't be are refused") {
  CHECK(make_jwt_authenticator({}).error().message.find("JwtOptions::keys") == 0);
  const auto keys = *JwtKeys::make({hs_key()});
  for (const auto leeway : {-1s, 61s}) {
    CHECK(make_jwt_authenticator({.keys = keys, .leeway = leeway}).error().message.find("JwtOptions::leeway") == 0);
  }
  CHECK(make_jwt_authenticator({.keys = keys, .leeway = 60s}));
}

TEST_CASE("keys are replaced while logins go on, and a bad one changes nothing") {
  Door door({hs_key("old")});
  const std::string old = by_secret(secret, good, R"({"alg":"HS256","kid":"old"})");
  const std::string next = by_pair(ed(), R"({"alg":"EdDSA","kid":"new"})", good);
  CHECK(door.opens(old) == welcome);
  CHECK(door.opens(next) == no_key);
  REQUIRE(door.keys->replace({hs_key("old"), ed_key("new")}));
  CHECK(door.opens(old) == welcome);
  CHECK(door.opens(next) == welcome);
  CHECK_FALSE(door.keys->replace({ed_key("other"), {"short", JwtAlgorithm::hs256, "x"}}));
  CHECK_FALSE(door.keys->replace({}));
  CHECK(door.opens(old) == welcome);
  CHECK(door.opens(next) == welcome);
  REQUIRE(door.keys->replace({ed_key("new")}));
  CHECK(door.opens(old) == no_key);
  CHECK(door.opens(next) == welcome);
}

TEST_CASE("keys are replaced from another thread than the one that logs in") {
  auto keys = *JwtKeys::make({hs_key("a"), ed_key("b")});
  std::atomic<int> refused{0};
  const auto door = std::move(*make_jwt_authenticator({.keys = keys, .clock = std::make_shared<ManualClock>()}));
  std::atomic<bool> over{false};
  std::thread rotation([&] {
    for (int i = 0; !over; ++i) {
      if (!keys->replace({i % 2 ? hs_key("a") : hs_key(), ed_key("b")})) ++refused;
    }
  });
  const std::string token = by_pair(ed(), R"({"alg":"EdDSA","kid":"b"})", good);
  for (int i = 0; i < 20'000; ++i) {
    door->authenticate({.token = token}, [&](Result<Identity> who) {
      if (!who) ++refused;
    });
  }
  over = true;
  rotation.join();
  CHECK(refused == 0);
}

TEST_CASE("it leaves the thread's list of OpenSSL errors as it was") {
  Door door({rs_key(), ed_key()});
  ERR_clear_error();
  ERR_raise(ERR_LIB_USER, 7);
  for (const Pair& pair : {rsa(), ed()}) {
    std::string token = by_pair(pair, &pair == &ed() ? eddsa : rs256, good);
    (void)door.knock(token);
    token[token.size() - 5] = token[token.size() - 5] == 'A' ? 'B' : 'A';
    (void)door.knock(token);
  }
  (void)JwtKeys::make({{"k", JwtAlgorithm::rs256, "no key"}});
  CHECK(ERR_GET_REASON(ERR_get_error()) == 7);
  CHECK(ERR_get_error() == 0);
}

TEST_CASE("a listener that throws harms nobody") {
  const auto door =
      std::move(*make_jwt_authenticator({.keys = *JwtKeys::make({hs_key()}),
                                         .refused = [](std::string_view) { throw std::runtime_error("the host's"); }}));
  int answers = 0;
  door->authenticate({.token = "x"}, [&](Result<Identity> who) { answers += who ? 100 : 1; });
  CHECK(answers == 1);
}

TEST_CASE("without a clock of the host's the system's counts") {
  const auto door = std::move(*make_jwt_authenticator({.keys = *JwtKeys::make({hs_key()})}));
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
  const auto opens = [&](std::int64_t exp) {
    bool good_one = false;
    door->authenticate({.token = by_secret(secret, R"({"sub":"alice","exp":)" + std::to_string(exp) + "}")},
                       [&](Result<Identity> who) { good_one = bool(who); });
    return good_one;
  };
  CHECK(opens(seconds.count() + 600));
  CHECK_FALSE(opens(seconds.count() - 600));
}
