#include "planner/runs/run_store.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

constexpr char kLockFile[] = "run.lock";

// docs/run-store.md describes these. `sums` are the bits of two little-endian doubles, nll_sum and
// kl_sum: exact whatever SQLite does with numbers.
constexpr char kSchema[] = R"sql(
  CREATE TABLE identity (position INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT NOT NULL);
  CREATE TABLE components (id INTEGER PRIMARY KEY, name TEXT NOT NULL, rows INTEGER NOT NULL,
                           cols INTEGER NOT NULL, format TEXT NOT NULL);
  CREATE TABLE probes (id INTEGER PRIMARY KEY, probe_set TEXT NOT NULL, name TEXT NOT NULL,
                       UNIQUE (probe_set, name));
  CREATE TABLE candidates (id INTEGER PRIMARY KEY, candidate TEXT NOT NULL UNIQUE);
  CREATE TABLE results (candidate INTEGER NOT NULL REFERENCES candidates,
                        probe INTEGER NOT NULL REFERENCES probes, tokens INTEGER NOT NULL,
                        fdt INTEGER NOT NULL, sdt INTEGER NOT NULL, sums BLOB NOT NULL,
                        PRIMARY KEY (candidate, probe)) WITHOUT ROWID;
  CREATE TABLE jobs (id INTEGER PRIMARY KEY, options TEXT NOT NULL UNIQUE, state TEXT NOT NULL);
  CREATE TABLE moves (job INTEGER NOT NULL REFERENCES jobs, step INTEGER NOT NULL,
                      what TEXT NOT NULL, changes TEXT NOT NULL, size_bytes INTEGER NOT NULL,
                      fdt_mean REAL, dppl REAL, kl_mean REAL,
                      PRIMARY KEY (job, step)) WITHOUT ROWID;
  CREATE TABLE blobs (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
)sql";

std::string SumsOf(const ProbeResult& result) {
  std::string sums(2 * sizeof(double), '\0');
  std::memcpy(sums.data(), &result.nll_sum, sizeof(double));
  std::memcpy(sums.data() + sizeof(double), &result.kl_sum, sizeof(double));
  return sums;
}

}  // namespace

absl::StatusOr<bool> CheckRunStore(Database* database) {
  // The first statement reads the file's header and recovers what a killed process left in the log.
  BB_ASSIGN_OR_RETURN(const int64_t tables,
                      database->Integer("SELECT count(*) FROM sqlite_schema"));
  BB_ASSIGN_OR_RETURN(const int64_t id, database->Integer("PRAGMA application_id"));
  if (tables == 0 && id == 0) return false;
  if (id != kRunStoreApplicationId) {
    return absl::DataLossError(absl::StrCat(
        database->path(), ": an SQLite file of another program; use another --run-dir"));
  }
  BB_ASSIGN_OR_RETURN(const int64_t version, database->Integer("PRAGMA user_version"));
  if (version != kRunStoreVersion) {
    return absl::FailedPreconditionError(absl::StrCat(database->path(),
                                                      ": of run store version ",
                                                      version,
                                                      ", this bitbudget reads ",
                                                      kRunStoreVersion,
                                                      "; use another --run-dir or remove it"));
  }
  BB_ASSIGN_OR_RETURN(Statement check, database->Prepare("PRAGMA quick_check(1)"));
  BB_RETURN_IF_ERROR(check.Step().status());
  std::string verdict = check.Text(0);
  if (verdict == "ok") return true;
  for (char& c : verdict) {
    if (c == '\n') c = ' ';
  }
  return absl::DataLossError(absl::StrCat(
      database->path(), ": damaged (", verdict, "); remove it or use another --run-dir"));
}

absl::StatusOr<std::unique_ptr<RunStore>> RunStore::Open(const std::string& directory,
                                                         std::span<const IdentityField> identity) {
  std::unique_ptr<RunStore> store(new RunStore(directory));
  store->made_directory_ = mkdir(directory.c_str(), 0777) == 0;
  if (!store->made_directory_ && errno != EEXIST) {
    return absl::ErrnoToStatus(errno, absl::StrCat(directory, ": cannot create the run directory"));
  }
  BB_RETURN_IF_ERROR(store->Lock());
  const std::string path = absl::StrCat(directory, "/", kRunStoreFile);
  std::error_code ignored;
  store->made_file_ = !std::filesystem::exists(path, ignored);
  BB_ASSIGN_OR_RETURN(store->database_, Database::Open(path, Database::Mode::kWrite));
  BB_ASSIGN_OR_RETURN(const bool used, CheckRunStore(store->database_.get()));
  BB_RETURN_IF_ERROR(
      store->database_->Execute("PRAGMA journal_mode = WAL;"
                                "PRAGMA synchronous = NORMAL"));
  BB_RETURN_IF_ERROR(used ? store->CheckIdentity(identity) : store->Create(identity));
  return store;
}

RunStore::~RunStore() {
  database_.reset();
  if (lock_ >= 0) close(lock_);  // and unlocks
}

absl::Status RunStore::Lock() {
  const std::string path = absl::StrCat(directory_, "/", kLockFile);
  lock_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot open"));
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot lock"));
    }
    char holder[32] = {};
    if (pread(lock_, holder, sizeof(holder) - 1, 0) < 0) holder[0] = '\0';
    return absl::FailedPreconditionError(absl::StrCat(directory_,
                                                      ": in use by another bitbudget (process ",
                                                      absl::StripSuffix(holder, "\n"),
                                                      "); wait for it, or use another --run-dir"));
  }
  // For the message above; nothing depends on it.
  const std::string holder = absl::StrCat(getpid(), "\n");
  if (ftruncate(lock_, 0) == 0) {
    [[maybe_unused]] const ssize_t ignored = pwrite(lock_, holder.data(), holder.size(), 0);
  }
  return absl::OkStatus();
}

absl::Status RunStore::Create(std::span<const IdentityField> identity) {
  BB_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  BB_RETURN_IF_ERROR(database_->Execute(kSchema));
  BB_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare("INSERT INTO identity (name, value, position) VALUES (?1, ?2, ?3)"));
  for (size_t i = 0; i < identity.size(); ++i) {
    insert.Reset();
    BB_RETURN_IF_ERROR(insert.Bind(1, absl::string_view(identity[i].name)));
    BB_RETURN_IF_ERROR(insert.Bind(2, absl::string_view(identity[i].value)));
    BB_RETURN_IF_ERROR(insert.Bind(3, static_cast<int64_t>(i)));
    BB_RETURN_IF_ERROR(insert.Step().status());
  }
  BB_RETURN_IF_ERROR(
      database_->Execute(absl::StrCat("PRAGMA user_version = ", kRunStoreVersion).c_str()));
  BB_RETURN_IF_ERROR(
      database_->Execute(absl::StrCat("PRAGMA application_id = ", kRunStoreApplicationId).c_str()));
  return transaction.Commit();
}

absl::Status RunStore::CheckIdentity(std::span<const IdentityField> identity) {
  for (const IdentityField& field : identity) {
    BB_ASSIGN_OR_RETURN(Statement select,
                        database_->Prepare("SELECT value FROM identity WHERE name = ?1",
                                           absl::string_view(field.name)));
    BB_ASSIGN_OR_RETURN(const bool found, select.Step());
    const std::string stored = found ? select.Text(0) : "(none)";
    if (stored == field.value) continue;
    return absl::FailedPreconditionError(absl::StrCat(directory_,
                                                      ": holds a run with another ",
                                                      field.name,
                                                      ": ",
                                                      stored,
                                                      " there, ",
                                                      field.value,
                                                      " here; use another --run-dir, or remove "
                                                      "this one"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string>> RunStore::GetBlob(absl::string_view key) {
  BB_ASSIGN_OR_RETURN(Statement select,
                      database_->Prepare("SELECT value FROM blobs WHERE key = ?1", key));
  BB_ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) return std::optional<std::string>();
  return std::optional<std::string>(select.Text(0));
}

absl::Status RunStore::PutBlob(absl::string_view key, absl::string_view value) {
  BB_ASSIGN_OR_RETURN(Statement insert,
                      database_->Prepare("INSERT OR REPLACE INTO blobs (key, value) VALUES (?1, "
                                         "?2)",
                                         key,
                                         Blob{value}));
  return insert.Step().status();
}

absl::StatusOr<std::vector<int64_t>> RunStore::ProbeIds(absl::string_view set,
                                                        std::span<const std::string> names) {
  BB_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  BB_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare("INSERT OR IGNORE INTO probes (probe_set, name) VALUES (?1, ?2)", set));
  BB_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT id FROM probes WHERE probe_set = ?1 AND name = ?2", set));
  std::vector<int64_t> ids;
  for (const std::string& name : names) {
    insert.Reset();
    BB_RETURN_IF_ERROR(insert.Bind(2, absl::string_view(name)));
    BB_RETURN_IF_ERROR(insert.Step().status());
    select.Reset();
    BB_RETURN_IF_ERROR(select.Bind(2, absl::string_view(name)));
    BB_ASSIGN_OR_RETURN(const bool found, select.Step());
    CHECK(found);
    ids.push_back(select.Integer(0));
  }
  select.Reset();
  BB_RETURN_IF_ERROR(transaction.Commit());
  return ids;
}

absl::StatusOr<std::vector<std::optional<ProbeResult>>> RunStore::Find(
    absl::string_view candidate, std::span<const int64_t> probes) {
  BB_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT tokens, fdt, sdt, sums FROM results WHERE candidate = (SELECT id "
                         "FROM candidates WHERE candidate = ?1) AND probe = ?2",
                         candidate));
  std::vector<std::optional<ProbeResult>> results;
  for (const int64_t probe : probes) {
    select.Reset();
    BB_RETURN_IF_ERROR(select.Bind(2, probe));
    BB_ASSIGN_OR_RETURN(const bool found, select.Step());
    std::optional<ProbeResult>& result = results.emplace_back();
    if (!found) continue;
    BB_ASSIGN_OR_RETURN(result, ReadStoredResult(*database_, select));
  }
  return results;
}

absl::Status RunStore::Save(absl::string_view candidate,
                            std::span<const int64_t> probes,
                            std::span<const ProbeResult> results) {
  CHECK_EQ(probes.size(), results.size());
  BB_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  BB_ASSIGN_OR_RETURN(
      Statement name,
      database_->Prepare("INSERT OR IGNORE INTO candidates (candidate) VALUES (?1)", candidate));
  BB_RETURN_IF_ERROR(name.Step().status());
  BB_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare("INSERT OR REPLACE INTO results SELECT id, ?2, ?3, ?4, ?5, ?6 FROM "
                         "candidates WHERE candidate = ?1",
                         candidate));
  for (size_t i = 0; i < probes.size(); ++i) {
    insert.Reset();
    BB_RETURN_IF_ERROR(insert.Bind(2, probes[i]));
    BB_RETURN_IF_ERROR(insert.Bind(3, int64_t{results[i].tokens}));
    BB_RETURN_IF_ERROR(insert.Bind(4, int64_t{results[i].fdt}));
    BB_RETURN_IF_ERROR(insert.Bind(5, int64_t{results[i].sdt}));
    BB_RETURN_IF_ERROR(insert.Bind(6, Blob{SumsOf(results[i])}));
    BB_RETURN_IF_ERROR(insert.Step().status());
  }
  return transaction.Commit();
}

absl::Status RunStore::DescribeModel(std::span<const StoredComponent> components,
                                     int64_t fixed_bytes) {
  BB_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  BB_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare("INSERT OR REPLACE INTO components (id, name, rows, cols, format) VALUES "
                         "(?1, ?2, ?3, ?4, ?5)"));
  for (size_t c = 0; c < components.size(); ++c) {
    insert.Reset();
    BB_RETURN_IF_ERROR(insert.Bind(1, static_cast<int64_t>(c)));
    BB_RETURN_IF_ERROR(insert.Bind(2, absl::string_view(components[c].name)));
    BB_RETURN_IF_ERROR(insert.Bind(3, components[c].rows));
    BB_RETURN_IF_ERROR(insert.Bind(4, components[c].cols));
    BB_RETURN_IF_ERROR(insert.Bind(5, absl::string_view(components[c].format)));
    BB_RETURN_IF_ERROR(insert.Step().status());
  }
  BB_RETURN_IF_ERROR(PutBlob(kFixedBytesKey, absl::StrCat(fixed_bytes)));
  return transaction.Commit();
}

absl::StatusOr<int64_t> RunStore::BeginJob(const std::string& options) {
  BB_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare("INSERT INTO jobs (options, state) VALUES (?1, 'begun') ON CONFLICT "
                         "(options) DO UPDATE SET state = 'begun' RETURNING id",
                         absl::string_view(options)));
  BB_ASSIGN_OR_RETURN(const bool found, insert.Step());
  CHECK(found);
  const int64_t job = insert.Integer(0);
  BB_RETURN_IF_ERROR(insert.Step().status());  // RETURNING: the change is done after its last row
  return job;
}

absl::Status RunStore::PutMoves(int64_t job, std::span<const StoredMove> moves) {
  BB_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  BB_ASSIGN_OR_RETURN(Statement clear, database_->Prepare("DELETE FROM moves WHERE job = ?1", job));
  BB_RETURN_IF_ERROR(clear.Step().status());
  for (size_t i = 0; i < moves.size(); ++i) {
    const StoredMove& move = moves[i];
    BB_ASSIGN_OR_RETURN(
        Statement insert,
        database_->Prepare("INSERT INTO moves VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                           job,
                           static_cast<int64_t>(i),
                           absl::string_view(move.what),
                           absl::string_view(move.changes),
                           move.size_bytes,
                           move.fdt_mean,
                           move.dppl,
                           move.kl_mean));
    BB_RETURN_IF_ERROR(insert.Step().status());
  }
  return transaction.Commit();
}

absl::Status RunStore::EndJob(int64_t job, absl::string_view state) {
  BB_ASSIGN_OR_RETURN(Statement update,
                      database_->Prepare("UPDATE jobs SET state = ?1 WHERE id = ?2", state, job));
  return update.Step().status();
}

void RunStore::RemoveIfUnused(bool keep_blobs) {
  if (!made_file_) return;
  const absl::StatusOr<int64_t> results = database_->Integer("SELECT count(*) FROM results");
  const absl::StatusOr<int64_t> blobs =
      database_->Integer("SELECT count(*) FROM blobs WHERE key NOT LIKE 'model/%'");
  if (!results.ok() || *results > 0 || !blobs.ok() || (keep_blobs && *blobs > 0)) return;
  database_.reset();
  for (const char* name : {kRunStoreFile, kLockFile}) {
    unlink(absl::StrCat(directory_, "/", name).c_str());
  }
  if (made_directory_) rmdir(directory_.c_str());
}

absl::StatusOr<ProbeResult> ReadStoredResult(const Database& database, const Statement& row) {
  ProbeResult result;
  result.tokens = static_cast<int>(row.Integer(0));
  result.fdt = static_cast<int>(row.Integer(1));
  result.sdt = static_cast<int>(row.Integer(2));
  const std::string sums = row.Text(3);
  if (sums.size() != 2 * sizeof(double)) {
    return absl::DataLossError(absl::StrCat(database.path(),
                                            ": damaged: results.sums of ",
                                            sums.size(),
                                            " bytes; remove it or use another --run-dir"));
  }
  std::memcpy(&result.nll_sum, sums.data(), sizeof(double));
  std::memcpy(&result.kl_sum, sums.data() + sizeof(double), sizeof(double));
  return result;
}

std::vector<std::string> RunStoreFiles(const std::string& directory) {
  std::vector<std::string> files = {absl::StrCat(directory, "/", kLockFile)};
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    files.push_back(absl::StrCat(directory, "/", kRunStoreFile, suffix));
  }
  return files;
}

}  // namespace bitbudget
