#ifndef BITBUDGET_RUNTIME_BASE_SQLITE_H_
#define BITBUDGET_RUNTIME_BASE_SQLITE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace bitbudget {

class Statement;

// Bytes to bind as a blob.
struct Blob {
  absl::string_view bytes;
};

// A connection to one SQLite file. Errors are one line that names the file: kDataLoss for a damaged
// file or one of another kind, kResourceExhausted when it cannot be written (a full disk) or memory
// is short, kFailedPrecondition while another process has it locked, kPermissionDenied, else
// kInternal. Not thread-safe.
//
// SQLite notices damage of its own structures but not of values. So its SQL has another function,
// checksum(value, ...), an integer over the values and their types: a row that keeps the one of its
// table, key and values is known to be the row that was written. Triggers and views of a file are
// not run.
class Database {
 public:
  enum class Mode { kRead, kWrite };  // kWrite creates the file where there is none

  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path, Mode mode);

  const std::string& path() const { return path_; }

  // Executes statements that give no rows, separated by semicolons.
  absl::Status Execute(const char* sql);

  // `sql` with values bound to its ?1, ?2, ... in order, e.g. Prepare("... ?1", key).
  template <typename... Values>
  absl::StatusOr<Statement> Prepare(const char* sql, const Values&... values);

  // The first column of the first row, an integer; 0 when there is no row.
  absl::StatusOr<int64_t> Integer(const char* sql);

  // The error of the connection's last call, which returned `code`.
  absl::Status Error(int code) const;

 private:
  friend class Statement;
  struct Close {
    void operator()(sqlite3* connection) const;
  };

  explicit Database(const std::string& path) : path_(path) {}
  absl::StatusOr<Statement> PrepareOnly(const char* sql);

  std::string path_;
  std::unique_ptr<sqlite3, Close> connection_;
};

// One prepared statement. The database outlives it.
class Statement {
 public:
  // Values for ?1, ?2, ...; a string_view is bound as text. A double keeps its value, but not the
  // sign of zero, and NaN becomes NULL: bind as a blob what must be exact.
  absl::Status Bind(int index, int64_t value);
  absl::Status Bind(int index, double value);
  absl::Status Bind(int index, absl::string_view value);
  absl::Status Bind(int index, Blob value);

  // Moves to the next row; false after the last one. One call executes a statement without rows.
  absl::StatusOr<bool> Step();
  // Makes the statement ready to be bound and stepped again; bindings stay.
  void Reset();

  // Columns of the current row. A value of another type reads as SQLite converts it.
  int64_t Integer(int column) const;
  double Real(int column) const;
  std::string Text(int column) const;  // of a blob: its bytes

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };

  Statement(const Database* database, sqlite3_stmt* statement)
      : database_(database), statement_(statement) {}

  const Database* database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// BEGIN IMMEDIATE now, ROLLBACK at the end of the scope unless Commit() came first.
class Transaction {
 public:
  static absl::StatusOr<Transaction> Begin(Database* database);
  Transaction(Transaction&& other) : database_(other.database_) { other.database_ = nullptr; }
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  absl::Status Commit();

 private:
  explicit Transaction(Database* database) : database_(database) {}

  Database* database_;  // null once it is over
};

template <typename... Values>
absl::StatusOr<Statement> Database::Prepare(const char* sql, const Values&... values) {
  absl::StatusOr<Statement> statement = PrepareOnly(sql);
  if (!statement.ok()) return statement;
  int index = 0;
  absl::Status status;
  ((status.Update(statement->Bind(++index, values))), ...);
  if (!status.ok()) return status;
  return statement;
}

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_SQLITE_H_
