#ifndef BITBUDGET_PLANNER_RUNS_RUN_STORE_H_
#define BITBUDGET_PLANNER_RUNS_RUN_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/sqlite.h"
#include "runtime/eval/metrics.h"

namespace bitbudget {

// The file in the run directory that holds everything, and its format: files of another version are
// refused.
inline constexpr char kRunStoreFile[] = "run.sqlite";
inline constexpr int64_t kRunStoreVersion = 1;
inline constexpr int64_t kRunStoreApplicationId = 0x62627564;  // "bbud", in SQLite's file header

// What an evaluation is: to be raised when the same candidate and probes come to give other
// numbers, so that stored ones are not mixed with them.
inline constexpr int kEvaluationVersion = 2;

// The blob with DescribeModel's `fixed_bytes`, in decimal.
inline constexpr char kFixedBytesKey[] = "model/fixed bytes";

// One thing that decides what an evaluation means, e.g. {"model fingerprint", "1f3a..."}.
struct IdentityField {
  std::string name;
  std::string value;
};

// What the run's components are, for those who read the store without the model.
struct StoredComponent {
  std::string name;
  int64_t rows = 0;
  int64_t cols = 0;
  std::string format;  // that the checkpoint stores it in
};

// A step of a search's trace.
struct StoredMove {
  std::string what;
  std::string changes;  // "name=format, ...", empty for a start
  int64_t size_bytes = 0;
  double fdt_mean = 0;
  double dppl = 0;
  double kl_mean = 0;
};

// What a run has measured, in one SQLite file of its directory (docs/run-store.md). Everything in a
// run follows from its evaluations, so a run that is started again is the same search, answered
// from here as far as it had come.
//
// Every Put and Save is one transaction in a write-ahead log: a process that is killed, or that
// cannot write any more, loses at most the call that it was in. (The log is synced when it is
// folded into the file, not by every call: a machine that loses power may lose the last
// evaluations as well, never the file.) One process at a time, by a lock that ends with the
// process. Errors as Database's; not thread-safe.
class RunStore {
 public:
  // Opens the store of `directory`, or creates both. kFailedPrecondition when another process has
  // it, or when it was made with another identity (the first field that differs is named, with both
  // values); kDataLoss when the file is not a run store or damaged.
  static absl::StatusOr<std::unique_ptr<RunStore>> Open(const std::string& directory,
                                                        std::span<const IdentityField> identity);
  ~RunStore();

  // What a run may keep under a name of its own, e.g. scores that take long to compute.
  absl::StatusOr<std::optional<std::string>> GetBlob(absl::string_view key);
  absl::Status PutBlob(absl::string_view key, absl::string_view value);

  // The ids of the probes of a set ("search", "held-out"), which are named by what they are (a hash
  // of their tokens) and not by their number in the set, so that sets of different sizes share
  // them.
  absl::StatusOr<std::vector<int64_t>> ProbeIds(absl::string_view set,
                                                std::span<const std::string> names);

  // The stored results of a candidate on the given probes; nullopt where there is none. A candidate
  // is any text that says what was run.
  absl::StatusOr<std::vector<std::optional<ProbeResult>>> Find(absl::string_view candidate,
                                                               std::span<const int64_t> probes);
  absl::Status Save(absl::string_view candidate,
                    std::span<const int64_t> probes,
                    std::span<const ProbeResult> results);

  // For those who read the store: the model's components with the bytes of everything else, and one
  // row per command that used it, found again by its options.
  absl::Status DescribeModel(std::span<const StoredComponent> components, int64_t fixed_bytes);
  absl::StatusOr<int64_t> BeginJob(const std::string& options);
  absl::Status PutMoves(int64_t job, std::span<const StoredMove> moves);
  absl::Status EndJob(int64_t job, absl::string_view state);  // "complete", "interrupted", "failed"

  // Removes what Open created, where it created the file and no evaluation came in since (nor, with
  // `keep_blobs`, a blob): a command that failed early leaves nothing behind. The store must not be
  // used afterwards.
  void RemoveIfUnused(bool keep_blobs);

 private:
  explicit RunStore(const std::string& directory) : directory_(directory) {}

  absl::Status Lock();
  absl::Status Create(std::span<const IdentityField> identity);
  absl::Status CheckIdentity(std::span<const IdentityField> identity);

  std::string directory_;
  bool made_directory_ = false;
  bool made_file_ = false;
  int lock_ = -1;
  std::unique_ptr<Database> database_;
};

// The files that the store of a directory may write, whether they are there or not.
std::vector<std::string> RunStoreFiles(const std::string& directory);

// Whether an open file is a run store: false for an empty one, which is what a process that was
// killed before its first transaction leaves. kDataLoss for a damaged or another program's file,
// kFailedPrecondition for another version's.
absl::StatusOr<bool> CheckRunStore(Database* database);

// The result in a row of columns tokens, fdt, sdt, sums.
absl::StatusOr<ProbeResult> ReadStoredResult(const Database& database, const Statement& row);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_RUN_STORE_H_
