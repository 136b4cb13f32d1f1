#include "auth/jwt/claims.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

namespace chatcore {
inline namespace v1 {
namespace jwt {
namespace {

using Json = nlohmann::json;

// Builds no tree: it keeps what is at the top, and looks at the rest only to refuse it. Returning false ends the parse.
class Reader final : public Json::json_sax_t {
 public:
  Claims claims{};

  bool null() override { return value({}); }
  bool boolean(bool) override { return value({}); }
  bool number_integer(number_integer_t v) override { return number(static_cast<double>(v)); }
  bool number_unsigned(number_unsigned_t v) override { return number(static_cast<double>(v)); }
  bool number_float(number_float_t v, const string_t&) override { return number(v); }
  bool string(string_t& text) override {
    if (is_in_top_array()) {
      top_->texts.push_back(std::move(text));
      return true;
    }
    return value({.kind = Claim::Kind::text, .text = std::move(text)});
  }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override {
    if (!value({})) return false;
    return open(true);
  }
  bool key(string_t& name) override {
    if (!open_.back().keys.insert(name).second) return false;
    if (open_.size() == 1) top_ = &claims[name];
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override {
    if (open_.empty() || !value({.kind = Claim::Kind::texts})) return false;
    return open(false);
  }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override { return false; }

 private:
  struct Open {
    bool is_object;
    std::set<std::string> keys;
  };

  bool is_in_top_array() const { return open_.size() == 2 && !open_.back().is_object; }

  bool open(bool is_object) {
    if (open_.size() == most_nested) return false;
    open_.push_back({is_object, {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  bool number(double v) { return value({.kind = Claim::Kind::number, .number = v}); }
  bool value(Claim claim) {
    if (open_.empty()) return claim.kind == Claim::Kind::other;  // the object itself; a literal fails in read_claims
    if (open_.size() == 1) *top_ = std::move(claim);
    if (is_in_top_array()) top_->kind = Claim::Kind::other;
    return true;
  }

  std::vector<Open> open_{};  // from the outermost
  Claim* top_ = nullptr;      // the member that is being read
};

}  // namespace

std::optional<Claims> read_claims(std::string_view json) {
  const std::size_t first = json.find_first_not_of(" \t\r\n");
  if (first == json.npos || json[first] != '{') return {};
  Reader reader;
  if (!Json::sax_parse(json.begin(), json.end(), &reader)) return {};
  return std::move(reader.claims);
}

}  // namespace jwt
}  // namespace v1
}  // namespace chatcore
