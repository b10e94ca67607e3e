#include "planner/runs/store_format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/runs/run_directory.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// As SQLite keeps them in the file, where a table that is described in any other way is damage.
constexpr const char* kTables[] = {
    "CREATE TABLE identity (position INTEGER PRIMARY KEY, name TEXT NOT NULL, "
    "value TEXT NOT NULL, checksum INTEGER NOT NULL)",

    "CREATE TABLE components (id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, "
    "layer INTEGER NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, format TEXT NOT NULL, "
    "checksum INTEGER NOT NULL)",

    "CREATE TABLE probes (id INTEGER PRIMARY KEY, probe_set TEXT NOT NULL, name TEXT NOT NULL, "
    "checksum INTEGER NOT NULL, UNIQUE (probe_set, name))",

    "CREATE TABLE candidates (id INTEGER PRIMARY KEY, candidate TEXT NOT NULL UNIQUE)",

    "CREATE TABLE results (candidate INTEGER NOT NULL REFERENCES candidates, "
    "probe INTEGER NOT NULL REFERENCES probes, tokens INTEGER NOT NULL, fdt INTEGER NOT NULL, "
    "sdt INTEGER NOT NULL, text_tokens INTEGER NOT NULL, text_misses INTEGER NOT NULL, "
    "sums BLOB NOT NULL, text_kls BLOB NOT NULL, checksum INTEGER NOT NULL, "
    "PRIMARY KEY (candidate, probe)) WITHOUT ROWID",

    "CREATE TABLE jobs (id INTEGER PRIMARY KEY, options TEXT NOT NULL UNIQUE, "
    "state TEXT NOT NULL, checksum INTEGER NOT NULL)",

    "CREATE TABLE trace (job INTEGER NOT NULL REFERENCES jobs, step INTEGER NOT NULL, "
    "what TEXT NOT NULL, changes TEXT NOT NULL, size_bytes INTEGER NOT NULL, fdt_mean REAL, "
    "dppl REAL, kl_mean REAL, text_kl REAL, checksum INTEGER NOT NULL, "
    "PRIMARY KEY (job, step)) WITHOUT ROWID",

    "CREATE TABLE blobs (key TEXT PRIMARY KEY, value BLOB NOT NULL, checksum INTEGER NOT NULL) "
    "WITHOUT ROWID",
};
constexpr int64_t kIndexes = 3;  // of probes, candidates and jobs

constexpr char kResultValues[] = "tokens, fdt, sdt, text_tokens, text_misses, sums, text_kls";

using Sums = std::array<double, 4>;

// Whether an evaluation can give it (ProbeResult).
bool IsPossible(int64_t tokens,
                int64_t fdt,
                int64_t sdt,
                int64_t text_tokens,
                int64_t text_misses,
                const Sums& sums,
                const std::vector<float>& kls) {
  const auto within = [](int64_t value, int64_t most) { return value >= 0 && value <= most; };
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  return within(tokens, kMost) && within(fdt, tokens) && within(sdt, tokens - fdt) &&
         within(text_tokens, kMost) && within(text_misses, text_tokens) &&
         (kls.empty() || static_cast<int64_t>(kls.size()) == text_tokens) &&
         std::all_of(sums.begin(), sums.end(), [](double sum) { return std::isfinite(sum); }) &&
         std::all_of(kls.begin(), kls.end(), [](float kl) { return std::isfinite(kl); });
}

// The tables are those of kTables, and nothing else.
absl::Status CheckTables(Database* database) {
  for (const char* table : kTables) {
    BB_ASSIGN_OR_RETURN(Statement select,
                        database->Prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND "
                                          "sql = ?1",
                                          absl::string_view(table)));
    BB_ASSIGN_OR_RETURN(const bool found, select.Step());
    if (!found) return DamagedStore(*database, "other tables than a run store's");
  }
  BB_ASSIGN_OR_RETURN(const int64_t all, database->Integer("SELECT count(*) FROM sqlite_schema"));
  if (all == static_cast<int64_t>(std::size(kTables)) + kIndexes) return absl::OkStatus();
  return DamagedStore(*database, "more or less than a run store's tables");
}

}  // namespace

absl::Status CreateRunStore(Database* database) {
  for (const char* table : kTables) BB_RETURN_IF_ERROR(database->Execute(table));
  BB_RETURN_IF_ERROR(
      database->Execute(absl::StrCat("PRAGMA user_version = ", kRunStoreVersion).c_str()));
  return database->Execute(
      absl::StrCat("PRAGMA application_id = ", kRunStoreApplicationId).c_str());
}

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
                                                      kRunStoreVersion,
                                                      "; remove it"));
  }
  BB_RETURN_IF_ERROR(CheckTables(database));
  BB_ASSIGN_OR_RETURN(Statement check, database->Prepare("PRAGMA quick_check(1)"));
  BB_RETURN_IF_ERROR(check.Step().status());
  std::string verdict = check.Text(0);
  if (verdict == "ok") return true;
  std::replace(verdict.begin(), verdict.end(), '\n', ' ');
  return DamagedStore(*database, verdict);
}

absl::Status DamagedStore(const Database& database, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(database.path(), ": damaged (", what, "); remove it"));
}

absl::Status CheckRow(const Database& database,
                      const Statement& row,
                      int column,
                      absl::string_view table) {
  if (row.Integer(column) == 1) return absl::OkStatus();
  return DamagedStore(database, absl::StrCat("a row of ", table, " is not as it was written"));
}

std::string ResultChecksum(absl::string_view candidate, absl::string_view values) {
  return absl::StrCat("checksum('results', ", candidate, ", probe_set, probes.name, ", values, ")");
}

std::string ResultColumns(absl::string_view candidate) {
  return absl::StrCat(
      kResultValues, ", results.checksum = ", ResultChecksum(candidate, kResultValues));
}

absl::StatusOr<ProbeResult> ReadStoredResult(const Database& database, const Statement& row) {
  BB_RETURN_IF_ERROR(CheckRow(database, row, kResultColumns - 1, "results"));
  const std::string bytes = row.Text(5);
  Sums sums = {};
  if (bytes.size() != sizeof(Sums)) return DamagedStore(database, "sums of another size");
  std::memcpy(sums.data(), bytes.data(), sizeof(Sums));
  const std::string kl_bytes = row.Text(6);
  std::vector<float> kls(kl_bytes.size() / sizeof(float));
  if (kl_bytes.size() % sizeof(float) != 0) return DamagedStore(database, "KLs of another size");
  if (!kls.empty()) std::memcpy(kls.data(), kl_bytes.data(), kl_bytes.size());
  if (!IsPossible(row.Integer(0),
                  row.Integer(1),
                  row.Integer(2),
                  row.Integer(3),
                  row.Integer(4),
                  sums,
                  kls)) {
    return DamagedStore(database, "a result that no evaluation gives");
  }
  ProbeResult result;
  result.tokens = static_cast<int>(row.Integer(0));
  result.fdt = static_cast<int>(row.Integer(1));
  result.sdt = static_cast<int>(row.Integer(2));
  result.text.tokens = static_cast<int>(row.Integer(3));
  result.text.misses = static_cast<int>(row.Integer(4));
  result.nll_sum = sums[0];
  result.kl_sum = sums[1];
  result.text.nll_sum = sums[2];
  result.text.kl_sum = sums[3];
  result.text.kls = std::move(kls);
  return result;
}

std::string StoredSums(const ProbeResult& result) {
  const Sums sums = {result.nll_sum, result.kl_sum, result.text.nll_sum, result.text.kl_sum};
  std::string bytes(sizeof(Sums), '\0');
  std::memcpy(bytes.data(), sums.data(), sizeof(Sums));
  return bytes;
}

std::string StoredTextKls(const ProbeResult& result) {
  const std::vector<float>& kls = result.text.kls;
  return std::string(reinterpret_cast<const char*>(kls.data()), kls.size() * sizeof(float));
}

}  // namespace bitbudget
