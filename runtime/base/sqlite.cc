#include "runtime/base/sqlite.h"

#include <glog/logging.h>
#include <sqlite3.h>

#include <cstring>
#include <new>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/read_file.h"
#include "runtime/base/sha256.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// SQL's checksum(value, ...): the first 64 bits of a SHA-256 of the values, their types and sizes.
void Checksum(sqlite3_context* context, int count, sqlite3_value** values) try {
  Sha256 hash;
  for (int i = 0; i < count; ++i) {
    const int type = sqlite3_value_type(values[i]);
    // A column of reals keeps -0 as 0.
    const double real = type == SQLITE_FLOAT ? sqlite3_value_double(values[i]) + 0.0 : 0;
    const int64_t integer = type == SQLITE_INTEGER ? sqlite3_value_int64(values[i]) : 0;
    absl::string_view bytes;
    if (type == SQLITE_FLOAT) {
      bytes = {reinterpret_cast<const char*>(&real), sizeof(real)};
    } else if (type == SQLITE_INTEGER) {
      bytes = {reinterpret_cast<const char*>(&integer), sizeof(integer)};
    } else if (type != SQLITE_NULL) {
      const void* data = sqlite3_value_blob(values[i]);
      const int size = sqlite3_value_bytes(values[i]);
      if (data == nullptr && size > 0) return sqlite3_result_error_nomem(context);
      bytes = {static_cast<const char*>(data), static_cast<size_t>(size)};
    }
    hash.Update(absl::StrCat(type, " ", bytes.size(), " "));
    hash.Update(bytes);
  }
  uint64_t first = 0;
  CHECK(absl::SimpleHexAtoi(hash.Finish().substr(0, 16), &first));
  sqlite3_result_int64(context, static_cast<int64_t>(first));
} catch (const std::bad_alloc&) {  // which must not pass through SQLite
  sqlite3_result_error_nomem(context);
}

// What a file asks for is believed as little as it can be.
int Distrust(sqlite3* connection) {
  for (const auto& [option, value] : {std::pair(SQLITE_DBCONFIG_DEFENSIVE, 1),
                                      std::pair(SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
                                      std::pair(SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
                                      std::pair(SQLITE_DBCONFIG_ENABLE_VIEW, 0)}) {
    const int code = sqlite3_db_config(connection, option, value, nullptr);
    if (code != SQLITE_OK) return code;
  }
  return sqlite3_exec(connection, "PRAGMA cell_size_check = ON", nullptr, nullptr, nullptr);
}

}  // namespace

void Database::Close::operator()(sqlite3* connection) const { sqlite3_close(connection); }
void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path, Mode mode) {
  // SQLite opens these files as they come.
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    BB_RETURN_IF_ERROR(CheckRegularOrAbsent(path + suffix));
  }
  std::unique_ptr<Database> database(new Database(path));
  sqlite3* connection = nullptr;
  const int flags =
      mode == Mode::kRead ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  const int code = sqlite3_open_v2(path.c_str(), &connection, flags, nullptr);
  database->connection_.reset(connection);  // also after a failure: it holds the message
  if (code != SQLITE_OK) {
    return absl::NotFoundError(absl::StrCat(path, ": cannot open: ", sqlite3_errstr(code)));
  }
  sqlite3_extended_result_codes(connection, 1);
  // A reader beside the run waits out a checkpoint.
  sqlite3_busy_timeout(connection, /*ms=*/5000);
  int prepared = Distrust(connection);
  if (prepared == SQLITE_OK) {
    prepared = sqlite3_create_function_v2(connection,
                                          "checksum",
                                          /*nArg=*/-1,
                                          SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY,
                                          nullptr,
                                          Checksum,
                                          nullptr,
                                          nullptr,
                                          nullptr);
  }
  if (prepared != SQLITE_OK) return database->Error(prepared);
  return database;
}

absl::Status Database::Error(int code) const {
  const std::string what = connection_ != nullptr ? sqlite3_errmsg(connection_.get()) : "";
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_MISMATCH:
    case SQLITE_CONSTRAINT:  // which a file that is whole keeps
      return absl::DataLossError(
          absl::StrCat(path_, ": damaged, or not an SQLite database (", what, "); move it away"));
    case SQLITE_NOMEM:
      return absl::ResourceExhaustedError(absl::StrCat(path_, ": out of memory"));
    case SQLITE_FULL:
    case SQLITE_IOERR: {
      const int error = connection_ != nullptr ? sqlite3_system_errno(connection_.get()) : 0;
      return absl::ResourceExhaustedError(
          absl::StrCat(path_,
                       ": cannot be written (",
                       error != 0 ? std::strerror(error) : what,
                       "); what it holds is kept: make room and start the same command again"));
    }
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::FailedPreconditionError(
          absl::StrCat(path_, ": locked by another process; try again when it has ended"));
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN:
      return absl::PermissionDeniedError(absl::StrCat(path_, ": cannot be opened: ", what));
    default:
      return absl::InternalError(absl::StrCat(
          path_, ": SQLite error ", code, ": ", what, "; move it away if this does not pass"));
  }
}

absl::Status Database::Execute(const char* sql) {
  const int code = sqlite3_exec(connection_.get(), sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code);
}

absl::StatusOr<Statement> Database::PrepareOnly(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(connection_.get(), sql, -1, &statement, nullptr);
  if (code != SQLITE_OK) return Error(code);
  return Statement(this, CHECK_NOTNULL(statement));
}

absl::StatusOr<int64_t> Database::Integer(const char* sql) {
  BB_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  BB_ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? statement.Integer(0) : 0;
}

absl::Status Statement::Bind(int index, int64_t value) {
  const int code = sqlite3_bind_int64(statement_.get(), index, value);
  return code == SQLITE_OK ? absl::OkStatus() : database_->Error(code);
}

absl::Status Statement::Bind(int index, absl::string_view value) {
  const char* data = value.data() != nullptr ? value.data() : "";  // a null would be bound as NULL
  const int code = sqlite3_bind_text64(
      statement_.get(), index, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return code == SQLITE_OK ? absl::OkStatus() : database_->Error(code);
}

absl::Status Statement::Bind(int index, double value) {
  const int code = sqlite3_bind_double(statement_.get(), index, value);
  return code == SQLITE_OK ? absl::OkStatus() : database_->Error(code);
}

absl::Status Statement::Bind(int index, Blob value) {
  const char* data = value.bytes.data() != nullptr ? value.bytes.data() : "";
  const int code =
      sqlite3_bind_blob64(statement_.get(), index, data, value.bytes.size(), SQLITE_TRANSIENT);
  return code == SQLITE_OK ? absl::OkStatus() : database_->Error(code);
}

absl::StatusOr<bool> Statement::Step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_->Error(code);
}

void Statement::Reset() { sqlite3_reset(statement_.get()); }

int64_t Statement::Integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

double Statement::Real(int column) const { return sqlite3_column_double(statement_.get(), column); }

std::string Statement::Text(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return data == nullptr ? std::string()
                         : std::string(static_cast<const char*>(data), static_cast<size_t>(size));
}

absl::StatusOr<Transaction> Transaction::Begin(Database* database) {
  BB_RETURN_IF_ERROR(database->Execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::~Transaction() {
  // After a failed write SQLite may have rolled back by itself; a second time is harmless.
  if (database_ != nullptr) database_->Execute("ROLLBACK").IgnoreError();
}

absl::Status Transaction::Commit() {
  BB_RETURN_IF_ERROR(database_->Execute("COMMIT"));
  database_ = nullptr;
  return absl::OkStatus();
}

}  // namespace bitbudget
