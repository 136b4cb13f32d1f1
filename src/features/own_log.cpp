#include "features/own_log.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "core/inbox.h"
#include "core/store.h"
#include "features/receipts.h"
#include "protocol/rows.h"

namespace chatcore {
inline namespace v1 {
namespace features {
namespace {

constexpr std::chrono::milliseconds gathered_for{1000};
constexpr std::size_t most_waiting = 4096;  // cursors of one user, where the store takes nothing
constexpr std::string_view settings_key = "own";

using Cursors = std::map<ConversationId, Seq>;

// The cursors that wait to be written, of the users whose logs live on a shard.
struct Waiting {
  struct Of {
    Cursors cursors{};
    bool is_empty() const { return cursors.empty() && !in_doubt; }

    bool rests = false;     // some were written less than a second ago
    bool in_doubt = false;  // nobody knows what became of the last event: another one finds out, and shows it
  };
  std::unordered_map<UserId, Of> users{};
  bool is_told_of_stop = false;
};

std::string partition_of(const ConversationId& log) { return "c:" + log.string(); }
std::string order_of(const UserId& user) { return "own/" + user.string(); }

void write_all(Shard& own, core::Task done) {
  std::vector<UserId> users;
  for (const auto& [user, of] : own.state<Waiting>().users) users.push_back(user);
  if (users.empty()) return done();
  const auto left = std::make_shared<std::size_t>(users.size());
  const auto all_done = std::make_shared<core::Task>(std::move(done));
  for (const UserId& user : users) {
    edit_own(own, user, {}, {}, [left, all_done](const Result<Own>&) {
      if (--*left == 0) (*all_done)();
    });
  }
}

Waiting& waiting(Shard& own) {
  Waiting& all = own.state<Waiting>();
  if (!std::exchange(all.is_told_of_stop, true)) {
    own.before_stop([&own](core::Task done) { write_all(own, std::move(done)); });
  }
  return all;
}

// At once where nothing was written lately, else when a second is over.
void write_soon(Shard& own, const UserId& user) {
  if (std::exchange(waiting(own).users[user].rests, true)) return;
  edit_own(own, user, {}, {}, [](const Result<Own>&) {});
  own.after(gathered_for, [&own, user] {
    auto& users = waiting(own).users;
    users[user].rests = false;
    users[user].is_empty() ? static_cast<void>(users.erase(user)) : write_soon(own, user);
  });
}

void wait_to_be_written(Shard& own, const UserId& user, const Cursors& cursors, bool in_doubt = false) {
  if (cursors.empty() && !in_doubt) return;
  Waiting::Of& of = waiting(own).users[user];
  for (const auto& [id, seq] : cursors) of.cursors[id] = std::max(of.cursors[id], seq);
  of.in_doubt = of.in_doubt || in_doubt;
  write_soon(own, user);
}

bool is_damaged(const Error& error) { return error.code == ErrorCode::corruption; }
bool is_unknown(const Error& error) { return error.code == ErrorCode::unknown_outcome; }

void tell_conversations(Core& core, const UserId& user, const Cursors& cursors) {
  for (const auto& [id, seq] : cursors) move_receipt(core, id, {.user = user, .delivered = seq, .read = seq});
}

OwnChanged difference(const Own& before, const Own& now) {
  OwnChanged changed{.hides_receipts = now.hides_receipts};
  for (std::size_t i = 0; i < now.marks.size(); ++i) {
    if (now.marks[i] != before.marks[i]) changed.marks.push_back(now.marks[i]);
  }
  return changed;
}

Row row_of(Marks marks) {
  const std::string key = marks.conversation.string();
  marks.conversation = {};
  return {.table = Table::marks, .key = key, .value = protocol::encode_row(marks)};
}

Status fill(core::Draft& draft, const UserId& user, const OwnChanged& changed, bool with_settings) {
  if (!draft.state().exists) {
    draft.create(ConversationKind::own, {}, {{user, {.intervals = {{1, 0}}, .since = 1}}});
  }
  for (const Marks& marks : changed.marks) draft.row(row_of(marks));
  if (with_settings) {
    draft.row({.table = Table::settings,
               .key = std::string(settings_key),
               .value = protocol::encode_row(protocol::OwnSettingsRow{changed.hides_receipts})});
  }
  draft.message(changed);
  return {};
}

}  // namespace

// "~~" and 128 bits of SHA-256 over the user.
ConversationId own_log_of(const UserId& user) {
  const ConversationId hash = direct_id(user, user);
  return *ConversationId::make(std::string(core::own_log_mark) + hash.string().substr(1));
}

// What is damaged counts as not there, and is written anew with the next change: it does not hide what is whole.
Result<Own> read_own(Storage& storage, const UserId& user, const std::vector<ConversationId>& of) {
  const std::string partition = partition_of(own_log_of(user));
  Own own;
  for (const ConversationId& id : of) {
    auto row = storage.row(partition, Table::marks, id.view());
    if (!row && !is_damaged(row.error())) return row.error();
    Marks& marks = own.marks.emplace_back();
    if (row && *row) {
      if (auto stored = protocol::decode_row<Marks>(*(*row)->value)) marks = std::move(*stored);
    }
    marks.conversation = id;
  }
  auto row = storage.row(partition, Table::settings, settings_key);
  if (!row && !is_damaged(row.error())) return row.error();
  if (!row || *row) {
    const auto settings = row ? protocol::decode_row<protocol::OwnSettingsRow>(*(*row)->value) : row.error();
    own.hides_receipts = !settings || settings->hides_receipts;  // who can't be asked hides them
  }
  return own;
}

void edit_own(Shard& own, const UserId& user, std::vector<ConversationId> named, Function<void(Own&)> edit,
              core::Reply<Own> reply) {
  own.in_order().run(order_of(user), [&own, user, named = std::move(named), edit = std::move(edit),
                                      reply = std::move(reply)](core::Task over) mutable {
    Cursors cursors;
    bool in_doubt = false;
    if (const auto of = waiting(own).users.find(user); of != waiting(own).users.end()) {
      cursors.swap(of->second.cursors);
      in_doubt = of->second.in_doubt;
    }
    if (!edit && cursors.empty() && !in_doubt) {
      reply(Own{});
      return own.post(std::move(over));
    }
    const std::size_t asked = named.size();
    for (const auto& [id, seq] : cursors) {
      if (std::find(named.begin(), named.end(), id) == named.end()) named.push_back(id);
    }
    auto found = [&own, user, cursors, in_doubt, asked, edit = std::move(edit), reply = std::move(reply),
                  over = std::move(over)](Result<Own> before) mutable {
      if (!before) {
        wait_to_be_written(own, user, cursors);
        reply(before.error());
        return over();
      }
      Own now = *before;
      for (Marks& marks : now.marks) {
        const auto cursor = cursors.find(marks.conversation);
        if (cursor == cursors.end()) continue;
        marks.read = std::max(marks.read, cursor->second);
        marks.unread = false;
      }
      if (edit) edit(now);
      const OwnChanged changed = difference(*before, now);
      const bool with_settings = now.hides_receipts != before->hides_receipts;
      core::Attempt attempt{.by = {.who = Identity::host(user)}, .from = core::Attempt::From::anyone};
      attempt.reply = [&own, user, cursors, in_doubt, now, asked, reply = std::move(reply),
                       over = std::move(over)](Result<Accepted> written) mutable {
        if (written) {
          if (in_doubt) waiting(own).users[user].in_doubt = false;
          if (!now.hides_receipts) tell_conversations(own.core(), user, cursors);
          now.marks.resize(asked);
          reply(std::move(now));
        } else {
          wait_to_be_written(own, user, cursors, is_unknown(written.error()));
          reply(written.error());
        }
        over();
      };
      if (changed.marks.empty() && !with_settings && !in_doubt) return attempt.reply(Accepted{});
      auto log = own.conversations().get(own_log_of(user));
      log->change(std::move(attempt), [log, user, changed, with_settings](core::Draft& draft) {
        return fill(draft, user, changed, with_settings);
      });
    };
    own.core().store->read(
        own, [user, named = std::move(named)](Storage& storage) { return read_own(storage, user, named); },
        std::move(found));
  });
}

void move_cursor(Shard& own, const UserId& user, const ConversationId& id, Seq seq, core::Reply<Seq> reply) {
  const auto of = waiting(own).users.find(user);
  if (of != waiting(own).users.end() && !own.in_order().is_busy(order_of(user))) {
    auto& cursors = of->second.cursors;
    if (const auto known = cursors.find(id); known != cursors.end()) {
      known->second = std::max(known->second, seq);
      return reply(Seq{known->second});
    }
    if (cursors.size() >= most_waiting) {
      return reply(Error{ErrorCode::overloaded, "too many cursors wait to be written: retry later", gathered_for});
    }
  }
  own.in_order().run(order_of(user), [&own, user, id, seq, reply = std::move(reply)](core::Task over) mutable {
    own.core().store->read(
        own, [user, id](Storage& storage) { return read_own(storage, user, {id}); },
        [&own, user, id, seq, reply = std::move(reply), over = std::move(over)](Result<Own> found) mutable {
          if (!found) {
            reply(found.error());
            return over();
          }
          const Marks& marks = found->marks.front();
          if (seq > marks.read || marks.unread) {
            wait_to_be_written(own, user, {{id, seq}});
          } else if (!found->hides_receipts) {  // where a crash took what the conversation knew of it
            tell_conversations(own.core(), user, {{id, marks.read}});
          }
          reply(std::max(seq, marks.read));
          over();
        });
  });
}

}  // namespace features
}  // namespace v1
}  // namespace chatcore
