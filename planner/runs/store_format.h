#ifndef BITBUDGET_PLANNER_RUNS_STORE_FORMAT_H_
#define BITBUDGET_PLANNER_RUNS_STORE_FORMAT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/sqlite.h"
#include "runtime/eval/metrics.h"

namespace bitbudget {

// What a run store's file looks like (docs/run-store.md), for those who write and who read it.
//
// Every row has a checksum (Database's function of this name) of its table's name, of what it is
// found by and of its values. What a row is found by are texts, never numbers that the file gave
// out: a result's checksum is of the candidate and of the probe's set and name, so a result is not
// taken for another one's whatever happened to the rows and indexes that lead to it. `candidates`
// has nothing else to protect, and no checksum.

inline constexpr int64_t kRunStoreApplicationId = 0x62627564;  // "bbud", in SQLite's file header

// The blob with DescribeModel's `fixed_bytes`, in decimal.
inline constexpr char kFixedBytesKey[] = "model/fixed bytes";

// Makes an empty database a store: the tables, its id and version.
absl::Status CreateRunStore(Database* database);

// Whether an open file is a run store; false for an empty one, which a process leaves that is
// killed before its first transaction. kDataLoss for a damaged or another program's file,
// kFailedPrecondition for one of another version.
absl::StatusOr<bool> CheckRunStore(Database* database);

// kDataLoss that names the file.
absl::Status DamagedStore(const Database& database, absl::string_view what);

// Checks a row's column that compares its checksum.
absl::Status CheckRow(const Database& database,
                      const Statement& row,
                      int column,
                      absl::string_view table);

// SQL: the tables that a result is read from, and the checksum of a result with these values, each
// an expression.
inline constexpr char kResultTables[] =
    "candidates JOIN results ON results.candidate = candidates.id "
    "JOIN probes ON probes.id = results.probe";
std::string ResultChecksum(absl::string_view candidate, absl::string_view values);

// SQL: the columns that ReadStoredResult takes, from kResultTables, of the candidate that an
// expression names.
std::string ResultColumns(absl::string_view candidate);
inline constexpr int kResultColumns = 8;

// The result in a row whose first columns are ResultColumns(). kDataLoss for one that is damaged or
// that no evaluation gives.
absl::StatusOr<ProbeResult> ReadStoredResult(const Database& database, const Statement& row);

// A result's `sums`: the bits of four little-endian doubles, nll_sum, kl_sum and the same of the
// text, exact whatever SQLite does with numbers.
std::string StoredSums(const ProbeResult& result);

// A result's `text_kls`: the bits of a little-endian float per token; none where it has only sums.
std::string StoredTextKls(const ProbeResult& result);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_STORE_FORMAT_H_
