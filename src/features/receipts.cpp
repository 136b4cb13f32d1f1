#include "features/receipts.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "core/store.h"
#include "features/own_log.h"
#include "features/signals.h"
#include "protocol/rows.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

constexpr std::chrono::milliseconds written_after{1000};

// The receipts of a conversation, in memory while they move.
struct Known {
  std::map<UserId, Receipt> all{};
  std::set<UserId> unshown{}, unwritten{};
  bool is_loaded = false, shows = false, writes = false;
  std::vector<Function<void(Status)>> waiting{};  // while it is being read
};
struct Receipted {
  std::unordered_map<ConversationId, Known> known{};
  bool is_told_of_stop = false;
};

std::unordered_map<ConversationId, Known>& known(Shard& shard) { return shard.state<Receipted>().known; }

bool are_kept(const core::State& state) {
  return state.exists && state.kind != ConversationKind::own && !state.on_read && state.roster;
}

bool is_member(const core::State& state, const UserId& user) {
  const core::Participant* member = state.roster ? state.roster->find(user) : nullptr;
  return member && member->active();
}

Result<std::map<UserId, Receipt>> read_receipts(Storage& storage, const std::string& partition) {
  std::map<UserId, Receipt> all;
  std::string after;
  do {
    auto page = storage.rows(partition, Table::receipts, after, {.rows = 500, .bytes = 256 << 10});
    if (!page) return page.error();
    for (const Row& row : page->rows) {
      auto stored = protocol::decode_row<protocol::ReceiptRow>(*row.value);
      if (!stored) return stored.error();
      const auto user = UserId::make(row.key);
      if (!user) return Error{ErrorCode::corruption, "a receipt has no user id", {}};
      all[*user] = {*user, stored->delivered, stored->read};
    }
    after = std::move(page->next);
  } while (!after.empty());
  return all;
}

// Runs with the receipts in memory: known(shard)[id].
void with_receipts(Shard& shard, const ConversationId& id, Function<void(Status)> then) {
  if (known(shard)[id].is_loaded) return then({});
  auto& waiting = known(shard)[id].waiting;
  waiting.push_back(std::move(then));
  if (waiting.size() > 1) return;
  shard.core().store->read(
      shard, [partition = "c:" + id.string()](Storage& storage) { return read_receipts(storage, partition); },
      [&shard, id](Result<std::map<UserId, Receipt>> all) {
        Known& of = known(shard)[id];
        auto told = std::exchange(of.waiting, {});
        of.is_loaded = static_cast<bool>(all);
        if (all) of.all = std::move(*all);
        for (auto& each : told) all ? each({}) : each(all.error());
        if (const auto at = known(shard).find(id); at != known(shard).end() && !at->second.writes)
          known(shard).erase(at);
      });
}

void show_moved(Shard& shard, const ConversationId& id) {
  known(shard)[id].shows = false;
  auto conversation = shard.conversations().get(id);
  conversation->when_ready([&shard, id, conversation](Status ready) {
    Known& of = known(shard)[id];
    const auto users = std::exchange(of.unshown, {});
    const core::State& state = conversation->durable();
    if (!ready || !are_kept(state) || state.members > shard.core().limits.receipt_members) return;
    Receipts moved{.conversation = id};
    for (const UserId& user : users) {
      if (is_member(state, user)) moved.receipts.push_back(of.all[user]);
    }
    if (!moved.receipts.empty()) show(shard, *conversation, std::move(moved), {}, {});
  });
}

void write_moved(Shard& shard, const ConversationId& id, core::Task done);

// While they move, once a second; then they are let go of.
void write_later(Shard& shard, const ConversationId& id) {
  if (std::exchange(known(shard)[id].writes, true)) return;
  shard.after(written_after, [&shard, id] {
    write_moved(shard, id, [&shard, id] {
      Known& of = known(shard)[id];
      of.writes = false;
      if (!of.unwritten.empty() || !of.unshown.empty()) return write_later(shard, id);
      known(shard).erase(id);
    });
  });
}

void write_moved(Shard& shard, const ConversationId& id, core::Task done) {
  Known& of = known(shard)[id];
  std::vector<Receipt> moved;
  for (const UserId& user : std::exchange(of.unwritten, {})) moved.push_back(of.all[user]);
  if (moved.empty()) return done();
  core::Attempt attempt{.by = {.who = Identity::system()}};
  attempt.reply = [&shard, id, moved, done = std::move(done)](const Result<Accepted>& written) mutable {
    if (!written && written.error().retryable()) {
      for (const Receipt& each : moved) known(shard)[id].unwritten.insert(each.user);
    }
    done();
  };
  auto conversation = shard.conversations().get(id);
  conversation->change(std::move(attempt), [conversation, moved](core::Draft& draft) -> Status {
    for (const Receipt& each : moved) {
      draft.row({.table = Table::receipts,
                 .key = each.user.string(),
                 .value = protocol::encode_row(protocol::ReceiptRow{each.delivered, each.read})});
    }
    return {};
  });
}

void write_all(Shard& shard, core::Task done) {
  std::vector<ConversationId> ids;
  for (const auto& [id, of] : known(shard)) ids.push_back(id);
  if (ids.empty()) return done();
  const auto left = std::make_shared<std::size_t>(ids.size());
  const auto all_done = std::make_shared<core::Task>(std::move(done));
  for (const ConversationId& id : ids) {
    with_receipts(shard, id, [&shard, id, left, all_done](const Status&) {
      write_moved(shard, id, [left, all_done] {
        if (--*left == 0) (*all_done)();
      });
    });
  }
}

void move(Shard& shard, const ConversationId& id, const Receipt& receipt) {
  Known& of = known(shard)[id];
  Receipt& now = of.all.try_emplace(receipt.user, Receipt{.user = receipt.user}).first->second;
  const Receipt before = now;
  now.read = std::max(now.read, receipt.read);
  now.delivered = std::max({now.delivered, receipt.delivered, now.read});
  if (now == before) return;
  of.unwritten.insert(receipt.user);
  of.unshown.insert(receipt.user);
  if (!std::exchange(of.shows, true)) {
    shard.after(shard.core().limits.live_tick, [&shard, id] { show_moved(shard, id); });
  }
  write_later(shard, id);
}

}  // namespace

void move_receipt(Core& core, const ConversationId& id, Receipt receipt) {
  Shard& shard = core.home(id);
  shard.post([&shard, id, receipt = std::move(receipt)]() mutable {
    if (!std::exchange(shard.state<Receipted>().is_told_of_stop, true)) {
      shard.before_stop([&shard](core::Task done) { write_all(shard, std::move(done)); });
    }
    auto conversation = shard.conversations().get(id);
    conversation->when_ready([&shard, id, conversation, receipt = std::move(receipt)](Status ready) mutable {
      if (!ready || !are_kept(conversation->durable())) return;
      with_receipts(shard, id, [&shard, id, receipt = std::move(receipt)](Status found) {
        if (found) move(shard, id, receipt);
      });
    });
  });
}

Status check_delivered(Core&, const Caller& by, MarkDelivered& request) {
  if (Status ok = check_user(by); !ok) return ok;
  return check_id(request.conversation, "conversation");
}

void mark_delivered(Shard& shard, Call<MarkDelivered> call) {
  auto conversation = shard.conversations().get(call.request.conversation);
  const Identity who = call.by.who;
  conversation->read_as(who, [&shard, conversation, call = std::move(call)](Result<core::Standing> standing) mutable {
    if (Status may = may_move_cursor(*conversation, standing, call.request.seq); !may) return call.reply(may.error());
    const UserId user = call.by.who.user;
    shard.core().store->read(
        shard, [user](Storage& storage) { return read_own(storage, user, {}); },
        [&core = shard.core(), user, call = std::move(call)](Result<Own> own) mutable {
          if (!own) return call.reply(own.error());
          const Seq seq = call.request.seq;
          if (!own->hides_receipts) move_receipt(core, call.request.conversation, {.user = user, .delivered = seq});
          call.reply(ReadCursor{seq});
        });
  });
}

Status check_receipts(Core& core, const Caller&, GetReceipts& request) {
  if (Status ok = check_id(request.conversation, "conversation"); !ok) return ok;
  return check_limit(core.limits, request.limit);
}

void get_receipts(Shard& shard, Call<GetReceipts> call) {
  auto conversation = shard.conversations().get(call.request.conversation);
  const Identity who = call.by.who;
  conversation->read_as(who, [&shard, conversation, call = std::move(call)](Result<core::Standing> standing) mutable {
    if (!standing) return call.reply(standing.error());
    if (!standing->active && !standing->trusted) {
      return call.reply(Error{ErrorCode::forbidden, "you are no longer in this conversation", {}});
    }
    if (Status may = may_be_marked(*conversation); !may) return call.reply(may.error());
    if (conversation->durable().on_read) {
      return call.reply(Error{ErrorCode::too_large,
                              "conversation: receipts are kept of up to " +
                                  std::to_string(shard.core().limits.fan_out_on_read) + " members",
                              {}});
    }
    const ConversationId id = conversation->id();
    with_receipts(shard, id, [&shard, id, conversation, call = std::move(call)](Status found) mutable {
      if (!found) return call.reply(found.error());
      ReceiptsPage page;
      const auto& all = known(shard)[id].all;
      for (auto at = all.upper_bound(call.request.after); at != all.end(); ++at) {
        if (!is_member(conversation->durable(), at->first)) continue;
        if (page.receipts.size() == call.request.limit) {
          page.next = page.receipts.back().user;
          break;
        }
        page.receipts.push_back(at->second);
      }
      call.reply(std::move(page));
    });
  });
}

Status check_share(Core&, const Caller& by, ShareReceipts&) { return check_user(by); }

void share_receipts(Shard& home, Call<ShareReceipts> call) {
  const UserId user = call.by.who.user;
  Shard& own = home.core().home(own_log_of(user));
  own.post([&own, user, call = std::move(call)]() mutable {
    edit_own(
        own, user, {}, [hides = !call.request.share](Own& now) { now.hides_receipts = hides; },
        [reply = std::move(call.reply)](Result<Own> written) mutable {
          written ? reply(Nothing{}) : reply(written.error());
        });
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
