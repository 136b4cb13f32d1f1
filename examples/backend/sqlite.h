#pragma once

#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// SQLite (sqlite.org, 3.37 or later) as C++: a connection, a prepared statement, the rows it gives. Errors are thrown.
namespace backend {

class SqliteError : public std::runtime_error {
 public:
  SqliteError(int code, const std::string& what) : std::runtime_error(what), code_(code) {}
  int code() const { return code_ & 0xff; }  // SQLITE_BUSY, SQLITE_FULL, ...
  int extended_code() const { return code_; }

 private:
  int code_;
};

// A connection. One thread uses it at a time; only interrupt() may come from another.
class Database {
 public:
  // Opens or creates the file. Where another connection is in the way, calls wait for it up to 5 s, but no longer than
  // until *give_up is true; then they throw SQLITE_BUSY.
  explicit Database(const std::string& path, const std::atomic<bool>* give_up = nullptr);

  void run(const char* sql);         // one statement or several, without results
  std::string ask(const char* sql);  // the first value of the first row; empty: there is none
  // Writes what has changed so far out of memory, in the middle of a transaction.
  void flush();
  void roll_back() noexcept;   // nothing, where no transaction is open
  void interrupt() noexcept;   // what runs now throws SQLITE_INTERRUPT
  int changed() noexcept;      // rows that the last INSERT, UPDATE or DELETE changed
  std::int64_t last_insert();  // the rowid of the last INSERT
  sqlite3* handle() { return handle_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  std::unique_ptr<sqlite3, Close> handle_;
};

// Rolls back at its end what was not committed by then.
class Transaction {
 public:
  explicit Transaction(Database& database) : database_(database) { database.run("BEGIN IMMEDIATE"); }
  ~Transaction() { database_.roll_back(); }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit() { database_.run("COMMIT"); }

 private:
  Database& database_;
};

// Text with any bytes in it is a blob: SQLite compares blobs as unsigned bytes, and text ends at its first zero.
inline std::span<const std::byte> blob(std::string_view text) { return std::as_bytes(std::span(text)); }

// The rows of a statement that runs; the statement is free again when this ends.
class Rows {
 public:
  explicit Rows(sqlite3_stmt* statement) : statement_(statement) {}
  ~Rows() { sqlite3_reset(statement_); }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  bool next();  // the first row, the next one; false: there are no more
  bool is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  std::int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  std::string text(int column) const;
  std::vector<std::byte> bytes(int column) const;

 private:
  sqlite3_stmt* statement_;
};

// A statement, prepared once. It ends before its connection does.
class Statement {
 public:
  Statement(Database&, const char* sql);

  // Values for ?1, ?2, ...: integers (SQLite's reach to 2^63 - 1; what is larger becomes that), bools, text, blobs.
  // They are not copied: they have to live as long as the Rows.
  template <class... Values>
  Rows query(const Values&... values) {
    int index = 0;
    (bind(++index, values), ...);
    return Rows(handle_.get());
  }
  template <class... Values>
  void run(const Values&... values) {
    for (Rows rows = query(values...); rows.next();) continue;
  }

 private:
  void bind(int index, std::integral auto value) {
    constexpr auto most = std::numeric_limits<std::int64_t>::max();
    check(sqlite3_bind_int64(handle_.get(), index, std::cmp_greater(value, most) ? most : std::int64_t(value)));
  }
  void bind(int index, bool value) { bind(index, int{value}); }
  void bind(int index, std::string_view);
  void bind(int index, std::span<const std::byte>);
  void check(int code);

  struct Finalize {
    void operator()(sqlite3_stmt* handle) const { sqlite3_finalize(handle); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
};

}  // namespace backend
