#include "sqlite.h"

#include <chrono>
#include <thread>

namespace backend {
namespace {

constexpr int busy_patience = 5'000;  // tries, a millisecond apart

[[noreturn]] void fail(sqlite3* handle, int code) {
  throw SqliteError(code, std::string("SQLite: ") + (handle ? sqlite3_errmsg(handle) : sqlite3_errstr(code)));
}

// SQLite's own busy timeout would go on waiting whatever happens.
int wait_while_busy(void* give_up, int tries) {
  if (tries >= busy_patience || (give_up && *static_cast<const std::atomic<bool>*>(give_up))) return 0;
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return 1;
}

}  // namespace

Database::Database(const std::string& path, const std::atomic<bool>* give_up) {
  sqlite3* handle = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  handle_.reset(handle);  // it has the message, where it did not open
  if (code != SQLITE_OK) throw SqliteError(code, path + ": " + (handle ? sqlite3_errmsg(handle) : "out of memory"));
  sqlite3_busy_handler(handle, wait_while_busy, const_cast<std::atomic<bool>*>(give_up));
}

void Database::run(const char* sql) {
  if (const int code = sqlite3_exec(handle(), sql, nullptr, nullptr, nullptr)) fail(handle(), code);
}

std::string Database::ask(const char* sql) {
  Statement statement(*this, sql);
  Rows rows = statement.query();
  return rows.next() ? rows.text(0) : std::string();
}

void Database::flush() {
  if (const int code = sqlite3_db_cacheflush(handle())) fail(handle(), code);
}

void Database::roll_back() noexcept {
  if (!sqlite3_get_autocommit(handle())) sqlite3_exec(handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Database::interrupt() noexcept { sqlite3_interrupt(handle()); }
int Database::changed() noexcept { return sqlite3_changes(handle()); }
std::int64_t Database::last_insert() { return sqlite3_last_insert_rowid(handle()); }

bool Rows::next() {
  const int code = sqlite3_step(statement_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) fail(sqlite3_db_handle(statement_), code);
  return code == SQLITE_ROW;
}

std::string Rows::text(int column) const {
  const std::vector<std::byte> all = bytes(column);
  return {reinterpret_cast<const char*>(all.data()), all.size()};
}

std::vector<std::byte> Rows::bytes(int column) const {
  const auto* first = static_cast<const std::byte*>(sqlite3_column_blob(statement_, column));
  return {first, first + sqlite3_column_bytes(statement_, column)};
}

Statement::Statement(Database& database, const char* sql) {
  sqlite3_stmt* handle = nullptr;
  const int code = sqlite3_prepare_v3(database.handle(), sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, nullptr);
  if (code != SQLITE_OK) fail(database.handle(), code);
  handle_.reset(handle);
}

void Statement::check(int code) {
  if (code != SQLITE_OK) fail(sqlite3_db_handle(handle_.get()), code);
}

// A null pointer would bind NULL, and what is empty has one; so it is given another.
void Statement::bind(int index, std::string_view text) {
  check(sqlite3_bind_text64(handle_.get(), index, text.data() ? text.data() : "", text.size(), SQLITE_STATIC,
                            SQLITE_UTF8));
}

void Statement::bind(int index, std::span<const std::byte> bytes) {
  const void* data = bytes.data();
  check(sqlite3_bind_blob64(handle_.get(), index, data ? data : "", bytes.size(), SQLITE_STATIC));
}

}  // namespace backend
