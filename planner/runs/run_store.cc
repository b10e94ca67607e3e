#include "planner/runs/run_store.h"

#include <glog/logging.h>

#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// docs/run-store.md describes these. `sums` are the bits of four little-endian doubles, nll_sum,
// kl_sum and the same of the text: exact whatever SQLite does with numbers.
constexpr char kSchema[] = R"sql(
  CREATE TABLE identity (position INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT NOT NULL);
  CREATE TABLE components (id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL,
                           layer INTEGER NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL,
                           format TEXT NOT NULL);
  CREATE TABLE probes (id INTEGER PRIMARY KEY, probe_set TEXT NOT NULL, name TEXT NOT NULL,
                       UNIQUE (probe_set, name));
  CREATE TABLE candidates (id INTEGER PRIMARY KEY, candidate TEXT NOT NULL UNIQUE);
  CREATE TABLE results (candidate INTEGER NOT NULL REFERENCES candidates,
                        probe INTEGER NOT NULL REFERENCES probes, tokens INTEGER NOT NULL,
                        fdt INTEGER NOT NULL, sdt INTEGER NOT NULL,
                        text_tokens INTEGER NOT NULL, text_misses INTEGER NOT NULL,
                        sums BLOB NOT NULL, PRIMARY KEY (candidate, probe)) WITHOUT ROWID;
  CREATE TABLE jobs (id INTEGER PRIMARY KEY, options TEXT NOT NULL UNIQUE, state TEXT NOT NULL);
  CREATE TABLE trace (job INTEGER NOT NULL REFERENCES jobs, step INTEGER NOT NULL,
                      what TEXT NOT NULL, changes TEXT NOT NULL, size_bytes INTEGER NOT NULL,
                      fdt_mean REAL, dppl REAL, kl_mean REAL, text_kl REAL,
                      PRIMARY KEY (job, step)) WITHOUT ROWID;
  CREATE TABLE blobs (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
)sql";

using Sums = std::array<double, 4>;

std::string SumsOf(const ProbeResult& result) {
  const Sums sums = {result.nll_sum, result.kl_sum, result.text.nll_sum, result.text.kl_sum};
  std::string bytes(sizeof(Sums), '\0');
  std::memcpy(bytes.data(), sums.data(), sizeof(Sums));
  return bytes;
}

}  // namespace

absl::StatusOr<bool> CheckRunStore(Database* database) {
  // The first statement reads the file's header and recovers what a killed process left in the log.
  BB_ASSIGN_OR_RETURN(const int64_t tables,
                      database->Integer("SELECT count(*) FROM sqlite_schema"));
  BB_ASSIGN_OR_RETURN(const int64_t id, database->Integer("PRAGMA application_id"));
  if (tables == 0 && id == 0) return false;
  if (id != kRunStoreApplicationId) {
    return absl::DataLossError(
        absl::StrCat(database->path(), ": an SQLite file of another program; move it away"));
  }
  BB_ASSIGN_OR_RETURN(const int64_t version, database->Integer("PRAGMA user_version"));
  if (version != kRunStoreVersion) {
    return absl::FailedPreconditionError(absl::StrCat(database->path(),
                                                      ": a run store of version ",
                                                      version,
                                                      "; this bitbudget reads version ",
                                                      kRunStoreVersion));
  }
  BB_ASSIGN_OR_RETURN(Statement check, database->Prepare("PRAGMA quick_check(1)"));
  BB_RETURN_IF_ERROR(check.Step().status());
  std::string verdict = check.Text(0);
  if (verdict == "ok") return true;
  for (char& c : verdict) {
    if (c == '\n') c = ' ';
  }
  return absl::DataLossError(
      absl::StrCat(database->path(), ": damaged (", verdict, "); remove it"));
}

absl::StatusOr<std::unique_ptr<RunStore>> RunStore::Open(const std::string& run_directory,
                                                         std::span<const IdentityField> identity) {
  BB_ASSIGN_OR_RETURN(std::unique_ptr<StoreFolder> folder,
                      StoreFolder::Lock(run_directory, StoreName(identity)));
  std::unique_ptr<RunStore> store(new RunStore(std::move(folder)));
  BB_ASSIGN_OR_RETURN(store->database_,
                      Database::Open(store->folder_->file(), Database::Mode::kWrite));
  BB_ASSIGN_OR_RETURN(const bool used, CheckRunStore(store->database_.get()));
  BB_RETURN_IF_ERROR(
      store->database_->Execute("PRAGMA journal_mode = WAL;"
                                "PRAGMA synchronous = NORMAL"));
  BB_RETURN_IF_ERROR(used ? store->CheckIdentity(identity) : store->Create(identity));
  return store;
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

// The folder's name says the same, unless somebody renamed it.
absl::Status RunStore::CheckIdentity(std::span<const IdentityField> identity) {
  for (const IdentityField& field : identity) {
    BB_ASSIGN_OR_RETURN(Statement select,
                        database_->Prepare("SELECT value FROM identity WHERE name = ?1",
                                           absl::string_view(field.name)));
    BB_ASSIGN_OR_RETURN(const bool found, select.Step());
    const std::string stored = found ? select.Text(0) : "none";
    if (stored == field.value) continue;
    return absl::FailedPreconditionError(absl::StrCat(folder_->path(),
                                                      ": a run with another ",
                                                      field.name,
                                                      " (",
                                                      stored,
                                                      ", not ",
                                                      field.value,
                                                      ") under this run's name; move it away"));
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
  BB_ASSIGN_OR_RETURN(Statement select,
                      database_->Prepare("SELECT tokens, fdt, sdt, text_tokens, text_misses, sums "
                                         "FROM results WHERE candidate = (SELECT id "
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
      database_->Prepare(
          "INSERT OR REPLACE INTO results SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM "
          "candidates WHERE candidate = ?1",
          candidate));
  for (size_t i = 0; i < probes.size(); ++i) {
    insert.Reset();
    BB_RETURN_IF_ERROR(insert.Bind(2, probes[i]));
    BB_RETURN_IF_ERROR(insert.Bind(3, int64_t{results[i].tokens}));
    BB_RETURN_IF_ERROR(insert.Bind(4, int64_t{results[i].fdt}));
    BB_RETURN_IF_ERROR(insert.Bind(5, int64_t{results[i].sdt}));
    BB_RETURN_IF_ERROR(insert.Bind(6, int64_t{results[i].text.tokens}));
    BB_RETURN_IF_ERROR(insert.Bind(7, int64_t{results[i].text.misses}));
    BB_RETURN_IF_ERROR(insert.Bind(8, Blob{SumsOf(results[i])}));
    BB_RETURN_IF_ERROR(insert.Step().status());
  }
  return transaction.Commit();
}

absl::Status RunStore::DescribeModel(std::span<const Component> components,
                                     const Assignment& stored_formats,
                                     int64_t fixed_bytes) {
  CHECK_EQ(components.size(), stored_formats.size());
  BB_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  for (size_t c = 0; c < components.size(); ++c) {
    const Component& component = components[c];
    BB_ASSIGN_OR_RETURN(
        Statement insert,
        database_->Prepare("INSERT OR REPLACE INTO components VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                           static_cast<int64_t>(c),
                           absl::string_view(component.name),
                           absl::string_view(ComponentKindName(component.kind)),
                           int64_t{component.layer},
                           component.rows,
                           component.cols,
                           absl::string_view(stored_formats[c].Name())));
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

absl::Status RunStore::PutTrace(int64_t job, std::span<const TraceStep> trace) {
  BB_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  BB_ASSIGN_OR_RETURN(Statement clear, database_->Prepare("DELETE FROM trace WHERE job = ?1", job));
  BB_RETURN_IF_ERROR(clear.Step().status());
  for (size_t i = 0; i < trace.size(); ++i) {
    const TraceStep& step = trace[i];
    const std::string changes =
        absl::StrJoin(step.changes, ",", [](std::string* out, const ComponentFormat& change) {
          absl::StrAppend(out, change.component, "=", change.format.Name());
        });
    BB_ASSIGN_OR_RETURN(
        Statement insert,
        database_->Prepare("INSERT INTO trace VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                           job,
                           static_cast<int64_t>(i),
                           absl::string_view(step.what),
                           absl::string_view(changes),
                           step.size_bytes,
                           step.fdt_mean,
                           step.dppl,
                           step.kl_mean,
                           step.text_kl));
    BB_RETURN_IF_ERROR(insert.Step().status());
  }
  return transaction.Commit();
}

absl::Status RunStore::EndJob(int64_t job, absl::string_view state) {
  BB_ASSIGN_OR_RETURN(Statement update,
                      database_->Prepare("UPDATE jobs SET state = ?1 WHERE id = ?2", state, job));
  return update.Step().status();
}

void RunStore::RemoveIf(Empty empty) {
  if (!folder_->made_file()) return;
  const absl::StatusOr<int64_t> results = database_->Integer("SELECT count(*) FROM results");
  const absl::StatusOr<int64_t> values =
      database_->Integer("SELECT count(*) FROM blobs WHERE key NOT LIKE 'model/%'");
  if (!results.ok() || *results > 0 || !values.ok()) return;
  if (empty == Empty::kNoResultsAndNoValues && *values > 0) return;
  database_.reset();
  folder_->Remove();
}

absl::StatusOr<ProbeResult> ReadStoredResult(const Database& database, const Statement& row) {
  ProbeResult result;
  result.tokens = static_cast<int>(row.Integer(0));
  result.fdt = static_cast<int>(row.Integer(1));
  result.sdt = static_cast<int>(row.Integer(2));
  result.text.tokens = static_cast<int>(row.Integer(3));
  result.text.misses = static_cast<int>(row.Integer(4));
  const std::string bytes = row.Text(5);
  Sums sums;
  if (bytes.size() != sizeof(Sums)) {
    return absl::DataLossError(absl::StrCat(
        database.path(), ": damaged: results.sums of ", bytes.size(), " bytes; remove it"));
  }
  std::memcpy(sums.data(), bytes.data(), sizeof(Sums));
  result.nll_sum = sums[0];
  result.kl_sum = sums[1];
  result.text.nll_sum = sums[2];
  result.text.kl_sum = sums[3];
  return result;
}

}  // namespace bitbudget
