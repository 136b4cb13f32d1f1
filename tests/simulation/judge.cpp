#include "simulation/judge.h"

#include <algorithm>

namespace simulation {
namespace {

constexpr unsigned slow_times = 2;  // of one request: then it is decided at once

unsigned hash_of(const std::string& text, std::uint64_t seed) {
  std::uint64_t hash = 0xcbf29ce484222325 ^ (seed * 0x9e3779b97f4a7c15);
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return static_cast<unsigned>(hash >> 32);
}

unsigned watched(const Plan& plan, const UserId& who) {
  const auto at = std::find(plan.users.begin(), plan.users.end(), who.string());
  return at == plan.users.end() ? 0 : plan.watched[static_cast<std::size_t>(at - plan.users.begin())];
}

bool is_planned(const std::string& text) { return text.starts_with("<m") && text.size() < 6; }

}  // namespace

Ruling ruling(const Plan& plan, const UserId& who, const std::string& text) {
  const unsigned hash = hash_of(text, plan.seed);
  if (!is_planned(text) || hash % 100 >= watched(plan, who)) return Ruling::passes;
  constexpr Ruling rulings[] = {Ruling::late, Ruling::late, Ruling::never, Ruling::refused, Ruling::replaced};
  return rulings[hash / 100 % 5];
}

std::string becomes(const Plan& plan, const UserId& who, const std::string& text) {
  return ruling(plan, who, text) == Ruling::replaced ? text + "!" : text;
}

std::unique_ptr<Policy> Judge::policy() {
  return make_policy([this](const Identity& who, const RequestView& request, Done<Decision> done) {
    decide(who, request, std::move(done));
  });
}

void Judge::decide(const Identity& who, const RequestView& request, Done<Decision> done) {
  std::string text;
  if (const auto* send = request.as<Send>()) text = send->content.text;
  if (const auto* edit = request.as<EditMessage>()) text = edit->content.text;
  const bool has_text = !text.empty();
  if (!has_text) text = "<m" + std::to_string(static_cast<unsigned>(request.id())) + ">";
  Ruling what = ruling(plan_, who.user, text);
  Decision decision;
  if (has_text && what == Ruling::refused) decision = {.code = ErrorCode::forbidden, .reason = "the judge says no"};
  if (has_text && what == Ruling::replaced) decision.replaced = Content{.text = text + "!"};
  const bool slow = what == Ruling::late || what == Ruling::never;
  if (slow && !quick_ && asked_[who.user.string() + text]++ < slow_times) {
    what == Ruling::never ? never_.push_back(std::move(done))
                          : void(late_.emplace_back(std::move(done), std::move(decision)));
    return;
  }
  done(std::move(decision));
}

void Judge::tell_one(Random& random) {
  const auto at = late_.begin() + random.below(static_cast<unsigned>(late_.size()));
  auto [done, decision] = std::move(*at);
  late_.erase(at);
  done(std::move(decision));
  if (random.percent(10)) done(Decision{.code = ErrorCode::forbidden, .reason = "a second time"});
}

}  // namespace simulation
