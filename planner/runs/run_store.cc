#include "planner/runs/run_store.h"

#include <glog/logging.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "planner/runs/store_format.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
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
  BB_RETURN_IF_ERROR(CreateRunStore(database_.get()));
  BB_ASSIGN_OR_RETURN(Statement insert,
                      database_->Prepare("INSERT INTO identity (position, name, value, checksum) "
                                         "VALUES (?1, ?2, ?3, checksum('identity', ?1, ?2, ?3))"));
  for (size_t i = 0; i < identity.size(); ++i) {
    insert.Reset();
    BB_RETURN_IF_ERROR(insert.Bind(1, static_cast<int64_t>(i)));
    BB_RETURN_IF_ERROR(insert.Bind(2, absl::string_view(identity[i].name)));
    BB_RETURN_IF_ERROR(insert.Bind(3, absl::string_view(identity[i].value)));
    BB_RETURN_IF_ERROR(insert.Step().status());
  }
  return transaction.Commit();
}

// The folder's name says the same, unless somebody renamed it.
absl::Status RunStore::CheckIdentity(std::span<const IdentityField> identity) {
  for (const IdentityField& field : identity) {
    BB_ASSIGN_OR_RETURN(Statement select,
                        database_->Prepare("SELECT value, checksum = checksum('identity', "
                                           "position, ?1, value) FROM identity WHERE name = ?1",
                                           absl::string_view(field.name)));
    BB_ASSIGN_OR_RETURN(const bool found, select.Step());
    if (!found) return DamagedStore(*database_, absl::StrCat("an identity without ", field.name));
    BB_RETURN_IF_ERROR(CheckRow(*database_, select, 1, "identity"));
    const std::string stored = select.Text(0);
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
                      database_->Prepare("SELECT value, checksum = checksum('blobs', ?1, value) "
                                         "FROM blobs WHERE key = ?1",
                                         key));
  BB_ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) return std::optional<std::string>();
  BB_RETURN_IF_ERROR(CheckRow(*database_, select, 1, "blobs"));
  return std::optional<std::string>(select.Text(0));
}

absl::Status RunStore::PutBlob(absl::string_view key, absl::string_view value) {
  BB_ASSIGN_OR_RETURN(Statement insert,
                      database_->Prepare("INSERT OR REPLACE INTO blobs (key, value, checksum) "
                                         "VALUES (?1, ?2, checksum('blobs', ?1, ?2))",
                                         key,
                                         Blob{value}));
  return insert.Step().status();
}

absl::StatusOr<std::vector<int64_t>> RunStore::ProbeIds(absl::string_view set,
                                                        std::span<const std::string> names) {
  BB_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  BB_ASSIGN_OR_RETURN(Statement insert,
                      database_->Prepare("INSERT OR IGNORE INTO probes (probe_set, name, checksum) "
                                         "VALUES (?1, ?2, checksum('probes', ?1, ?2))",
                                         set));
  BB_ASSIGN_OR_RETURN(Statement select,
                      database_->Prepare("SELECT id, checksum = checksum('probes', ?1, ?2) "
                                         "FROM probes WHERE probe_set = ?1 AND name = ?2",
                                         set));
  std::vector<int64_t> ids;
  for (const std::string& name : names) {
    insert.Reset();
    BB_RETURN_IF_ERROR(insert.Bind(2, absl::string_view(name)));
    BB_RETURN_IF_ERROR(insert.Step().status());
    select.Reset();
    BB_RETURN_IF_ERROR(select.Bind(2, absl::string_view(name)));
    BB_ASSIGN_OR_RETURN(const bool found, select.Step());
    if (!found) return DamagedStore(*database_, "a probe that is there and is not found");
    BB_RETURN_IF_ERROR(CheckRow(*database_, select, 1, "probes"));
    ids.push_back(select.Integer(0));
  }
  select.Reset();
  BB_RETURN_IF_ERROR(transaction.Commit());
  return ids;
}

absl::StatusOr<std::vector<std::optional<ProbeResult>>> RunStore::Find(
    absl::string_view candidate, std::span<const int64_t> probes) {
  BB_ASSIGN_OR_RETURN(Statement select,
                      database_->Prepare(absl::StrCat("SELECT ",
                                                      ResultColumns("?1"),
                                                      " FROM ",
                                                      kResultTables,
                                                      " WHERE candidates.candidate = ?1 AND "
                                                      "results.probe = ?2")
                                             .c_str(),
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
  constexpr char kValues[] = "?3, ?4, ?5, ?6, ?7, ?8, ?9";
  BB_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  BB_ASSIGN_OR_RETURN(
      Statement name,
      database_->Prepare("INSERT OR IGNORE INTO candidates (candidate) VALUES (?1)", candidate));
  BB_RETURN_IF_ERROR(name.Step().status());
  BB_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare(
          absl::StrCat("INSERT OR REPLACE INTO results SELECT candidates.id, ?2, ",
                       kValues,
                       ", ",
                       ResultChecksum("?1", kValues),
                       " FROM candidates, probes WHERE candidate = ?1 AND probes.id = ?2")
              .c_str(),
          candidate));
  for (size_t i = 0; i < probes.size(); ++i) {
    insert.Reset();
    BB_RETURN_IF_ERROR(insert.Bind(2, probes[i]));
    BB_RETURN_IF_ERROR(insert.Bind(3, int64_t{results[i].tokens}));
    BB_RETURN_IF_ERROR(insert.Bind(4, int64_t{results[i].fdt}));
    BB_RETURN_IF_ERROR(insert.Bind(5, int64_t{results[i].sdt}));
    BB_RETURN_IF_ERROR(insert.Bind(6, int64_t{results[i].text.tokens}));
    BB_RETURN_IF_ERROR(insert.Bind(7, int64_t{results[i].text.misses}));
    BB_RETURN_IF_ERROR(insert.Bind(8, Blob{StoredSums(results[i])}));
    BB_RETURN_IF_ERROR(insert.Bind(9, Blob{StoredTextKls(results[i])}));
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
        database_->Prepare("INSERT OR REPLACE INTO components VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, "
                           "checksum('components', ?1, ?2, ?3, ?4, ?5, ?6, ?7))",
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
      database_->Prepare("INSERT INTO jobs (options, state, checksum) "
                         "VALUES (?1, 'begun', checksum('jobs', ?1, 'begun')) "
                         "ON CONFLICT (options) DO UPDATE SET state = excluded.state, "
                         "checksum = excluded.checksum RETURNING id",
                         absl::string_view(options)));
  BB_ASSIGN_OR_RETURN(const bool found, insert.Step());
  if (!found) return DamagedStore(*database_, "a job that is not found");
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
        database_->Prepare("INSERT INTO trace SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
                           "checksum('trace', options, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) "
                           "FROM jobs WHERE id = ?1",
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
                      database_->Prepare("UPDATE jobs SET state = ?1, "
                                         "checksum = checksum('jobs', options, ?1) WHERE id = ?2",
                                         state,
                                         job));
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

}  // namespace bitbudget
